"""EVE's formulas, term by term, in EVE's own integers."""

import pytest

from guestroom.guest import Guest, Passthrough
from guestroom.size import estimate
from guestroom.size.eve import cpu_part, mmio_part, qemu_part, ram_part, undefined_part
from guestroom.size.terms import NO_VCPUS
from guestroom.units import GIB, KIB, MIB


def test_a_guest_of_1_gib_and_2_vcpus_needs_401_6_mib() -> None:
    """The known figure: such a guest's cgroup limit was seen as 1,494,847,488 bytes, which is whole pages of this."""
    one = estimate(Guest(ram_bytes=GIB, vcpus=2), "eve")
    assert one.overhead_bytes == 421_108_121
    assert round(one.overhead_bytes / MIB, 1) == 401.6
    assert one.limit_bytes // 4096 * 4096 == 1_494_847_488
    assert one.warnings == ()


def test_terms_one_by_one() -> None:
    """Each of EVE's functions: 350 MiB, 20 MiB, 2.5 % of RAM, 3 MiB a vCPU, 1 % of MMIO."""
    assert undefined_part().bytes == 367_001_600
    assert qemu_part().bytes == 20_971_520
    assert ram_part(GIB).bytes == 26_843_545
    assert cpu_part(4).bytes == 12_582_912
    assert mmio_part(64 * GIB).bytes == 687_194_767
    assert mmio_part(199).bytes == 1


def test_ram_counts_in_whole_kib() -> None:
    """EVE keeps RAM in KiB: 1023 bytes more change nothing, one KiB more adds 25.6 bytes, rounded down."""
    assert ram_part(GIB + KIB - 1).bytes == ram_part(GIB).bytes
    assert ram_part(KIB).bytes == 25
    assert ram_part(KIB - 1).bytes == 0


@pytest.mark.parametrize(
    ("vcpus", "max_vcpus", "counted"),
    [(2, None, 2), (2, 0, 2), (2, 8, 8), (None, 8, 8), (1, 1, 1)],
)
def test_the_most_vcpus_count_and_vcpus_where_there_is_no_most(
    vcpus: int | None, max_vcpus: int | None, counted: int
) -> None:
    """``maxCpus`` where it is set, else ``vcpus``: PR 3383 fixed exactly this."""
    one = estimate(Guest(ram_bytes=GIB, vcpus=vcpus, max_vcpus=max_vcpus), "eve")
    assert [part.bytes for part in one.parts if part.name == "vCPUs"] == [counted * 3 * MIB]
    assert NO_VCPUS not in one.warnings


def test_unknown_vcpus_count_as_one_and_are_warned_of() -> None:
    """What the description does not say is assumed aloud."""
    one = estimate(Guest(ram_bytes=GIB), "eve")
    assert [part.bytes for part in one.parts if part.name == "vCPUs"] == [3 * MIB]
    assert one.warnings == (NO_VCPUS,)


def test_mmio_of_graphics_counts_once_summed_and_bridges_do_not() -> None:
    """1 % of the sum over GPU and VGA functions; a bridge and a network card are not counted."""
    guest = Guest(
        ram_bytes=GIB,
        vcpus=1,
        passthrough=(
            Passthrough("01:00.0", "vga", mmio_bytes=150),
            Passthrough("01:00.1", "gpu", mmio_bytes=150),
            Passthrough("02:00.0", "gpu", mmio_bytes=10**9, bridge=True),
            Passthrough("03:00.0", "vfio-pci", mmio_bytes=10**9),
        ),
    )
    one = estimate(guest, "eve")
    assert [part.bytes for part in one.parts if part.name.startswith("MMIO")] == [3]
    assert one.warnings == ()


def test_an_unknown_mmio_size_is_warned_of() -> None:
    """A graphics device whose size nobody gave is not silently 0."""
    guest = Guest(ram_bytes=GIB, vcpus=1, passthrough=(Passthrough("01:00.0", "gpu"),))
    assert estimate(guest, "eve").warnings == (
        "the MMIO size of 1 passed-through graphics device(s) is not known: not counted",
    )


def test_eve_2021_is_the_larger_of_the_share_and_600_mib() -> None:
    """600 MiB up to 24,000 MiB of RAM, 2.5 % above."""
    assert estimate(Guest(ram_bytes=GIB), "eve-2021").overhead_bytes == 600 * MIB
    assert estimate(Guest(ram_bytes=24_000 * MIB), "eve-2021").overhead_bytes == 600 * MIB
    assert estimate(Guest(ram_bytes=40_000 * MIB), "eve-2021").overhead_bytes == 1000 * MIB
