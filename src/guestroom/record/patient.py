"""A ledger for the agent: strict where a promise hangs on it, patient where an entry may be late.

Promise P8 asks two things that pull apart: what takes room away is durable before it is done, and a full
disk never keeps room from a guest. So a decision (``begin``) and a guest's first record are written or
refused with ``LedgerError``; everything else is taken in any case, kept in the ``Outbox`` while the disk is
full, and written in order when it works again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from guestroom.actions import Action, Outcome
from guestroom.errors import LedgerError
from guestroom.facts import GuestRecord, OverheadReading
from guestroom.ports import Clock, Decision, EndedGuest, Event, Figure, KeptReading, Ledger
from guestroom.record.outbox import Entry, Outbox
from guestroom.units import Limit

LATE = 0
"""The number of an entry that waits: it gets its own when it is written."""


class PatientLedger:
    """``ports.Ledger`` over another one and an outbox. For one thread, but for ``outbox``, which is for any.

    Whoever must not wait for the disk at all puts its entries into ``outbox`` itself; the next call of any
    method here writes them first.
    """

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self.outbox = Outbox(ledger, clock)
        self._ledger = ledger
        self._known = {record.name for record in ledger.get_guests()}

    @property
    def failure(self) -> LedgerError | None:
        """Why entries wait; None while all is written."""
        return self.outbox.failure

    def flush(self) -> bool:
        """Write what waits; True when nothing is left. Called by every sweep, so that a mended disk is noticed."""
        return self.outbox.flush()

    def put_guest(self, record: GuestRecord) -> None:
        """Write a guest's record: its first now or with ``LedgerError``, later ones when the disk takes them."""
        if record.name not in self._known:
            self.outbox.durable().put_guest(record)
            self._known.add(record.name)
            return
        self.outbox.put_guest(record)
        self.outbox.flush()

    def get_guests(self) -> tuple[GuestRecord, ...]:
        """Every guest under care as the disk has it, by name."""
        self.outbox.flush()
        return self._ledger.get_guests()

    def remove_guest(self, name: str, reason: str, *, at_wall_s: float | None = None) -> bool:
        """Move a guest to the ended ones, when the disk takes it; False where there is none of this name."""
        if name not in self._known:
            return False
        self._known.discard(name)
        self.outbox.remove_guest(name, reason, at_wall_s=at_wall_s)
        self.outbox.flush()
        return True

    def ended_guests(self, limit: int = 1000) -> tuple[EndedGuest, ...]:
        """The last ``limit`` guests that ended as the disk has them, oldest first."""
        self.outbox.flush()
        return self._ledger.ended_guests(limit)

    def begin(self, reason: str, inputs: str, actions: Sequence[Action]) -> int:
        """Write a decision before it is carried out; ``LedgerError`` where it can't be made durable."""
        return self.outbox.durable().begin(reason, inputs, actions)

    def note(self, decision: int, outcome: Outcome, *, at_wall_s: float | None = None) -> None:
        """Write how one step ended, when the disk takes it."""
        self.outbox.note(decision, outcome, at_wall_s=at_wall_s)
        self.outbox.flush()

    def finish(self, decision: int, outcomes: Sequence[Outcome], *, at_wall_s: float | None = None) -> None:
        """Write how the steps ended, when the disk takes it."""
        self.outbox.finish(decision, outcomes, at_wall_s=at_wall_s)
        self.outbox.flush()

    def carried_out(
        self, reason: str, inputs: str, outcomes: Sequence[Outcome], *, at_wall_s: float | None = None
    ) -> int:
        """Write a decision the kernel already has; its number, or ``LATE`` where it waits."""
        return self._number(self.outbox.carried_out(reason, inputs, outcomes, at_wall_s=at_wall_s))

    def unfinished(self) -> tuple[Decision, ...]:
        """Decisions that were begun and not finished as the disk has them, oldest first."""
        self.outbox.flush()
        return self._ledger.unfinished()

    def decisions(self, limit: int = 100) -> tuple[Decision, ...]:
        """The last ``limit`` decisions as the disk has them, oldest first."""
        self.outbox.flush()
        return self._ledger.decisions(limit)

    def event(
        self,
        kind: str,
        guest: str | None,
        message: str,
        numbers: Mapping[str, Figure],
        *,
        at_wall_s: float | None = None,
    ) -> int:
        """Write an event; its number, or ``LATE`` where it waits."""
        return self._number(self.outbox.event(kind, guest, message, numbers, at_wall_s=at_wall_s))

    def events(self, after: int = 0, limit: int = 1000, guest: str | None = None) -> tuple[Event, ...]:
        """The first ``limit`` events numbered above ``after`` that are written, oldest first."""
        self.outbox.flush()
        return self._ledger.events(after, limit, guest)

    def last_events(self, limit: int = 100, guest: str | None = None) -> tuple[Event, ...]:
        """The last ``limit`` events that are written, oldest first."""
        self.outbox.flush()
        return self._ledger.last_events(limit, guest)

    def reading(
        self, reading: OverheadReading, limit: Limit | None, grant_bytes: int | None, *, at_wall_s: float | None = None
    ) -> bool:
        """Keep a reading unless it says nothing new; True also where it waits."""
        entry = self.outbox.reading(reading, limit, grant_bytes, at_wall_s=at_wall_s)
        self.outbox.flush()
        return entry.result is not False

    def readings(self, guest: str, since_wall_s: float = 0.0, limit: int = 10_000) -> tuple[KeptReading, ...]:
        """The last ``limit`` written readings of a guest from ``since_wall_s`` on, oldest first."""
        self.outbox.flush()
        return self._ledger.readings(guest, since_wall_s, limit)

    def close(self) -> None:
        """Write what waits, as far as the disk takes it, and close. May be repeated."""
        self.outbox.flush()
        self._ledger.close()

    def _number(self, entry: Entry) -> int:
        self.outbox.flush()
        return entry.result if isinstance(entry.result, int) else LATE
