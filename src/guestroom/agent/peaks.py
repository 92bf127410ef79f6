"""The largest overhead seen in a window, from samples and from the kernel's own peak.

A sample once a second misses what happens between two of them: 259 MiB seen where the kernel had 311
(measured at 20 Hz). The kernel's peak (v1 ``memory.max_usage_in_bytes``, reset per window) misses nothing
but counts page cache, so it is exact only where no page cache blurs it; otherwise the largest gap between
two samples is added to what was sampled, up to that peak (DESIGN, word "peak").
"""

from __future__ import annotations

from collections import deque

BLUR_BYTES = 1 << 20
"""Page cache up to this much is within the accuracy that is asked of a peak."""


class PeakWindow:
    """Peak of one guest's overhead over the last ``window_s`` seconds, in two halves that take turns."""

    def __init__(self, window_s: float) -> None:
        self.half_s = window_s / 2
        self._halves: deque[tuple[float, int]] = deque(maxlen=2)
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
        if self._halves and at_s - self._halves[-1][0] < self.half_s:
            began_s, peak = self._halves[-1]
            self._halves[-1] = (began_s, max(peak, seen))
            return False
        began = not self._halves
        self._halves.append((at_s, seen))
        self._largest_gap = 0
        return not began

    def restore(self, at_s: float, peak_bytes: int) -> None:
        """Begin with a peak that was recorded before a restart."""
        self._halves.append((at_s, peak_bytes))

    @property
    def peak_bytes(self) -> int | None:
        """The largest overhead in the window, or None before the first sample."""
        return max((peak for _, peak in self._halves), default=None)
