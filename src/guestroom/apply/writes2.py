"""Wishes as data for cgroup v2: the twin of ``writes``.

File names and values are kernel Documentation/admin-guide/cgroup-v2.rst's. A limit is one write here, as on v1; that
``cgroup2`` never writes it below use without the care this needs is its own promise.
"""

from __future__ import annotations

from typing import assert_never

from guestroom.actions import Action, Hold, LetGo, MakeGuest, SetLimit, SetWall, StartGuest, StopGuest
from guestroom.apply.write import Write
from guestroom.guest import check_name
from guestroom.layout import Layout

LIMIT_FILE = "memory.max"
BRAKE_FILE = "memory.high"
FREEZE_FILE = "cgroup.freeze"
EVENTS_FILE = "cgroup.events"
SUBTREE_FILE = "cgroup.subtree_control"
GROUP_KILL_FILE = "memory.oom.group"
SWAP_FILE = "memory.swap.max"
ZSWAP_FILE = "memory.zswap.max"
NO_LIMIT = "max"
FROZEN = "1"
THAWED = "0"


def writes2(action: Action, layout: Layout) -> tuple[Write, ...]:
    """Return the writes that carry out ``action``, in order; empty where the kernel has no part in it.

    Raises ``GuestNameError`` for a name that is not a guest's (it would become a path).
    """
    match action:
        case SetLimit(name=name, to_bytes=to_bytes):
            return (_limit(layout.guest(check_name(name)), to_bytes),)
        case SetWall(to_bytes=to_bytes):
            return (_limit(layout.memory, to_bytes),)
        case MakeGuest(name=name, limit_bytes=limit_bytes):
            return _make(layout, check_name(name), limit_bytes)
        case Hold(name=name):
            return _hold(layout, check_name(name))
        case LetGo(name=name):
            return let_go_writes(layout, check_name(name))
        case StartGuest() | StopGuest():
            return ()
    assert_never(action)


def wall_writes2(layout: Layout, limit_bytes: int) -> tuple[Write, ...]:
    """Return the writes that set up the host wall: its cgroup and limit, thawed, its children under control.

    There is no OOM killer to switch off on v2. The wall may be left frozen by an agent that ended while it
    lowered it.
    """
    return (
        Write("mkdir", layout.memory, exist_ok=True),
        Write("write", f"{layout.memory}/{FREEZE_FILE}", THAWED, verify=True),
        _limit(layout.memory, limit_bytes),
        _control_children(layout.memory),
    )


def let_go_writes(layout: Layout, name: str) -> tuple[Write, ...]:
    """Return the writes that let a guest go on: the brake first, which also says that no hold is meant any more."""
    return (
        Write("write", f"{layout.vmm(name)}/{BRAKE_FILE}", NO_LIMIT, verify=True),
        Write("write", f"{layout.guest(name)}/{FREEZE_FILE}", THAWED, verify=True),
    )


def swap_writes2(layout: Layout, name: str, swap_bytes: int | None, zswap_bytes: int | None) -> tuple[Write, ...]:
    """Return the writes that limit how much of a guest may be swapped out, and how much of that compressed in memory.

    ``None`` leaves the kernel's own: no limit. Raises ``GuestNameError`` for a name that is not a guest's.
    """
    guest = layout.guest(check_name(name))
    wanted = ((SWAP_FILE, swap_bytes), (ZSWAP_FILE, zswap_bytes))
    return tuple(
        Write("write", f"{guest}/{file}", str(size_bytes), verify=True)
        for file, size_bytes in wanted
        if size_bytes is not None
    )


def _hold(layout: Layout, name: str) -> tuple[Write, ...]:
    """The brake before the freezer: freezing takes milliseconds, in which the guest would grow on."""
    return (
        Write("brake", f"{layout.vmm(name)}/{BRAKE_FILE}"),
        Write("write", f"{layout.guest(name)}/{FREEZE_FILE}", FROZEN, verify=True),
    )


def _limit(path: str, limit_bytes: int) -> Write:
    return Write("write", f"{path}/{LIMIT_FILE}", str(limit_bytes), verify=True)


def _control_children(path: str) -> Write:
    return Write("write", f"{path}/{SUBTREE_FILE}", "+memory", verify=True)


def _make(layout: Layout, name: str, limit_bytes: int) -> tuple[Write, ...]:
    """A guest's cgroups: the limit stands before any child exists that could be charged.

    All of a guest's processes are killed together if it comes to that: a helper without its QEMU is of no use, and half
    a guest looks alive. ``ram`` is kept out of swap where there is swap: what was promised stays, and reclaim that is
    asked for page cache does not push it out.
    """
    guest, ram = layout.guest(name), layout.ram(name)
    return (
        Write("mkdir", guest),
        _limit(guest, limit_bytes),
        Write("write", f"{guest}/{GROUP_KILL_FILE}", "1", verify=True),
        _control_children(guest),
        Write("mkdir", ram),
        Write("mkdir", layout.vmm(name)),
        Write("write", f"{ram}/{SWAP_FILE}", "0", verify=True, optional=True),
    )
