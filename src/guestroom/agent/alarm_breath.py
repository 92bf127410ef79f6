"""How much of a core the alarm process may take, so that a storm of events starves nobody.

A guest that touches and frees memory around a rung crosses it thousands of times a second, and this process may run
SCHED_FIFO: answering every crossing would leave its core to nobody else, the guests' own threads included. Events
that wait are not lost, one look answers for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

SHARE = 0.25
"""Of a core, in the long run."""
CREDIT_S = 0.02
"""Work done at once before that: some 100 looks at one guest, 10 at a hundred (measured: 0.02 ms a guest)."""


@dataclass(slots=True)
class Breath:
    """Work costs credit, time gives it back; without credit it waits."""

    credit_s: float = CREDIT_S
    _at_s: float | None = None

    def wait_s(self, began_s: float, now_s: float) -> float:
        """Seconds to wait after work that took from ``began_s`` to ``now_s``; 0 while there is credit."""
        since_s = now_s - (began_s if self._at_s is None else self._at_s)
        self._at_s = now_s
        self.credit_s = min(CREDIT_S, self.credit_s + SHARE * since_s) - (now_s - began_s)
        return 0.0 if self.credit_s >= 0 else -self.credit_s / SHARE
