"""A warning comes in time, is not fooled by wild readings, and does not flutter."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guestroom.config import Settings
from guestroom.decide import Cleared, Outlook, Point, Trend, Warned, rules, trend, warning
from guestroom.units import MIB

M = MIB
MODULE = sys.modules["guestroom.decide.trend"]
MANY = settings(max_examples=200, deadline=None)
SETTINGS = Settings(warn_before_s=600.0)
noise = st.lists(st.integers(-M // 2, M // 2), min_size=12, max_size=12)
wild = st.dictionaries(st.integers(0, 11), st.integers(-200 * M, 800 * M), max_size=2)


def readings(per_s: float, off: list[int], spikes: dict[int, int]) -> list[Point]:
    """Twelve readings, 10 s apart, on a line with noise, and some anywhere."""
    return [Point(10.0 * i, 300 * M + round(10 * i * per_s) + off[i] + spikes.get(i, 0)) for i in range(12)]


def is_close(per_s: float, off: list[int], spikes: dict[int, int]) -> bool:
    """The slope is that of the line, to what half a MiB of noise and two wild readings can do to a median."""
    found = trend(readings(per_s, off, spikes))
    assert found is not None
    return abs(found.slope_bytes_per_s - per_s) <= M / 20


@MANY
@given(per_s=st.floats(-2.0 * M, 2.0 * M), off=noise, spikes=wild)
def test_two_wild_readings_do_not_bend_the_slope(per_s: float, off: list[int], spikes: dict[int, int]) -> None:
    """A burst or a drop of hundreds of MiB is not where the overhead is heading."""
    assert is_close(per_s, off, spikes)


def test_a_mean_is_bent_by_one_wild_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: with the mean of the slopes one burst at the end looks like a trend."""
    off, spikes = [0] * 12, {11: 500 * M}
    assert is_close(0.0, off, spikes)
    monkeypatch.setattr(MODULE, "middle", lambda slopes: sum(slopes) / len(slopes))
    assert not is_close(0.0, off, spikes)


@MANY
@given(off=noise, spikes=wild, room=st.integers(0, 1000))
def test_a_level_that_is_only_noisy_is_never_warned_about(off: list[int], spikes: dict[int, int], room: int) -> None:
    """However near the wall: what does not rise will not reach it."""
    seen = Outlook("A", 300 * M, 400 * M, room * M, trend(readings(0.0, off, spikes)))
    assert warning(seen, None, SETTINGS, 0.0) is None


@MANY
@given(per_s=st.floats(0.1 * M, 4.0 * M), ahead_s=st.floats(130.0, 3000.0), off=noise)
def test_a_steady_rise_is_warned_about_before_the_wall(per_s: float, ahead_s: float, off: list[int]) -> None:
    """Once two minutes were seen, with what is left told to a fifth; it is not told while much more is left."""
    wall = round(per_s * ahead_s)
    points: list[Point] = []
    present: Warned | None = None
    for i in range(int(ahead_s // 10) + 1):
        points = [*points, Point(10.0 * i, round(10 * i * per_s) + off[i % 12])][-12:]
        use = points[-1].overhead_bytes
        seen = Outlook("A", use, 400 * M, max(0, wall - use), trend(points))
        news = warning(seen, present, SETTINGS, 10.0 * i)
        assert not isinstance(news, Cleared)
        if isinstance(news, Warned):
            left = ahead_s - 10.0 * i
            assert present is None
            assert left <= 600 * 1.25
            assert abs(news.left_s - left) <= 0.2 * left + 20
            present = news
    assert present is not None
    assert present.since_s < ahead_s


def told(lefts: list[float]) -> list[str]:
    """What is said while the time left takes these values."""
    said = []
    present: Warned | None = None
    for i, left in enumerate(lefts):
        seen = Outlook("A", 300 * M, 400 * M, round(left * M), Trend(float(M), 1.0, 120.0, 12))
        news = warning(seen, present, SETTINGS, float(i))
        if news is not None:
            said.append(type(news).__name__)
            present = news if isinstance(news, Warned) else None
    return said


@MANY
@given(lefts=st.lists(st.floats(100.0, 1190.0), max_size=40))
def test_what_hovers_at_the_mark_is_told_once(lefts: list[float]) -> None:
    """Until twice the time is left again a warning is one warning."""
    assert told(lefts) in ([], ["Warned"])


def test_without_its_distance_a_warning_flutters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: cleared right above the mark, each swing around it is told twice."""
    lefts: list[Any] = [590.0, 610.0] * 5
    assert told(lefts) == ["Warned"]
    monkeypatch.setattr(rules, "warned_again", lambda left, before: left < before)
    assert len(told(lefts)) == 10
