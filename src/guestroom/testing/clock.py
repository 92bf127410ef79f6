"""A clock that a test moves by hand, so that no test waits and no duration is 0 by accident."""

from __future__ import annotations


class ManualClock:
    """``ports.Clock``: time passes only by ``sleep`` and ``advance``."""

    def __init__(self, monotonic_s: float = 1000.0, wall_s: float = 1_750_000_000.0) -> None:
        self._monotonic_s = monotonic_s
        self._wall_s = wall_s
        self.slept_s: list[float] = []
        """Every sleep asked for, in order."""

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return self._monotonic_s

    def wall(self) -> float:
        """Seconds since the epoch."""
        return self._wall_s

    def sleep(self, seconds: float) -> None:
        """Advance at once and remember that it was asked for."""
        self.slept_s.append(seconds)
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass on both clocks; raises ``ValueError`` for negative ones."""
        if seconds < 0:
            raise ValueError(f"time does not go back: {seconds} s")
        self._monotonic_s += seconds
        self._wall_s += seconds

    def step_wall(self, seconds: float) -> None:
        """Move only the wall clock, also back: what ``settimeofday`` does to a host."""
        self._wall_s += seconds
