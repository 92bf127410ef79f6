"""Upper margins from samples: how much to add so that a share of what is yet unseen stays within.

Split-conformal: the samples are misses of predictions that had not seen them, and are exchangeable with the next miss.
The k-th smallest of n then covers a share of the unseen that follows Beta(k, n + 1 - k), whatever their distribution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from guestroom.size.promise import CONFIDENCE, conformal_rank, supported, sure_rank

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
    """Clopper-Pearson: shares between which the true one lies with 95 % confidence, half of the doubt at each end."""
    sure = 1 - (1 - CONFIDENCE) / 2
    return supported(count, hits, sure), 1 - supported(count, count - hits, sure)
