"""Actions as (file, value) data."""

from __future__ import annotations

import pytest

from guestroom.actions import Action, Hold, LetGo, MakeGuest, SetLimit, SetWall, StartGuest, StopGuest
from guestroom.apply.writes import Write, wall_writes, writes
from guestroom.errors import GuestNameError
from guestroom.layout import Layout

from .scripted import LAYOUT

V2_LIKE = Layout("/mem/guestroom", None)


def test_set_limit() -> None:
    """A guest's limit is one verified write to its own cgroup."""
    action = SetLimit("a", 1, 4096, 0, 0, 0, "why")
    assert writes(action, LAYOUT) == (Write("write", "/mem/guestroom/a/memory.limit_in_bytes", "4096", verify=True),)


def test_set_wall() -> None:
    """The wall's limit is one verified write to the parent."""
    assert writes(SetWall(1, 8192, "why"), LAYOUT) == (
        Write("write", "/mem/guestroom/memory.limit_in_bytes", "8192", verify=True),
    )


def test_make_guest_sets_limit_before_children() -> None:
    """A newcomer's limit and killer stand before the first folder that could be charged exists."""
    steps = writes(MakeGuest("a", 4096, 0, "why"), LAYOUT)
    assert [(step.op, step.path.removeprefix("/mem/guestroom/"), step.value) for step in steps] == [
        ("mkdir", "a", ""),
        ("write", "a/memory.limit_in_bytes", "4096"),
        ("write", "a/memory.oom_control", "1"),
        ("mkdir", "a/ram", ""),
        ("mkdir", "a/vmm", ""),
        ("mkdir", "/frz/guestroom/a", ""),
        ("write", "/frz/guestroom/a/freezer.state", "THAWED"),
    ]
    assert [step.path for step in steps if step.exist_ok] == ["/frz/guestroom/a"]


def test_make_guest_without_freezer() -> None:
    """Without a freezer hierarchy a newcomer gets its memory cgroups only."""
    assert all(step.path.startswith("/mem/") for step in writes(MakeGuest("a", 4096, 0, "why"), V2_LIKE))


@pytest.mark.parametrize(("action", "state"), [(Hold("a", 1, 2, 3, "why"), "FROZEN"), (LetGo("a", "why"), "THAWED")])
def test_hold_and_let_go(action: Action, state: str) -> None:
    """Holding and letting go are one verified write to the guest's freezer."""
    assert writes(action, LAYOUT) == (Write("write", "/frz/guestroom/a/freezer.state", state, verify=True),)
    with pytest.raises(ValueError, match="no freezer"):
        writes(action, V2_LIKE)


@pytest.mark.parametrize("action", [StartGuest("a", 0, 0, "why"), StopGuest("a", 0, "why")])
def test_no_kernel_part(action: Action) -> None:
    """Starting and stopping write nothing to the kernel here."""
    assert writes(action, LAYOUT) == ()


@pytest.mark.parametrize("name", ["../x", "a/ram", "", "a\n", "ram", ".", "x" * 300])
def test_names_that_are_paths(name: str) -> None:
    """A name that would lead to another place is never turned into a path."""
    actions: list[Action] = [SetLimit(name, 1, 2, 0, 0, 0, ""), MakeGuest(name, 1, 0, ""), Hold(name, 0, 0, 0, "")]
    for action in [*actions, LetGo(name, "")]:
        with pytest.raises(GuestNameError):
            writes(action, LAYOUT)


def test_wall_writes() -> None:
    """The wall is made (or found), limited, its killer off, and its freezer twin made."""
    assert wall_writes(LAYOUT, 4096) == (
        Write("mkdir", "/mem/guestroom", exist_ok=True),
        Write("write", "/mem/guestroom/memory.limit_in_bytes", "4096", verify=True),
        Write("write", "/mem/guestroom/memory.oom_control", "1", verify=True),
        Write("mkdir", "/frz/guestroom", exist_ok=True),
    )
    assert len(wall_writes(V2_LIKE, 4096)) == 3
