"""The largest overhead seen in a window, from samples and from the kernel's own peak.

A sample once a second misses what happens between two of them: 259 MiB seen where the kernel had 311
(measured at 20 Hz). The kernel's peak (v1 ``memory.max_usage_in_bytes``, reset per window) misses nothing
but counts page cache, so it is exact only where no page cache blurs it; otherwise the largest gap between
two samples is added to what was sampled, up to that peak (DESIGN, word "peak").
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

BLUR_BYTES = 1 << 20
"""Page cache up to this much is within the accuracy that is asked of a peak."""


@dataclass(slots=True)
class _Half:
    """One half of the window."""

    began_s: float
    peak_bytes: int
    cache_bytes: int
    """Page cache there was at that peak."""


class PeakWindow:
    """Peak of one guest's overhead over the last ``window_s`` seconds, in two halves that take turns."""

    def __init__(self, window_s: float) -> None:
        self.half_s = window_s / 2
        self._halves: deque[_Half] = deque(maxlen=2)
        self._before_bytes: int | None = None
        """Peak of all halves that are over."""
        self._last: int | None = None
        self._largest_gap = 0

    def add(
        self,
        at_s: float,
        overhead_bytes: int,
        kernel_peak_bytes: int | None,
        cache_bytes: int | None,
        *,
        peak_is_old: bool = False,
    ) -> bool:
        """Take one sample in.

        ``kernel_peak_bytes`` is the overhead at the kernel's own peak since it was last reset (None: not
        known), ``cache_bytes`` the page cache in the same cgroup; ``peak_is_old``: that peak can't be reset and was
        there before the last sample. Returns True when a new half window begins and the kernel's peak should be reset.
        """
        if self._last is not None:
            self._largest_gap = max(self._largest_gap, overhead_bytes - self._last)
        self._last = overhead_bytes
        if kernel_peak_bytes is None:
            seen = overhead_bytes + self._largest_gap
        elif not peak_is_old and cache_bytes is not None and cache_bytes <= BLUR_BYTES:
            seen = max(overhead_bytes, kernel_peak_bytes)
        else:
            # The kernel's peak counts page cache or is of longer ago, so it is a bound on what was missed.
            seen = max(overhead_bytes, min(overhead_bytes + self._largest_gap, kernel_peak_bytes))
        cache = cache_bytes or 0
        if self._halves and at_s - self._halves[-1].began_s < self.half_s:
            half = self._halves[-1]
            if seen > half.peak_bytes:
                half.peak_bytes, half.cache_bytes = seen, cache
            return False
        began = not self._halves
        if len(self._halves) == 2:
            self._before_bytes = max(self._before_bytes or 0, self._halves[0].peak_bytes)
        self._halves.append(_Half(at_s, seen, cache))
        self._largest_gap = 0
        return not began

    def cache_gone(self, cache_bytes: int, records_bytes: int) -> None:
        """Page cache of ``cache_bytes`` was dropped, and ``records_bytes`` of kernel memory, its records, went with it.

        Records come with the cache (tree nodes and buffer heads, so much a page), and were never overhead: a peak
        that was seen with as much cache held as many of them and is lower by that, one with less cache by less, one
        without any not at all. The caller has reset the kernel's own peak.
        """
        self._largest_gap = 0
        for half in self._halves:
            if cache_bytes > 0:
                share = records_bytes * min(half.cache_bytes, cache_bytes) // cache_bytes
                half.peak_bytes, half.cache_bytes = max(0, half.peak_bytes - share), 0
        if self._last is not None:
            self._last = max(0, self._last - records_bytes)

    def restore(self, at_s: float, peak_bytes: int | None, life_bytes: int | None = None) -> None:
        """Begin with a peak that was recorded before a restart, and with that of the whole life; None: none was."""
        if peak_bytes is not None:
            self._halves.append(_Half(at_s, peak_bytes, 0))
        self._before_bytes = life_bytes

    @property
    def life_bytes(self) -> int | None:
        """The largest overhead in all its life, or None before the first sample."""
        return max((peak for peak in (self.peak_bytes, self._before_bytes) if peak is not None), default=None)

    @property
    def peak_bytes(self) -> int | None:
        """The largest overhead in the window, or None before the first sample."""
        return max((half.peak_bytes for half in self._halves), default=None)
