"""Kata's pod overhead."""

from guestroom.guest import Guest
from guestroom.size import estimate
from guestroom.units import GIB, MIB


def test_kata_is_320_mib_a_sandbox() -> None:
    """One figure for every sandbox, whatever its size."""
    assert estimate(Guest(ram_bytes=GIB, vcpus=1), "kata").overhead_bytes == 320 * MIB
    assert estimate(Guest(ram_bytes=64 * GIB, vcpus=32), "kata").overhead_bytes == 320 * MIB
