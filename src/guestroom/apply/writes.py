"""Wishes as data: which file gets which value, before anything is written.

An action becomes a tuple of ``Write`` here and nowhere else, so the dry run shows, the ledger keeps and the
tests check exactly what ``cgroup1`` or ``cgroup2`` will do. File names and values here are cgroup v1's (kernel
Documentation/admin-guide/cgroup-v1/memory.rst sections 4.1, 5.4 and 10, freezer-subsystem.rst); v2's are in
``writes2``.
"""

from __future__ import annotations

from typing import assert_never

from guestroom.actions import Action, Hold, LetGo, MakeGuest, SetLimit, SetWall, StartGuest, StopGuest
from guestroom.apply import writes2
from guestroom.apply.write import Write
from guestroom.guest import check_name
from guestroom.layout import Layout, Version

__all__ = ["Write", "killer", "limit_file", "wall_writes", "writes"]

LIMIT_FILE = "memory.limit_in_bytes"
OOM_FILE = "memory.oom_control"
FREEZER_FILE = "freezer.state"
FROZEN = "FROZEN"
THAWED = "THAWED"
KILLER_OFF = "1"
"""``oom_kill_disable``: 1 switches the killer off (memory.rst section 10)."""
KILLER_ON = "0"


def limit_file(version: Version) -> str:
    """Name of the file with a cgroup's own limit."""
    match version:
        case 1:
            return LIMIT_FILE
        case 2:
            return writes2.LIMIT_FILE
    assert_never(version)


def writes(action: Action, layout: Layout) -> tuple[Write, ...]:
    """Return the writes that carry out ``action``, in order; empty where the kernel has no part in it.

    Raises ``GuestNameError`` for a name that is not a guest's (it would become a path), and ``ValueError``
    for a hold on a host without a freezer hierarchy: no write could do it.
    """
    if layout.version == 2:
        return writes2.writes2(action, layout)
    match action:
        case SetLimit(name=name, to_bytes=to_bytes):
            return (_limit(layout.guest(check_name(name)), to_bytes),)
        case SetWall(to_bytes=to_bytes):
            return (_limit(layout.memory, to_bytes),)
        case MakeGuest(name=name, limit_bytes=limit_bytes):
            return _make(layout, check_name(name), limit_bytes)
        case Hold(name=name):
            return (_freezer(layout, check_name(name), FROZEN),)
        case LetGo(name=name):
            return (_freezer(layout, check_name(name), THAWED),)
        case StartGuest() | StopGuest():
            return ()
    assert_never(action)


def wall_writes(layout: Layout, limit_bytes: int) -> tuple[Write, ...]:
    """Return the writes that set up the host wall: its cgroup, limit, OOM killer off, freezer folder.

    The killer is switched off here as well as on every guest: at the parent's limit the parent's own
    setting counts, and its killer would take the largest child (measured).
    """
    if layout.version == 2:
        return writes2.wall_writes2(layout, limit_bytes)
    made = [
        Write("mkdir", layout.memory, exist_ok=True),
        _limit(layout.memory, limit_bytes),
        killer(layout.memory, on=False),
    ]
    if layout.freezer is not None:
        made.append(Write("mkdir", layout.freezer, exist_ok=True))
    return tuple(made)


def killer(path: str, *, on: bool) -> Write:
    """Return the write that switches the OOM killer of the cgroup at ``path`` on or off."""
    return Write("write", f"{path}/{OOM_FILE}", KILLER_ON if on else KILLER_OFF, verify=True)


def _limit(path: str, limit_bytes: int) -> Write:
    return Write("write", f"{path}/{LIMIT_FILE}", str(limit_bytes), verify=True)


def _freezer(layout: Layout, name: str, state: str) -> Write:
    folder = layout.freezer_of(name)
    if folder is None:
        raise ValueError(f"guest {name}: no freezer hierarchy on this host, so it can't be held or let go")
    return Write("write", f"{folder}/{FREEZER_FILE}", state, verify=True)


def _make(layout: Layout, name: str, limit_bytes: int) -> tuple[Write, ...]:
    """A guest's cgroups: the limit and the killer stand before any child exists that could be charged.

    The freezer folder may be left over from a guest whose removal was cut short, frozen even, and a
    process moved into it would freeze: so it is thawed.
    """
    guest = layout.guest(name)
    made = [
        Write("mkdir", guest),
        _limit(guest, limit_bytes),
        killer(guest, on=False),
        Write("mkdir", layout.ram(name)),
        Write("mkdir", layout.vmm(name)),
    ]
    folder = layout.freezer_of(name)
    if folder is not None:
        made.append(Write("mkdir", folder, exist_ok=True))
        made.append(Write("write", f"{folder}/{FREEZER_FILE}", THAWED, verify=True))
    return tuple(made)
