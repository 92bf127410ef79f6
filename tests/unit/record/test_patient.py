from __future__ import annotations

import pytest

from guestroom.errors import LedgerError
from guestroom.record import LATE, PatientLedger
from guestroom.testing.clock import ManualClock
from guestroom.testing.ledger import MemoryLedger

from .samples import RAISE, SHRINK, done, reading, record


@pytest.fixture
def memory(clock: ManualClock) -> MemoryLedger:
    """A ledger with one guest that can be made to fail."""
    ledger = MemoryLedger(clock)
    ledger.put_guest(record("a"))
    return ledger


@pytest.fixture
def patient(memory: MemoryLedger, clock: ManualClock) -> PatientLedger:
    """A patient ledger over it."""
    return PatientLedger(memory, clock)


def test_on_a_full_disk_nothing_that_gives_room_fails(patient: PatientLedger, memory: MemoryLedger) -> None:
    """Raises, holds let go, events and ends go on while the disk is full, and are told afterwards (P8)."""
    number = patient.begin("b starts", "{}", [SHRINK])
    memory.fail()
    patient.finish(number, [done(SHRINK)])
    assert patient.carried_out("a grew", "{}", [done(RAISE)]) == LATE
    assert patient.event("grew", "a", "a grew", {}) == LATE
    assert patient.reading(reading(), 5, 4) is True
    patient.put_guest(record("a", grant_bytes=9))
    assert patient.failure is not None
    assert patient.flush() is False
    memory.mend()
    assert patient.flush() is True
    assert patient.failure is None
    assert [one.outcomes for one in memory.decisions()] == [(done(SHRINK),), (done(RAISE),)]
    assert memory.unfinished() == ()
    assert [event.kind for event in memory.events()] == ["grew"]
    assert memory.get_guests() == (record("a", grant_bytes=9),)
    assert len(memory.readings("a")) == 1


def test_on_a_full_disk_no_decision_is_begun(patient: PatientLedger, memory: MemoryLedger) -> None:
    """A shrink or a start that can't be written before is refused, not carried out unwritten (P8)."""
    memory.fail()
    with pytest.raises(LedgerError, match="full"):
        patient.begin("b starts", "{}", [SHRINK])
    memory.mend()
    assert patient.decisions() == ()


def test_on_a_full_disk_no_new_guest_is_taken(patient: PatientLedger, memory: MemoryLedger) -> None:
    """A guest's first record is durable or there is no guest: after a crash nobody would know it."""
    memory.fail()
    with pytest.raises(LedgerError, match="full"):
        patient.put_guest(record("b"))
    memory.mend()
    assert patient.get_guests() == (record("a"),)
    patient.put_guest(record("b"))
    assert memory.get_guests() == (record("a"), record("b"))


def test_a_guest_that_ended_on_a_full_disk_is_new_again(patient: PatientLedger, memory: MemoryLedger) -> None:
    """The next guest of that name is written before it starts, after the end of the former."""
    memory.fail()
    assert patient.remove_guest("a", "exited") is True
    assert patient.remove_guest("a", "exited") is False
    with pytest.raises(LedgerError, match="full"):
        patient.put_guest(record("a", need_bytes=3))
    memory.mend()
    patient.put_guest(record("a", need_bytes=3))
    assert [one.record for one in memory.ended_guests()] == [record("a")]
    assert memory.get_guests() == (record("a", need_bytes=3),)


def test_entries_put_from_elsewhere_come_first(patient: PatientLedger, memory: MemoryLedger) -> None:
    """What the alarm path told without waiting is written before what happened later."""
    patient.outbox.event("held", "a", "first", {})
    assert patient.event("let_go", "a", "second", {}) == 2
    assert [event.message for event in memory.events()] == ["first", "second"]


def test_a_quiet_reading_is_thinned_through_it_too(patient: PatientLedger) -> None:
    """Patience does not make a quiet guest loud."""
    assert patient.reading(reading(), 5, 4) is True
    assert patient.reading(reading(at_s=1001.0), 5, 4) is False


def test_closing_writes_what_waits(patient: PatientLedger, memory: MemoryLedger) -> None:
    """A clean end leaves nothing in memory only."""
    patient.outbox.event("tick", None, "last", {})
    written: list[str] = []
    memory.close = lambda: written.extend(event.message for event in memory.events())  # type: ignore[method-assign]
    patient.close()
    assert written == ["last"]
