"""What only v2 needs: a place for the wall, brakes that come and go, protection of guest RAM."""

from __future__ import annotations

import errno

import pytest

from guestroom.actions import MakeGuest, OutcomeKind
from guestroom.apply import brake, lift, limit_swap, make_applier, protect_ram, set_up_wall, take_place
from guestroom.errors import HostError
from guestroom.layout import Layout
from guestroom.testing import ManualClock
from guestroom.testing.simv2 import SimV2
from guestroom.units import MIB

LAYOUT = Layout("/cg/unit/g", "/cg/unit/g", 2)
V1 = Layout("/mem/g", "/frz/g")


@pytest.fixture
def sim() -> SimV2:
    """A delegated cgroup ``unit`` with the agent's process 5 in it."""
    made = SimV2()
    made.mkdir("/cg/unit")
    made.write("/cg/unit/cgroup.procs", "5")
    return made


def with_guest(sim: SimV2) -> SimV2:
    """The same with the wall and guest ``a``."""
    take_place(sim, LAYOUT, 5)
    assert set_up_wall(sim, LAYOUT, 1024 * MIB, clock=ManualClock()).ok
    assert make_applier(sim, LAYOUT, ManualClock()).carry_out(MakeGuest("a", 400 * MIB, 0, "test")).ok
    return sim


def test_agent_makes_room_for_its_wall(sim: SimV2) -> None:
    """An agent alone in its cgroup moves into a leaf and switches memory control on; a second time nothing is done."""
    take_place(sim, LAYOUT, 5)
    assert sim.groups["/cg/unit/agent"].pids == {5}
    assert sim.groups["/cg/unit"].controlled
    sim.operations.clear()
    take_place(sim, LAYOUT, 5)
    assert [line for line in sim.operations if not line.startswith("read")] == []


def test_nobody_else_is_moved(sim: SimV2) -> None:
    """P9: where others live in that cgroup, they are named and nothing is moved, not even the agent."""
    sim.groups["/cg/unit"].pids |= {6, 7}
    with pytest.raises(HostError, match=r"2 other processes \(6, 7\)") as caught:
        take_place(sim, LAYOUT, 5)
    assert "Delegate=memory" in (caught.value.hint or "")
    assert sim.groups["/cg/unit"].pids == {5, 6, 7}
    assert "/cg/unit/agent" not in sim.groups


def test_in_the_root_nobody_has_to_move() -> None:
    """The root of the tree may have processes and limited children at once."""
    sim = SimV2()
    sim.groups["/cg"].controlled = False
    sim.groups["/cg"].pids = {1, 2}
    take_place(sim, Layout("/cg/g", "/cg/g", 2), 2)
    assert sim.groups["/cg"].controlled
    assert sim.groups["/cg"].pids == {1, 2}


def test_place_that_is_refused_is_said(sim: SimV2) -> None:
    """What else the kernel refuses comes out as an error of the tree."""
    sim.faults = {len(sim.operations) + 1: errno.EACCES}
    with pytest.raises(HostError, match="EACCES"):
        take_place(sim, LAYOUT, 5)


def test_brakes(sim: SimV2) -> None:
    """A brake is set in whole pages on the wall or a guest and taken off again; a guest that is gone is fine."""
    with_guest(sim)
    assert brake(sim, LAYOUT, None, 900 * MIB + 5).ok
    assert brake(sim, LAYOUT, "a", 300 * MIB).ok
    assert brake(sim, LAYOUT, "gone", 300 * MIB).ok
    assert sim.groups["/cg/unit/g"].files["memory.high"] == str(900 * MIB)
    assert sim.groups["/cg/unit/g/a"].files["memory.high"] == str(300 * MIB)
    sim.write("/cg/unit/g/cgroup.freeze", "1")
    assert all(report.ok for report in lift(sim, LAYOUT, ["a", "gone"]))
    assert {sim.groups[path].files["memory.high"] for path in ("/cg/unit/g", "/cg/unit/g/a")} == {"max"}
    assert not sim.groups["/cg/unit/g"].frozen
    sim.faults = {len(sim.operations): errno.EACCES}
    assert brake(sim, LAYOUT, "a", 1).kind is OutcomeKind.NOT_PERMITTED


def test_ram_is_protected_by_what_is_there(sim: SimV2) -> None:
    """memory.min of ram and of the guest is the RAM that was obtained; without a ram there is nothing to protect."""
    with_guest(sim)
    sim.charge("/cg/unit/g/a/ram", 256 * MIB)
    sim.charge("/cg/unit/g/a/ram", 10 * MIB, cache=True)
    assert protect_ram(sim, LAYOUT, "a").ok
    assert {sim.groups[f"/cg/unit/g/a{part}"].files["memory.min"] for part in ("", "/ram")} == {str(256 * MIB)}
    assert protect_ram(sim, LAYOUT, "gone").kind is OutcomeKind.VANISHED


def test_swap_is_limited_as_set(sim: SimV2) -> None:
    """A guest's swap and zswap get the limits that were set, in whole pages; None is left to the kernel."""
    files = with_guest(sim).groups["/cg/unit/g/a"].files
    assert limit_swap(sim, LAYOUT, "a", ManualClock(), swap_bytes=None, zswap_bytes=None).ok
    assert (files["memory.swap.max"], files["memory.zswap.max"]) == ("max", "max")
    assert limit_swap(sim, LAYOUT, "a", ManualClock(), swap_bytes=64 * MIB + 5, zswap_bytes=0).ok
    assert (files["memory.swap.max"], files["memory.zswap.max"]) == (str(64 * MIB), "0")


def test_kernel_that_can_not_limit_swap_is_told(sim: SimV2) -> None:
    """A missing file is no success: it is named, and the other limit is set all the same."""
    files = with_guest(sim).groups["/cg/unit/g/a"].files
    del files["memory.zswap.max"]
    report = limit_swap(sim, LAYOUT, "a", ManualClock(), swap_bytes=4096, zswap_bytes=4096)
    assert report.kind is OutcomeKind.FAILED
    assert "no memory.zswap.max" in report.detail
    assert files["memory.swap.max"] == "4096"
    sim.faults = {len(sim.operations): errno.EACCES}
    assert "EACCES" in limit_swap(sim, LAYOUT, "a", ManualClock(), swap_bytes=0, zswap_bytes=None).detail
    report = limit_swap(sim, V1, "a", ManualClock(), swap_bytes=0, zswap_bytes=None)
    assert report.kind is OutcomeKind.FAILED
    assert "memsw" in report.detail


def test_nothing_of_it_is_done_on_v1() -> None:
    """On v1 none of this reads or writes anything."""
    sim = SimV2()
    take_place(sim, V1, 5)
    assert brake(sim, V1, "a", 1).ok
    assert lift(sim, V1, ["a"]) == ()
    assert protect_ram(sim, V1, "a").ok
    assert limit_swap(sim, V1, "a", ManualClock(), swap_bytes=None, zswap_bytes=None).ok
    assert sim.operations == []
