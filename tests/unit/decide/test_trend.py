"""Where overhead is heading, and the warning while there is time."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from guestroom.decide import (
    Cleared,
    Outlook,
    Point,
    Trend,
    Warned,
    fastest,
    largest_rise,
    outlook,
    thin,
    trend,
    warning,
)
from guestroom.units import UNLIMITED

from .samples import M, guest, settings


def line(per_s: float, *, points: int = 12, every_s: float = 10.0, start: int = 100 * M) -> list[Point]:
    """Readings on a straight line."""
    return [Point(i * every_s, start + round(i * every_s * per_s)) for i in range(points)]


def seen(room: int | None, per_s: float, *, overhead: int | None = 300 * M) -> Outlook:
    """Numbers with a trend over two minutes."""
    rise = Trend(per_s, 1.0 if per_s > 0 else 0.5, 120.0, 12)
    return Outlook("A", overhead, 400 * M, room, rise)


def test_a_straight_line_has_its_slope() -> None:
    """Up, flat and down."""
    for per_s, rising in ((M / 2, True), (0.0, False), (-M / 2, False)):
        found = trend(line(per_s))
        assert found is not None
        assert (found.slope_bytes_per_s, found.is_rise, found.span_s, found.points) == (per_s, rising, 110.0, 12)


def test_the_order_of_readings_does_not_matter() -> None:
    """They come from several places."""
    assert trend(reversed(line(M / 2))) == trend(line(M / 2))


def test_three_wild_readings_of_twelve_do_not_move_it() -> None:
    """A burst and a drop of 500 MiB: the slope is still that of the others."""
    points = line(float(M))
    for i, off in ((3, 500 * M), (7, -90 * M), (11, 500 * M)):
        points[i] = replace(points[i], overhead_bytes=points[i].overhead_bytes + off)
    found = trend(points)
    assert found is not None
    assert found.slope_bytes_per_s == M


def test_too_few_readings_are_no_trend() -> None:
    """Three readings, or many at one moment, say nothing."""
    assert trend(line(float(M), points=3)) is None
    assert trend([Point(1.0, i * M) for i in range(9)]) is None
    assert trend(line(float(M), points=4)) is not None


def test_a_rise_within_the_noise_of_readings_is_none() -> None:
    """4 MiB over the whole span is where a trend begins."""
    for per_s, rises in ((65536.0, True), (65535.0, False)):
        found = trend(line(per_s, points=9, every_s=8.0))
        assert found is not None
        assert (found.span_s, found.is_rise) == (64.0, rises)


def test_thinning_keeps_first_and_last_and_the_spacing() -> None:
    """121 readings become 12 that are 11 apart or 10."""
    points = line(1.0, points=121, every_s=1.0)
    few = thin(points)
    assert (len(few), few[0], few[-1]) == (12, points[0], points[-1])
    assert {b.at_s - a.at_s for a, b in pairwise(few)} <= {10.0, 11.0}
    assert thin(points[:5]) == tuple(points[:5])


def test_the_largest_rise_is_from_a_low_to_a_later_high() -> None:
    """A fall is none, and a rise over several readings counts whole."""
    sizes = [50, 10, 60, 20, 90, 30]
    assert largest_rise([Point(float(i), size) for i, size in enumerate(sizes)]) == 80
    assert largest_rise([Point(0.0, 9), Point(1.0, 1)]) == largest_rise([]) == 0


def test_the_fastest_growth_is_between_neighbours() -> None:
    """Bytes a second; falling and equal moments count nothing."""
    assert fastest([Point(0.0, 0), Point(2.0, 100), Point(3.0, 200), Point(4.0, 50)]) == 100.0
    assert fastest([Point(1.0, 0), Point(1.0, 100)]) == fastest([]) == 0.0


def test_the_room_ends_at_the_wall_or_with_the_headroom() -> None:
    """Whichever is nearer; unknown use or no wall gives no room to count in."""
    one = guest("A", use_bytes=300 * M, grant_bytes=400 * M, limit_bytes=(512 + 450) * M)
    assert outlook(one, [], 128 * M).room_bytes == 150 * M
    assert outlook(one, [], 10 * M).room_bytes == 110 * M
    assert outlook(replace(one, overhead_bytes=430 * M), [], 10 * M).room_bytes == 10 * M
    assert outlook(replace(one, overhead_bytes=500 * M), [], -10 * M).room_bytes == 0
    assert outlook(replace(one, overhead_bytes=None), [], 10 * M).room_bytes is None
    assert outlook(replace(one, limit_bytes=UNLIMITED), [], 10 * M).room_bytes is None


def test_a_warning_comes_when_the_time_left_is_short() -> None:
    """600 MiB at 1 MiB/s are 600 s: warned at that, not a byte before; the numbers are in it."""
    assert warning(seen(600 * M + 1, float(M)), None, settings(), 5.0) is None
    raised = warning(seen(600 * M, float(M)), None, settings(), 5.0)
    assert isinstance(raised, Warned)
    assert (raised.left_s, raised.room_bytes, raised.overhead_bytes, raised.since_s) == (600.0, 600 * M, 300 * M, 5.0)
    assert raised.message == (
        "the overhead of A rises by 60.0 MiB a minute: it uses 300.0 MiB (grant 400.0 MiB) and can take 600.0 MiB "
        "more, which is 600 s at this rate"
    )


def test_without_a_rise_there_is_no_warning() -> None:
    """Flat, or no trend yet, however near the wall."""
    assert warning(seen(M, 0.0), None, settings(), 5.0) is None
    assert warning(replace(seen(M, 1.0), trend=None), None, settings(), 5.0) is None


def test_a_warning_is_told_once_and_cleared_at_twice_the_time() -> None:
    """Between the mark and twice the mark nothing is told; from there on it is over, with how long it lasted."""
    present = warning(seen(600 * M, float(M)), None, settings(), 5.0)
    assert isinstance(present, Warned)
    for room in (100, 600, 900, 1199):
        assert warning(seen(room * M, float(M)), present, settings(), 50.0) is None
    over = warning(seen(1200 * M, float(M)), present, settings(), 65.0)
    assert isinstance(over, Cleared)
    assert (over.lasted_s, "1200 s are left now" in over.message) == (60.0, True)
    still = warning(seen(600 * M, 0.0), present, settings(), 65.0)
    assert isinstance(still, Cleared)
    assert "does not rise any more" in still.message


def test_right_before_the_wall_a_warning_stays() -> None:
    """15 MiB before the wall a pause in the rise is no all-clear."""
    present = warning(seen(600 * M, float(M)), None, settings(), 5.0)
    assert isinstance(present, Warned)
    assert warning(seen(15 * M, 0.0), present, settings(), 65.0) is None


def test_unknown_use_neither_raises_nor_clears() -> None:
    """P6: what can't be read says nothing."""
    present = warning(seen(600 * M, float(M)), None, settings(), 5.0)
    assert isinstance(present, Warned)
    assert warning(seen(None, 0.0, overhead=None), present, settings(), 65.0) is None
    assert warning(seen(None, float(M), overhead=None), None, settings(), 65.0) is None
