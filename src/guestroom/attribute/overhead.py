"""A guest's overhead from what its cgroups are charged.

Notation for the proofs below, for one guest at one moment, in bytes. Charged and not reclaimable are
``U_ram`` in cgroup ``ram`` and ``U_vmm`` in ``vmm``. Each is guest RAM plus overhead: ``U_ram = R_ram + O_ram``,
``U_vmm = R_vmm + O_vmm``. ``RAM`` is what the guest was promised and what was preallocated in ``ram`` while it
was stopped; ``R = R_ram + R_vmm <= RAM`` is what of it is charged now. Wanted is ``O = O_ram + O_vmm``, that is
``U_ram + U_vmm - R``.

Two facts carry everything. At the move ``R_ram = RAM``. After the move no process is in ``ram`` any more, so the
kernel charges nothing new to it: ``R_ram`` and ``O_ram`` can only fall. (Swap does not count as falling: what comes
back is charged to the cgroup it was swapped out of, mm/memcontrol.c ``mem_cgroup_swapin_charge_folio``.)
"""

from __future__ import annotations

from dataclasses import replace

from guestroom.facts import Accounting, MemoryReading, OverheadReading
from guestroom.units import MIB, format_bytes

TOLERANCE_BYTES = 4 * MIB
"""Differences up to this are noise of counting, not memory that moved: per-CPU charge stock and per-CPU statistics,
64 pages a CPU each (mm/memcontrol.c ``MEMCG_CHARGE_BATCH``), which is 4 MiB on 16 CPUs."""


HEAP_TRIM_BYTES = 16 * MIB
"""More than QEMU's start-up heap gives back by ``malloc_trim`` (measured: 4.6 MiB; the whole heap is 11 to 15 MiB)."""


