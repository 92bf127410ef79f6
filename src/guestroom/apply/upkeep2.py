"""What only cgroup v2 needs besides actions: a place for the host wall, its brake, protection of guest RAM.

v2 lets a cgroup have children with limits or processes of its own, not both (kernel cgroup-v2.rst, "No Internal Process
Constraint"; the root is exempt). So the agent moves into a leaf beside the wall before it switches the memory
controller on for the two. Processes of others are never moved (P9): where some are in the way, that is said.
All of this does nothing on v1.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from guestroom.actions import OutcomeKind
from guestroom.apply.applier import kind_of, make_folder, read_text, write_text
from guestroom.apply.cgroup2 import STAT_FILE
from guestroom.apply.processes import move
from guestroom.apply.upkeep import Report
from guestroom.apply.write import Write
from guestroom.apply.writes2 import BRAKE_FILE, FREEZE_FILE, NO_LIMIT, SUBTREE_FILE, THAWED
from guestroom.errors import HostError, VanishedError, from_write
from guestroom.guest import check_name
from guestroom.layout import AGENT_LEAF, Layout
from guestroom.units import round_down

if TYPE_CHECKING:
    from guestroom.ports import Files

PROTECTION_FILE = "memory.min"


def take_place(files: Files, layout: Layout, pid: int) -> None:
    """Make the parent of the host wall fit for it: memory control for its children, process ``pid`` in a leaf.

    Nothing to do where it is so already. Raises ``HostError`` with the processes that are in the way.
    """
    if layout.version == 1:
        return
    path = f"{layout.parent}/{SUBTREE_FILE}"
    if "memory" in read_text(files, path).split() or _switch_on(files, path):
        return
    inside = read_text(files, f"{layout.parent}/cgroup.procs").split()
    others = [other for other in inside if other != str(pid)]
    if others:
        raise HostError(
            f"{layout.parent} holds {len(others)} other processes ({', '.join(others[:5])}), and on cgroup v2 it can't "
            "have children with limits then",
            where=f"{layout.parent}/cgroup.procs",
            hint="start the agent in a cgroup of its own: systemd-run --scope -p Delegate=memory guestroom agent",
        )
    leaf = f"{layout.parent}/{AGENT_LEAF}"
    make_folder(files, Write("mkdir", leaf, exist_ok=True))
    move(files, leaf, pid)
    if not _switch_on(files, path):
        raise HostError("the memory controller can't be switched on for the host wall", where=path)


def _switch_on(files: Files, path: str) -> bool:
    """False where processes are in the way (EBUSY)."""
    try:
        files.write(path, "+memory")
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise from_write(error, path, "+memory") from error
        return False
    return True


def lift_wall(files: Files, layout: Layout) -> Report:
    """Take the host wall's brake off and thaw it: nobody is braked or held by it when no agent is there."""
    if layout.version == 1:
        return Report(layout.memory, OutcomeKind.DONE)
    try:
        write_text(files, f"{layout.memory}/{FREEZE_FILE}", THAWED)
        write_text(files, f"{layout.memory}/{BRAKE_FILE}", NO_LIMIT)
    except VanishedError as error:
        return Report(layout.memory, OutcomeKind.DONE, error.line())
    except HostError as error:
        return Report(layout.memory, kind_of(error), error.line())
    return Report(layout.memory, OutcomeKind.DONE)


def brake_wall(files: Files, layout: Layout, at_bytes: int) -> Report:
    """Slow everybody down who takes memory while the wall is charged more than ``at_bytes``, and raise an event.

    It gives the alarm time; it is not a place to live at. Blocks for as long as reclaim takes where use is above.
    """
    if layout.version == 1:
        return Report(layout.memory, OutcomeKind.DONE)
    try:
        write_text(files, f"{layout.memory}/{BRAKE_FILE}", str(round_down(at_bytes)))
    except HostError as error:
        return Report(layout.memory, kind_of(error), error.line())
    return Report(layout.memory, OutcomeKind.DONE)


def protect_ram(files: Files, layout: Layout, name: str) -> Report:
    """Keep reclaim inside the guest and inside the wall from guest RAM: ``memory.min`` of ``ram`` is what it holds.

    Called when the RAM is all there and its process has moved on. Protection reaches as far up as each level has some
    (cgroup-v2.rst, "memory.min"), so the guest's own cgroup gets the same.
    """
    ram = layout.ram(check_name(name))
    if layout.version == 1:
        return Report(ram, OutcomeKind.DONE)
    try:
        text = read_text(files, f"{ram}/{STAT_FILE}")
        values = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
        held_bytes = sum(int(values[key]) for key in ("anon", "shmem") if values.get(key, "").isdecimal())
        for folder in (ram, layout.guest(name)):
            write_text(files, f"{folder}/{PROTECTION_FILE}", str(round_down(held_bytes)))
    except HostError as error:
        return Report(ram, kind_of(error), error.line())
    return Report(ram, OutcomeKind.DONE)
