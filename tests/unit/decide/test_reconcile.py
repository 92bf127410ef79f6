"""Ledger against kernel after any end of the agent (P8, P9)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from guestroom.actions import MakeGuest, SetLimit
from guestroom.decide import Adopt, Finish, Foreign, Found, KeepHold, KeepPlace, Thaw, reconcile
from guestroom.facts import Accounting, GuestRecord, GuestState, Identity
from guestroom.units import UNLIMITED

from .samples import M

BOOT = "boot-1"
ID = Identity(BOOT, 77, 4242, 1000)
A = GuestRecord(
    name="A",
    state=GuestState.RUNNING,
    accounting=Accounting.SPLIT,
    identity=ID,
    ram_bytes=512 * M,
    ram_charged_bytes=512 * M,
    weight=1,
    need_bytes=200 * M,
    boot_floor_bytes=64 * M,
    cap_bytes=None,
    grant_bytes=400 * M,
    admitted_grant_bytes=400 * M,
    limit_bytes=912 * M,
    overhead_peak_bytes=None,
    started_wall_s=0.0,
    policy="eve",
    on_short="refuse",
)


def found(**changes: Any) -> Found:
    """The folder as it should be."""
    facts: dict[str, Any] = {
        "name": "A",
        "inode": 77,
        "limit_bytes": 912 * M,
        "populated": True,
        "frozen": False,
        "identity_alive": True,
    }
    return Found(**(facts | changes))


def test_a_guest_that_lives_is_adopted_back() -> None:
    """Everything agrees: it is taken back as it was."""
    assert reconcile([A], [found()], BOOT) == (
        Adopt("A", GuestState.RUNNING, 400 * M, 912 * M, False, "limit and record agree"),
    )


@pytest.mark.parametrize(
    ("folder", "boot", "folder_left"),
    [
        (None, BOOT, False),
        (found(populated=False, identity_alive=False), BOOT, True),
        (None, "boot-2", False),
    ],
)
def test_a_guest_that_is_gone_is_finished(folder: Found | None, boot: str, folder_left: bool) -> None:
    """No folder, an empty one, or another boot: its room goes to the others, its own empty folder is removed."""
    (finding,) = reconcile([A], [folder] if folder else [], boot)
    assert isinstance(finding, Finish)
    assert (finding.name, finding.folder) == ("A", folder_left)


@pytest.mark.parametrize("boot", [BOOT, "boot-2"])
def test_a_folder_made_anew_under_its_name_is_not_touched(boot: str) -> None:
    """P9: the name is the same, the cgroup is not; even an equal inode means nothing after a boot."""
    folder = found(inode=78) if boot == BOOT else found()
    finding, foreign = reconcile([A], [folder], boot)
    assert isinstance(finding, Finish)
    assert finding.folder is False
    assert isinstance(foreign, Foreign)
    assert foreign.inode == folder.inode


def test_a_folder_nobody_recorded_is_foreign() -> None:
    """It is reported with its limit, which takes room, and nothing is written."""
    (foreign,) = reconcile([], [found(name="X", identity_alive=False)], BOOT)
    assert foreign == Foreign("X", 77, 912 * M, "no guest of this name is recorded")


def test_frozen_without_a_recorded_hold_is_thawed_first() -> None:
    """An interrupted shrink froze it: it goes on before anything else is done."""
    b = replace(A, name="B", identity=replace(ID, cgroup_inode=78))
    findings = reconcile([A, b], [found(), found(name="B", inode=78, frozen=True)], BOOT)
    assert [type(finding) for finding in findings] == [Thaw, Adopt, Adopt]
    assert findings[0].name == "B"


def test_a_recorded_hold_is_kept() -> None:
    """Held on purpose: it stays until the headroom has been decided about, also where frozen can't be read."""
    held = replace(A, held=True)
    for frozen in (True, None):
        keep, adopt = reconcile([held], [found(frozen=frozen)], BOOT)
        assert isinstance(keep, KeepHold)
        assert isinstance(adopt, Adopt)
        assert adopt.held


def test_a_recorded_hold_that_never_happened_is_none() -> None:
    """Written down, not carried out: it runs, so it is not held."""
    (adopt,) = reconcile([replace(A, held=True)], [found(frozen=False)], BOOT)
    assert isinstance(adopt, Adopt)
    assert not adopt.held


STEP = SetLimit("A", 912 * M, 812 * M, 390 * M, 290 * M, 612 * M, "test")


