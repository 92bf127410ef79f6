"""A simulated process: its memory areas, its kernel memory, and what it was told to do and has not done yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import StrEnum

from guestroom.testing.simcgroup import FreezerCgroup, Kind, MemCgroup, uncharge
from guestroom.testing.simregion import Region


class Fate(StrEnum):
    """What became of an order to a process."""

    DONE = "done"
    ASLEEP = "asleep"
    """Its fault sleeps at a limit whose OOM killer is off; goes on when there is room."""
    FROZEN = "frozen"
    """The freezer holds it; goes on when thawed."""
    KILLED = "killed"
    """By the OOM killer, or it was gone already."""
    ENOMEM = "enomem"
    """A system call was refused memory."""
    EFAULT = "efault"
    """A system call met untouched memory it could not have."""
    EBUSY = "ebusy"
    """A collapse could not be charged (``madvise`` gives EBUSY for it on 6.18)."""


Order = Callable[[], Fate]


class SimProcess:
    """One process. Its regions: ``small``, ``huge`` and ``shm`` (a memfd), marked as RAM blocks, and ``heap``."""

    def __init__(
        self, pid: int, memory: MemCgroup, freezer: FreezerCgroup, argv: tuple[str, ...], start_ticks: int
    ) -> None:
        self.pid = pid
        self.memory = memory
        self.freezer = freezer
        self.argv = argv
        self.start_ticks = start_ticks
        self.regions = {
            "small": Region(Kind.ANON),
            "huge": Region(Kind.ANON, huge=True),
            "shm": Region(Kind.SHMEM),
            "heap": Region(Kind.ANON),
        }
        self.kernel: list[tuple[MemCgroup, int]] = []
        """Kernel memory it holds (pipe buffers, its stacks): who is charged, bytes."""
        self.todo: deque[Order] = deque()
        self.waits_at: MemCgroup | None = None
        """The cgroup whose limit its fault sleeps at."""
        self.fates: list[Fate] = []
        """How each order that was finished ended, in order."""
        self.alive = True
        self.dying = False
        """Killed while frozen: it stays, with all its memory, until it is thawed (measured)."""

    @property
    def held(self) -> bool:
        """True while the freezer wants it still."""
        return self.freezer.freezing

    @property
    def resident_bytes(self) -> int:
        """What the OOM killer compares."""
        return sum(region.resident_bytes for region in self.regions.values())

    def release_all(self) -> None:
        """Give everything back, as at exit; page cache is nobody's and stays."""
        for region in self.regions.values():
            region.drop(0, region.end)
            region.end = 0
        for owner, size in self.kernel:
            uncharge(owner, Kind.KERNEL, size)
        self.kernel.clear()
        self.todo.clear()
