"""What a simulated process can do to memory, each as an order that can begin, sleep and go on.

Every order is something a real process can do; ``tests/kernel`` does the same with a real one and compares. Orders are
plain objects, so that a whole host can be copied in the middle of one.
"""

from __future__ import annotations

from dataclasses import dataclass

from guestroom.testing.simcgroup import Kind, MemCgroup, uncharge
from guestroom.testing.simkernel import SimKernel
from guestroom.testing.simprocess import Fate, SimProcess
from guestroom.testing.simregion import HUGE_BYTES, Region, Run
from guestroom.units import MIB, PAGE_BYTES, round_down, round_up


@dataclass(slots=True)
class Touch:
    """Grow a region by ``size_bytes`` and write to every page of it."""

    kernel: SimKernel
    process: SimProcess
    region: Region
    size_bytes: int
    by_syscall: bool = False
    """``read(2)`` into untouched memory: at a limit it fails with EFAULT and never sleeps (FACTS section 8)."""
    start: int | None = None
    """Where it began: its place is taken when the order begins, not when it is given."""

    def __call__(self) -> Fate:
        """Do as much as there is room for."""
        if self.start is None:
            self.start = self.region.end
            self.region.end += round_up(self.size_bytes)
        end = self.start + round_up(self.size_bytes)
        return populate(self.kernel, self.process, self.region, self.start, end, may_sleep=not self.by_syscall)


@dataclass(slots=True)
class Retouch:
    """Write to every page of a region again: holes and merged pages are charged anew."""

    kernel: SimKernel
    process: SimProcess
    region: Region

    def __call__(self) -> Fate:
        """Do as much as there is room for."""
        return populate(self.kernel, self.process, self.region, 0, self.region.end)


@dataclass(slots=True)
class Free:
    """Give back the last ``size_bytes`` of a region."""

    kernel: SimKernel
    region: Region
    size_bytes: int

    def __call__(self) -> Fate:
        """Unmap and wake who waits."""
        start = max(0, self.region.end - round_up(self.size_bytes))
        self.region.drop(start, self.region.end)
        self.region.end = start
        self.kernel.wake()
        return Fate.DONE


@dataclass(slots=True)
class Discard:
    """``MADV_DONTNEED`` on the first ``size_bytes`` of a region: they become holes."""

    kernel: SimKernel
    region: Region
    size_bytes: int

    def __call__(self) -> Fate:
        """Unmap and wake who waits."""
        self.region.drop(0, min(self.region.end, round_up(self.size_bytes)))
        self.kernel.wake()
        return Fate.DONE


