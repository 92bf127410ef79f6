"""The wall clock against the monotonic one."""

from __future__ import annotations

import os

import pytest

from guestroom.agent.clocks import WallClock, ago_s
from guestroom.facts import Identity
from guestroom.testing import ManualClock

HZ = os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("seconds", [3600.0, -3600.0, 2.0])
def test_a_jump_is_noticed_once(seconds: float) -> None:
    """A wall clock that was set is told with how far, once; time that passes is no jump, nor is slewing."""
    clock = ManualClock()
    watch = WallClock(clock)
    clock.advance(100.0)
    clock.step_wall(0.5)
    assert watch.jumped_s() is None
    clock.step_wall(seconds)
    assert watch.jumped_s() == pytest.approx(seconds)
    assert watch.jumped_s() is None


def test_ages_are_bounded_by_the_process() -> None:
    """A record is at most as old as its QEMU, whatever the wall clock says, and never from the future."""
    clock = ManualClock(monotonic_s=1000.0)
    began = Identity("boot", 1, 2, 900 * HZ)
    at_wall_s = clock.wall()
    clock.advance(60.0)
    assert ago_s(clock, at_wall_s, began) == pytest.approx(60.0)
    clock.step_wall(1e7)
    assert ago_s(clock, at_wall_s, began) == pytest.approx(160.0)
    assert ago_s(clock, at_wall_s, None) > 1e6
    clock.step_wall(-3e7)
    assert ago_s(clock, at_wall_s, began) == 0.0
