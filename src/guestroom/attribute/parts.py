"""Where every charged byte is: the parts of a guest's memory, by name, kind and source.

The kernel charges a cgroup for anonymous pages, page cache, shmem and its own memory. The first is told apart by the
mappings that hold it (the sum of ``Anonymous`` over smaps equals the cgroup's anonymous memory, to the page), the
others by the kernel's own statistics. What is left is a part as well, named ``unexplained``, so that a kernel or a QEMU
that brings something new shows as a number and not as a wrong name. Pure: figures in, parts out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from guestroom.attribute.mappings import UNMARKED, Hints, name_of
from guestroom.attribute.smaps import Vma, guest_ram_blocks
from guestroom.units import PAGE_BYTES

STOCK_PAGES = 64
"""Pages a CPU may hold charged in advance for one cgroup (``MEMCG_CHARGE_BATCH``, mm/memcontrol.c)."""
KERNEL_STACK_BYTES = 16384
"""Kernel stack of one thread on x86-64 and arm64 (``THREAD_SIZE``, arch/x86/include/asm/page_64_types.h)."""
UNEXPLAINED = "unexplained"
SPLIT_DUE = "huge pages, partly unmapped"
"""Freed when memory gets short (kernel Documentation/mm/transhuge.rst, Partial unmap); measured on Linux 6.1: 3 MiB."""


class PartKind(StrEnum):
    """What a part is to its guest."""

    RAM = "ram"
    OVERHEAD = "overhead"
    RECLAIMABLE = "reclaimable"
    """The kernel takes it back by itself when memory gets short."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Part:
    """So many bytes of one kind, and where the figure comes from."""

    name: str
    size_bytes: int
    source: str
    kind: PartKind


@dataclass(frozen=True, slots=True)
class Charge:
    """What the kernel charges a guest's cgroups for, summed over them; bytes. None: this kernel does not say."""

    usage_bytes: int
    anon_bytes: int
    shmem_bytes: int
    file_bytes: int
    """Page cache without shmem."""
    kernel_bytes: int
    """All kernel memory, reclaimable slab included."""
    file_mapped_bytes: int | None = None
    file_dirty_bytes: int | None = None
    """Dirty or being written."""
    page_table_bytes: int | None = None
    kernel_stack_bytes: int | None = None
    slab_reclaimable_bytes: int | None = None
    slab_unreclaimable_bytes: int | None = None
    percpu_bytes: int | None = None
    socket_bytes: int | None = None
    vmalloc_bytes: int | None = None
    split_due_bytes: int | None = None
    """Pages that nobody maps any more of huge pages in use: charged until the kernel splits them."""
    cgroups: int = 1
    """How many cgroups hold charges: each has a stock on each CPU."""
    how: str = ""


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """One process of the guest."""

    pid: int
    command: str
    qemu: bool
    vmas: tuple[Vma, ...]
    page_table_bytes: int
    """``VmPTE`` and one page for the top of the table."""
    threads: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """Every charged byte; the parts sum to ``charged_bytes`` exactly."""

    charged_bytes: int
    parts: tuple[Part, ...]
    error_bytes: int
    """By how much two sources that should agree differ: what could be wrong by name."""
    elsewhere_bytes: int
    """Pages of files these processes have mapped that another cgroup was charged for: not this guest's bill."""

    @property
    def explained_bytes(self) -> int:
        """All parts but what is left over."""
        return self.charged_bytes - sum(part.size_bytes for part in self.parts if part.kind is PartKind.UNKNOWN)

    @property
    def overhead_bytes(self) -> int:
        """What is neither guest RAM nor reclaimable; what is unexplained counts, as it can't be told."""
        away = (PartKind.RAM, PartKind.RECLAIMABLE)
        return sum(part.size_bytes for part in self.parts if part.kind not in away)


