"""Where a v2 tripwire belongs; that it wakes is shown on a booted v2 kernel."""

from __future__ import annotations

from guestroom.agent.alarm_events import Wire
from guestroom.units import MIB


def wire(**numbers: int) -> Wire:
    """A wire of a guest that needs no waking below 300 MiB, with a limit of 400."""
    return Wire("/m/a", -1, 300 * MIB, 400 * MIB, 16 * MIB, **numbers)


def test_a_wire_is_at_the_first_mark_and_then_a_rung_above_use() -> None:
    """At the limit there is none: meeting that is an event of its own."""
    assert wire().next(100 * MIB) == 300 * MIB
    assert wire().next(300 * MIB) == 320 * MIB
    assert wire().next(396 * MIB) is None


def test_no_rung_passes_the_mark_before_a_cap_by() -> None:
    """Below the first mark or above it: the next rung is the cap's mark where that comes first, and none after it."""
    early, late = wire(hold_bytes=280 * MIB), wire(hold_bytes=325 * MIB)
    assert early.next(100 * MIB) == 280 * MIB
    assert early.next(281 * MIB) == 300 * MIB
    assert late.next(316 * MIB) == 325 * MIB
    assert late.next(325 * MIB) == 336 * MIB
