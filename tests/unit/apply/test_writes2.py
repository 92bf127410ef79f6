"""Every action as data, for v2: the very files and values."""

from __future__ import annotations

import pytest

from guestroom.actions import Hold, LetGo, MakeGuest, SetLimit, SetWall, StartGuest, StopGuest
from guestroom.apply.write import Write
from guestroom.apply.writes import limit_file, wall_writes, writes
from guestroom.apply.writes2 import swap_writes2
from guestroom.errors import GuestNameError
from guestroom.layout import Layout

LAYOUT = Layout("/cg/g", "/cg/g", 2)


def test_limits() -> None:
    """A limit is one write to memory.max, read back, of the guest's own cgroup or the wall's."""
    assert writes(SetLimit("a", 1, 8192, 0, 0, 0, ""), LAYOUT) == (
        Write("write", "/cg/g/a/memory.max", "8192", verify=True),
    )
    assert writes(SetWall(1, 8192, ""), LAYOUT) == (Write("write", "/cg/g/memory.max", "8192", verify=True),)
    assert limit_file(2) == "memory.max"


def test_hold_and_let_go() -> None:
    """The brake comes before the freezer in both, so that it always says whether a hold is meant."""
    assert [(w.op, w.path, w.value) for w in writes(Hold("a", 1, 2, 3, ""), LAYOUT)] == [
        ("brake", "/cg/g/a/vmm/memory.high", ""),
        ("write", "/cg/g/a/cgroup.freeze", "1"),
    ]
    assert [(w.op, w.path, w.value) for w in writes(LetGo("a", ""), LAYOUT)] == [
        ("write", "/cg/g/a/vmm/memory.high", "max"),
        ("write", "/cg/g/a/cgroup.freeze", "0"),
    ]


def test_new_guest() -> None:
    """The limit stands before any child that could be charged; swap of ram is off where there is such a thing."""
    steps = [(w.op, w.path.removeprefix("/cg/g/"), w.value) for w in writes(MakeGuest("a", 8192, 0, ""), LAYOUT)]
    assert steps == [
        ("mkdir", "a", ""),
        ("write", "a/memory.max", "8192"),
        ("write", "a/memory.oom.group", "1"),
        ("write", "a/cgroup.subtree_control", "+memory"),
        ("mkdir", "a/ram", ""),
        ("mkdir", "a/vmm", ""),
        ("write", "a/ram/memory.swap.max", "0"),
    ]


def test_swap_is_limited_on_the_guest_and_only_where_it_was_set() -> None:
    """What was not set is not written; 0 is a limit."""
    assert swap_writes2(LAYOUT, "a", None, None) == ()
    steps = [(w.op, w.path, w.value) for w in swap_writes2(LAYOUT, "a", 0, 8192)]
    assert steps == [("write", "/cg/g/a/memory.swap.max", "0"), ("write", "/cg/g/a/memory.zswap.max", "8192")]
    with pytest.raises(GuestNameError):
        swap_writes2(LAYOUT, "../x", 0, None)


def test_wall() -> None:
    """The wall is made, thawed, limited, and its children get the controller."""
    steps = [(w.op, w.path, w.value) for w in wall_writes(LAYOUT, 8192)]
    assert steps == [
        ("mkdir", "/cg/g", ""),
        ("write", "/cg/g/cgroup.freeze", "0"),
        ("write", "/cg/g/memory.max", "8192"),
        ("write", "/cg/g/cgroup.subtree_control", "+memory"),
    ]


def test_nothing_for_the_kernel() -> None:
    """Starting and stopping are not the kernel's; a name that is none is an error before any path is made of it."""
    assert writes(StartGuest("a", 0, 0, ""), LAYOUT) == writes(StopGuest("a", 0, ""), LAYOUT) == ()
    with pytest.raises(GuestNameError):
        writes(Hold("../x", 1, 2, 3, ""), LAYOUT)
