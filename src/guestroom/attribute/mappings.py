"""A name for each anonymous mapping of a QEMU: what it is by the marks it carries, its size, and its neighbour.

Marks were checked on glibc 2.36, Linux 6.18 and QEMU 7.2: ``dc`` is a RAM block (``MADV_DONTFORK``), ``nr`` a malloc
arena (mapped with ``MAP_NORESERVE``), ``nh`` a thread's stack (``MADV_NOHUGEPAGE``, nptl/allocatestack.c), executable
without a file the TCG code buffer. Sizes that the configuration foretells (the kernel's image that ``-kernel`` loads,
qcow2 caches) come as hints. The kernel merges neighbours with equal marks, so a mapping may hold several things: it
is named after what its size shows, and by its size where nothing does. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from guestroom.attribute.smaps import Vma
from guestroom.units import MIB, PAGE_BYTES, format_bytes

COROUTINE_STACK_BYTES = MIB
"""``COROUTINE_STACK_SIZE``, include/qemu/coroutine_int.h; one guard page below it (util/oslib-posix.c)."""
ROUNDING_BYTES = 64 * 1024
"""A foretold size is met within this: glibc adds a header and rounds to pages, QEMU aligns or cuts a header off."""
LARGE_BYTES = 128 * 1024
"""From here on glibc maps an allocation apart (``M_MMAP_THRESHOLD``, malloc(3))."""

_IN_FLIGHT, _LARGE = "qcow2 caches and requests in flight", "large allocations"
_JOBS = "block job buffers and large allocations"
UNMARKED = frozenset({_IN_FLIGHT, _LARGE, _JOBS})
"""Names of large maps without a mark: each may hold several things."""
_NO_BLOCKS: Mapping[int, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Hints:
    """What the guest's description foretells."""

    blocks: Mapping[int, str] = field(default_factory=lambda: _NO_BLOCKS)
    """RAM blocks by size: QEMU's own names of them, where it was asked."""
    sizes: Mapping[int, str] = field(default_factory=lambda: _NO_BLOCKS)
    """Allocations that are expected, by size: their names."""
    cluster_bytes: int | None = None
    """Largest cluster of its qcow2 images: requests in flight hold buffers of that size."""
    cache_bytes: int = 0
    """What the L2 and refcount caches of its qcow2 images may hold together."""
    burst_bytes: int = 0
    """What buffers of requests in flight may hold together (``describe.burst_bytes``)."""
    jobs: tuple[str, ...] = ()
    """Block jobs that run, where QEMU was asked: ``mirror of d0``."""


BLOCK_NAMES: Mapping[int, str] = MappingProxyType(
    {
        256 * 1024: "firmware",
        128 * 1024: "firmware tables",
        2 * MIB: "ACPI tables",
        16 * MIB: "video memory",
        64 * MIB: "video memory",
        64 * 1024: "ROMs",
        4096: "ACPI loader",
        3653632: "UEFI flash",
        540672: "UEFI flash",
        1966080: "UEFI flash",
    }
)
"""RAM blocks of QEMU 7.2's x86 machines by size (HMP ``info ramblock``): ``pc.bios`` 256 KiB, ``pc.rom`` 128 KiB,
``/rom@etc/acpi/tables`` 2 MiB (128 KiB in use), ``vga.vram`` 16 MiB (qxl 64), option ROMs 64 KiB;
``system.flash0`` and ``1`` have the sizes of the files (Debian's OVMF: code of 4 and 2 MiB less the variables)."""


def name_of(vma: Vma, before: Vma | None, hints: Hints) -> tuple[str, str]:
    """Name of an anonymous mapping, and what told it. ``before`` is the mapping at the next lower addresses."""
    named = _by_mark(vma, hints)
    if named is not None:
        return named
    for size, name in hints.sizes.items():
        if abs(vma.size_bytes - size) <= ROUNDING_BYTES:
            return name, f"a map of {format_bytes(vma.size_bytes)}, as its configuration foretells"
    if _is_coroutine(vma, before):
        return "coroutine stacks", "1 MiB above a guard page"
    if vma.size_bytes >= LARGE_BYTES:
        return _large(vma, hints)
    return "small maps", "anonymous maps without a mark"


def _large(vma: Vma, hints: Hints) -> tuple[str, str]:
    """A map of its own: what its size could be, and how much of that there can be."""
    running = f"; running: {', '.join(hints.jobs)}" if hints.jobs else ""
    if hints.cluster_bytes is not None and vma.size_bytes >= hints.cluster_bytes:
        caches, burst = format_bytes(hints.cache_bytes), format_bytes(hints.burst_bytes)
        why = f"maps of at least one cluster ({format_bytes(hints.cluster_bytes)}); at most {caches} of caches"
        return _IN_FLIGHT, f"{why}, {burst} of requests{running}"
    if hints.jobs:
        # A mirror's buffer is one map of 16 MiB (block/mirror.c), but the kernel merges it with its neighbours.
        return _JOBS, f"maps of {format_bytes(LARGE_BYTES)} and more{running}"
    return _LARGE, f"maps of {format_bytes(LARGE_BYTES)} and more, apart from the heap"


def _by_mark(vma: Vma, hints: Hints) -> tuple[str, str] | None:
    if vma.ram_block:
        own = hints.blocks.get(vma.size_bytes)
        name = BLOCK_NAMES.get(vma.size_bytes) or own
        if name is None:
            return f"RAM block of {format_bytes(vma.size_bytes)}", "VmFlag dc, no guest RAM"
        why = f"VmFlag dc, {format_bytes(vma.size_bytes)}"
        return f"RAM block: {name}", why if own is None else f"{why}; QEMU calls it {own}"
    if vma.name == "[heap]":
        # What was freed once raises glibc's threshold (mallopt(3)): later buffers of that size are on the heap.
        held = f"; buffers of requests in flight may be here, at most {format_bytes(hints.burst_bytes)}"
        return "heap", "[heap]" + (held if hints.burst_bytes else "")
    if vma.name.startswith("[stack"):
        return "thread stacks", vma.name
    if vma.name.startswith("/"):
        return "private pages of programs and libraries", "changed pages of file mappings (relocations, data)"
    if vma.name.startswith("["):
        return vma.name, "named by the kernel"
    if vma.executable:
        return "TCG code buffer", "executable, no file"
    if "nr" in vma.flags:
        return "malloc arenas", "VmFlag nr"
    if "nh" in vma.flags:
        return "thread stacks", "VmFlag nh"
    return None


def _is_coroutine(vma: Vma, before: Vma | None) -> bool:
    if before is None or vma.size_bytes != COROUTINE_STACK_BYTES:
        return False
    return before.end == vma.start and before.size_bytes == PAGE_BYTES and before.perms.startswith("---")
