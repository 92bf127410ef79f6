"""How sure a study can be of a cost: medians, differences to the base and slopes, each with a confidence interval.

With one repetition of a configuration nothing is known of its own spread: differences then use the spread pooled over
all configurations, and where there is none either, the interval is unknown (None) instead of zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

_T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""Two-sided 95 % quantiles of Student's t for 1 to 10 degrees of freedom (any statistical table)."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95 % confidence interval, in the unit of what was measured."""

    value: float
    half_width: float | None
    """Half the interval; None where nothing tells the spread."""
    count: int
    """Runs it rests on."""

    @property
    def may_be_zero(self) -> bool | None:
        """Whether the interval includes 0; None where there is no interval."""
        return None if self.half_width is None else abs(self.value) <= self.half_width


def t95(degrees: int) -> float:
    """Two-sided 95 % quantile of Student's t; above 10 degrees by Cornish-Fisher (within 0.1 %)."""
    if degrees <= len(_T95):
        return _T95[degrees - 1]
    z = 1.959964
    return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)


def pooled(groups: Mapping[str, Sequence[float]]) -> tuple[float, int] | None:
    """Standard deviation of repetitions around their group's mean and its degrees of freedom; None without any."""
    degrees = sum(len(values) - 1 for values in groups.values() if values)
    if degrees < 1:
        return None
    squares = sum((value - fmean(values)) ** 2 for values in groups.values() for value in values)
    return math.sqrt(squares / degrees), degrees


def difference(groups: Mapping[str, Sequence[float]], config: str, base: str) -> Estimate:
    """Mean of a configuration less the base's, with the spread pooled over all groups."""
    ours, theirs = groups[config], groups[base]
    spread = pooled(groups)
    half = None
    if spread is not None:
        half = t95(spread[1]) * spread[0] * math.sqrt(1 / len(ours) + 1 / len(theirs))
    return Estimate(fmean(ours) - fmean(theirs), half, len(ours) + len(theirs))


def slope(points: Sequence[tuple[float, float]]) -> Estimate | None:
    """Least squares slope of y per unit of x; None unless x takes two values. With two points: no interval."""
    if len({x for x, _ in points}) < 2:
        return None
    mean_x, mean_y = fmean(x for x, _ in points), fmean(y for _, y in points)
    spread_x = sum((x - mean_x) ** 2 for x, _ in points)
    value = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread_x
    degrees = len(points) - 2
    if degrees < 1:
        return Estimate(value, None, len(points))
    left = sum((y - mean_y - value * (x - mean_x)) ** 2 for x, y in points)
    return Estimate(value, t95(degrees) * math.sqrt(left / degrees / spread_x), len(points))
