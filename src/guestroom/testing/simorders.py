"""What a simulated process can do to memory, each as an order that can be begun, sleep and go on.

Every verb is something a real process can do; ``tests/kernel`` does the same with a real one and compares.
"""

from __future__ import annotations

from guestroom.testing.simcgroup import Kind, MemCgroup
from guestroom.testing.simkernel import SimKernel
from guestroom.testing.simprocess import Fate, Order, SimProcess
from guestroom.testing.simregion import HUGE_BYTES, Region, Run, uncharge
from guestroom.units import MIB, PAGE_BYTES, round_down, round_up


class Orders:
    """Makes the orders for the processes of one kernel."""

    def __init__(self, kernel: SimKernel) -> None:
        self._kernel = kernel
        self._controller = kernel.controller

    def touch(self, process: SimProcess, region: Region, size_bytes: int) -> Order:
        """Grow ``region`` by ``size_bytes`` and write to every page of it."""
        span: list[int] = []

        def run() -> Fate:
            if not span:
                # The place is taken when the order begins, not when it is given: orders run one after another.
                span.extend((region.end, region.end + round_up(size_bytes)))
                region.end = span[1]
            return self._populate(process, region, span[0], span[1])

        return run

    def retouch(self, process: SimProcess, region: Region) -> Order:
        """Write to every page of ``region`` again: holes and merged pages are charged anew."""
        return lambda: self._populate(process, region, 0, region.end)

    def touch_by_syscall(self, process: SimProcess, region: Region, size_bytes: int) -> Order:
        """``read(2)`` into untouched memory: at a limit it fails with EFAULT and never sleeps (FACTS section 8)."""

        def run() -> Fate:
            start, region.end = region.end, region.end + round_up(size_bytes)
            fate = self._populate(process, region, start, region.end)
            process.waits_at = None
            return Fate.EFAULT if fate is Fate.ASLEEP else fate

        return run

    def kernel_memory(self, process: SimProcess, size_bytes: int) -> Order:
        """Kernel memory on the process's behalf; at a limit the system call fails with ENOMEM."""

        def run() -> Fate:
            left = round_up(size_bytes)
            while left and process.alive:
                granted, short = self._controller.charge(process.memory, Kind.KERNEL, left)
                if granted:
                    process.kernel.append((process.memory, granted))
                    left -= granted
                elif not self._kernel.kill_for(short):
                    return Fate.ENOMEM
            return Fate.DONE

        return run

    def fill_cache(self, process: SimProcess, size_bytes: int, kind: Kind = Kind.CACHE) -> Order:
        """Read files nobody has in the page cache: at a limit older cache goes first."""

        def run() -> Fate:
            left = round_up(size_bytes)
            while left and process.alive:
                granted, short = self._controller.charge(process.memory, kind, min(left, MIB))
                left -= granted
                if not granted and not self._kernel.kill_for(short):
                    return Fate.ENOMEM
            return Fate.DONE

        return run

    def collapse(self, process: SimProcess, region: Region) -> Order:
        """``MADV_COLLAPSE``: each 2 MiB becomes a huge page charged anew to the cgroup the process is in now."""

        def run() -> Fate:
            for start in range(0, round_down(region.end, HUGE_BYTES), HUGE_BYTES):
                whole = [run for run in region.runs if run.start < start + HUGE_BYTES and run.end > start]
                if not whole or all(run.kind is Kind.ANON_HUGE for run in whole):
                    continue
                granted, _ = self._controller.charge(process.memory, Kind.ANON_HUGE, HUGE_BYTES, whole=True)
                if not granted:
                    return Fate.EBUSY
                table = region.tables.get(start // HUGE_BYTES)
                region.tables.pop(start // HUGE_BYTES, None)
                region.drop(start, start + HUGE_BYTES)
                region.fill(Run(start, start + HUGE_BYTES, process.memory, Kind.ANON_HUGE))
                if table is not None:
                    region.tables[start // HUGE_BYTES] = table
            return Fate.DONE

        return run

    def _populate(self, process: SimProcess, region: Region, start: int, end: int) -> Fate:
        """Charge every hole in [start, end) to the cgroup the process is in now."""
        while process.alive:
            hole = next(region.holes(start, end), None)
            if hole is None:
                return Fate.DONE
            short = self._fault(process, region, *hole)
            if short is None:
                continue
            if short.oom_kill_disable:
                process.waits_at = short
                return Fate.ASLEEP
            if not self._kernel.kill_for(short):
                raise AssertionError(f"nobody to kill at {short.path} for pid {process.pid}")
        return Fate.KILLED

    def _fault(self, process: SimProcess, region: Region, start: int, end: int) -> MemCgroup | None:
        """Fill a hole as far as there is room, 2 MiB at a time; the cgroup that was short, or None."""
        at = start
        while at < end and process.alive:
            chunk_end = min(end, round_down(at, HUGE_BYTES) + HUGE_BYTES)
            short = self._page_table(process, region, at) or self._pages(process, region, at, chunk_end)
            if short is not None:
                return short
            at = chunk_end
        return None

    def _pages(self, process: SimProcess, region: Region, start: int, end: int) -> MemCgroup | None:
        """Charge the pages of one hole within one 2 MiB; a huge page that can't be had falls back to small ones."""
        group = process.memory
        if region.huge and end - start == HUGE_BYTES:
            granted, _ = self._controller.charge(group, Kind.ANON_HUGE, HUGE_BYTES, whole=True)
            if granted:
                region.fill(Run(start, end, group, Kind.ANON_HUGE))
                return None
        granted, short = self._controller.charge(group, region.kind, end - start)
        if granted:
            region.fill(Run(start, start + granted, group, region.kind))
        return short if granted < end - start else None

    def _page_table(self, process: SimProcess, region: Region, at: int) -> MemCgroup | None:
        """One page of page table per 2 MiB in use; the cgroup that was short of room for it, or None."""
        if at // HUGE_BYTES in region.tables:
            return None
        granted, short = self._controller.charge(process.memory, Kind.KERNEL, PAGE_BYTES)
        if not granted:
            return short
        region.tables[at // HUGE_BYTES] = process.memory
        return None

    def free(self, process: SimProcess, region: Region, size_bytes: int) -> Order:
        """Give back the last ``size_bytes`` of ``region``."""

        def run() -> Fate:
            start = max(0, region.end - round_up(size_bytes))
            region.drop(start, region.end)
            region.end = start
            self._kernel.wake()
            return Fate.DONE

        return run

    def discard(self, process: SimProcess, region: Region, size_bytes: int) -> Order:
        """``MADV_DONTNEED`` on the first ``size_bytes``: they become holes."""

        def run() -> Fate:
            region.drop(0, min(region.end, round_up(size_bytes)))
            self._kernel.wake()
            return Fate.DONE

        return run

    def release_kernel(self, process: SimProcess) -> Order:
        """Close the pipes."""

        def run() -> Fate:
            for owner, size in process.kernel:
                uncharge(owner, Kind.KERNEL, size)
            process.kernel.clear()
            self._kernel.wake()
            return Fate.DONE

        return run