def explain(
    charge: Charge,
    processes: Sequence[ProcessMemory],
    ram_block_bytes: Sequence[int],
    hints: Hints,
    cpus: int,
    page_bytes: int = PAGE_BYTES,
) -> Explanation:
    """The parts of ``charge``, largest first.

    ``ram_block_bytes`` are the sizes of the RAM blocks that are guest RAM. The readings are not one snapshot: where the
    mappings hold more than the cgroup is charged for (pages charged elsewhere, or taken meanwhile), the largest
    part gives way and the difference is in ``error_bytes``.
    """
    anonymous, ram_shared = _anonymous(processes, ram_block_bytes, hints)
    most_stock = STOCK_PAGES * page_bytes * cpus * charge.cgroups
    anonymous, error = _fit(anonymous, charge.anon_bytes, most_stock)
    parts = [*anonymous, *_shmem(charge, ram_shared), *_file(charge), *_kernel(charge, processes)]
    known = sum(part.size_bytes for part in parts)
    left = charge.usage_bytes - known
    if left > 0 and charge.split_due_bytes:
        due = min(left, charge.split_due_bytes)
        parts.append(Part(SPLIT_DUE, due, "memory.stat: pages on LRU lists less anon and file", PartKind.RECLAIMABLE))
        left, known = left - due, known + due
    if left > 0:
        stock = min(left, most_stock)
        source = f"usage less all that is counted, at most {STOCK_PAGES} pages a CPU and cgroup"
        parts.append(Part("charged in advance", stock, source, PartKind.OVERHEAD))
        if left > stock:
            parts.append(Part(UNEXPLAINED, left - stock, "usage less everything named", PartKind.UNKNOWN))
    error += max(0, -left)
    mapped = sum(vma.rss_bytes - vma.anonymous_bytes for one in processes for vma in one.vmas if _is_file(vma))
    merged = _merged(part for part in parts if part.size_bytes > 0)
    return Explanation(
        charged_bytes=max(charge.usage_bytes, known),
        parts=tuple(sorted(merged, key=lambda part: (-part.size_bytes, part.name))),
        error_bytes=error,
        elsewhere_bytes=max(0, mapped - (charge.file_mapped_bytes or 0)),
    )


def _is_file(vma: Vma) -> bool:
    return vma.name.startswith("/") and not vma.ram_block and "(deleted)" not in vma.name


def _anonymous(
    processes: Sequence[ProcessMemory], ram_block_bytes: Sequence[int], hints: Hints
) -> tuple[list[Part], int]:
    """Anonymous parts of all processes, and how much guest RAM is shared memory instead."""
    parts: list[Part] = []
    shared = 0
    for process in processes:
        runs = guest_ram_blocks(process.vmas, ram_block_bytes) if process.qemu else None
        ram = frozenset(vma for run in runs or () for vma in run)
        shared += sum(vma.rss_bytes - vma.anonymous_bytes for vma in ram)
        before: Vma | None = None
        own: list[Part] = []
        for vma in sorted(process.vmas, key=lambda one: one.start):
            if vma.anonymous_bytes:
                own.append(_mapping(process, vma, before, hints, is_ram=vma in ram))
            before = vma
        parts += _foretold(own, hints) if process.qemu else own
    return _merged(parts), shared


def _foretold(parts: list[Part], hints: Hints) -> list[Part]:
    """What is foretold and has no mapping of its own is in a larger one, merged with a neighbour by the kernel.

    Taken out of the smallest unmarked mapping that can hold it; where none can, it is not there.
    """
    for size_bytes, name in hints.sizes.items():
        holders = [part for part in parts if part.name in UNMARKED and part.size_bytes >= size_bytes]
        if holders and all(part.name != name for part in parts):
            holder = min(holders, key=lambda part: part.size_bytes)
            source = "foretold by its configuration, inside a larger map"
            rest = replace(holder, size_bytes=holder.size_bytes - size_bytes)
            parts = [*(part for part in parts if part is not holder), rest]
            parts.append(Part(name, size_bytes, source, PartKind.OVERHEAD))
    return parts


def _mapping(process: ProcessMemory, vma: Vma, before: Vma | None, hints: Hints, *, is_ram: bool) -> Part:
    source = f"smaps of {process.pid}"
    if is_ram:
        return Part("guest RAM", vma.anonymous_bytes, f"{source}: VmFlag dc and the size of a RAM block", PartKind.RAM)
    if not process.qemu:
        return Part(f"{process.command} (helper)", vma.anonymous_bytes, source, PartKind.OVERHEAD)
    name, why = name_of(vma, before, hints)
    return Part(name, vma.anonymous_bytes, f"{source}: {why}", PartKind.OVERHEAD)