def tolerance_bytes(of_bytes: int) -> int:
    """How far two independent counts of about ``of_bytes`` may differ and still agree: max(4 MiB, 1 %)."""
    return max(TOLERANCE_BYTES, of_bytes // 100)


def ram_wandered(ram: MemoryReading, ram_charged_bytes: int, ram_start_bytes: int | None = None) -> bool | None:
    """True where guest RAM may have left cgroup ``ram``: only a count can say how much is where.

    ``ram_start_bytes`` is the largest unreclaimable charge of ``ram`` that was seen. As ``ram`` only falls after
    the move, a charge that is still the same proves that all RAM is still there; without that memory all that shows
    is a charge below the RAM itself, and the start-up overhead in ``ram`` can hide as much missing RAM as its own
    size. Huge page collapse, balloon, free page reporting and KSM make RAM wander (measured: 64 MiB
    left ``ram`` for ``vmm`` with one MADV_COLLAPSE). So does QEMU when it trims its heap (``malloc_trim`` in
    util/rcu.c gives about 4.6 MiB back soon after the start), which a count then clears up. Shared RAM is plain to see:
    it is the shmem in ``ram``, of which QEMU itself has none there. ``None`` where the charge is unknown.
    """
    charged = ram.unreclaimable_bytes
    if charged is None:
        return None
    if ram_charged_bytes == 0 or (ram.shmem_bytes or 0) >= max(1, ram_charged_bytes - TOLERANCE_BYTES):
        return False
    return charged < max(ram_charged_bytes, ram_start_bytes or 0) - TOLERANCE_BYTES


def split_overhead(
    name: str,
    ram: MemoryReading,
    vmm: MemoryReading,
    ram_charged_bytes: int,
    ram_counted_bytes: int | None = None,
    *,
    ram_start_bytes: int | None = None,
) -> OverheadReading:
    """Overhead of a guest whose RAM is charged apart.

    While RAM has not wandered it is ``U_ram - RAM + U_vmm``. Where it has, ``ram_counted_bytes`` (counted in smaps at
    the moment of these readings) takes RAM's place; without an exact count the overhead is ``None``.

    The upper bound holds whatever RAM did: ``U_vmm`` + the most that ``ram`` can hold beside RAM (proved in
    ``_start_overhead_at_most``): what QEMU took before its vCPUs ran stays in ``ram``.

    ``kernel_peak_bytes`` puts the peak of ``vmm`` since its last reset in the place of what it is charged now: the
    most that overhead reached in between two readings. Where RAM moved, it is ``None``: nobody knows how much RAM
    ``vmm`` held at its peak.
    """
    charged_ram, charged_vmm = ram.unreclaimable_bytes, vmm.unreclaimable_bytes
    wandered = ram_wandered(ram, ram_charged_bytes, ram_start_bytes)
    unknown = OverheadReading(
        name=name,
        at_s=max(ram.at_s, vmm.at_s),
        accounting=Accounting.SPLIT,
        overhead_bytes=None,
        upper_bound_bytes=None,
        ram_resident_bytes=None,
        cache_bytes=None if ram.file_bytes is None or vmm.file_bytes is None else ram.file_bytes + vmm.file_bytes,
        how=f"unknown: {_missing(ram, vmm)} could not be read",
    )
    if charged_ram is None or charged_vmm is None or wandered is None:
        return unknown
    if not wandered or ram_counted_bytes == ram_charged_bytes:
        overhead = max(0, charged_ram - ram_charged_bytes + charged_vmm)
        return replace(
            unknown,
            overhead_bytes=overhead,
            upper_bound_bytes=overhead,
            ram_resident_bytes=ram_charged_bytes,
            how="unreclaimable(ram) - guest RAM + unreclaimable(vmm)"
            + (", all RAM there by smaps (VmFlag dc)" if wandered else ""),
            kernel_peak_bytes=peak_overhead(overhead, charged_ram, vmm.peak_bytes, ram_charged_bytes, ram_start_bytes),
        )
    bound = charged_vmm + _start_overhead_at_most(ram, charged_ram, ram_charged_bytes)
    fall = f"guest RAM left ram ({_fall(charged_ram, ram_charged_bytes, ram_start_bytes)}); "
    charged = charged_ram + charged_vmm
    if ram_counted_bytes is None or not _plausible(ram_counted_bytes, ram_charged_bytes, charged):
        how = fall + "no exact count of it: upper bound unreclaimable(vmm) + most that ram can hold beside RAM"
        return replace(unknown, upper_bound_bytes=bound, how=how)
    overhead = max(0, charged - ram_counted_bytes)
    return replace(
        unknown,
        overhead_bytes=overhead,
        upper_bound_bytes=max(bound, overhead),
        ram_resident_bytes=ram_counted_bytes,
        how=fall + "unreclaimable(ram) + unreclaimable(vmm) - RAM counted in smaps (VmFlag dc)",
    )


def peak_overhead(
    overhead: int, charged_ram: int, vmm_peak: int | None, ram_charged_bytes: int, ram_start_bytes: int | None
) -> int | None:
    """Overhead at the peak of ``vmm``, for a guest whose RAM is all there.

    At that moment ``ram`` held something between what it holds now and ``ram_start_bytes``; the larger is taken. That
    is right for a heap that was trimmed since and too much for RAM that moved to ``vmm`` since, so a large fall, which
    no trimming of a heap makes, gives no peak.
    """
    start = max(charged_ram, ram_start_bytes or 0)
    if vmm_peak is None or start - charged_ram > HEAP_TRIM_BYTES:
        return None
    return max(overhead, start - ram_charged_bytes + vmm_peak)


def _start_overhead_at_most(ram: MemoryReading, charged_ram: int, ram_charged_bytes: int) -> int:
    """Most overhead that can sit in ``ram``: ``min(U_ram, P - RAM)`` with ``P`` the kernel's own peak of ``ram``.

    Proof: ``O_ram <= U_ram``, as RAM can't be negative. And just before the move ``ram`` was charged
    ``RAM + O_ram(then)`` and perhaps cache, which its peak is not below, so ``O_ram(now) <= O_ram(then) <= P - RAM``.
    Therefore nobody may reset this peak. Where P is below RAM (the RAM never was in ``ram``), only the first holds.
    """
    if ram.peak_bytes is None or ram.peak_bytes < ram_charged_bytes:
        return charged_ram
    return min(charged_ram, ram.peak_bytes - ram_charged_bytes)


def _plausible(counted: int, ram_charged_bytes: int, charged: int) -> bool:
    """A count can't be more than the RAM there is, nor more than what is charged; beyond noise it is a wrong count."""
    return 0 <= counted <= ram_charged_bytes and counted <= charged + tolerance_bytes(charged)


def _missing(*readings: MemoryReading) -> str:
    """Which needed figures are unknown, for people."""
    found = [
        f"{figure} of {reading.path}"
        for reading in readings
        for figure, value in (
            ("anonymous memory", reading.anon_bytes),
            ("shmem", reading.shmem_bytes),
            ("kernel memory", reading.kernel_bytes),
        )
        if value is None
    ]
    return ", ".join(found)


def _fall(charged_ram: int, ram_charged_bytes: int, ram_start_bytes: int | None) -> str:
    """What was expected in ``ram`` and what is there, for people."""
    expected = max(ram_charged_bytes, ram_start_bytes or 0)
    return f"{format_bytes(charged_ram)} unreclaimable there, {format_bytes(expected)} expected"
