"""What a qcow2 image's header says of the memory its driver takes: cluster size and caches. Pure: bytes in."""

from __future__ import annotations

from dataclasses import dataclass

from guestroom.units import MIB

HEADER_BYTES = 104
"""Enough of the file for what is read here (docs/interop/qcow2.txt: version 3 has 104)."""

_MAGIC = b"QFI\xfb"
_L2_CACHE_MOST_BYTES = 32 * MIB
"""``DEFAULT_L2_CACHE_MAX_SIZE`` on Linux, block/qcow2.h."""
_LEAST_L2_TABLES = 2
_LEAST_REFCOUNT_TABLES = 4
"""``MIN_L2_CACHE_SIZE`` and ``MIN_REFCOUNT_CACHE_SIZE`` in tables, block/qcow2.h."""


@dataclass(frozen=True, slots=True)
class Qcow2:
    """Figures of one image; bytes."""

    virtual_bytes: int
    cluster_bytes: int

    def l2_cache_bytes(self, most_bytes: int | None = None) -> int:
        """The L2 cache QEMU makes: whole tables for all of the disk, at most 32 MiB or ``l2-cache-size``.

        ``read_cache_sizes``, block/qcow2.c.
        """
        entries = -(-self.virtual_bytes // self.cluster_bytes) * 8
        wanted = min(entries, _L2_CACHE_MOST_BYTES if most_bytes is None else most_bytes)
        return max(_LEAST_L2_TABLES, -(-wanted // self.cluster_bytes)) * self.cluster_bytes

    @property
    def refcount_cache_bytes(self) -> int:
        """The refcount cache where nothing is set: four tables."""
        return _LEAST_REFCOUNT_TABLES * self.cluster_bytes


def parse_header(data: bytes) -> Qcow2 | None:
    """Figures of a qcow2 header; None where this is none, or one whose cluster size no driver takes."""
    if len(data) < 32 or data[:4] != _MAGIC or int.from_bytes(data[4:8], "big") not in (2, 3):
        return None
    bits = int.from_bytes(data[20:24], "big")
    if not 9 <= bits <= 21:  # MIN_CLUSTER_BITS and MAX_CLUSTER_BITS, block/qcow2.h
        return None
    return Qcow2(virtual_bytes=int.from_bytes(data[24:32], "big"), cluster_bytes=1 << bits)
