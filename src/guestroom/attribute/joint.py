"""Overhead of a guest whose RAM and overhead are charged to one cgroup, told apart by smaps.

Two independent ways must agree before a figure is given. By parts: what the processes' mappings hold beside guest
RAM, plus what the kernel itself is charged for. By subtraction: everything unreclaimable less the resident RAM. They
share only the count of RAM, and they differ when pages are charged to another cgroup than the one the process is in
now, when KSM merges, or when memory moved between the two readings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from guestroom.attribute.overhead import tolerance_bytes
from guestroom.attribute.smaps import GuestRam, Vma, guest_ram
from guestroom.facts import Accounting, MemoryReading, OverheadReading
from guestroom.units import format_bytes


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """Anonymous memory of all processes of a cgroup, guest RAM apart; bytes."""

    ram: GuestRam | None
    """``None`` where the RAM blocks could not be told."""
    anonymous_bytes: int
    """Resident anonymous bytes of all mappings, those of guest RAM included."""
    swap_bytes: int


def process_memory(processes: Sequence[Sequence[Vma]], ram_block_bytes: Sequence[int]) -> ProcessMemory:
    """Sum the mappings of ``processes``; guest RAM is taken from the one process in which its blocks are found.

    Where two processes show RAM blocks of these sizes it can't be said which is the guest: ``ram`` is ``None``.
    """
    found = [ram for ram in (guest_ram(vmas, ram_block_bytes) for vmas in processes) if ram is not None]
    return ProcessMemory(
        ram=found[0] if len(found) == 1 else None,
        anonymous_bytes=sum(vma.anonymous_bytes for vmas in processes for vma in vmas),
        swap_bytes=sum(vma.swap_bytes for vmas in processes for vma in vmas),
    )


def joint_overhead(
    name: str, reading: MemoryReading, memory: ProcessMemory | None, *, least_ram_bytes: int = 0
) -> OverheadReading:
    """Overhead of a guest that has one cgroup, ``reading``, and the processes summed up in ``memory``.

    By parts: (anonymous + swap) that is not guest RAM, shmem that is not guest RAM, kernel memory, locked page cache.
    Where it differs from the subtraction by more than max(4 MiB, 1 %), or RAM can't be told or is merged by KSM,
    the overhead is ``None``.

    The upper bound is ``unreclaimable - least_ram_bytes``: true as long as the caller knows that at least so much
    guest RAM is charged here (the last exact count, and only while balloon, free page reporting, KSM and swap are
    off; otherwise 0).
    """
    charged = reading.unreclaimable_bytes
    overhead: int | None = None
    resident: int | None = None
    if charged is None:
        how = f"unknown: the charge of {reading.path} could not be read in full"
    elif memory is None or memory.ram is None:
        how = "unknown: guest RAM could not be told apart in smaps"
    elif memory.ram.ksm_bytes != 0:
        resident = memory.ram.resident_bytes
        how = "unknown: KSM may have merged guest RAM, so what it is charged can't be counted"
    else:
        resident = memory.ram.resident_bytes
        by_parts = _by_parts(reading, memory, memory.ram)
        by_subtraction = charged - resident - memory.ram.swap_bytes
        apart = abs(by_parts - by_subtraction)
        if apart > tolerance_bytes(charged):
            how = (
                f"unknown: by parts {format_bytes(by_parts)}, by subtraction {format_bytes(by_subtraction)}, "
                f"{format_bytes(apart)} apart"
            )
        else:
            overhead = max(0, by_parts)
            how = "smaps: anonymous and swap beside guest RAM (VmFlag dc) + other shmem + kernel + locked page cache"
    bound = None if charged is None else max(0, charged - least_ram_bytes, overhead or 0)
    return OverheadReading(
        name=name,
        at_s=reading.at_s,
        accounting=Accounting.JOINT,
        overhead_bytes=overhead,
        upper_bound_bytes=bound if overhead is None else overhead,
        ram_resident_bytes=resident,
        cache_bytes=reading.file_bytes,
        how=how,
    )


def _by_parts(reading: MemoryReading, memory: ProcessMemory, ram: GuestRam) -> int:
    """The sum of the named parts; the caller has checked that the reading is whole."""
    anonymous = memory.anonymous_bytes - ram.anonymous_bytes
    swap = memory.swap_bytes - ram.swap_bytes
    shared_ram = ram.resident_bytes - ram.anonymous_bytes
    shmem = max(0, (reading.shmem_bytes or 0) - shared_ram)
    return anonymous + swap + shmem + (reading.kernel_bytes or 0) + (reading.locked_file_bytes or 0)
