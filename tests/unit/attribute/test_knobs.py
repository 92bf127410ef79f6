"""What would make a part smaller, and by how much."""

from __future__ import annotations

from guestroom.attribute.knobs import knobs
from guestroom.attribute.parts import Part, PartKind
from guestroom.units import MIB


def part(name: str, mib: int, kind: PartKind = PartKind.OVERHEAD) -> Part:
    """A part."""
    return Part(name, mib * MIB, "test", kind)


def test_the_largest_gain_comes_first_and_is_this_guests() -> None:
    """A code buffer of 32 MiB gains 24 by tb-size=8, the kernel's copy all of its own."""
    found = knobs([part("copy of the kernel image", 13), part("TCG code buffer", 32)])
    assert [(knob.part, knob.gain_bytes) for knob in found] == [
        ("TCG code buffer", 24 * MIB),
        ("copy of the kernel image", 13 * MIB),
    ]


def test_guest_ram_and_what_is_small_already_have_no_knob() -> None:
    """Nobody is told to shrink what is promised, or what is at its least."""
    assert knobs([part("guest RAM", 512, PartKind.RAM), part("TCG code buffer", 8), part("heap", 9)]) == ()


def test_requests_in_flight_name_the_queue() -> None:
    """A gain that depends on the load is not given as a number."""
    (knob,) = knobs([part("qcow2 caches and requests in flight", 200)], queue_size=256)
    assert knob.gain_bytes is None
    assert "below 256" in knob.what


def test_a_memory_object_that_backs_no_ram_is_named() -> None:
    """A block of a size no machine has by itself is somebody's object."""
    (knob,) = knobs([part("RAM block of 120.0 MiB", 120)])
    assert knob.gain_bytes == 120 * MIB
