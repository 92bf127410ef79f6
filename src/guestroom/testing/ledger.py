"""A ledger in memory with the manners of the real one, for tests of whoever writes to it.

It passes the same contract tests as ``record.SqliteLedger`` (tests/unit/record/test_contract.py). ``fail``
makes every write raise, as a full disk does, until ``mend``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from guestroom.actions import Action, Outcome
from guestroom.errors import EntryError, LedgerError
from guestroom.facts import GuestRecord, OverheadReading
from guestroom.lives import Life
from guestroom.ports import Clock, Decision, EndedGuest, Event, Figure, KeptReading
from guestroom.record.thin import Thinner
from guestroom.turns import QueueEntry
from guestroom.units import Limit

_T = TypeVar("_T")


@dataclass(slots=True)
class _Step:
    action: Action
    planned: bool
    outcome: Outcome | None = None


@dataclass(slots=True)
class _Decided:
    at_wall_s: float
    reason: str
    inputs: str
    steps: list[_Step] = field(default_factory=list)
    finished_wall_s: float | None = None


class MemoryLedger:
    """``ports.Ledger`` in memory. Nothing is ever thinned except readings that say nothing new."""

    def __init__(self, clock: Clock, *, reading_keep_s: float = 10.0) -> None:
        self._clock = clock
        self._thinner = Thinner(reading_keep_s)
        self._guests: dict[str, GuestRecord] = {}
        self._ended: list[EndedGuest] = []
        self._lives: dict[tuple[str, float], Life] = {}
        self._waiting: dict[str, QueueEntry] = {}
        self._decided: list[_Decided] = []
        self._events: list[Event] = []
        self._readings: list[KeptReading] = []
        self._failure: LedgerError | None = None
        self._closed = False

    def fail(self, error: LedgerError | None = None) -> None:
        """From now on every write raises ``error`` (default: a full disk)."""
        self._failure = error or LedgerError("recording failed: database or disk is full", where="memory")

    def mend(self) -> None:
        """Writes work again."""
        self._failure = None

    def close(self) -> None:
        """Refuse everything from now on. May be repeated."""
        self._closed = True

    def put_guest(self, record: GuestRecord) -> None:
        """Write a guest's record in place of any it had."""
        self._check_write()
        self._guests[record.name] = record

    def get_guests(self) -> tuple[GuestRecord, ...]:
        """Every guest under care, by name."""
        self._check_open()
        return tuple(self._guests[name] for name in sorted(self._guests))

    def remove_guest(self, name: str, reason: str, *, at_wall_s: float | None = None) -> bool:
        """Move a guest to the ended ones; False where there is none of this name."""
        self._check_write()
        record = self._guests.pop(name, None)
        if record is None:
            return False
        self._ended.append(EndedGuest(record, self._at(at_wall_s), reason))
        self._thinner.forget(name)
        return True

    def ended_guests(self, limit: int = 1000) -> tuple[EndedGuest, ...]:
        """The last ``limit`` guests that ended, oldest first."""
        self._check_open()
        return _last(self._ended, limit)

    def put_life(self, life: Life) -> None:
        """Write a life in place of any earlier report of it."""
        self._check_write()
        self._lives.pop(life.key, None)
        self._lives[life.key] = life

    def lives(self, limit: int = 20_000) -> tuple[Life, ...]:
        """The last ``limit`` lives, those that were reported longest ago first."""
        self._check_open()
        return _last(sorted(self._lives.values(), key=lambda life: life.at_wall_s), limit)

    def put_waiting(self, entry: QueueEntry) -> None:
        """Write the place of one that waits for room, instead of any it had."""
        self._check_write()
        self._waiting[entry.name] = entry

    def get_waiting(self) -> tuple[QueueEntry, ...]:
        """Everybody who waits, in the order of their turns."""
        self._check_open()
        return tuple(sorted(self._waiting.values(), key=lambda entry: entry.number))

    def remove_waiting(self, name: str) -> None:
        """Give a place up; nothing where there is none."""
        self._check_write()
        self._waiting.pop(name, None)

    def begin(self, reason: str, inputs: str, actions: Sequence[Action], newcomer: GuestRecord | None = None) -> int:
        """Write a decision with its steps, and whom it lets in, before they are carried out; return its number."""
        self._check_write()
        steps = [_Step(action, planned=True) for action in actions]
        self._decided.append(_Decided(self._clock.wall(), reason, inputs, steps))
        if newcomer is not None:
            self.put_guest(newcomer)
        return len(self._decided)

    def note(self, decision: int, outcome: Outcome, *, at_wall_s: float | None = None) -> None:
        """Write how one step ended while the decision goes on."""
        self._check_write()
        decided = self._find(decision)
        _end([step for step in decided.steps if step.outcome is None], decided, outcome)

    def finish(self, decision: int, outcomes: Sequence[Outcome], *, at_wall_s: float | None = None) -> None:
        """Write how the steps ended. May be repeated; a step without an outcome stays without."""
        self._check_write()
        decided = self._find(decision)
        left = list(decided.steps)
        for outcome in outcomes:
            _end(left, decided, outcome)
        decided.finished_wall_s = self._at(at_wall_s)

    def carried_out(
        self, reason: str, inputs: str, outcomes: Sequence[Outcome], *, at_wall_s: float | None = None
    ) -> int:
        """Write a decision whose steps were carried out already; return its number."""
        self._check_write()
        at = self._at(at_wall_s)
        steps = [_Step(outcome.action, planned=True, outcome=outcome) for outcome in outcomes]
        self._decided.append(_Decided(at, reason, inputs, steps, at))
        return len(self._decided)

    def unfinished(self) -> tuple[Decision, ...]:
        """Decisions that were begun and not finished, oldest first."""
        return tuple(one for one in self.decisions(len(self._decided)) if one.finished_wall_s is None)

    def decisions(self, limit: int = 100) -> tuple[Decision, ...]:
        """The last ``limit`` decisions, oldest first."""
        self._check_open()
        return _last([_told(number, one) for number, one in enumerate(self._decided, 1)], limit)

    def event(
        self,
        kind: str,
        guest: str | None,
        message: str,
        numbers: Mapping[str, Figure],
        *,
        at_wall_s: float | None = None,
    ) -> int:
        """Write an event; return its number."""
        self._check_write()
        number = len(self._events) + 1
        self._events.append(Event(number, self._at(at_wall_s), kind, guest, message, dict(numbers)))
        return number

    def events(self, after: int = 0, limit: int = 1000, guest: str | None = None) -> tuple[Event, ...]:
        """The first ``limit`` events numbered above ``after``, oldest first; of one guest where named."""
        self._check_open()
        return tuple(one for one in self._events if one.number > after and guest in (None, one.guest))[:limit]

    def last_events(self, limit: int = 100, guest: str | None = None) -> tuple[Event, ...]:
        """The last ``limit`` events, oldest first; of one guest where named."""
        self._check_open()
        return _last([one for one in self._events if guest in (None, one.guest)], limit)

    def reading(
        self, reading: OverheadReading, limit: Limit | None, grant_bytes: int | None, *, at_wall_s: float | None = None
    ) -> bool:
        """Keep a reading unless it says nothing new; True where it was kept."""
        if not self._thinner.is_news(reading, limit, grant_bytes):
            return False
        self._check_write()
        self._readings.append(
            KeptReading(
                guest=reading.name,
                at_wall_s=self._at(at_wall_s),
                accounting=reading.accounting,
                overhead_bytes=reading.overhead_bytes,
                upper_bound_bytes=reading.upper_bound_bytes,
                ram_resident_bytes=reading.ram_resident_bytes,
                cache_bytes=reading.cache_bytes,
                limit_bytes=limit,
                grant_bytes=grant_bytes,
                how=reading.how,
                kernel_peak_bytes=reading.kernel_peak_bytes,
            )
        )
        self._thinner.kept(reading, limit, grant_bytes)
        return True

    def readings(self, guest: str, since_wall_s: float = 0.0, limit: int = 10_000) -> tuple[KeptReading, ...]:
        """The last ``limit`` kept readings of a guest from ``since_wall_s`` on, oldest first."""
        self._check_open()
        found = [one for one in self._readings if one.guest == guest and one.at_wall_s >= since_wall_s]
        return _last(sorted(found, key=lambda one: one.at_wall_s), limit)

    def _at(self, at_wall_s: float | None) -> float:
        return self._clock.wall() if at_wall_s is None else at_wall_s

    def _check_open(self) -> None:
        if self._closed:
            raise LedgerError("the ledger is closed", where="memory")

    def _check_write(self) -> None:
        self._check_open()
        if self._failure is not None:
            raise self._failure

    def _find(self, decision: int) -> _Decided:
        if not 1 <= decision <= len(self._decided):
            raise EntryError(f"the ledger has no decision {decision}", numbers={"decision": decision})
        return self._decided[decision - 1]


def _end(left: list[_Step], decided: _Decided, outcome: Outcome) -> None:
    """Give ``outcome`` to the first step of ``left`` with its action, else add one more step."""
    for step in left:
        if step.action == outcome.action:
            step.outcome = outcome
            left.remove(step)
            return
    decided.steps.append(_Step(outcome.action, planned=False, outcome=outcome))


def _told(number: int, decided: _Decided) -> Decision:
    actions = tuple(step.action for step in decided.steps if step.planned)
    outcomes = tuple(step.outcome for step in decided.steps if step.outcome is not None)
    return Decision(
        number, decided.at_wall_s, decided.reason, decided.inputs, actions, outcomes, decided.finished_wall_s
    )


def _last(items: Sequence[_T], limit: int) -> tuple[_T, ...]:
    return tuple(items[max(0, len(items) - limit) :])
