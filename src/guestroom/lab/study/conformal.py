"""Upper margins from samples: how much to add so that a share of what is yet unseen stays within.

Split-conformal: the samples are misses of predictions that had not seen them, and are exchangeable with the next miss.
The k-th smallest of n then covers a share of the unseen that follows Beta(k, n + 1 - k), whatever their distribution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean

from guestroom.size.promise import conformal_rank, sure_rank

_SURE = 0.95
_TAIL = 0.25
"""Share of the samples that a tail is continued from."""


def upper(samples: Sequence[float], coverage: float) -> tuple[float, int]:
    """The margin for ``coverage``, never below 0, and how many samples stay within it; needs one sample or more.

    With enough samples it covers with 95 % confidence, with fewer in the mean over studies, with still fewer it is
    continued from their tail and no sample supports it.
    """
    ordered = sorted(samples)
    rank = sure_rank(len(ordered), coverage) or conformal_rank(len(ordered), coverage)
    size = _continued(ordered, coverage) if rank is None else ordered[rank - 1]
    return max(0.0, size), len(ordered) if rank is None else rank


def _continued(ordered: Sequence[float], coverage: float) -> float:
    """The samples continued as an exponential tail: from the largest, which covers n / (n + 1) in the mean, by the mean
    excess of their upper quarter."""
    start = ordered[math.floor((len(ordered) - 1) * (1 - _TAIL))]
    excess = fmean(sample - start for sample in ordered if sample >= start)
    return ordered[-1] + excess * max(0.0, -math.log((len(ordered) + 1) * (1 - coverage)))


def exact_bounds(hits: int, count: int) -> tuple[float, float]:
    """Clopper-Pearson: shares between which the true one lies with 95 % confidence, by bisection of the binomial."""
    tail = (1 - _SURE) / 2
    low = 0.0 if hits == 0 else _turn(lambda share: 1 - _at_most(hits - 1, count, share) < tail)
    high = 1.0 if hits == count else _turn(lambda share: _at_most(hits, count, share) > tail)
    return low, high


def _at_most(successes: int, count: int, share: float) -> float:
    """Chance of at most so many successes in ``count`` tries."""
    return math.fsum(math.comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(successes + 1))


def _turn(holds: Callable[[float], bool]) -> float:
    """The largest share for which a condition still holds that fails from some share on."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
