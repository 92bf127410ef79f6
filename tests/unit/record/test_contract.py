"""What every ledger promises: run on SQLite, in memory, and through the patient one."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guestroom.actions import Action, Outcome, OutcomeKind
from guestroom.errors import EntryError, LedgerError
from guestroom.facts import GuestState
from guestroom.ports import Figure, Ledger
from guestroom.testing.clock import ManualClock
from guestroom.units import MIB, UNLIMITED

from .samples import ACTIONS, HOLD, LET_GO, OUTCOMES, RAISE, SHRINK, done, entry, life, reading, record

ON_EACH = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def test_guests_come_back_by_name(ledger: Ledger) -> None:
    """After any crash the agent finds every guest it cared for."""
    ledger.put_guest(record("b"))
    ledger.put_guest(record("a"))
    assert ledger.get_guests() == (record("a"), record("b"))


def test_a_later_record_takes_the_place_of_the_former(ledger: Ledger) -> None:
    """Of one guest there is one truth, the newest."""
    ledger.put_guest(record("a"))
    ledger.put_guest(record("a", state=GuestState.STOPPING, held=True, identity=None))
    assert ledger.get_guests() == (record("a", state=GuestState.STOPPING, held=True, identity=None),)


def test_an_ended_guest_is_kept_for_learning(ledger: Ledger, clock: ManualClock) -> None:
    """A guest that ended is no longer under care, and what it needed stays known."""
    ledger.put_guest(record("a", overhead_peak_bytes=480 * MIB))
    clock.advance(5)
    assert ledger.remove_guest("a", "exited with 0") is True
    assert ledger.get_guests() == ()
    (ended,) = ledger.ended_guests()
    assert ended.record == record("a", overhead_peak_bytes=480 * MIB)
    assert (ended.ended_wall_s, ended.reason) == (clock.wall(), "exited with 0")


def test_removing_nobody_is_no_error(ledger: Ledger) -> None:
    """A guest may be found gone twice; the second time there is nothing to do."""
    ledger.put_guest(record("a"))
    assert ledger.remove_guest("a", "gone") is True
    assert ledger.remove_guest("a", "gone") is False
    assert ledger.remove_guest("never", "gone") is False
    assert len(ledger.ended_guests()) == 1


def test_a_life_is_kept_once_with_its_newest_report(ledger: Ledger) -> None:
    """Each life with what was promised for it; a later report replaces it, another life of that name does not."""
    ledger.put_life(life("a"))
    ledger.put_life(life("b", at_wall_s=1_750_000_050.0))
    newest = life("a", at_wall_s=1_750_000_200.0, peak_bytes=95 * MIB, ended=True)
    ledger.put_life(newest)
    ledger.put_life(life("a", started_wall_s=6.0, at_wall_s=1_750_000_300.0))
    assert [(one.guest, one.peak_bytes) for one in ledger.lives()] == [
        ("b", 90 * MIB),
        ("a", 95 * MIB),
        ("a", 90 * MIB),
    ]
    assert ledger.lives()[1] == newest
    assert [one.started_wall_s for one in ledger.lives(limit=1)] == [6.0]


def test_places_in_the_queue_come_back_in_turn(ledger: Ledger) -> None:
    """Who waits is found again in the order of the turns, whatever the names; a newer entry replaces the older."""
    ledger.put_waiting(entry("b", 1))
    ledger.put_waiting(entry("a", 2))
    ledger.put_waiting(entry("b", 1, timeout_s=60.0))
    assert ledger.get_waiting() == (entry("b", 1, timeout_s=60.0), entry("a", 2))


def test_a_place_given_up_is_gone(ledger: Ledger) -> None:
    """Leaving the queue is durable, and leaving it twice is no error."""
    ledger.put_waiting(entry("a", 1))
    ledger.remove_waiting("a")
    ledger.remove_waiting("a")
    assert ledger.get_waiting() == ()


def test_the_last_ended_guests_come_oldest_first(ledger: Ledger) -> None:
    """A limit gives the newest of the past, in the order it happened."""
    for name in ("a", "b", "c"):
        ledger.put_guest(record(name))
        ledger.remove_guest(name, "exited")
    assert [ended.record.name for ended in ledger.ended_guests(2)] == ["b", "c"]


def test_a_begun_decision_is_unfinished_until_finished(ledger: Ledger, clock: ManualClock) -> None:
    """The next start sees exactly what was planned and not yet known to be done."""
    began = clock.wall()
    number = ledger.begin("b starts", '{"free":1}', [SHRINK, RAISE])
    (open_one,) = ledger.unfinished()
    assert (open_one.number, open_one.at_wall_s, open_one.reason) == (number, began, "b starts")
    assert (open_one.inputs, open_one.actions, open_one.outcomes) == ('{"free":1}', (SHRINK, RAISE), ())
    assert open_one.finished_wall_s is None
    clock.advance(2)
    ledger.finish(number, [done(SHRINK), done(RAISE)])
    assert ledger.unfinished() == ()
    (closed,) = ledger.decisions()
    assert closed.outcomes == (done(SHRINK), done(RAISE))
    assert closed.finished_wall_s == began + 2


def test_steps_noted_one_by_one_are_seen_while_the_decision_is_open(ledger: Ledger) -> None:
    """A crash in the middle leaves which steps were done."""
    number = ledger.begin("b starts", "{}", [SHRINK, HOLD, RAISE])
    ledger.note(number, done(SHRINK, "read back"))
    (open_one,) = ledger.unfinished()
    assert open_one.outcomes == (done(SHRINK, "read back"),)
    ledger.finish(number, [done(SHRINK, "read back"), Outcome(HOLD, OutcomeKind.VANISHED, "gone")])
    (closed,) = ledger.decisions()
    assert closed.actions == (SHRINK, HOLD, RAISE)
    assert closed.outcomes == (done(SHRINK, "read back"), Outcome(HOLD, OutcomeKind.VANISHED, "gone"))


def test_what_was_done_beyond_the_plan_is_kept_with_it(ledger: Ledger) -> None:
    """A shrink taken back (P4) is told as done, not as planned."""
    number = ledger.begin("b starts", "{}", [SHRINK])
    ledger.finish(number, [Outcome(SHRINK, OutcomeKind.BUSY, "EBUSY", 700 * MIB), done(RAISE)])
    (decision,) = ledger.decisions()
    assert decision.actions == (SHRINK,)
    assert decision.outcomes == (Outcome(SHRINK, OutcomeKind.BUSY, "EBUSY", 700 * MIB), done(RAISE))


def test_equal_steps_keep_their_own_outcomes(ledger: Ledger) -> None:
    """The same step planned twice has two outcomes, in order."""
    number = ledger.begin("again", "{}", [SHRINK, SHRINK])
    ledger.note(number, Outcome(SHRINK, OutcomeKind.BUSY, "first"))
    ledger.note(number, done(SHRINK, "second"))
    (decision,) = ledger.unfinished()
    assert [outcome.detail for outcome in decision.outcomes] == ["first", "second"]


def test_finishing_twice_changes_nothing(ledger: Ledger) -> None:
    """A write whose answer was lost may be repeated."""
    number = ledger.begin("b starts", "{}", [SHRINK])
    for _ in range(2):
        ledger.finish(number, [done(SHRINK), done(LET_GO)], at_wall_s=7.0)
    (decision,) = ledger.decisions()
    assert decision.outcomes == (done(SHRINK), done(LET_GO))
    assert decision.finished_wall_s == 7.0


def test_what_the_kernel_already_has_is_written_as_finished(ledger: Ledger) -> None:
    """A raise written late is a decision with its outcomes and its own time, and nothing to reconcile."""
    number = ledger.carried_out("a grew", "{}", [done(RAISE)], at_wall_s=12.5)
    assert ledger.unfinished() == ()
    (decision,) = ledger.decisions()
    assert (decision.number, decision.at_wall_s, decision.finished_wall_s) == (number, 12.5, 12.5)
    assert (decision.actions, decision.outcomes) == ((RAISE,), (done(RAISE),))


@ON_EACH
@given(actions=st.lists(ACTIONS, max_size=4), outcomes=st.lists(OUTCOMES, max_size=3))
def test_any_decision_comes_back_whole(ledger: Ledger, actions: list[Action], outcomes: list[Outcome]) -> None:
    """No step and no outcome is lost or changed on the way to the disk and back."""
    own = [done(action) for action in actions]
    number = ledger.begin("any", "{}", actions)
    ledger.finish(number, own)
    late = ledger.carried_out("any", "{}", outcomes)
    planned, carried = ledger.decisions(2)
    assert (planned.number, planned.actions, planned.outcomes) == (number, tuple(actions), tuple(own))
    assert (carried.number, carried.outcomes) == (late, tuple(outcomes))


def test_the_last_decisions_come_oldest_first(ledger: Ledger) -> None:
    """A limit gives the newest decisions in the order they were made."""
    numbers = [ledger.begin(f"r{i}", "{}", []) for i in range(4)]
    assert [decision.number for decision in ledger.decisions(2)] == numbers[2:]
    assert [decision.number for decision in ledger.unfinished()] == numbers


def test_an_event_comes_back_with_its_numbers(ledger: Ledger, clock: ManualClock) -> None:
    """The control plane reads what happened, to whom, with the figures."""
    numbers: dict[str, Figure] = {
        "asked_bytes": 2**53 - 1,
        "share": 0.25,
        "limit_bytes": "unlimited",
        "use_bytes": None,
    }
    number = ledger.event("refused", "b", "b was refused: 12 MiB short", numbers)
    (event,) = ledger.events()
    assert (event.number, event.at_wall_s, event.kind, event.guest) == (number, clock.wall(), "refused", "b")
    assert (event.message, dict(event.numbers)) == ("b was refused: 12 MiB short", numbers)


def test_events_can_be_followed(ledger: Ledger) -> None:
    """Who asks for what came after the last number seen misses nothing and sees nothing twice."""
    numbers = [ledger.event("tick", "a" if i % 2 else None, f"e{i}", {}) for i in range(6)]
    assert numbers == sorted(set(numbers))
    assert [event.message for event in ledger.events(after=numbers[1], limit=2)] == ["e2", "e3"]
    assert [event.message for event in ledger.events(guest="a")] == ["e1", "e3", "e5"]
    assert [event.message for event in ledger.events(after=numbers[1], limit=1, guest="a")] == ["e3"]
    assert ledger.events(after=numbers[-1]) == ()
    assert [event.message for event in ledger.last_events(2)] == ["e4", "e5"]
    assert [event.message for event in ledger.last_events(2, guest="a")] == ["e3", "e5"]


def test_a_reading_comes_back_with_limit_and_grant(ledger: Ledger) -> None:
    """Every figure of a reading and how it was obtained stay traceable."""
    assert ledger.reading(reading(), UNLIMITED, None, at_wall_s=50.0) is True
    (kept,) = ledger.readings("a")
    assert (kept.guest, kept.at_wall_s, kept.accounting) == ("a", 50.0, reading().accounting)
    assert (kept.overhead_bytes, kept.upper_bound_bytes) == (100 * MIB, 120 * MIB)
    assert (kept.ram_resident_bytes, kept.cache_bytes, kept.kernel_peak_bytes) == (1024 * MIB, 0, 130 * MIB)
    assert (kept.limit_bytes, kept.grant_bytes, kept.how) == (UNLIMITED, None, "memory.stat of ram and vmm")


def test_quiet_readings_are_thinned(ledger: Ledger) -> None:
    """A guest that does not change does not fill the disk."""
    kept = [ledger.reading(reading(at_s=1000.0 + i), 5, 4) for i in range(21)]
    assert [i for i, one in enumerate(kept) if one] == [0, 10, 20]
    assert len(ledger.readings("a")) == 3


def test_a_guest_started_again_is_read_anew(ledger: Ledger) -> None:
    """The first reading of the next guest of a name is kept, however like the last of the former."""
    for _ in range(2):
        ledger.put_guest(record("a"))
        assert ledger.reading(reading(), 5, 4) is True
        assert ledger.reading(reading(), 5, 4) is False
        ledger.remove_guest("a", "exited")


def test_readings_are_found_by_guest_and_time(ledger: Ledger) -> None:
    """A window of one guest's past holds that and nothing else."""
    for i in range(5):
        ledger.reading(reading("a", at_s=100.0 * i, overhead_bytes=i), 5, 4, at_wall_s=100.0 * i)
        ledger.reading(reading("b", at_s=100.0 * i), 5, 4, at_wall_s=100.0 * i)
    assert [kept.overhead_bytes for kept in ledger.readings("a", since_wall_s=200.0)] == [2, 3, 4]
    assert [kept.overhead_bytes for kept in ledger.readings("a", limit=2)] == [3, 4]
    assert ledger.readings("c") == ()


def test_texts_of_any_kind_can_be_kept(ledger: Ledger) -> None:
    """Quotes, newlines, other scripts and zero bytes are text like any other."""
    text = 'it\'s "done"\n; DROP TABLE guests; -- 客 \0 ü'
    ledger.event(text, text, text, {text: text})
    (event,) = ledger.last_events(1)
    assert (event.kind, event.guest, event.message, dict(event.numbers)) == (text, text, text, {text: text})
    assert json.loads(json.dumps(dict(event.numbers))) == {text: text}


def test_an_unknown_decision_does_not_get_an_outcome(ledger: Ledger) -> None:
    """An outcome for a decision that is not there is refused for good or told as dropped, never kept as a success."""
    with suppress(EntryError):
        ledger.finish(77, [done(SHRINK)])
    assert ledger.decisions() == ()


def test_a_closed_ledger_refuses(ledger: Ledger) -> None:
    """After the end nothing is silently lost."""
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerError, match="closed"):
        ledger.begin("late", "{}", [])
    with pytest.raises(LedgerError, match="closed"):
        ledger.get_guests()
