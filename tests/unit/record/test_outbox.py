"""What may be written late waits in order, is bounded, and tells what it dropped."""

from __future__ import annotations

import threading
import time

import pytest

from guestroom.errors import LedgerError
from guestroom.record import Outbox
from guestroom.testing.clock import ManualClock
from guestroom.testing.ledger import MemoryLedger

from .samples import RAISE, SHRINK, done, entry, life, reading, record


@pytest.fixture
def memory(clock: ManualClock) -> MemoryLedger:
    """A ledger that can be made to fail."""
    return MemoryLedger(clock, reading_keep_s=0.0)


@pytest.fixture
def outbox(memory: MemoryLedger, clock: ManualClock) -> Outbox:
    """An outbox over it."""
    return Outbox(memory, clock)


def test_what_waits_is_written_in_order_with_its_own_time(
    outbox: Outbox, memory: MemoryLedger, clock: ManualClock
) -> None:
    """The ledger tells things as they happened, not as the disk got round to them."""
    began = clock.wall()
    for i in range(3):
        outbox.event("tick", "a", f"e{i}", {})
        clock.advance(10)
    assert memory.events() == ()
    assert outbox.flush()
    assert [(event.message, event.at_wall_s - began) for event in memory.events()] == [
        ("e0", 0),
        ("e1", 10),
        ("e2", 20),
    ]


def test_every_kind_of_entry_arrives(outbox: Outbox, memory: MemoryLedger) -> None:
    """Nothing that may be late is lost for being late."""
    number = memory.begin("b starts", "{}", [SHRINK])
    memory.put_guest(record("gone"))
    outbox.note(number, done(SHRINK))
    outbox.finish(number, [done(SHRINK)])
    outbox.carried_out("a grew", "{}", [done(RAISE)])
    outbox.reading(reading(), 5, 4)
    outbox.put_guest(record("a"))
    outbox.remove_guest("gone", "exited")
    memory.put_waiting(entry("b"))
    outbox.remove_waiting("b")
    assert outbox.waiting == 7
    assert outbox.flush()
    assert outbox.waiting == 0
    assert memory.get_waiting() == ()
    assert [one.outcomes for one in memory.decisions()] == [(done(SHRINK),), (done(RAISE),)]
    assert memory.get_guests() == (record("a"),)
    assert len(memory.readings("a")) == 1
    assert [one.reason for one in memory.ended_guests()] == ["exited"]


def test_a_full_disk_neither_fails_nor_loses_an_entry(outbox: Outbox, memory: MemoryLedger) -> None:
    """While the ledger fails entries are taken, and written once when it works again."""
    outbox.event("tick", None, "before", {})
    outbox.flush()
    memory.fail()
    outbox.event("tick", None, "during 1", {})
    assert not outbox.flush()
    outbox.event("tick", None, "during 2", {})
    assert not outbox.flush()
    assert isinstance(outbox.failure, LedgerError)
    assert outbox.waiting == 2
    memory.mend()
    assert outbox.flush()
    assert outbox.failure is None
    assert [event.message for event in memory.events()] == ["before", "during 1", "during 2"]


def test_when_it_overflows_readings_go_first_and_it_is_told(memory: MemoryLedger, clock: ManualClock) -> None:
    """What had to be dropped is the least of it, and the ledger says how much and since when."""
    outbox = Outbox(memory, clock, capacity=4)
    memory.fail()
    outbox.carried_out("a grew", "{}", [done(RAISE)])
    for i in range(3):
        outbox.reading(reading(at_s=float(i)), 5, 4)
    since = clock.wall()
    for i in range(4):
        outbox.event("tick", None, f"e{i}", {})
        clock.advance(1)
    assert outbox.waiting == 4
    memory.mend()
    assert outbox.flush()
    assert memory.readings("a") == ()
    assert len(memory.decisions()) == 1
    assert [event.message for event in memory.events()][:3] == ["e1", "e2", "e3"]
    told = memory.events()[-1]
    assert told.kind == "ledger_dropped"
    assert dict(told.numbers) == {"events": 1, "readings": 3, "since_wall_s": since}
    outbox.flush()
    assert len(memory.events()) == 4


def test_outcomes_go_last(memory: MemoryLedger, clock: ManualClock) -> None:
    """Only when nothing else is left to drop does an outcome go, the oldest first."""
    outbox = Outbox(memory, clock, capacity=2)
    for i in range(4):
        outbox.carried_out(f"r{i}", "{}", [])
    assert outbox.flush()
    assert [one.reason for one in memory.decisions()] == ["r2", "r3"]


