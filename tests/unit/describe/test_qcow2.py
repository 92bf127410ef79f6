"""qcow2 headers: cluster size and caches, and no figure from anything else."""

from __future__ import annotations

import pytest

from guestroom.describe.qcow2 import Qcow2, parse_header
from guestroom.units import GIB, KIB, MIB, TIB


def header(bits: int = 16, size: int = 64 * GIB, version: int = 3, magic: bytes = b"QFI\xfb") -> bytes:
    """The first bytes of an image."""
    fields = (
        magic + version.to_bytes(4, "big") + bytes(8) + bytes(4) + bits.to_bytes(4, "big") + size.to_bytes(8, "big")
    )
    return fields.ljust(104, b"\0")


def test_a_header_gives_cluster_and_virtual_size() -> None:
    """Both come from the fields of docs/interop/qcow2.txt."""
    assert parse_header(header(21, TIB)) == Qcow2(TIB, 2 * MIB)
    assert parse_header(header(version=2)) == Qcow2(64 * GIB, 64 * KIB)


@pytest.mark.parametrize(
    "data", [b"", header()[:31], header(magic=b"VMDK"), header(bits=8), header(bits=22), header(version=9)]
)
def test_what_is_no_qcow2_gives_nothing(data: bytes) -> None:
    """Short, foreign or absurd headers are no figures."""
    assert parse_header(data) is None


@pytest.mark.parametrize(
    ("size", "cluster", "set_bytes", "cache"),
    [
        (64 * GIB, 64 * KIB, None, 8 * MIB),
        (TIB, 64 * KIB, None, 32 * MIB),
        (TIB, 64 * KIB, 128 * MIB, 128 * MIB),
        (TIB, 64 * KIB, MIB, MIB),
        (GIB, 2 * MIB, None, 4 * MIB),
    ],
)
def test_the_l2_cache_covers_the_disk_up_to_its_limit(
    size: int, cluster: int, set_bytes: int | None, cache: int
) -> None:
    """8 bytes a cluster in whole tables, at most 32 MiB or what is set, at least two tables (block/qcow2.c)."""
    assert Qcow2(size, cluster).l2_cache_bytes(set_bytes) == cache
