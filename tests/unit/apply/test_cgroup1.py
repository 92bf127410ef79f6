"""The applier's answers to everything the kernel can say."""

from __future__ import annotations

import errno

import pytest

from guestroom.actions import Hold, LetGo, MakeGuest, OutcomeKind, SetLimit, SetWall, StartGuest
from guestroom.apply.cgroup1 import KernelApplier, is_ours, kind_of, parse_limit
from guestroom.errors import HostError, ReadError, from_write
from guestroom.layout import Layout
from guestroom.testing import ManualClock
from guestroom.units import UNLIMITED

from .scripted import LAYOUT, ScriptedFiles, kernel_error

LIMIT = "/mem/guestroom/a/memory.limit_in_bytes"
STATE = "/frz/guestroom/a/freezer.state"
HOLD = Hold("a", 1, 2, 3, "why")


def limit(pages: int, *, floor_bytes: int = 0, name: str = "a") -> SetLimit:
    """A limit write for guest a."""
    return SetLimit(name, 100 * 4096, pages * 4096, 0, 0, floor_bytes, "why")


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EBUSY, OutcomeKind.BUSY),
        (errno.EINVAL, OutcomeKind.INVALID),
        (errno.ENOENT, OutcomeKind.VANISHED),
        (errno.ENODEV, OutcomeKind.VANISHED),
        (errno.EACCES, OutcomeKind.NOT_PERMITTED),
        (errno.EROFS, OutcomeKind.NOT_PERMITTED),
        (errno.EIO, OutcomeKind.FAILED),
    ],
)
def test_errors_become_outcomes(files: ScriptedFiles, applier: KernelApplier, number: int, kind: OutcomeKind) -> None:
    """Each error of a write is an outcome of its own kind, with the limit that still holds."""
    files.fail[LIMIT] = [number]
    outcome = applier.carry_out(limit(50))
    assert (outcome.kind, outcome.found_bytes) == (kind, 100 * 4096)
    assert LIMIT in outcome.detail


def test_interrupted_is_tried_three_times(files: ScriptedFiles, applier: KernelApplier) -> None:
    """Two interruptions are overcome; three in a row are reported, and nothing is written meanwhile."""
    files.fail[LIMIT] = [errno.EINTR] * 2
    assert applier.carry_out(limit(50)).ok
    files.fail[LIMIT] = [errno.EINTR] * 3
    outcome = applier.carry_out(limit(40))
    assert (outcome.kind, outcome.found_bytes) == (OutcomeKind.INTERRUPTED, 50 * 4096)
    assert files.fail[LIMIT] == []


def test_limit_is_compared_in_pages(applier: KernelApplier) -> None:
    """A limit the kernel cut to whole pages is as wished, and what it found is reported."""
    outcome = applier.carry_out(SetLimit("a", 1, 50 * 4096 + 4095, 0, 0, 0, "why"))
    assert (outcome.kind, outcome.found_bytes) == (OutcomeKind.DONE, 50 * 4096)


def test_read_back_mismatch(files: ScriptedFiles, applier: KernelApplier) -> None:
    """A write that was accepted but does not hold is READ_BACK with what the file says."""
    files.after_write[LIMIT] = [f"{60 * 4096}\n"]
    outcome = applier.carry_out(limit(50))
    assert (outcome.kind, outcome.found_bytes) == (OutcomeKind.READ_BACK, 60 * 4096)


def test_malformed_limit_file(files: ScriptedFiles, applier: KernelApplier) -> None:
    """Nonsense in the file is a failure with unknown limit, not a zero."""
    files.after_write[LIMIT] = ["max\n"]
    outcome = applier.carry_out(limit(50))
    assert (outcome.kind, outcome.found_bytes) == (OutcomeKind.FAILED, None)


