"""How sure a study can be of a cost: differences, slopes and ratios, each with a confidence interval.

With one repetition of a configuration nothing is known of its own spread: it then takes the spread pooled over the
configurations that were repeated, and where there is none either, the interval is unknown (None) instead of zero.
That a cost is negligible is never read from an interval that happens to include 0: it is tested for (``within``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

_TABLES: Mapping[int, tuple[float, ...]] = {
    95: (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    90: (6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833, 1.812),
}
"""Two-sided quantiles of Student's t in percent, for 1 to 10 degrees of freedom (any statistical table)."""
_NORMAL: Mapping[int, float] = {95: 1.959964, 90: 1.644854}


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95 % confidence interval, in the unit of what was measured."""

    value: float
    half_width: float | None
    """Half the interval; None where nothing tells the spread."""
    count: int
    """Runs it rests on."""
    half_width_90: float | None = None
    """Half the 90 % interval, which a test of equivalence at 5 % needs; None where nothing tells the spread."""

    @property
    def may_be_zero(self) -> bool | None:
        """Whether the interval includes 0; None where there is no interval."""
        return None if self.half_width is None else abs(self.value) <= self.half_width

    def within(self, bound: float) -> bool | None:
        """Whether the value is shown to lie within ``bound`` of 0; None where there is no interval.

        Two one-sided tests at 5 % (TOST, Schuirmann 1987): both pass where the 90 % interval lies inside the bounds.
        """
        return None if self.half_width_90 is None else abs(self.value) + self.half_width_90 < bound


@dataclass(frozen=True, slots=True)
class Spread:
    """Standard deviation of repetitions around their mean, and the degrees of freedom it rests on."""

    deviation: float
    degrees: int
    pool: str = ""
    """What it was pooled over: two of one pool are known no better together than each is."""


def t95(degrees: int) -> float:
    """Two-sided 95 % quantile of Student's t."""
    return _t(95, degrees)


def _t(percent: int, degrees: int) -> float:
    """Two-sided quantile of Student's t; above 10 degrees by Cornish-Fisher (within 0.1 %)."""
    table, z = _TABLES[percent], _NORMAL[percent]
    if degrees <= len(table):
        return table[degrees - 1]
    return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)


def _estimate(value: float, error: float, degrees: int, count: int) -> Estimate:
    return Estimate(value, _t(95, degrees) * error, count, _t(90, degrees) * error)


def pooled(groups: Iterable[Sequence[float]]) -> Spread | None:
    """The spread of repetitions around their own group's mean; None where no group has two."""
    kept = [values for values in groups if len(values) > 1]
    degrees = sum(len(values) - 1 for values in kept)
    if degrees < 1:
        return None
    squares = sum((value - fmean(values)) ** 2 for values in kept for value in values)
    return Spread(math.sqrt(squares / degrees), degrees)


def mean(values: Sequence[float], spread: Spread | None) -> Estimate:
    """The mean of some repetitions."""
    if spread is None:
        return Estimate(fmean(values), None, len(values))
    return _estimate(fmean(values), spread.deviation / math.sqrt(len(values)), spread.degrees, len(values))


def difference(
    ours: Sequence[float], theirs: Sequence[float], spread: Spread | None, their_spread: Spread | None
) -> Estimate:
    """Mean of some runs less the mean of others, whose spreads may differ.

    Degrees of freedom by Welch and Satterthwaite, rounded down; spreads of one pool count with the pool's own.
    """
    value, count = fmean(ours) - fmean(theirs), len(ours) + len(theirs)
    if spread is None or their_spread is None:
        return Estimate(value, None, count)
    one, two = spread.deviation**2 / len(ours), their_spread.deviation**2 / len(theirs)
    degrees = min(spread.degrees, their_spread.degrees)
    if spread.pool != their_spread.pool and one + two > 0:
        degrees = max(degrees, int((one + two) ** 2 / (one**2 / spread.degrees + two**2 / their_spread.degrees)))
    return _estimate(value, math.sqrt(one + two), degrees, count)


def slope(points: Sequence[tuple[float, float]], spread: Spread | None = None) -> Estimate | None:
    """Least squares slope of y per unit of x; None unless x takes two values.

    The interval is the wider of two: by how far the points lie from the line, and by the spread of repetitions. With
    two points and no spread there is none.
    """
    if len({x for x, _ in points}) < 2:
        return None
    mean_x, mean_y = fmean(x for x, _ in points), fmean(y for _, y in points)
    spread_x = sum((x - mean_x) ** 2 for x, _ in points)
    value = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread_x
    found: list[Estimate] = []
    degrees = len(points) - 2
    if degrees >= 1:
        left = sum((y - mean_y - value * (x - mean_x)) ** 2 for x, y in points)
        found.append(_estimate(value, math.sqrt(left / degrees / spread_x), degrees, len(points)))
    if spread is not None:
        found.append(_estimate(value, spread.deviation / math.sqrt(spread_x), spread.degrees, len(points)))
    return max(found, key=lambda one: one.half_width or 0.0, default=Estimate(value, None, len(points)))
