"""Wall, removal, cache and killers, with everything that can be in the way."""

from __future__ import annotations

import errno

import pytest

from guestroom.actions import OutcomeKind
from guestroom.apply.upkeep import drop_cache, oom_killers, remove_guest, reset_peak, set_up_wall, thaw
from guestroom.errors import GuestNameError
from guestroom.testing import ManualClock

from .scripted import LAYOUT, ScriptedFiles

GUEST = "/mem/guestroom/a"


def test_wall_is_found_again(files: ScriptedFiles, clock: ManualClock) -> None:
    """Setting up a wall that is there changes its limit and leaves its guests."""
    assert set_up_wall(files, LAYOUT, 500 * 4096, clock=clock).ok
    assert files.read("/mem/guestroom/memory.limit_in_bytes") == f"{500 * 4096}\n"
    assert GUEST in files.folders


def test_wall_that_is_busy(files: ScriptedFiles, clock: ManualClock) -> None:
    """A wall the kernel refuses is reported with its kind."""
    files.fail["/mem/guestroom/memory.limit_in_bytes"] = [errno.EBUSY]
    assert set_up_wall(files, LAYOUT, 4096, clock=clock).kind is OutcomeKind.BUSY


def test_flat_hierarchy_is_refused(files: ScriptedFiles, clock: ManualClock) -> None:
    """A wall that its children's charges do not count against is no wall."""
    files.texts["/mem/guestroom/memory.use_hierarchy"] = "0\n"
    report = set_up_wall(files, LAYOUT, 4096, clock=clock)
    assert not report.ok
    assert "use_hierarchy" in report.detail


def test_remove_children_first(files: ScriptedFiles, clock: ManualClock) -> None:
    """A guest is thawed, then removed from the leaves up, in both hierarchies."""
    assert remove_guest(files, LAYOUT, "a", clock=clock).ok
    assert files.done == [
        ("/frz/guestroom/a/freezer.state", "THAWED"),
        (f"{GUEST}/ram", "rmdir"),
        (f"{GUEST}/vmm", "rmdir"),
        (GUEST, "rmdir"),
        ("/frz/guestroom/a", "rmdir"),
    ]
    assert remove_guest(files, LAYOUT, "a", clock=clock).ok, "gone is as wished"


def test_remove_waits_out_busy(files: ScriptedFiles, clock: ManualClock) -> None:
    """EBUSY while the kernel drains is waited out."""
    files.fail[f"{GUEST}/vmm"] = [errno.EBUSY] * 3
    assert remove_guest(files, LAYOUT, "a", clock=clock).ok


def test_remove_gives_up(files: ScriptedFiles, clock: ManualClock) -> None:
    """After its patience it says what is inside, having removed what it could."""
    files.fail[f"{GUEST}/vmm"] = [errno.EBUSY] * 1000
    files.texts[f"{GUEST}/vmm/cgroup.procs"] = "4711\n"
    before_s = clock.monotonic()
    report = remove_guest(files, LAYOUT, "a", clock=clock, patience_s=1.0)
    assert report.kind is OutcomeKind.BUSY
    assert "4711" in report.detail
    assert 1.0 <= clock.monotonic() - before_s < 1.2
    assert f"{GUEST}/ram" not in files.folders


def test_remove_refused(files: ScriptedFiles, clock: ManualClock) -> None:
    """What is not a matter of time is not waited for."""
    files.fail[f"{GUEST}/vmm"] = [errno.EPERM]
    before_s = clock.monotonic()
    assert remove_guest(files, LAYOUT, "a", clock=clock).kind is not OutcomeKind.DONE
    assert clock.monotonic() - before_s < 2.5


def test_remove_checks_the_name(files: ScriptedFiles) -> None:
    """A name that is a path removes nothing."""
    with pytest.raises(GuestNameError):
        remove_guest(files, LAYOUT, "../other")
    assert files.done == []


@pytest.mark.parametrize(("number", "ok"), [(errno.EBUSY, True), (errno.EINTR, True), (errno.EPERM, False)])
def test_drop_cache(files: ScriptedFiles, number: int, ok: bool) -> None:
    """A cache that could not be dropped entirely is fine and told; one that may not be touched is not."""
    path = f"{GUEST}/memory.force_empty"
    files.texts[path] = ""
    assert drop_cache(files, GUEST).ok
    files.fail[path] = [number]
    report = drop_cache(files, GUEST)
    assert report.ok is ok
    assert report.detail


def test_reset_peak(files: ScriptedFiles) -> None:
    """A new window of the peak is one write of 0."""
    files.texts[f"{GUEST}/memory.max_usage_in_bytes"] = "77\n"
    assert reset_peak(files, GUEST).ok
    assert files.done == [(f"{GUEST}/memory.max_usage_in_bytes", "0")]


def test_killers(files: ScriptedFiles) -> None:
    """Killers of wall and guests are switched; who is gone is fine, who refuses is reported."""
    files.fail[f"{GUEST}/memory.oom_control"] = [errno.EPERM]
    kinds = [report.kind for report in oom_killers(files, LAYOUT, ["a", "gone"], enabled=True)]
    assert kinds == [OutcomeKind.DONE, OutcomeKind.NOT_PERMITTED, OutcomeKind.DONE]
    assert files.done == [("/mem/guestroom/memory.oom_control", "0")]
    files.done.clear()
    assert all(report.ok for report in oom_killers(files, LAYOUT, ["a"], enabled=False, wall=False))
    assert files.done == [(f"{GUEST}/memory.oom_control", "1")]


def test_thaw(files: ScriptedFiles) -> None:
    """Thawing a guest that is gone is fine; one that stays frozen is reported."""
    assert thaw(files, LAYOUT, "gone").ok
    files.after_write["/frz/guestroom/a/freezer.state"] = ["FROZEN\n"]
    assert thaw(files, LAYOUT, "a").kind is OutcomeKind.READ_BACK
