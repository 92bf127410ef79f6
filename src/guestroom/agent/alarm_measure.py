"""How fast the alarm process answers, and how fast guests grow: what the guard is made of (DESIGN, guard).

The guard is what the fastest guest takes before an alarm is answered. Both factors are measured where they happen. An
answer has three parts: the kernel runs this process (seen at its own timers: how much later than asked they wake
it), it looks (reads, decides, writes the freezer), and the guest stands still. Of each the 99th percentile of
the last thousand counts, so that one hiccup in a thousand does not make the guard.

Growth is told in exact readings only: one that counts page cache may be where a rise begins, which makes it
smaller, never where it ends. Pure: times are passed in.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from guestroom.units import MIB

KEPT = 1000
"""Samples of each part that are kept."""
SPAN_S = 0.005
"""Growth is measured over at least this: the time an alarm takes to be answered. Over less it is charge batches."""
GAIN_BYTES = 8 * MIB
"""A smaller gain is no growth to be told: per-CPU stock is 64 pages a CPU, a huge page 2 MiB."""
BURST_S = 1.0
"""How far back a rise may begin and still count as taken at once."""
NEWS = 1.1
"""A figure is told again when it changed by a tenth."""
REPORT_S = 5.0
"""How often the reaction is worked out and told, at most."""


@dataclass(slots=True)
class Reaction:
    """The three parts of an answer, in seconds."""

    wakes: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    looks: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    holds: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    """From the look's beginning to the guest standing still."""
    told_s: float | None = None
    _due_s: float = 0.0

    @property
    def total_s(self) -> float | None:
        """From an alarm to a guest that stands still (to the freezer's write while none was held); None: no look."""
        wake_s, look_s, hold_s = p99(self.wakes), p99(self.looks), p99(self.holds)
        if look_s is None:
            return None
        return (wake_s or 0.0) + max(look_s, hold_s or 0.0)

    def news(self, now_s: float) -> dict[str, object] | None:
        """The event that tells it, where it is due and is another than was told."""
        if now_s < self._due_s:
            return None
        self._due_s = now_s + REPORT_S
        total_s = self.total_s
        if total_s is None or (self.told_s is not None and self.told_s / NEWS < total_s < self.told_s * NEWS):
            return None
        self.told_s = total_s
        parts = {"wake_ms": p99(self.wakes), "look_ms": p99(self.looks), "hold_ms": p99(self.holds)}
        return {
            "event": "reaction",
            "reaction_ms": _ms(total_s),
            **{key: None if value is None else _ms(value) for key, value in parts.items()},
            "samples": len(self.looks),
        }


@dataclass(slots=True)
class Climb:
    """One guest's overhead lately, and the fastest and largest rise seen of it."""

    points: deque[tuple[float, int]] = field(default_factory=deque)
    """Seconds before the reading, and bytes."""
    bytes_per_s: int = 0
    burst_bytes: int = 0
    _told: tuple[int, int] = (0, 0)

    def add(self, before_s: float, after_s: float, overhead_bytes: int, *, exact: bool) -> None:
        """Take a reading that was made between two moments; ``exact``: no page cache is in it."""
        points = self.points
        while points and before_s - points[0][0] > BURST_S:
            points.popleft()
        if exact:
            for at_s, was in points:
                gain, took_s = overhead_bytes - was, after_s - at_s
                if gain < GAIN_BYTES:
                    continue
                self.burst_bytes = max(self.burst_bytes, gain)
                if took_s >= SPAN_S:
                    self.bytes_per_s = max(self.bytes_per_s, round(gain / took_s))
        if not points or before_s - points[-1][0] >= SPAN_S:
            points.append((before_s, overhead_bytes))

    def news(self, name: str) -> dict[str, object] | None:
        """The event that tells it, where it grew by a tenth since it was told."""
        speed, burst = self._told
        if self.bytes_per_s <= speed * NEWS and self.burst_bytes <= burst * NEWS:
            return None
        self._told = (self.bytes_per_s, self.burst_bytes)
        return {
            "event": "growth",
            "name": name,
            "growth_bytes_per_s": self.bytes_per_s,
            "burst_bytes": self.burst_bytes,
        }


def p99(samples: deque[float]) -> float | None:
    """The 99th percentile, the largest of fewer than a hundred; None of none."""
    if not samples:
        return None
    return sorted(samples)[math.ceil(len(samples) * 0.99) - 1]


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