@pytest.mark.parametrize(
    ("limit", "recorded", "grant"),
    [
        (812 * M, 912 * M, 290 * M),
        (912 * M, 812 * M, 390 * M),
        (912 * M, 912 * M, 400 * M),
    ],
    ids=["written, outcome lost", "not written, record ahead", "agree"],
)
def test_the_kernels_limit_says_which_step_holds(limit: int, recorded: int, grant: int) -> None:
    """Between write and outcome the agent died: the planned step's ``to`` or ``from`` is the grant that holds."""
    (adopt,) = reconcile([replace(A, limit_bytes=recorded)], [found(limit_bytes=limit)], BOOT, [STEP])
    assert isinstance(adopt, Adopt)
    assert (adopt.grant_bytes, adopt.limit_bytes) == (grant, limit)


def test_the_last_of_several_steps_counts() -> None:
    """Raised again after a shrink: the later step is looked at first."""
    back = SetLimit("A", 812 * M, 912 * M, 300 * M, 390 * M, 612 * M, "test")
    (adopt,) = reconcile([replace(A, limit_bytes=1)], [found()], BOOT, [STEP, back])
    assert isinstance(adopt, Adopt)
    assert adopt.grant_bytes == 390 * M


def test_steps_of_others_and_of_other_limits_say_nothing() -> None:
    """Only a step of this guest to or from this very limit is looked at."""
    other = SetLimit("B", 700 * M, 700 * M, 1 * M, 1 * M, 0, "test")
    made = [MakeGuest("A", 699 * M, 1 * M, "test"), MakeGuest("B", 700 * M, 1 * M, "test")]
    (adopt,) = reconcile([A], [found(limit_bytes=700 * M)], BOOT, [STEP, other, *made])
    assert isinstance(adopt, Adopt)
    assert adopt.grant_bytes == 188 * M


def test_a_newcomers_own_limit_counts_too() -> None:
    """Made and started, the outcome not written: the grant is the one it was made with."""
    made = MakeGuest("A", 700 * M, 180 * M, "test")
    (adopt,) = reconcile([A], [found(limit_bytes=700 * M)], BOOT, [made])
    assert isinstance(adopt, Adopt)
    assert adopt.grant_bytes == 180 * M


@pytest.mark.parametrize(
    ("limit", "grant"), [(600 * M, 88 * M), (100 * M, 0), (2000 * M, 400 * M), (UNLIMITED, 400 * M), (None, 400 * M)]
)
def test_a_limit_nobody_planned_guarantees_no_more_than_it_leaves(limit: Any, grant: int) -> None:
    """Somebody else wrote it: what it leaves above RAM, at most the recorded grant, and the difference is said."""
    (adopt,) = reconcile([A], [found(limit_bytes=limit)], BOOT)
    assert isinstance(adopt, Adopt)
    assert adopt.grant_bytes == grant
    assert "the record says 912.0 MiB" in adopt.reason


def test_a_guest_whose_qemu_is_gone_and_helpers_are_not_is_stopping() -> None:
    """It lives as long as its cgroup is populated."""
    (adopt,) = reconcile([A], [found(identity_alive=False)], BOOT)
    assert isinstance(adopt, Adopt)
    assert adopt.state is GuestState.STOPPING


def test_a_reservation_died_with_its_connection() -> None:
    """A start that never put a process into its cgroup is finished, and its empty folder removed."""
    starting = replace(A, identity=None, state=GuestState.STARTING)
    assert reconcile([starting], [found(populated=False, identity_alive=False)], BOOT)[0] == Finish(
        "A", True, "it was never started; its reservation died with its connection"
    )
    assert reconcile([starting], [], BOOT)[0].folder is False  # type: ignore[union-attr]


def test_processes_nobody_recorded_are_not_ours() -> None:
    """A folder of our name with processes but no identity is reported, not written."""
    findings = reconcile([replace(A, identity=None)], [found(identity_alive=False)], BOOT)
    assert [type(finding) for finding in findings] == [Finish, Foreign]
    assert findings[0].folder is False  # type: ignore[union-attr]


def test_a_recreated_guest_on_its_way_back_keeps_its_place() -> None:
    """Stopped for another and not back yet: its grant is kept for it."""
    queued = replace(A, identity=None, state=GuestState.QUEUED)
    assert reconcile([queued], [], BOOT) == (KeepPlace("A", 400 * M, "it is on its way back"),)


def test_nothing_is_lost_and_nothing_is_invented() -> None:
    """Every record and every folder has exactly one fate beside its thaw or hold."""
    records = [replace(A, name=n, identity=replace(ID, cgroup_inode=i)) for i, n in enumerate("ABC")]
    folders = [found(name=n, inode=i) for i, n in enumerate("AB")] + [found(name="Z", inode=9)]
    fates = [f.name for f in reconcile(records, folders, BOOT) if isinstance(f, Adopt | Finish | Foreign)]
    assert sorted(fates) == ["A", "B", "C", "Z"]