def test_floor_is_the_last_line(files: ScriptedFiles, applier: KernelApplier) -> None:
    """P2: nothing is written below RAM + floor, whatever was decided; the numbers are said."""
    outcome = applier.carry_out(limit(50, floor_bytes=50 * 4096 + 1))
    assert outcome.kind is OutcomeKind.FAILED
    assert str(50 * 4096 + 1) in outcome.detail
    assert files.done == []
    assert applier.carry_out(limit(50, floor_bytes=50 * 4096)).ok


@pytest.mark.parametrize("name", ["../b", "a/vmm", "ram"])
def test_bad_name(files: ScriptedFiles, applier: KernelApplier, name: str) -> None:
    """P9: a name that is no guest's fails without a write."""
    assert applier.carry_out(limit(50, name=name)).kind is OutcomeKind.FAILED
    assert files.done == []


def test_outside_the_layout(files: ScriptedFiles, clock: ManualClock) -> None:
    """P9: a layout that leads out of its own folder is not written to."""
    sly = Layout("/mem/guestroom/../other", "/frz/guestroom")
    outcome = KernelApplier(files, sly, clock).carry_out(limit(50))
    assert outcome.kind is OutcomeKind.FAILED
    assert "outside" in outcome.detail
    assert files.done == []


def test_is_ours() -> None:
    """Only the wall, its twin and what is below them are ours; a neighbour with a like name is not."""
    assert is_ours("/mem/guestroom/a/vmm", LAYOUT)
    assert is_ours("/frz/guestroom", LAYOUT)
    assert not is_ours("/mem/guestroom2/a", LAYOUT)
    assert not is_ours("/mem/guestroom/../x", LAYOUT)
    assert not is_ours("/frz/guestroom/a", Layout("/mem/guestroom", None))


def test_reborn(files: ScriptedFiles, clock: ManualClock) -> None:
    """P9: a cgroup made anew under the same name, or gone, is VANISHED and not written; the right one is."""
    inodes = {"a": files.inode("/mem/guestroom/a")}
    applier = KernelApplier(files, LAYOUT, clock, expected_inodes=inodes)
    assert applier.carry_out(limit(50)).ok
    files.done.clear()
    files.folders["/mem/guestroom/a"] = 999
    for action in (limit(40), HOLD, LetGo("a", "why")):
        assert applier.carry_out(action).kind is OutcomeKind.VANISHED
    del files.folders["/mem/guestroom/a"]
    assert applier.carry_out(limit(40)).kind is OutcomeKind.VANISHED
    assert files.done == []
    assert applier.carry_out(SetWall(1, 900 * 4096, "why")).ok, "the wall is nobody's in particular"


def test_make_guest(files: ScriptedFiles, applier: KernelApplier) -> None:
    """A newcomer's cgroups are made, limited and read back."""
    outcome = applier.carry_out(MakeGuest("b", 10 * 4096, 0, "why"))
    assert (outcome.kind, outcome.found_bytes) == (OutcomeKind.DONE, 10 * 4096)
    assert files.list_dirs("/mem/guestroom/b") == ["ram", "vmm"]


@pytest.mark.parametrize("where", ["memory.limit_in_bytes", "memory.oom_control", "ram", "vmm"])
def test_make_guest_leaves_nothing_half_made(files: ScriptedFiles, applier: KernelApplier, where: str) -> None:
    """P4: a newcomer whose making fails anywhere leaves no folder behind."""
    folders = dict(files.folders)
    if where in ("ram", "vmm"):
        files.fail[f"/mem/guestroom/b/{where}"] = [errno.ENOMEM]
    else:
        files.after_write[f"/mem/guestroom/b/{where}"] = ["12345678\n"]
    assert not applier.carry_out(MakeGuest("b", 10 * 4096, 0, "why")).ok
    assert files.folders == folders


