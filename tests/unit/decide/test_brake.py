"""Who is slowed down before the headroom is gone, who goes on, and whose heap is asked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from guestroom.config import Brake
from guestroom.decide.brake import (
    DRAIN_S,
    EASE_FACTOR,
    EASE_S,
    EASED_IOPS,
    LEAST_S,
    REST_S,
    STOP_S,
    THROTTLE_IOPS,
    BrakeOff,
    BrakeOn,
    Ease,
    Flow,
    brake,
    brake_line,
    may_be_braked,
    trim,
)
from guestroom.units import MIB

HEADROOM, GUARD = 700 * MIB, 64 * MIB
LINE = brake_line(HEADROOM, GUARD)
WILD = Flow("wild", 1, 110 * MIB, 450 * MIB, 90 * MIB, 512 * MIB, Brake.THROTTLE)
THROTTLED = replace(WILD, braked=Brake.THROTTLE, iops=THROTTLE_IOPS, braked_for_s=LEAST_S, lately=1)
STOPPED = replace(WILD, braked=Brake.STOP, choice=Brake.STOP, braked_for_s=0.2)


def left(*flows: Flow) -> int:
    """What these leave of the headroom."""
    return HEADROOM - sum(flow.over_bytes for flow in flows)


def decided(*flows: Flow) -> tuple[object, ...]:
    """What is decided about them alone."""
    return brake(flows, left(*flows), HEADROOM, GUARD)


def test_the_line_leaves_half_of_what_is_above_the_guard() -> None:
    """A burst that leaves half of the headroom above the guard is none of the brake's business."""
    assert brake_line(700, 100) == 400
    assert brake_line(100, 100) == 100
    assert brake_line(50, 100) == 100


def test_what_may_still_come_is_the_burst_less_what_has_come() -> None:
    """512 MiB may be in flight, 360 are: 152 may still come; with no idle figure what is above the grant counts."""
    assert WILD.drain_bytes == 152 * MIB
    assert replace(WILD, idle_bytes=None).drain_bytes == 172 * MIB
    assert replace(WILD, overhead_bytes=900 * MIB).drain_bytes == 0
    assert replace(WILD, overhead_bytes=None).drain_bytes == 512 * MIB


def test_it_is_braked_with_its_numbers() -> None:
    """Past the line, with room to drain: slowed down as set, with what it took, what may come, and what is left."""
    (found,) = decided(WILD)
    assert isinstance(found, BrakeOn)
    numbers = found.over_bytes, found.drain_bytes, found.headroom_left_bytes, found.guard_bytes
    assert numbers == (340 * MIB, 152 * MIB, 360 * MIB, GUARD)
    assert found.kind is Brake.THROTTLE
    assert "340.0 MiB above its grant" in found.reason


def test_not_before_the_line() -> None:
    """With more than half left nobody is slowed down."""
    assert brake((WILD,), LINE + 1, HEADROOM, GUARD) == ()
    assert brake((WILD,), LINE, HEADROOM, GUARD) != ()


def test_not_where_it_could_not_drain_above_the_guard() -> None:
    """One byte short of what may still come: it is left to the freezer."""
    assert brake((WILD,), GUARD + WILD.drain_bytes, HEADROOM, GUARD) != ()
    assert brake((WILD,), GUARD + WILD.drain_bytes - 1, HEADROOM, GUARD) == ()


def test_who_drains_already_needs_its_room() -> None:
    """What a guest braked a moment ago may still take is not room for the next one; once drained it is."""
    young = replace(THROTTLED, name="young", braked_for_s=0.1)
    room = GUARD + young.drain_bytes + WILD.drain_bytes
    assert [step.name for step in brake((young, WILD), room, HEADROOM, GUARD)] == ["wild"]
    assert brake((young, WILD), room - 1, HEADROOM, GUARD) == ()
    drained = replace(young, braked_for_s=DRAIN_S)
    assert [step.name for step in brake((drained, WILD), room - 1, HEADROOM, GUARD)] == ["wild"]


def test_the_furthest_above_its_grant_by_weight_first() -> None:
    """With room for one only, it is the one that has borrowed most for its weight."""
    heavy = replace(WILD, name="heavy", weight=3, overhead_bytes=500 * MIB)
    found = brake((heavy, WILD), GUARD + WILD.drain_bytes, HEADROOM, GUARD)
    assert [step.name for step in found] == ["wild"]