@dataclass(slots=True)
class Collapse:
    """``MADV_COLLAPSE``: each 2 MiB becomes a huge page charged anew to the cgroup the process is in now.

    The new page is charged before the old ones go, and holes are filled; a wholly empty 2 MiB stays empty (measured).
    """

    kernel: SimKernel
    process: SimProcess
    region: Region

    def __call__(self) -> Fate:
        """Collapse from the start until one can't be charged."""
        region = self.region
        for start in range(0, round_down(region.end, HUGE_BYTES), HUGE_BYTES):
            end = start + HUGE_BYTES
            inside = [run for run in region.runs if run.start < end and run.end > start]
            if not inside or all(run.kind is Kind.ANON_HUGE for run in inside):
                continue
            granted, _ = self.kernel.controller.charge(self.process.memory, Kind.ANON_HUGE, HUGE_BYTES, whole=True)
            if not granted:
                return Fate.EBUSY
            # Its page table is kept aside for the huge page: it is not given back in between.
            table = region.tables.pop(start // HUGE_BYTES, None)
            region.drop(start, end)
            region.fill(Run(start, end, self.process.memory, Kind.ANON_HUGE))
            if table is not None:
                region.tables[start // HUGE_BYTES] = table
        self.kernel.wake()
        return Fate.DONE


@dataclass(slots=True)
class FillCache:
    """Read ``size_bytes`` of files nobody has in the page cache: at a limit older cache goes first."""

    kernel: SimKernel
    process: SimProcess
    size_bytes: int
    kind: Kind = Kind.CACHE

    def __call__(self) -> Fate:
        """Charge it; ENOMEM where not even one page can be had."""
        left = round_up(self.size_bytes)
        while left and self.process.alive:
            granted, short = self.kernel.controller.charge(self.process.memory, self.kind, min(left, MIB))
            left -= granted
            if not granted and not self.kernel.kill_for(short):
                return Fate.ENOMEM
        return Fate.DONE


@dataclass(slots=True)
class TakeKernelMemory:
    """Kernel memory on the process's behalf (pipe buffers); at a limit the system call fails with ENOMEM."""

    kernel: SimKernel
    process: SimProcess
    size_bytes: int

    def __call__(self) -> Fate:
        """Charge it; what was had before a failure is kept."""
        left = round_up(self.size_bytes)
        while left and self.process.alive:
            granted, short = self.kernel.controller.charge(self.process.memory, Kind.KERNEL, left)
            if granted:
                self.process.kernel.append((self.process.memory, granted))
                left -= granted
            elif not self.kernel.kill_for(short):
                return Fate.ENOMEM
        return Fate.DONE


@dataclass(slots=True)
class ReleaseKernelMemory:
    """Close the pipes."""

    kernel: SimKernel
    process: SimProcess

    def __call__(self) -> Fate:
        """Give back and wake who waits."""
        for owner, size in self.process.kernel:
            uncharge(owner, Kind.KERNEL, size)
        self.process.kernel.clear()
        self.kernel.wake()
        return Fate.DONE


def populate(
    kernel: SimKernel, process: SimProcess, region: Region, start: int, end: int, *, may_sleep: bool = True
) -> Fate:
    """Charge every hole in [start, end) to the cgroup ``process`` is in now, as its page faults would."""
    while process.alive:
        hole = next(region.holes(start, end), None)
        if hole is None:
            return Fate.DONE
        short = _fault(kernel, process, region, *hole)
        if short is None or kernel.kill_for(short):
            continue
        if not may_sleep:
            return Fate.EFAULT
        if not short.oom_kill_disable:
            raise AssertionError(f"nobody to kill at {short.path} for pid {process.pid}")
        process.waits_at = short
        return Fate.ASLEEP
    return Fate.KILLED


def _fault(kernel: SimKernel, process: SimProcess, region: Region, start: int, end: int) -> MemCgroup | None:
    """Fill a hole as far as there is room, 2 MiB at a time; the cgroup that was short, or None."""
    at = start
    while at < end:
        chunk_end = min(end, round_down(at, HUGE_BYTES) + HUGE_BYTES)
        short = _page_table(kernel, process, region, at) or _pages(kernel, process, region, at, chunk_end)
        if short is not None:
            return short
        at = chunk_end
    return None


def _pages(kernel: SimKernel, process: SimProcess, region: Region, start: int, end: int) -> MemCgroup | None:
    """Charge the pages of one hole within one 2 MiB; a huge page that can't be had falls back to small ones."""
    group = process.memory
    if region.huge and end - start == HUGE_BYTES:
        granted, _ = kernel.controller.charge(group, Kind.ANON_HUGE, HUGE_BYTES, whole=True)
        if granted:
            region.fill(Run(start, end, group, Kind.ANON_HUGE))
            return None
    granted, short = kernel.controller.charge(group, region.kind, end - start)
    if granted:
        region.fill(Run(start, start + granted, group, region.kind))
    return short if granted < end - start else None


def _page_table(kernel: SimKernel, process: SimProcess, region: Region, at: int) -> MemCgroup | None:
    """One page of page table per 2 MiB in use; the cgroup that was short of room for it, or None."""
    if at // HUGE_BYTES in region.tables:
        return None
    granted, short = kernel.controller.charge(process.memory, Kind.KERNEL, PAGE_BYTES)
    if not granted:
        return short
    region.tables[at // HUGE_BYTES] = process.memory
    return None
