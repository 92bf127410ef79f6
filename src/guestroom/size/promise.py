"""How much may be promised from n samples: order statistics and what they cover. Pure.

The k-th smallest of n exchangeable peaks covers the next one with a probability that is itself distributed as
Beta(k, n + 1 - k) (split conformal prediction: Vovk, Gammerman and Shafer, 2005; the same law as of tolerance limits,
Wilks, 1941). Its mean k / (n + 1) is what conformal prediction speaks of; a promise that holds in 95 of 100 histories
takes the 5th percentile instead: so 59, 299 and 2,995 samples are the least for 95, 99 and 99.9 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

CONFIDENCE = 0.95
"""In how many histories of samples a promise made from them holds."""
_ROUND = 1e-9


@dataclass(frozen=True, slots=True)
class Promise:
    """A share of guests that stays within a figure, as far as samples support it."""

    wanted: float
    coverage: float | None
    """The share that is supported, never more than wanted; None: no sample says anything."""
    level: str | None
    """Which likeness the samples have in common."""
    samples: int
    """How many there are."""
    counted: float
    """What they count, the older ones for less than 1."""
    needed: int
    """How many it takes for ``wanted``."""
    words: str

    @property
    def is_kept(self) -> bool:
        """Whether what was wanted may be promised."""
        return self.coverage is not None and self.coverage >= self.wanted - _ROUND


def needed(coverage: float) -> int:
    """The least number of samples whose largest covers ``coverage`` with 95 % confidence: 59 for 0.95."""
    return math.ceil(math.log(1 - CONFIDENCE) / math.log(coverage) - _ROUND)


def conformal_rank(n: int, coverage: float) -> int | None:
    """Split conformal: the k for which the k-th smallest of n covers ``coverage`` on average; None: n is too few."""
    rank = math.ceil((n + 1) * coverage - _ROUND)
    return rank if rank <= n else None


@lru_cache(maxsize=8192)
def sure_rank(n: int, coverage: float) -> int | None:
    """The least k for which the k-th smallest of n covers ``coverage`` with 95 % confidence; None: n is too few."""
    over, rank = 0.0, None
    term = n * math.log(coverage)  # of P(Bin(n, coverage) = n); every k takes one more term off the confidence
    for k in range(n, 0, -1):
        over += math.exp(term)
        if over > 1 - CONFIDENCE + _ROUND:
            break
        rank = k
        term += math.log(k / (n - k + 1)) + math.log((1 - coverage) / coverage)
    return rank


@lru_cache(maxsize=8192)
def supported(n: int, k: int, confidence: float = CONFIDENCE) -> float:
    """Share that a figure surely covers which k of n samples stayed within (Clopper-Pearson, one-sided).

    With 95 % confidence it is the 5th percentile of Beta(k, n + 1 - k); 0 for k = 0.
    """
    if k <= 0:
        return 0.0
    if k >= n:
        return float((1 - confidence) ** (1 / n))
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if _at_least(n, k, middle) > 1 - confidence:
            high = middle
        else:
            low = middle
    return low


def _at_least(n: int, k: int, p: float) -> float:
    """P(Bin(n, p) >= k), summed from the largest in logarithms, which neither over- nor underflow."""
    if p <= 0.0 or p >= 1.0:
        return float(p >= 1.0)
    whole = math.lgamma(n + 1)
    logs = (
        whole - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * math.log(p) + (n - i) * math.log1p(-p)
        for i in range(k, n + 1)
    )
    return math.fsum(math.exp(one) for one in logs)


@lru_cache(maxsize=256)
def usual_misses(n: int, coverage: float) -> int:
    """The most of n guests that go above a figure covering ``coverage`` in 95 of 100 histories: 3 of 20 for 0.95."""
    most = 0
    while most < n and _at_least(n, most + 1, 1 - coverage) > 1 - CONFIDENCE:
        most += 1
    return most


def odds(coverage: float) -> str:
    """A share for people, never rounded up: ``19 of 20``."""
    if coverage < 0.5 - _ROUND:
        return "fewer than 1 of 2"
    of = math.floor(1 / (1 - coverage) + 1e-6) if coverage < 1 else 1_000_000
    return f"{of - 1} of {of}"


def made(wanted: float, counted: float, samples: int, within: float, level: str) -> Promise:
    """The promise for a figure which ``within`` of ``counted`` samples of likeness ``level`` stayed within."""
    least, n = needed(wanted), math.floor(counted + _ROUND)
    share = supported(n, min(n, math.floor(within + _ROUND))) if n > 0 else 0.0
    shown = f"{samples} sample{'s' if samples != 1 else ''} of {level}"
    if n >= least and share >= wanted - 1e-6:
        return Promise(wanted, wanted, level, samples, counted, least, f"{odds(wanted)} stay within it, by {shown}")
    if n < least:
        why = f"{shown} support no more; {odds(wanted)} takes {least}"
        if n < samples:
            why += f", and old ones, or many of one, count less ({counted:.0f} in all)"
    else:
        why = f"of {shown} too many went above it for {odds(wanted)}"
    return Promise(wanted, share, level, samples, counted, least, f"at most {odds(share)} can be promised: {why}")


def none(wanted: float) -> Promise:
    """Nothing is known of guests like it here."""
    words = f"nothing is promised: no sample of such guests on this host; {odds(wanted)} takes {needed(wanted)}"
    return Promise(wanted, None, None, 0, 0.0, needed(wanted), words)
