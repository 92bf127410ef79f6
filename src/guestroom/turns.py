"""Who waits for room: the entries of the queue, as the ledger keeps them and decisions take them.

Plain data like the facts. What follows from it (whose turn it is, who stands where) is ``decide.queue``'s.
"""

from __future__ import annotations

from dataclasses import dataclass

from guestroom.facts import Newcomer


@dataclass(frozen=True, slots=True)
class Process:
    """Which process exactly, on which boot: what a place in the queue belongs to."""

    boot_id: str
    pid: int
    start_ticks: int


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """One that waits for room, with all that is needed to decide about it again."""

    number: int
    """Its turn: lower numbers first; never given twice while somebody waits."""
    newcomer: Newcomer
    burst_bytes: int
    """The largest burst it can make, for the headroom."""
    queued_s: float
    """Since when it waits, in monotonic seconds of this boot: they go on over an agent's restart, and no process that
    waits outlives the boot."""
    timeout_s: float | None
    """How long it waits at most; None: without end."""
    process: Process | None = None
    """The ``run`` that waits: the place is its, and nobody else's."""

    @property
    def name(self) -> str:
        """Whose entry this is."""
        return self.newcomer.name

    def left_s(self, now_s: float) -> float | None:
        """Seconds until it gives up, not below 0; None: never."""
        return None if self.timeout_s is None else max(0.0, self.queued_s + self.timeout_s - now_s)