def test_make_guest_that_is_there(files: ScriptedFiles, applier: KernelApplier) -> None:
    """A guest's cgroup that is there already is neither changed nor removed."""
    outcome = applier.carry_out(MakeGuest("a", 10 * 4096, 0, "why"))
    assert (outcome.kind, outcome.found_bytes) == (OutcomeKind.FAILED, 100 * 4096)
    assert files.done == []
    assert "/mem/guestroom/a/vmm" in files.folders


def test_make_guest_thaws_a_left_over_freezer(files: ScriptedFiles, applier: KernelApplier) -> None:
    """A frozen folder left from an earlier guest of that name does not freeze the new one."""
    files.mkdir("/frz/guestroom/b")
    files.texts["/frz/guestroom/b/freezer.state"] = "FROZEN\n"
    assert applier.carry_out(MakeGuest("b", 10 * 4096, 0, "why")).ok
    assert files.read("/frz/guestroom/b/freezer.state") == "THAWED\n"


def test_hold_waits_until_frozen(files: ScriptedFiles, applier: KernelApplier, clock: ManualClock) -> None:
    """A hold is done once the freezer says FROZEN."""
    files.after_write[STATE] = ["FREEZING\n"] * 5 + ["FROZEN\n"]
    before_s = clock.monotonic()
    outcome = applier.carry_out(HOLD)
    assert outcome.ok
    assert outcome.detail == "guest a: held"
    assert 0.004 < clock.monotonic() - before_s < 0.02


def test_hold_that_is_slow(files: ScriptedFiles, applier: KernelApplier, clock: ManualClock) -> None:
    """A hold still under way after 100 ms is done, and says that it is still freezing."""
    files.after_write[STATE] = ["FREEZING\n"]
    before_s = clock.monotonic()
    outcome = applier.carry_out(HOLD)
    assert outcome.ok
    assert "still freezing after 100 ms" in outcome.detail
    assert clock.monotonic() - before_s == pytest.approx(0.1, abs=0.01)


def test_hold_that_does_nothing(files: ScriptedFiles, applier: KernelApplier) -> None:
    """A freezer that takes the word and stays THAWED is READ_BACK."""
    files.after_write[STATE] = ["THAWED\n"]
    assert applier.carry_out(HOLD).kind is OutcomeKind.READ_BACK


def test_let_go_under_a_frozen_parent(files: ScriptedFiles, applier: KernelApplier) -> None:
    """A guest that stays frozen because its parent is frozen was not let go."""
    files.after_write[STATE] = ["FROZEN\n"]
    assert applier.carry_out(LetGo("a", "why")).kind is OutcomeKind.READ_BACK


def test_hold_without_freezer(files: ScriptedFiles, clock: ManualClock) -> None:
    """Without a freezer a hold fails and says why."""
    outcome = KernelApplier(files, Layout("/mem/guestroom", None), clock).carry_out(HOLD)
    assert outcome.kind is OutcomeKind.FAILED
    assert "no freezer" in outcome.detail


def test_start_writes_nothing(files: ScriptedFiles, applier: KernelApplier) -> None:
    """Starting a guest is the launch's part: done here without a write."""
    assert applier.carry_out(StartGuest("a", 0, 0, "why")).ok
    assert files.done == []


def test_parse_limit() -> None:
    """No limit is UNLIMITED, a number is bytes, anything else an error with the text."""
    assert parse_limit("f", "9223372036854771712\n") is UNLIMITED
    assert parse_limit("f", "9223372036854710272\n") is UNLIMITED, "64 KiB pages"
    assert parse_limit("f", "4096\n") == 4096
    for text in ("", "-1", "max", "4096 "[:-1] + "x"):
        with pytest.raises(ReadError):
            parse_limit("f", text)


def test_every_error_of_the_tree_has_an_outcome() -> None:
    """No write error ends as DONE or SKIPPED."""
    for number in errno.errorcode:
        assert kind_of(from_write(kernel_error(number), "p", "v")) not in (OutcomeKind.DONE, OutcomeKind.SKIPPED)
    assert kind_of(HostError("x")) is OutcomeKind.FAILED