def test_an_entry_the_ledger_never_takes_does_not_hold_up_the_others(outbox: Outbox, memory: MemoryLedger) -> None:
    """An outcome of a decision that is not there is dropped and told; what follows is written."""
    outbox.finish(99, [done(SHRINK)])
    outbox.event("tick", None, "after", {})
    assert outbox.flush()
    assert [event.kind for event in memory.events()] == ["tick", "ledger_dropped"]
    assert memory.events()[1].numbers["outcomes"] == 1


def test_of_a_guests_records_only_the_newest_waits(outbox: Outbox, memory: MemoryLedger) -> None:
    """A guest that grows a hundred times while the disk is full takes one place."""
    for grant in range(100):
        outbox.put_guest(record("a", grant_bytes=grant))
    outbox.put_guest(record("b"))
    assert outbox.waiting == 2
    outbox.flush()
    assert memory.get_guests() == (record("a", grant_bytes=99), record("b"))


def test_a_guest_of_the_same_name_does_not_undo_the_end_of_the_former(outbox: Outbox, memory: MemoryLedger) -> None:
    """Ended and started again under one name while the disk was full: both are told."""
    memory.put_guest(record("a", need_bytes=1))
    outbox.put_guest(record("a", need_bytes=2))
    outbox.remove_guest("a", "exited")
    outbox.put_guest(record("a", need_bytes=3))
    outbox.flush()
    assert [ended.record.need_bytes for ended in memory.ended_guests()] == [2]
    assert [guest.need_bytes for guest in memory.get_guests()] == [3]


def test_what_must_be_durable_comes_after_what_is_older(outbox: Outbox, memory: MemoryLedger) -> None:
    """A decision is never on the disk before the record it was made from."""
    outbox.put_guest(record("a", grant_bytes=7))
    ledger = outbox.durable()
    assert memory.get_guests() == (record("a", grant_bytes=7),)
    assert ledger.begin("b starts", "{}", [SHRINK]) == 1


def test_what_must_be_durable_is_refused_on_a_full_disk(outbox: Outbox, memory: MemoryLedger) -> None:
    """No shrink and no start is carried out that could not be written before (P8)."""
    memory.fail(LedgerError("the disk is full"))
    outbox.event("tick", None, "waits", {})
    with pytest.raises(LedgerError, match="the disk is full"):
        outbox.durable()
    assert outbox.waiting == 1


def test_putting_never_waits_for_a_slow_disk(clock: ManualClock) -> None:
    """While a write hangs in the disk, whoever answers alarms goes on at once (P8)."""
    hanging, go_on = threading.Event(), threading.Event()

    class SlowLedger(MemoryLedger):
        def event(self, *args: object, **named: object) -> int:
            hanging.set()
            go_on.wait(10)
            return super().event(*args, **named)  # type: ignore[arg-type]

    slow = SlowLedger(clock)
    outbox = Outbox(slow, clock)
    outbox.event("tick", None, "first", {})
    writer = threading.Thread(target=outbox.flush)
    writer.start()
    assert hanging.wait(10)
    before = time.monotonic()
    for i in range(100):
        outbox.carried_out(f"raise {i}", "{}", [done(RAISE)])
    took_s = time.monotonic() - before
    go_on.set()
    writer.join(10)
    assert took_s < 5
    assert len(slow.decisions(1000)) == 100


def test_entries_from_many_threads_all_arrive(outbox: Outbox, memory: MemoryLedger) -> None:
    """No entry is lost or doubled however many put and flush at once."""

    def work(number: int) -> None:
        for i in range(50):
            outbox.event("tick", None, f"{number}-{i}", {})
            outbox.flush()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outbox.flush()
    messages = [event.message for event in memory.events()]
    assert sorted(messages) == sorted(f"{number}-{i}" for number in range(4) for i in range(50))


def test_only_the_newest_report_of_a_life_waits(clock: ManualClock) -> None:
    """While the disk is full a running guest's reports replace each other; another life's stays."""
    ledger = MemoryLedger(clock)
    outbox = Outbox(ledger, clock)
    ledger.fail()
    outbox.put_life(life("a"))
    outbox.put_life(life("a", at_wall_s=1_750_000_200.0, peak_bytes=5))
    outbox.put_life(life("a", started_wall_s=6.0))
    assert outbox.waiting == 2
    ledger.mend()
    assert outbox.flush()
    assert sorted(one.peak_bytes for one in ledger.lives()) == [5, life("a").peak_bytes]
