"""The few figures of a leaf's ``memory.stat`` that a look between two complete ones needs, taken out and nothing else.

A thousand guests are looked at once a second. Taking the whole file apart costs ten times as long as the kernel needs
to print it; finding six lines costs a third of that.
"""

from __future__ import annotations

from typing import NamedTuple

from guestroom.attribute.memstat import locked_file_bytes, parse_memory_stat
from guestroom.errors import ReadError


class LeafReading(NamedTuple):
    """A cgroup without children at one moment, in bytes."""

    unreclaimable_bytes: int
    """As ``MemoryReading.unreclaimable_bytes``."""
    file_bytes: int
    """Page cache without shmem."""
    peak_bytes: int | None
    """The kernel's own peak of all that was charged, since it was last reset."""


def leaf_parts(path: str, text: str) -> tuple[int, int] | None:
    """What reclaim can't take but for kernel memory, and page cache, in bytes, from a v1 ``memory.stat``.

    Anonymous memory, shmem, swap and locked page cache; lines and formulas as in ``memstat``. ``None`` where a line is
    missing. Raises ``ReadError`` for a value that is no number.
    """
    rss, shmem = _line(path, text, "\ntotal_rss "), _line(path, text, "\ntotal_shmem ")
    cache = _line(path, text, "\ntotal_cache ")
    unevictable = _line(path, text, "\ntotal_unevictable ")
    if rss is None or shmem is None or cache is None or unevictable is None:
        return None
    swap, swapcached = _line(path, text, "\ntotal_swap "), _line(path, text, "\ntotal_swapcached ")
    locked = 0
    if unevictable:
        # Rare, and then worth the whole file.
        locked = locked_file_bytes(parse_memory_stat(path, text).total) or 0
    return rss + shmem + (swap or 0) + locked, max(0, cache - shmem - (swapcached or 0))


def _line(path: str, text: str, name: str) -> int | None:
    start = text.find(name)
    if start < 0:
        return None
    start += len(name)
    value = text[start : text.find("\n", start)]
    if not value.isdecimal():
        raise ReadError(path, f"{name.strip()} is no number", text=value)
    return int(value)
