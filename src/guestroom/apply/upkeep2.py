"""What only cgroup v2 needs besides actions: a place for the host wall, its brake, protection of guest RAM.

v2 lets a cgroup have children with limits or processes of its own, not both (kernel cgroup-v2.rst, "No Internal Process
Constraint"; the root is exempt). So the agent moves into a leaf beside the wall before it switches the memory
controller on for the two. Processes of others are never moved (P9): where some are in the way, that is said.
All of this does nothing on v1.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import TYPE_CHECKING

from guestroom.actions import OutcomeKind
from guestroom.apply.applier import kind_of, make_folder, read_text, write_text
from guestroom.apply.cgroup2 import STAT_FILE, do_write2
from guestroom.apply.processes import move
from guestroom.apply.upkeep import Report
from guestroom.apply.write import Write
from guestroom.apply.writes2 import BRAKE_FILE, FREEZE_FILE, NO_LIMIT, SUBTREE_FILE, THAWED, swap_writes2
from guestroom.errors import HostError, VanishedError, from_write
from guestroom.guest import check_name
from guestroom.layout import AGENT_LEAF, Layout
from guestroom.units import round_down

if TYPE_CHECKING:
    from guestroom.ports import Clock, Files

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


def brake(files: Files, layout: Layout, name: str | None, at_bytes: int | None) -> Report:
    """Raise a ``high`` event when guest ``name`` (None: the host wall) comes to be charged more than ``at_bytes``.

    Who takes memory above it is also slowed down and made to reclaim, and with little page cache evicts the programs it
    runs: it is no place to live at, so whoever sets it moves it on. ``None`` takes it off; a cgroup that is gone is
    fine. Blocks for as long as reclaim takes where use is above. This is not the brake of a hold, which is on ``vmm``.
    """
    folder = layout.memory if name is None else layout.guest(check_name(name))
    if layout.version == 1:
        return Report(folder, OutcomeKind.DONE)
    value = NO_LIMIT if at_bytes is None else str(round_down(at_bytes))
    return _reported(files, folder, ((f"{folder}/{BRAKE_FILE}", value),))


def limit_swap(
    files: Files, layout: Layout, name: str, clock: Clock, *, swap_bytes: int | None, zswap_bytes: int | None
) -> Report:
    """Limit a guest's swap as its settings say; what this kernel can't limit is reported as failed, with why.

    Its RAM is out of swap as it is (see ``writes2``), so this is about its overhead. ``None``: left to the kernel.
    """
    guest = layout.guest(check_name(name))
    if swap_bytes is None and zswap_bytes is None:
        return Report(guest, OutcomeKind.DONE)
    if layout.version == 1:
        why = "cgroup v1 limits swap together with memory (memsw), which would move with every grant"
        return Report(guest, OutcomeKind.FAILED, f"its swap is not limited: {why}")
    failed = []
    for write in swap_writes2(layout, name, swap_bytes, zswap_bytes):
        try:
            do_write2(files, write, clock)
        except VanishedError:
            file = write.path.rpartition("/")[2]
            failed.append(f"there is no {file} (a kernel without swap accounting, or before 5.19 for zswap)")
        except HostError as error:
            failed.append(error.line())
    if failed:
        return Report(guest, OutcomeKind.FAILED, f"its swap is not limited as set: {'; '.join(failed)}")
    return Report(guest, OutcomeKind.DONE)


def lift(files: Files, layout: Layout, names: Iterable[str] = ()) -> tuple[Report, ...]:
    """Take the brakes off the host wall and the guests ``names`` and thaw the wall: for when no agent is there.

    A wall stands frozen only where an agent ended while it lowered it.
    """
    if layout.version == 1:
        return ()
    wall = _reported(files, layout.memory, ((f"{layout.memory}/{FREEZE_FILE}", THAWED),))
    return (wall, *lift_brakes(files, layout, names))


def lift_brakes(files: Files, layout: Layout, names: Iterable[str]) -> tuple[Report, ...]:
    """Take the brakes off the host wall and the guests ``names``."""
    return tuple(brake(files, layout, name, None) for name in (None, *names))


def _reported(files: Files, folder: str, writes: Iterable[tuple[str, str]]) -> Report:
    """Write; a cgroup that is gone is fine."""
    try:
        for path, value in writes:
            write_text(files, path, value)
    except VanishedError as error:
        return Report(folder, OutcomeKind.DONE, error.line())
    except HostError as error:
        return Report(folder, kind_of(error), error.line())
    return Report(folder, OutcomeKind.DONE)


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
    except HostError as error:
        return Report(ram, kind_of(error), error.line())
    value = str(round_down(held_bytes))
    return _reported(files, ram, [(f"{at}/{PROTECTION_FILE}", value) for at in (ram, layout.guest(name))])