def _fit(parts: list[Part], anon_bytes: int, lag_bytes: int) -> tuple[list[Part], int]:
    """Anonymous parts that sum to what is charged, and by how much the two differed.

    ``memory.stat`` may be ``lag_bytes`` behind (64 pages a CPU): so far the mappings are right.
    """
    over = sum(part.size_bytes for part in parts) - anon_bytes
    if 0 < over <= lag_bytes:
        return parts, over
    if over <= 0:
        missing = -over
        if missing:
            parts = [*parts, Part(UNEXPLAINED, missing, "anonymous memory that no mapping holds", PartKind.UNKNOWN)]
        return parts, missing
    fitted: list[Part] = []
    left = over
    for part in sorted(parts, key=lambda one: -one.size_bytes):
        less = min(left, part.size_bytes)
        left -= less
        source = f"{part.source}, less what is charged elsewhere" if less else part.source
        fitted.append(replace(part, size_bytes=part.size_bytes - less, source=source))
    return fitted, over


def _shmem(charge: Charge, ram_shared_bytes: int) -> list[Part]:
    ram = min(charge.shmem_bytes, ram_shared_bytes)
    return [
        Part("guest RAM", ram, "smaps: resident pages of shared RAM blocks", PartKind.RAM),
        Part("shared memory", charge.shmem_bytes - ram, "memory.stat shmem, less guest RAM", PartKind.OVERHEAD),
    ]


def _file(charge: Charge) -> list[Part]:
    mapped = min(charge.file_bytes, charge.file_mapped_bytes or 0)
    dirty = min(charge.file_bytes - mapped, charge.file_dirty_bytes or 0)
    clean = charge.file_bytes - mapped - dirty
    stat = "memory.stat"
    return [
        Part("programs and libraries", mapped, f"{stat}: mapped page cache charged here", PartKind.RECLAIMABLE),
        Part("page cache, dirty", dirty, f"{stat}: dirty and being written", PartKind.RECLAIMABLE),
        Part("page cache, clean", clean, f"{stat}: page cache less mapped and dirty", PartKind.RECLAIMABLE),
    ]


def _kernel(charge: Charge, processes: Sequence[ProcessMemory]) -> list[Part]:
    """Kernel memory by what it is for; v1 tells only the sum, so tables and stacks are counted from the processes."""
    left = charge.kernel_bytes
    parts: list[Part] = []

    def take(name: str, size_bytes: int | None, source: str, kind: PartKind = PartKind.OVERHEAD) -> None:
        nonlocal left
        taken = max(0, min(left, size_bytes or 0))
        left -= taken
        parts.append(Part(name, taken, source, kind))

    counted = sum(process.page_table_bytes for process in processes)
    stacks = sum(process.threads for process in processes) * KERNEL_STACK_BYTES
    if charge.page_table_bytes is None:
        take("page tables", counted, "VmPTE of each process and one page for its top")
    else:
        take("page tables", charge.page_table_bytes, "memory.stat pagetables")
    if charge.kernel_stack_bytes is None:
        take("kernel stacks", stacks, "16 KiB for each thread (THREAD_SIZE)")
    else:
        take("kernel stacks", charge.kernel_stack_bytes, "memory.stat kernel_stack")
    take("sockets", charge.socket_bytes, "memory.stat sock, or memory.kmem.tcp")
    take("per-CPU kernel data", charge.percpu_bytes, "memory.stat percpu")
    take("vmalloc", charge.vmalloc_bytes, "memory.stat vmalloc, less kernel stacks")
    take("slab, reclaimable", charge.slab_reclaimable_bytes, "memory.stat slab_reclaimable", PartKind.RECLAIMABLE)
    take("slab", charge.slab_unreclaimable_bytes, "memory.stat slab_unreclaimable")
    told = charge.slab_unreclaimable_bytes is not None
    name = "other kernel memory" if told else "slab and other kernel memory"
    take(name, left, "kernel memory less the parts above")
    return parts


def _merged(parts: Iterable[Part]) -> list[Part]:
    """Parts of one name and kind as one; the source of the largest stands for all."""
    found: dict[tuple[str, PartKind], Part] = {}
    largest: dict[tuple[str, PartKind], int] = {}
    for part in parts:
        key = (part.name, part.kind)
        if key not in found:
            found[key], largest[key] = part, part.size_bytes
            continue
        source = part.source if part.size_bytes > largest[key] else found[key].source
        largest[key] = max(largest[key], part.size_bytes)
        found[key] = replace(found[key], size_bytes=found[key].size_bytes + part.size_bytes, source=source)
    return list(found.values())
