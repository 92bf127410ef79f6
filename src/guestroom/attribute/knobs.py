"""What would make a part smaller, and by how much on this guest.

Only knobs whose effect was measured (QEMU 7.2, TCG, 256 MiB guests) or follows from QEMU's own arithmetic; a part
without one has none that is known. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from guestroom.attribute.parts import Part, PartKind
from guestroom.units import MIB, format_bytes

_LEAST_TB_BYTES = 8 * MIB
"""The smallest code buffer that was measured to boot and run the test guest without being flushed all the time."""


@dataclass(frozen=True, slots=True)
class Knob:
    """Something to turn."""

    part: str
    what: str
    gain_bytes: int | None
    """What it is expected to save on this guest; None where that depends on its load."""
    cost: str
    """What it costs."""


def knobs(parts: Iterable[Part], *, queue_size: int | None = None) -> tuple[Knob, ...]:
    """Knobs for these parts, the largest gain first."""
    found = [knob for part in parts if part.kind is not PartKind.RAM and (knob := _knob(part, queue_size))]
    return tuple(sorted(found, key=lambda knob: (-(knob.gain_bytes or 0), knob.part)))


def _knob(part: Part, queue_size: int | None) -> Knob | None:
    size = part.size_bytes
    match part.name:
        case "TCG code buffer" if size > _LEAST_TB_BYTES:
            what = f"-accel tcg,tb-size={_LEAST_TB_BYTES // MIB}"
            return Knob(part.name, what, size - _LEAST_TB_BYTES, "translated code is thrown away and made again sooner")
        case "copy of the kernel image":
            what = "boot from the disk's own boot loader instead of -kernel"
            return Knob(part.name, what, size, "the guest needs a boot loader")
        case "qcow2 caches and requests in flight" if size >= 4 * MIB:
            depth = f"a queue-size below {queue_size}" if queue_size else "a smaller queue-size (32)"
            what = f"smaller clusters, l2-cache-size, or {depth}"
            return Knob(part.name, what, None, "less in flight: fewer IOPS with many small requests")
        case "RAM block: video memory" if size >= MIB:
            return Knob(part.name, "-vga none, or vgamem_mb=1", size - MIB, "no or a small picture")
        case "malloc arenas" if size > 4 * MIB:
            return Knob(part.name, "MALLOC_ARENA_MAX=1", None, "threads share one arena; 0-1 MiB gained when measured")
        case "page tables" if size > 4 * MIB:
            what = "huge pages for guest RAM (memory-backend-ram in huge pages, or hugetlb)"
            return Knob(part.name, what, size - MIB, "RAM can't be merged by KSM page by page")
        case _ if part.name.startswith("RAM block of ") and size >= MIB:
            return Knob(
                part.name, f"take out the memory object of {format_bytes(size)}", size, "whoever uses it misses it"
            )
        case _:
            return None
