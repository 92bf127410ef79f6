"""Where a guest's overhead is heading, and a warning while there is still time (EVE issue 3865 asks for it).

The slope is the median of the slopes between all pairs of points (Theil and Sen): up to 29 % of the points may be
anything, a burst, a reading in the middle of a cache drop, without moving it, where least squares follows each of them.
It is computed from few points (66 pairs for 12), since a thousand guests are looked at by one loop.

A warning is raised when the trend is one (three quarters of the pairs rise, by more than readings are uncertain)
and the time it leaves is short; it is cleared when twice that time is left again, so that a trend that hovers at
the mark is told once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from guestroom.config import Settings
from guestroom.decide import rules
from guestroom.facts import GuestFacts
from guestroom.units import MIB, format_bytes

MOST_POINTS = 12
LEAST_POINTS = 4
NOISE_BYTES = 4 * MIB
"""A rise under this over the whole span is no trend: a huge page is 2 MiB, and charges come in batches."""
NEAR_BYTES = 16 * MIB
"""So close to its wall a warning is not cleared, whatever the trend: one burst takes that in 5 ms (measured)."""
_RISING = 0.75
"""The share of pairs that rise: of noise around a level it is half."""


@dataclass(frozen=True, slots=True)
class Point:
    """One reading."""

    at_s: float
    overhead_bytes: int


@dataclass(frozen=True, slots=True)
class Trend:
    """A line through the points, as far as there is one."""

    slope_bytes_per_s: float
    """The median over all pairs of points."""
    rising: float
    """The share of pairs that rise, 0 to 1."""
    span_s: float
    points: int

    @property
    def is_rise(self) -> bool:
        """True for a rise that is more than noise."""
        gained = self.slope_bytes_per_s * self.span_s
        return self.rising >= _RISING and gained >= NOISE_BYTES


@dataclass(frozen=True, slots=True)
class Outlook:
    """One guest's numbers; ``ps`` and ``top`` may show them, warnings are made of them."""

    name: str
    overhead_bytes: int | None
    grant_bytes: int
    room_bytes: int | None
    """Overhead it can still take: up to its wall, and within what is left of the headroom; None: unknown or no wall."""
    trend: Trend | None
    """None with too few points."""

    @property
    def left_s(self) -> float | None:
        """Time until the room is used up at this rate; None where it does not rise or the room is unknown."""
        if self.trend is None or not self.trend.is_rise or self.room_bytes is None:
            return None
        return self.room_bytes / self.trend.slope_bytes_per_s


@dataclass(frozen=True, slots=True)
class Warned:
    """A warning that stands; keep it and give it to the next look."""

    name: str
    since_s: float
    """Monotonic seconds."""
    left_s: float
    room_bytes: int
    overhead_bytes: int
    grant_bytes: int
    slope_bytes_per_s: float
    message: str


@dataclass(frozen=True, slots=True)
class Cleared:
    """A warning that is over."""

    name: str
    lasted_s: float
    message: str


def trend(points: Iterable[Point]) -> Trend | None:
    """The trend through ``points`` (in any order); None with fewer than ``LEAST_POINTS`` or all at one moment."""
    few = thin(points)
    if len(few) < LEAST_POINTS:
        return None
    slopes = [
        (later.overhead_bytes - earlier.overhead_bytes) / (later.at_s - earlier.at_s)
        for earlier, later in combinations(few, 2)
        if later.at_s > earlier.at_s
    ]
    if not slopes:
        return None
    rising = sum(slope > 0 for slope in slopes) / len(slopes)
    return Trend(middle(slopes), rising, few[-1].at_s - few[0].at_s, len(few))


def middle(slopes: Sequence[float]) -> float:
    """The slope that stands for all: the median, which a minority of wild ones does not move."""
    ordered = sorted(slopes)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def thin(points: Iterable[Point], most: int = MOST_POINTS) -> tuple[Point, ...]:
    """At most ``most`` of ``points``, in the order of time, evenly spaced, the first and last among them."""
    ordered = sorted(points, key=lambda point: point.at_s)
    if len(ordered) <= most:
        return tuple(ordered)
    return tuple(ordered[i * (len(ordered) - 1) // (most - 1)] for i in range(most))


def largest_rise(points: Iterable[Point]) -> int:
    """The largest gain from one point to a later one, in bytes: the burst that was seen (for the headroom)."""
    lowest: int | None = None
    rise = 0
    for point in sorted(points, key=lambda point: point.at_s):
        lowest = point.overhead_bytes if lowest is None else min(lowest, point.overhead_bytes)
        rise = max(rise, point.overhead_bytes - lowest)
    return rise


def fastest(points: Iterable[Point]) -> float:
    """The fastest gain between two neighbouring points, in bytes a second, 0 where nothing rose (for the guard)."""
    ordered = sorted(points, key=lambda point: point.at_s)
    return max(
        (
            (later.overhead_bytes - earlier.overhead_bytes) / (later.at_s - earlier.at_s)
            for earlier, later in pairwise(ordered)
            if later.at_s > earlier.at_s and later.overhead_bytes > earlier.overhead_bytes
        ),
        default=0.0,
    )


def outlook(guest: GuestFacts, points: Iterable[Point], headroom_left_bytes: int) -> Outlook:
    """A guest's numbers; ``headroom_left_bytes`` is what is left of the shared headroom now (``headroom_left``).

    Its room ends at its own wall, or where the headroom is used up, whichever comes first.
    """
    use = guest.overhead_bytes
    room: int | None = None
    if use is not None and isinstance(guest.limit_bytes, int):
        to_wall = guest.limit_bytes - guest.ram_charged_bytes - use
        to_end = max(0, guest.grant_bytes - use) + max(0, headroom_left_bytes)
        room = max(0, min(to_wall, to_end))
    return Outlook(guest.name, use, guest.grant_bytes, room, trend(points))


def warning(seen: Outlook, present: Warned | None, settings: Settings, now_s: float) -> Warned | Cleared | None:
    """A warning to be raised or cleared now; None where it stays as it is.

    With ``present`` None it is raised when the room is used up within ``warn_before_s`` at this rate. A
    present one is cleared when there is no such rise any more, or twice that time is left, and the wall is not
    near. Where the use is unknown nothing changes (P6).
    """
    if seen.overhead_bytes is None or seen.room_bytes is None:
        return None
    left = seen.left_s
    if present is None:
        return _raised(seen, left, now_s) if left is not None and left <= settings.warn_before_s else None
    if seen.room_bytes < NEAR_BYTES or (left is not None and rules.warned_again(left, settings.warn_before_s)):
        return None
    lasted = now_s - present.since_s
    now = "it does not rise any more" if left is None else f"{left:.0f} s are left now"
    return Cleared(
        seen.name, lasted, f"{seen.name}: {now}, with {format_bytes(seen.room_bytes)} of room; warned {lasted:.0f} s"
    )


def _raised(seen: Outlook, left: float, now_s: float) -> Warned:
    """The warning with its numbers."""
    assert seen.trend is not None
    assert seen.room_bytes is not None
    assert seen.overhead_bytes is not None
    slope = seen.trend.slope_bytes_per_s
    message = (
        f"the overhead of {seen.name} rises by {format_bytes(round(slope * 60))} a minute: it uses "
        f"{format_bytes(seen.overhead_bytes)} (grant {format_bytes(seen.grant_bytes)}) and can take "
        f"{format_bytes(seen.room_bytes)} more, which is {left:.0f} s at this rate"
    )
    return Warned(seen.name, now_s, left, seen.room_bytes, seen.overhead_bytes, seen.grant_bytes, slope, message)