@pytest.mark.parametrize(
    "changed",
    [
        replace(WILD, overhead_bytes=110 * MIB),
        replace(WILD, overhead_bytes=None),
        replace(WILD, held=True),
        replace(WILD, runs=False),
        replace(WILD, burst_bytes=0),
        replace(WILD, choice=Brake.NONE),
        replace(WILD, throttles=False),
        replace(WILD, choice=Brake.STOP, rested_s=REST_S / 2),
        THROTTLED,
    ],
)
def test_who_is_never_braked(changed: Flow) -> None:
    """Within its grant, unknown, held, away, nothing to drain, off, no disk to slow, just stopped, braked already."""
    assert may_be_braked(WILD)
    assert not may_be_braked(changed)
    assert not [step for step in brake((changed,), GUARD + 512 * MIB, 4096 * MIB, GUARD) if isinstance(step, BrakeOn)]


def test_a_throttle_is_lifted_in_steps() -> None:
    """Back within its grant its disks take four times as much, again and again, then it is off; never at once."""
    flow, steps = replace(THROTTLED, overhead_bytes=100 * MIB), []
    while flow.braked is not None and len(steps) < 10:
        (step,) = decided(flow)
        steps.append(step)
        if isinstance(step, BrakeOff):
            break
        assert isinstance(step, Ease)
        assert step.iops == flow.iops * EASE_FACTOR
        assert decided(replace(flow, iops=step.iops, eased_ago_s=EASE_S / 2)) == (), "each step lasts"
        flow = replace(flow, iops=step.iops, eased_ago_s=EASE_S)
    assert len(steps) == 4
    assert flow.iops == EASED_IOPS


def test_a_throttle_stays_while_it_is_needed() -> None:
    """Above its grant and past the line it stays; before its least time, held or unknown too."""
    assert decided(THROTTLED) == ()
    within = replace(THROTTLED, overhead_bytes=100 * MIB)
    assert decided(replace(within, braked_for_s=LEAST_S - 0.1)) == ()
    assert decided(replace(within, held=True)) == ()
    assert brake((replace(THROTTLED, overhead_bytes=None),), LINE, HEADROOM, GUARD) == ()


def test_who_is_braked_often_stays_so_for_longer() -> None:
    """The fourth time within a minute lasts eight times as long."""
    within = replace(THROTTLED, overhead_bytes=100 * MIB, lately=4)
    assert decided(replace(within, braked_for_s=LEAST_S * 8 - 0.1)) == ()
    assert decided(replace(within, braked_for_s=LEAST_S * 8)) != ()


def test_a_stop_ends_when_it_has_given_back_or_after_a_second() -> None:
    """Stopped until it is back within its grant, and never for longer than its user would not notice."""
    assert decided(STOPPED) == ()
    assert isinstance(decided(replace(STOPPED, overhead_bytes=100 * MIB))[0], BrakeOff)
    for overhead in (450 * MIB, None):
        assert isinstance(decided(replace(STOPPED, overhead_bytes=overhead, braked_for_s=STOP_S))[0], BrakeOff)


def test_switched_off_means_off() -> None:
    """A braked guest whose brake is none from now on goes on."""
    (step,) = decided(replace(THROTTLED, choice=Brake.NONE))
    assert isinstance(step, BrakeOff)


def test_whose_heap_is_asked() -> None:
    """Above its grant and not rising; in a brake once drained; not within its grant, held, or without the brake."""
    assert trim((WILD,)) == ("wild",)
    for other in (
        replace(WILD, rising_bytes=MIB),
        replace(WILD, overhead_bytes=110 * MIB),
        replace(WILD, overhead_bytes=None),
        replace(WILD, held=True),
        replace(WILD, choice=Brake.NONE),
        replace(WILD, burst_bytes=0),
        replace(WILD, runs=False),
        replace(THROTTLED, braked_for_s=DRAIN_S / 2),
    ):
        assert trim((other,)) == ()
    assert trim((THROTTLED,)) == ("wild",)
    assert trim((replace(STOPPED, runs=False),)) == ("wild",)


def test_asking_in_vain_is_asked_less() -> None:
    """Each time that nothing came the wait is twice as long, up to a minute; a braked guest is asked every time."""
    assert trim((replace(WILD, trimmed_ago_s=3.0, in_vain=0),))
    assert not trim((replace(WILD, trimmed_ago_s=3.0, in_vain=1),))
    assert trim((replace(WILD, trimmed_ago_s=60.0, in_vain=1000),))
    assert trim((replace(THROTTLED, trimmed_ago_s=DRAIN_S, in_vain=1000),))
