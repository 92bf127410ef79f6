"""The clock a test moves by hand."""

from __future__ import annotations

import pytest

from guestroom.testing import ManualClock


def test_time_passes_only_when_it_is_told_to() -> None:
    """Nothing but ``advance`` and ``sleep`` moves it, both clocks alike, and sleeps are remembered."""
    clock = ManualClock(monotonic_s=10.0, wall_s=1000.0)
    clock.sleep(2.5)
    clock.advance(1.0)
    assert (clock.monotonic(), clock.wall(), clock.slept_s) == (13.5, 1003.5, [2.5])


def test_time_does_not_go_back() -> None:
    """A negative advance is a mistake of the test, not a clock."""
    clock = ManualClock()
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1.0)


def test_the_wall_clock_may_be_set() -> None:
    """``step_wall`` moves the wall clock alone, also backwards."""
    clock = ManualClock(monotonic_s=10.0, wall_s=1000.0)
    clock.step_wall(-500.0)
    assert (clock.monotonic(), clock.wall()) == (10.0, 500.0)
