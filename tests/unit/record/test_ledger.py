"""The contract of a ledger: what was written is there, in order, and nothing else."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from guestroom.errors import AgentError, EntryError, LedgerError
from guestroom.record import SqliteLedger, open_ledger
from guestroom.record.ledger import THINNED_AT_ONCE, Keep
from guestroom.testing.clock import ManualClock

from .samples import HOLD, SHRINK, done, reading, record

FEW = Keep(events=10, readings=10, decisions=5, ended=5)


def test_everything_survives_closing_and_opening(state_dir: str, clock: ManualClock) -> None:
    """What was written is there for the next agent."""
    with open_ledger(state_dir, clock=clock) as ledger:
        ledger.put_guest(record())
        number = ledger.begin("b starts", "{}", [SHRINK])
        ledger.event("k", "a", "m", {})
        ledger.reading(reading(), 5, 4)
    with open_ledger(state_dir, clock=clock) as ledger:
        assert ledger.get_guests() == (record(),)
        assert [one.number for one in ledger.unfinished()] == [number]
        assert len(ledger.events()) == 1
        assert len(ledger.readings("a")) == 1


def test_a_second_ledger_on_the_same_state_is_refused(sqlite: SqliteLedger, state_dir: str, clock: ManualClock) -> None:
    """Two agents never share a state."""
    with pytest.raises(AgentError, match="already running"):
        open_ledger(state_dir, clock=clock)
    sqlite.event("still", None, "writable", {})


def test_a_failed_opening_lets_the_folder_go(tmp_path: Path, clock: ManualClock) -> None:
    """After the operator moved a broken file away the next start finds no lock in its way."""
    tmp_path.chmod(0o700)
    (tmp_path / "ledger.db").write_bytes(b"broken" * 1000)
    with pytest.raises(LedgerError):
        open_ledger(str(tmp_path), clock=clock)
    (tmp_path / "ledger.db").unlink()
    open_ledger(str(tmp_path), clock=clock).close()


def test_old_events_make_room(state_dir: str, clock: ManualClock) -> None:
    """The log never grows without end: the newest stay, and numbers are never given twice."""
    with open_ledger(state_dir, clock=clock, keep=FEW) as ledger:
        numbers = [ledger.event("tick", "a", f"e{i}", {}) for i in range(25)]
        assert [event.message for event in ledger.events()] == [f"e{i}" for i in range(15, 25)]
    with open_ledger(state_dir, clock=clock, keep=FEW) as ledger:
        assert ledger.event("tick", "a", "next", {}) == numbers[-1] + 1


def test_old_readings_ends_and_decisions_make_room(state_dir: str, clock: ManualClock) -> None:
    """Every table is bounded."""
    with open_ledger(state_dir, clock=clock, keep=FEW) as ledger:
        for i in range(25):
            ledger.reading(reading(at_s=100.0 * i, overhead_bytes=i), 5, 4)
            ledger.finish(ledger.begin(f"r{i}", "{}", [SHRINK, HOLD]), [])
            ledger.put_guest(record(f"g{i}"))
            ledger.remove_guest(f"g{i}", "exited")
            clock.advance(1)
        assert [kept.overhead_bytes for kept in ledger.readings("a")] == list(range(15, 25))
        assert [one.reason for one in ledger.decisions()] == [f"r{i}" for i in range(20, 25)]
        assert [one.record.name for one in ledger.ended_guests()] == [f"g{i}" for i in range(20, 25)]
    steps = sqlite3.connect(Path(state_dir) / "ledger.db").execute("SELECT count(*) FROM steps").fetchone()
    assert steps == (10,)


def test_an_unfinished_decision_is_never_thinned(state_dir: str, clock: ManualClock) -> None:
    """However long ago it was begun, the next start reconciles it."""
    with open_ledger(state_dir, clock=clock, keep=FEW) as ledger:
        open_one = ledger.begin("interrupted", "{}", [SHRINK])
        for i in range(25):
            ledger.finish(ledger.begin(f"r{i}", "{}", []), [])
        assert [one.number for one in ledger.unfinished()] == [open_one]
        assert ledger.unfinished()[0].actions == (SHRINK,)


def test_one_write_thins_a_bounded_number(state_dir: str, clock: ManualClock) -> None:
    """A lowered bound does not make the next write long: it is worked off bit by bit."""
    with open_ledger(state_dir, clock=clock) as ledger:
        for i in range(200):
            ledger.event("tick", None, f"e{i}", {})
    with open_ledger(state_dir, clock=clock, keep=FEW) as ledger:
        ledger.event("tick", None, "one more", {})
        assert len(ledger.events()) == 201 - THINNED_AT_ONCE


def test_a_record_damaged_by_hand_is_told(sqlite: SqliteLedger, state_dir: str) -> None:
    """A guest whose record can't be understood is an error, never a guest less."""
    sqlite.put_guest(record())
    with sqlite3.connect(Path(state_dir) / "ledger.db") as other:
        other.execute("UPDATE guests SET record = '{\"name\": 7}'")
    other.close()
    with pytest.raises(LedgerError, match="name"):
        sqlite.get_guests()


def test_a_guest_that_can_not_be_written_is_not_half_there(sqlite: SqliteLedger) -> None:
    """A figure beyond 64 bits is refused and the guest stays under care."""
    sqlite.put_guest(record(need_bytes=2**70))
    with pytest.raises(EntryError):
        sqlite.remove_guest("a", "exited")
    assert len(sqlite.get_guests()) == 1
    assert sqlite.ended_guests() == ()


def test_an_unknown_decision_is_named(sqlite: SqliteLedger) -> None:
    """An outcome of nothing is refused with the number."""
    with pytest.raises(EntryError, match="no decision 5"):
        sqlite.finish(5, [])
    with pytest.raises(EntryError, match="no decision 5"):
        sqlite.note(5, done(SHRINK))


def test_it_may_be_used_from_another_thread_than_it_was_opened_in(sqlite: SqliteLedger) -> None:
    """The agent opens the ledger and hands it to its worker."""
    numbers: list[int] = []
    worker = threading.Thread(target=lambda: numbers.append(sqlite.begin("b starts", "{}", [SHRINK])))
    worker.start()
    worker.join()
    assert [one.number for one in sqlite.unfinished()] == numbers
