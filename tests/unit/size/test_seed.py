"""The two policies of the beginning."""

from guestroom.guest import Guest
from guestroom.size import estimate
from guestroom.units import GIB, MIB


def test_fixed_is_600_mib_whatever_the_guest() -> None:
    """EVE's old figure depends on nothing."""
    for ram_bytes in (MIB, GIB, 100 * GIB):
        assert estimate(Guest(ram_bytes=ram_bytes, vcpus=9), "fixed").overhead_bytes == 629_145_600


def test_proportional_is_30_percent_rounded_down() -> None:
    """30 % of RAM to the byte, and a fraction of a byte is dropped."""
    assert estimate(Guest(ram_bytes=2 * GIB), "proportional").overhead_bytes == 644_245_094
    assert estimate(Guest(ram_bytes=1000), "proportional").overhead_bytes == 300
    assert estimate(Guest(ram_bytes=1003), "proportional").overhead_bytes == 300
