"""What the guard is made of: the time an alarm takes to be answered, and how fast guests grow."""

from __future__ import annotations

from collections import deque

from guestroom.agent.alarm_measure import BURST_S, Climb, Reaction, p99
from guestroom.units import MIB


def test_the_99th_percentile_leaves_one_in_a_hundred_out() -> None:
    """Of a hundred the largest does not count, of fewer it does, of none nothing is known."""
    assert p99(deque()) is None
    assert p99(deque([1.0])) == 1.0
    assert p99(deque([0.1] * 98 + [9.0])) == 9.0
    assert p99(deque([0.1] * 99 + [9.0])) == 0.1


def test_the_reaction_is_the_wake_and_the_longer_of_look_and_hold() -> None:
    """A hold is counted from the look's beginning, so it has the look in it; before any hold the look counts."""
    reaction = Reaction()
    assert reaction.total_s is None
    reaction.wakes.append(0.001)
    reaction.looks.append(0.002)
    assert reaction.total_s == 0.003
    reaction.holds.append(0.006)
    assert reaction.total_s == 0.007


def test_the_reaction_is_told_when_it_changed_and_not_too_often() -> None:
    """The first one at once, then at most every five seconds and only by a tenth more or less."""
    reaction = Reaction()
    assert reaction.news(1.0) is None
    reaction.looks.append(0.010)
    assert reaction.news(5.0) is None, "asked too soon after the last time"
    told = {"event": "reaction", "reaction_ms": 10.0, "wake_ms": None, "look_ms": 10.0, "hold_ms": None, "samples": 1}
    assert reaction.news(6.0) == told
    reaction.looks.append(0.0105)
    assert reaction.news(11.0) is None
    reaction.looks.append(0.0115)
    assert reaction.news(12.0) is None
    news = reaction.news(16.0)
    assert news is not None
    assert news["reaction_ms"] == 11.5


def test_the_fastest_growth_is_over_the_time_an_answer_takes() -> None:
    """10 MiB in 2 ms is a batch of charges and no speed; 40 MiB in 10 ms is one of 4 GiB/s."""
    climb = Climb()
    climb.add(1.0, 1.0, 100 * MIB, exact=True)
    climb.add(1.002, 1.002, 110 * MIB, exact=True)
    assert (climb.bytes_per_s, climb.burst_bytes) == (0, 10 * MIB)
    climb.add(1.01, 1.01, 140 * MIB, exact=True)
    assert round(climb.bytes_per_s / MIB) == 4000
    assert climb.burst_bytes == 40 * MIB
    climb.add(1.02, 1.02, 60 * MIB, exact=True)
    assert climb.burst_bytes == 40 * MIB


def test_a_reading_is_as_old_as_it_can_be() -> None:
    """Each reading lies somewhere between two moments: the growth is over the longest time it can have taken."""
    climb = Climb()
    climb.add(1.0, 1.5, 0, exact=True)
    climb.add(1.6, 2.0, 100 * MIB, exact=True)
    assert climb.bytes_per_s == 100 * MIB


def test_page_cache_is_no_growth() -> None:
    """A reading that may count cache is where a rise begins, never where it ends."""
    climb = Climb()
    climb.add(1.0, 1.0, 0, exact=False)
    climb.add(1.1, 1.1, 300 * MIB, exact=False)
    assert climb.burst_bytes == 0
    climb.add(1.2, 1.2, 350 * MIB, exact=True)
    assert climb.burst_bytes == 350 * MIB, "from the lowest there was"


def test_a_slow_rise_is_no_burst() -> None:
    """10 MiB a second for a minute is 10 MiB at once, not 600."""
    climb = Climb()
    for tenth in range(600):
        climb.add(tenth / 10, tenth / 10, tenth * MIB, exact=True)
    assert climb.burst_bytes <= (BURST_S * 10 + 1) * MIB
    assert climb.bytes_per_s <= 11 * MIB


def test_growth_is_told_when_it_is_a_tenth_more() -> None:
    """Nothing of nothing; a rise once; a little more is not told again."""
    climb = Climb()
    assert climb.news("a") is None
    climb.add(1.0, 1.0, 0, exact=True)
    climb.add(1.1, 1.1, 100 * MIB, exact=True)
    told = climb.news("a")
    assert told == {
        "event": "growth",
        "name": "a",
        "growth_bytes_per_s": climb.bytes_per_s,
        "burst_bytes": 100 * MIB,
    }
    climb.add(1.2, 1.2, 105 * MIB, exact=True)
    assert climb.news("a") is None
