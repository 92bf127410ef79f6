"""The ledger in SQLite: what was decided and happened, durable before it is carried out (promise P8).

One writer. Guests, decisions, steps and events are synced to the disk before a method returns
(``synchronous = FULL``); readings may lose the last seconds at a power cut, never at a crash of the agent
(``NORMAL``: sqlite.org/pragma#synchronous). A method blocks for as long as the disk does, so the agent calls
the ledger from one worker thread, never from its event loop and never on the way of a raise (see
``outbox``). Calls from several threads are safe: they wait for each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guestroom.actions import Action, Outcome
from guestroom.errors import EntryError, LedgerError
from guestroom.facts import Accounting, GuestRecord, OverheadReading
from guestroom.lives import Life
from guestroom.ports import Clock, Decision, EndedGuest, Event, Figure, KeptReading
from guestroom.record import encode
from guestroom.record.database import Database
from guestroom.record.state import StateLock, make_folder
from guestroom.record.thin import Thinner
from guestroom.turns import QueueEntry
from guestroom.units import Limit

THINNED_AT_ONCE = 64
"""Old rows one write may remove: bounded, so that no write is ever slow, and more than it adds."""


@dataclass(frozen=True, slots=True)
class Keep:
    """How many rows of each kind stay: the oldest make room. Unfinished decisions always stay."""

    events: int = 100_000
    readings: int = 500_000
    decisions: int = 20_000
    ended: int = 20_000
    lives: int = 20_000


def open_ledger(
    state_dir: str, *, clock: Clock, reading_keep_s: float = 10.0, keep: Keep | None = None
) -> SqliteLedger:
    """Open the ledger in ``state_dir``, made with mode 0700 where missing, and hold it alone.

    ``reading_keep_s``: a quiet guest's readings are kept this far apart (``Settings.reading_keep_s``).
    Raises ``AgentError`` when another agent holds the folder, ``LedgerError`` when the folder can't be used,
    the disk is full, or the database is broken, newer or somebody else's: then it is left as it is.
    """
    make_folder(state_dir)
    lock = StateLock(state_dir)
    try:
        database = Database(f"{state_dir}/ledger.db")
    except LedgerError:
        lock.close()
        raise
    return SqliteLedger(database, lock, clock, Thinner(reading_keep_s), keep or Keep())


class SqliteLedger:
    """``ports.Ledger`` in one SQLite file. Made by ``open_ledger``."""

    def __init__(self, database: Database, lock: StateLock, clock: Clock, thinner: Thinner, keep: Keep) -> None:
        self.path = database.path
        self._database = database
        self._state = lock
        self._clock = clock
        self._thinner = thinner
        self._keep = keep

    def __enter__(self) -> SqliteLedger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database and let the state folder go. May be repeated."""
        self._database.close()
        self._state.close()

    # -- guests ---------------------------------------------------------------------------------------

    def put_guest(self, record: GuestRecord) -> None:
        """Write a guest's record in place of any it had."""
        with self._database.write(f"recording guest {record.name}"):
            self._put_guest(record)

    def _put_guest(self, record: GuestRecord) -> None:
        row = {"name": record.name, "state": record.state.value, "record": encode.record_to_json(record)}
        self._database.run("put_guest", row)

    def get_guests(self) -> tuple[GuestRecord, ...]:
        """Every guest under care, by name."""
        with self._database.read("reading the guests"):
            return tuple(encode.record_from_json(text) for (text,) in self._database.rows("get_guests"))

    def remove_guest(self, name: str, reason: str, *, at_wall_s: float | None = None) -> bool:
        """Move a guest to the ended ones; False where there is none of this name."""
        with self._database.write(f"recording the end of guest {name}"):
            found = self._database.rows("get_guest", name=name)
            if not found:
                return False
            record = encode.record_from_json(found[0][0])
            self._database.run("remove_guest", {"name": name})
            self._database.run(
                "put_ended",
                {
                    "name": name,
                    "ended_wall_s": self._at(at_wall_s),
                    "reason": encode.clean(reason),
                    "policy": record.policy,
                    "ram_bytes": record.ram_bytes,
                    "need_bytes": record.need_bytes,
                    "grant_bytes": record.grant_bytes,
                    "overhead_peak_bytes": record.overhead_peak_bytes,
                    "record": found[0][0],
                },
            )
            self._thin("thin_ended", self._keep.ended)
        self._thinner.forget(name)
        return True

    def ended_guests(self, limit: int = 1000) -> tuple[EndedGuest, ...]:
        """The last ``limit`` guests that ended, oldest first."""
        with self._database.read("reading the ended guests"):
            return tuple(
                EndedGuest(encode.record_from_json(record), ended_wall_s, reason)
                for record, ended_wall_s, reason in self._database.rows("ended_guests", limit=limit)
            )

    def put_life(self, life: Life) -> None:
        """Write a life in place of any earlier report of it."""
        row = {
            "guest": life.guest,
            "started_wall_s": life.started_wall_s,
            "at_wall_s": life.at_wall_s,
            "ended": int(life.ended),
            "policy": life.promised.policy,
            "promised_bytes": life.promised.overhead_bytes,
            "grant_bytes": life.grant_bytes,
            "peak_bytes": life.peak_bytes,
            "life": encode.life_to_json(life),
        }
        with self._database.write(f"recording the peak of guest {life.guest}", synced=False):
            self._database.run("put_life", row)
            self._thin("thin_lives", self._keep.lives)

    def lives(self, limit: int = 20_000) -> tuple[Life, ...]:
        """The last ``limit`` lives, those that were reported longest ago first."""
        with self._database.read("reading the peaks of guests"):
            return encode.lives_from_rows(self._database.rows("lives", limit=limit))

    # -- who waits ------------------------------------------------------------------------------------

    def put_waiting(self, entry: QueueEntry) -> None:
        """Write the place of one that waits for room, instead of any it had."""
        row = {"name": entry.name, "number": entry.number, "entry": encode.entry_to_json(entry)}
        with self._database.write(f"recording that {entry.name} waits"):
            self._database.run("put_waiting", row)

    def get_waiting(self) -> tuple[QueueEntry, ...]:
        """Everybody who waits, in the order of their turns."""
        with self._database.read("reading who waits"):
            return tuple(encode.entry_from_json(text) for (text,) in self._database.rows("get_waiting"))

    def remove_waiting(self, name: str) -> None:
        """Give a place up; nothing where there is none."""
        with self._database.write(f"recording that {name} waits no more"):
            self._database.run("remove_waiting", {"name": name})

    # -- decisions ------------------------------------------------------------------------------------

    def begin(self, reason: str, inputs: str, actions: Sequence[Action], newcomer: GuestRecord | None = None) -> int:
        """Write a decision with its steps, and whom it lets in, before they are carried out; return its number."""
        steps = [encode.action_to_json(action) for action in actions]
        with self._database.write("recording a decision"):
            number = self._put_decision(reason, inputs, self._clock.wall(), None)
            for position, action in enumerate(steps):
                self._put_step(number, position, action, planned=True)
            if newcomer is not None:
                self._put_guest(newcomer)
        return number

    def note(self, decision: int, outcome: Outcome, *, at_wall_s: float | None = None) -> None:
        """Write how one step ended while the decision goes on."""
        with self._database.write(f"recording a step of decision {decision}"):
            self._end_steps(decision, [outcome], self._at(at_wall_s), again=False)

    def finish(self, decision: int, outcomes: Sequence[Outcome], *, at_wall_s: float | None = None) -> None:
        """Write how the steps ended. May be repeated; a step without an outcome stays without."""
        at = self._at(at_wall_s)
        with self._database.write(f"recording the end of decision {decision}"):
            self._end_steps(decision, outcomes, at, again=True)
            self._database.run("finish_decision", {"number": decision, "finished_wall_s": at})

    def carried_out(
        self, reason: str, inputs: str, outcomes: Sequence[Outcome], *, at_wall_s: float | None = None
    ) -> int:
        """Write a decision whose steps were carried out already (a raise: kernel first); return its number."""
        at = self._at(at_wall_s)
        with self._database.write("recording a decision carried out"):
            number = self._put_decision(reason, inputs, at, at)
            for position, outcome in enumerate(outcomes):
                action = encode.action_to_json(outcome.action)
                self._put_step(number, position, action, planned=True, outcome=outcome, at=at)
        return number

    def unfinished(self) -> tuple[Decision, ...]:
        """Decisions that were begun and not finished, oldest first."""
        with self._database.read("reading the unfinished decisions"):
            return tuple(self._decision(row) for row in self._database.rows("unfinished"))

    def decisions(self, limit: int = 100) -> tuple[Decision, ...]:
        """The last ``limit`` decisions, oldest first."""
        with self._database.read("reading the decisions"):
            return tuple(self._decision(row) for row in self._database.rows("decisions", limit=limit))

    # -- events and readings --------------------------------------------------------------------------

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
        row = {
            "at_wall_s": self._at(at_wall_s),
            "kind": encode.clean(kind),
            "guest": None if guest is None else encode.clean(guest),
            "message": encode.clean(message),
            "numbers": encode.numbers_to_json(numbers),
        }
        with self._database.write("recording an event"):
            number = self._database.run("put_event", row)
            self._thin("thin_events", self._keep.events)
        return number

    def events(self, after: int = 0, limit: int = 1000, guest: str | None = None) -> tuple[Event, ...]:
        """The first ``limit`` events numbered above ``after``, oldest first; of one guest where named."""
        return self._events("events" if guest is None else "events_of", after=after, limit=limit, guest=guest)

    def last_events(self, limit: int = 100, guest: str | None = None) -> tuple[Event, ...]:
        """The last ``limit`` events, oldest first; of one guest where named."""
        return self._events("last_events" if guest is None else "last_events_of", limit=limit, guest=guest)

    def reading(
        self, reading: OverheadReading, limit: Limit | None, grant_bytes: int | None, *, at_wall_s: float | None = None
    ) -> bool:
        """Keep a reading unless it says nothing new; True where it was kept."""
        if not self._thinner.is_news(reading, limit, grant_bytes):
            return False
        row = {
            "guest": reading.name,
            "at_wall_s": self._at(at_wall_s),
            "accounting": reading.accounting.value,
            "overhead_bytes": reading.overhead_bytes,
            "upper_bound_bytes": reading.upper_bound_bytes,
            "ram_resident_bytes": reading.ram_resident_bytes,
            "cache_bytes": reading.cache_bytes,
            "limit_bytes": encode.limit_to_column(limit),
            "grant_bytes": grant_bytes,
            "how": encode.clean(reading.how),
            "kernel_peak_bytes": reading.kernel_peak_bytes,
        }
        with self._database.write(f"recording a reading of guest {reading.name}", synced=False):
            self._database.run("put_reading", row)
            self._thin("thin_readings", self._keep.readings)
        self._thinner.kept(reading, limit, grant_bytes)
        return True

    def readings(self, guest: str, since_wall_s: float = 0.0, limit: int = 10_000) -> tuple[KeptReading, ...]:
        """The last ``limit`` kept readings of a guest from ``since_wall_s`` on, oldest first."""
        with self._database.read(f"reading the readings of guest {guest}"):
            rows = self._database.rows("readings", guest=guest, since_wall_s=since_wall_s, limit=limit)
            return tuple(_kept_reading(row) for row in rows)

    # -- how ------------------------------------------------------------------------------------------

    def _at(self, at_wall_s: float | None) -> float:
        return self._clock.wall() if at_wall_s is None else at_wall_s

    def _thin(self, name: str, keep: int) -> None:
        self._database.run(name, {"keep": keep, "at_once": THINNED_AT_ONCE})

    def _put_decision(self, reason: str, inputs: str, at_wall_s: float, finished_wall_s: float | None) -> int:
        number = self._database.run(
            "put_decision",
            {
                "at_wall_s": at_wall_s,
                "reason": encode.clean(reason),
                "inputs": encode.clean(inputs),
                "finished_wall_s": finished_wall_s,
            },
        )
        self._thin("thin_decisions", self._keep.decisions)
        return number

    def _put_step(
        self,
        decision: int,
        position: int,
        action: str,
        *,
        planned: bool = False,
        outcome: Outcome | None = None,
        at: float | None = None,
    ) -> None:
        self._database.run(
            "put_step",
            {
                "decision": decision,
                "position": position,
                "action": action,
                "planned": int(planned),
                "outcome": None if outcome is None else encode.outcome_detail_to_json(outcome),
                "ended_wall_s": at,
            },
        )

    def _end_steps(self, decision: int, outcomes: Sequence[Outcome], at: float, *, again: bool) -> None:
        """Give each outcome to the first step with its action; what no step planned becomes one more step.

        ``again``: steps that have an outcome may be given one anew, which makes ``finish`` repeatable.
        """
        if not self._database.rows("has_decision", number=decision):
            raise EntryError(f"the ledger has no decision {decision}", where=self.path, numbers={"decision": decision})
        steps = self._database.rows("steps", decision=decision)
        open_steps = [(position, action) for position, action, _, ended in steps if again or ended is None]
        following = len(steps)
        for outcome in outcomes:
            wanted = encode.action_to_json(outcome.action)
            step = next((one for one in open_steps if one[1] == wanted), None)
            if step is None:
                self._put_step(decision, following, wanted, outcome=outcome, at=at)
                following += 1
                continue
            open_steps.remove(step)
            detail = encode.outcome_detail_to_json(outcome)
            self._database.run(
                "end_step", {"decision": decision, "position": step[0], "outcome": detail, "ended_wall_s": at}
            )

    def _decision(self, row: tuple[int, float, str, str, float | None]) -> Decision:
        number, at_wall_s, reason, inputs, finished_wall_s = row
        actions: list[Action] = []
        outcomes: list[Outcome] = []
        for _, text, planned, detail in self._database.rows("steps", decision=number):
            action = encode.action_from_json(text)
            if planned:
                actions.append(action)
            if detail is not None:
                outcomes.append(encode.outcome_from_json(action, detail))
        return Decision(number, at_wall_s, reason, inputs, tuple(actions), tuple(outcomes), finished_wall_s)

    def _events(self, query: str, **values: object) -> tuple[Event, ...]:
        with self._database.read("reading the events"):
            return tuple(
                Event(number, at_wall_s, kind, guest, message, encode.numbers_from_json(numbers))
                for number, at_wall_s, kind, guest, message, numbers in self._database.rows(query, **values)
            )


def _kept_reading(row: Mapping[str, Any]) -> KeptReading:
    """A row of ``readings``, whose columns are named as the fields are."""
    fields = {name: row[name] for name in row.keys() if name != "number"}  # noqa: SIM118 - sqlite3.Row iterates values
    fields["accounting"] = Accounting(fields["accounting"])
    fields["limit_bytes"] = encode.limit_from_column(fields["limit_bytes"])
    return KeptReading(**fields)
