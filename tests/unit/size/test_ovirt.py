"""oVirt's sum, in whole MiB as oVirt counts."""

from dataclasses import replace

import pytest

from guestroom.guest import Guest, Video
from guestroom.size import estimate
from guestroom.size.ovirt import page_tables, video
from guestroom.units import GIB, KIB, MIB

GUEST = Guest(ram_bytes=GIB, vcpus=2)


def overhead(guest: Guest) -> int:
    """The overhead in MiB, which is always whole."""
    mib, rest = divmod(estimate(guest, "ovirt").overhead_bytes, MIB)
    assert rest == 0
    return mib


def test_the_formula_with_ovirts_own_video_ram() -> None:
    """1 GiB / 512 + 64 + 16 of video RAM + 8 a vCPU + 8 an I/O thread."""
    assert overhead(GUEST) == 2 + 64 + 16 + 16
    assert overhead(replace(GUEST, iothreads=3)) == 2 + 64 + 16 + 16 + 24
    assert overhead(replace(GUEST, graphics_off=True)) == 2 + 64 + 16


def test_page_tables_are_whole_mib() -> None:
    """oVirt divides MiB as integers: 511 MiB of RAM have none, 1,535 MiB have 2."""
    assert page_tables(511, on_ppc=False).bytes == 0
    assert page_tables(1535, on_ppc=False).bytes == 2 * MIB


@pytest.mark.parametrize(("ram_mib", "table_mib"), [(1024, 16), (1025, 32), (63, 1), (64, 1), (0, 0)])
def test_on_power_the_page_table_is_a_power_of_two(ram_mib: int, table_mib: int) -> None:
    """RAM rounded up to a power of two, / 64 in whole MiB."""
    assert page_tables(ram_mib, on_ppc=True).bytes == table_mib * MIB


def test_power_has_a_larger_fixed_part() -> None:
    """100 MiB instead of 64, and the hashed page table."""
    assert overhead(replace(GUEST, arch="ppc64")) == 16 + 100 + 16 + 16


def test_video_ram_as_given_else_by_kind() -> None:
    """A given size is rounded up to MiB, VGA is 16, QXL 64 a head + 8."""

    def mib(*devices: Video) -> int:
        return video(replace(GUEST, videos=devices)).bytes // MIB

    assert mib(Video("VGA")) == 16
    assert mib(Video("VGA", vga_bytes=64 * MIB)) == 64
    assert mib(Video("VGA", vga_bytes=MIB + KIB)) == 2
    assert mib(Video("qxl-vga")) == 72
    assert mib(Video("qxl", outputs=4)) == 264
    assert mib(Video("VGA"), Video("qxl")) == 88
