"""What may be written late: kept in memory while the disk is full or slow, written in order afterwards.

A raise goes to the kernel first and to the ledger after; a hold is let go whether or not anybody can write
it down (promise P8: a full or slow disk never blocks room). So whoever answers alarms puts its entries
here, which never touches the disk and never fails, and the ledger's own thread calls ``flush``. What has to
be durable *before* it is done goes through ``durable``, which writes everything older first, so that the
ledger tells things in the order they happened.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from guestroom.actions import Outcome
from guestroom.errors import EntryError, LedgerError
from guestroom.facts import GuestRecord, OverheadReading
from guestroom.lives import Life
from guestroom.ports import Clock, Figure, Ledger
from guestroom.units import Limit

CAPACITY = 10_000
"""Entries that may wait: some MiB, and hours of a host's events."""


@dataclass(slots=True, eq=False)
class Entry:
    """Something on its way to the ledger."""

    kind: str
    """``reading``, ``event``, ``outcome``, ``guest``, ``life``, ``end`` or ``place``: told when it was dropped."""
    write: Callable[[Ledger], object]
    key: str | None = None
    """Of a guest's record or end: its name; of a life: which one. Only the newest record waits."""
    written: bool = False
    result: object = None
    """What the ledger answered, once written."""


class Outbox:
    """Entries on their way to the ledger. Putting is safe from any thread; ``flush`` is for one thread."""

    def __init__(self, ledger: Ledger, clock: Clock, *, capacity: int = CAPACITY) -> None:
        """``capacity``: how many entries may wait; beyond it readings go first, then the oldest."""
        self._ledger = ledger
        self._clock = clock
        self._capacity = capacity
        self._waiting: deque[Entry] = deque()
        self._readings = 0
        self._dropped: Counter[str] = Counter()
        self._dropped_since_s: float | None = None
        self._failure: LedgerError | None = None
        self._mutex = threading.Lock()
        self._flushing = threading.Lock()

    @property
    def waiting(self) -> int:
        """Entries that are not yet in the ledger."""
        with self._mutex:
            return len(self._waiting)

    @property
    def failure(self) -> LedgerError | None:
        """Why the last ``flush`` could not write everything; None while all is well."""
        return self._failure

    def event(
        self,
        kind: str,
        guest: str | None,
        message: str,
        numbers: Mapping[str, Figure],
        *,
        at_wall_s: float | None = None,
    ) -> Entry:
        """An event."""
        at, kept = self._at(at_wall_s), dict(numbers)
        return self._put(Entry("event", lambda ledger: ledger.event(kind, guest, message, kept, at_wall_s=at)))

    def reading(
        self, reading: OverheadReading, limit: Limit | None, grant_bytes: int | None, *, at_wall_s: float | None = None
    ) -> Entry:
        """A reading."""
        at = self._at(at_wall_s)
        return self._put(Entry("reading", lambda ledger: ledger.reading(reading, limit, grant_bytes, at_wall_s=at)))

    def note(self, decision: int, outcome: Outcome, *, at_wall_s: float | None = None) -> Entry:
        """How one step of a decision ended."""
        at = self._at(at_wall_s)
        return self._put(Entry("outcome", lambda ledger: ledger.note(decision, outcome, at_wall_s=at)))

    def finish(self, decision: int, outcomes: Sequence[Outcome], *, at_wall_s: float | None = None) -> Entry:
        """How a decision ended. Until it is written the next start would reconcile the decision."""
        at, kept = self._at(at_wall_s), tuple(outcomes)
        return self._put(Entry("outcome", lambda ledger: ledger.finish(decision, kept, at_wall_s=at)))

    def carried_out(
        self, reason: str, inputs: str, outcomes: Sequence[Outcome], *, at_wall_s: float | None = None
    ) -> Entry:
        """A decision that the kernel already has: a raise, a guest let go."""
        at, kept = self._at(at_wall_s), tuple(outcomes)
        return self._put(Entry("outcome", lambda ledger: ledger.carried_out(reason, inputs, kept, at_wall_s=at)))

    def put_guest(self, record: GuestRecord) -> Entry:
        """A guest's record after a raise; it replaces one of the same guest that still waits."""
        return self._put(Entry("guest", lambda ledger: ledger.put_guest(record), record.name))

    def remove_guest(self, name: str, reason: str, *, at_wall_s: float | None = None) -> Entry:
        """A guest's end."""
        at = self._at(at_wall_s)
        return self._put(Entry("end", lambda ledger: ledger.remove_guest(name, reason, at_wall_s=at), name))

    def put_life(self, life: Life) -> Entry:
        """What a guest came to; it replaces an earlier report of the same life that still waits."""
        key = f"{life.guest}@{life.started_wall_s}"
        return self._put(Entry("life", lambda ledger: ledger.put_life(life), key))

    def remove_waiting(self, name: str) -> Entry:
        """A place in the queue that is given up."""
        return self._put(Entry("place", lambda ledger: ledger.remove_waiting(name)))

    def flush(self) -> bool:
        """Write what waits, oldest first; True when nothing is left. Blocks as the disk does, never raises.

        At the first failure the rest stays for the next call. An entry the ledger will never take is
        dropped and counted, so that it can't hold up the others. What was dropped is told as an event.
        """
        with self._flushing:
            while (entry := self._next()) is not None:
                try:
                    entry.result = entry.write(self._ledger)
                    entry.written = True
                except EntryError:
                    with self._mutex:
                        self._count(entry)
                except LedgerError as error:
                    self._give_back(entry)
                    self._failure = error
                    return False
            return self._tell_dropped()

    def durable(self) -> Ledger:
        """The ledger, with everything older written: for what must be on disk before it is done.

        Raises the ``LedgerError`` that keeps older entries from being written.
        """
        if not self.flush() and self._failure is not None:
            raise self._failure
        return self._ledger

    def _at(self, at_wall_s: float | None) -> float:
        return self._clock.wall() if at_wall_s is None else at_wall_s

    def _put(self, entry: Entry) -> Entry:
        with self._mutex:
            if entry.kind in ("guest", "life"):
                self._replace(entry)
            self._waiting.append(entry)
            self._readings += entry.kind == "reading"
            while len(self._waiting) > self._capacity:
                self._drop_one()
        return entry

    def _replace(self, entry: Entry) -> None:
        """Take out the older record of the same guest, but never one that belongs to a guest that ended."""
        last = next((one for one in reversed(self._waiting) if one.key == entry.key), None)
        if last is not None and last.kind == entry.kind:
            self._waiting.remove(last)

    def _drop_one(self) -> None:
        """The oldest reading, else the oldest event, else the oldest of all."""
        kind = "reading" if self._readings else "event"
        victim = next((one for one in self._waiting if one.kind == kind), self._waiting[0])
        self._waiting.remove(victim)
        self._readings -= victim.kind == "reading"
        self._count(victim)

    def _count(self, entry: Entry) -> None:
        self._dropped[entry.kind] += 1
        if self._dropped_since_s is None:
            self._dropped_since_s = self._clock.wall()

    def _next(self) -> Entry | None:
        with self._mutex:
            if not self._waiting:
                return None
            entry = self._waiting.popleft()
            self._readings -= entry.kind == "reading"
            return entry

    def _give_back(self, entry: Entry) -> None:
        """Back to the front. It may be one too many until the next is put."""
        with self._mutex:
            self._waiting.appendleft(entry)
            self._readings += entry.kind == "reading"

    def _tell_dropped(self) -> bool:
        with self._mutex:
            dropped, since = dict(self._dropped), self._dropped_since_s
        if dropped:
            numbers: dict[str, Figure] = {f"{kind}s": count for kind, count in sorted(dropped.items())}
            total = sum(dropped.values())
            message = f"{total} entries could not be kept while the ledger could not be written"
            try:
                self._ledger.event("ledger_dropped", None, message, numbers | {"since_wall_s": since})
            except LedgerError as error:
                self._failure = error
                return False
            with self._mutex:
                self._dropped.subtract(dropped)
                self._dropped += Counter()
                self._dropped_since_s = None if not self._dropped else since
        self._failure = None
        return True
