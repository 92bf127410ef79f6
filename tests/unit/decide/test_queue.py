"""Those that wait are served in their order, and know what they wait for."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

from guestroom.actions import Verdict, VerdictKind
from guestroom.decide import (
    admit,
    could_ever_fit,
    enqueue,
    gave_up,
    in_line,
    in_turn,
    leave,
    next_admissible,
    places,
    told_to_wait,
    waits_before,
)
from guestroom.facts import AncestorFacts, GuestFacts, HostFacts, OutsiderFacts
from guestroom.turns import QueueEntry

from .samples import M, guest, host, newcomer, settings

NOW = 1e9
Queue = tuple[QueueEntry, ...]


def queue(*needs: int, timeout_s: float | None = None) -> Queue:
    """B, C, D... that need so many MiB, queued at ``NOW``."""
    waiting: Queue = ()
    for name, need in zip("BCDE", needs, strict=False):
        waiting = enqueue(waiting, newcomer(name, need_bytes=need * M), NOW, timeout_s=timeout_s)
    return waiting


class Admission:
    """``admit`` beside some guests, which remembers whom it was asked about."""

    def __init__(self, *guests: GuestFacts) -> None:
        self.guests = guests
        self.asked: list[str] = []

    def __call__(self, entry: QueueEntry) -> Verdict:
        """The verdict, as if nobody waited before it."""
        self.asked.append(entry.name)
        return admit(entry.newcomer, self.guests, host(), settings(), 1e6, burst_bytes=entry.burst_bytes)


FULL = guest("A", grant_bytes=700 * M, use_bytes=700 * M)


def alone(entry: QueueEntry) -> Verdict:
    """Without anybody else on this host."""
    return could_ever_fit(entry, (), host(), settings())


def test_the_first_starts_when_there_is_room() -> None:
    """It is out of the queue, with its verdict; the next one moves up but is not asked yet."""
    ask = Admission()
    turn = next_admissible(queue(200, 100), ask, NOW)
    assert turn.start is not None
    assert (turn.start[0].name, turn.start[1].kind) == ("B", VerdictKind.ADMIT)
    assert (ask.asked, [place.name for place in turn.places], turn.places[0].place) == (["B"], ["C"], 1)


def test_nobody_overtakes() -> None:
    """100 MiB are left: C's 50 would fit, but B's 200 come first, so nobody starts and C is not even asked."""
    ask = Admission(FULL)
    turn = next_admissible(queue(200, 50), ask, NOW)
    assert (turn.start, ask.asked, [entry.name for entry in turn.queue]) == (None, ["B"], ["B", "C"])


def test_everybody_is_told_its_place_and_what_it_waits_for() -> None:
    """The first with what is missing for it, the others with who is before them."""
    first, second = next_admissible(queue(200, 50, timeout_s=90.0), Admission(FULL), NOW + 30).places
    assert (first.place, first.of, first.before, first.short_bytes, first.short_of) == (1, 2, (), 100 * M, "overhead")
    assert (first.waited_s, first.left_s, first.need_bytes, first.ram_bytes) == (30.0, 60.0, 200 * M, 512 * M)
    assert (second.place, second.before, second.short_bytes, second.short_of) == (2, ("B",), None, "")
    assert first.message == (
        "guest B waits at place 1 of 2; it needs 200.0 MiB of overhead, 100.0 MiB are free; A holds 700.0 MiB; "
        "it gives up in 60 s"
    )
    assert second.message == (
        "guest C waits at place 2 of 2, behind B; it asks for 50.0 MiB of overhead and 512.0 MiB of RAM; "
        "A holds 700.0 MiB; it gives up in 60 s"
    )
    assert (first.free_bytes, [one.name for one in second.holders]) == (100 * M, ["A"])


def test_whose_time_is_over_is_out_before_anybody_is_asked() -> None:
    """At the very second; one without a time-out waits on, also with a clock that went back."""
    waiting = (*queue(200, timeout_s=60.0), replace(queue(0, 50)[1], timeout_s=None))
    ask = Admission(FULL)
    turn = next_admissible(waiting, ask, NOW + 60)
    assert ([entry.name for entry in turn.expired], ask.asked) == (["B"], ["C"])
    assert turn.start is not None
    assert next_admissible(waiting, Admission(FULL), NOW + 59).expired == ()
    early = next_admissible(waiting, Admission(FULL), NOW - 1000)
    assert (early.expired, early.places[0].waited_s) == ((), 0.0)


def test_who_could_never_start_does_not_keep_the_others_waiting() -> None:
    """B needs more than the whole reserve: it is refused with its numbers, and C is asked in its place."""
    turn = next_admissible(queue(900, 50), Admission(FULL), NOW, alone=alone)
    ((entry, verdict),) = turn.impossible
    assert (entry.name, verdict.kind, verdict.short_bytes) == ("B", VerdictKind.REFUSE, 100 * M)
    assert turn.start is not None
    assert (turn.start[0].name, turn.queue) == ("C", ())
    kept = next_admissible(queue(900, 50), Admission(FULL), NOW)
    assert ([entry.name for entry in kept.queue], kept.impossible) == (["B", "C"], ())


def test_what_may_change_by_waiting_does_not_make_it_impossible() -> None:
    """Memory that is used now, another QEMU, others' use above us: all may go, the host's size and limits stay."""
    (entry,) = queue(200)
    busy: HostFacts = host(
        available_bytes=0,
        outsiders=(OutsiderFacts(7, 4000 * M, 0, 0),),
        ancestors=(AncestorFacts("/up", 3000 * M, 2900 * M), AncestorFacts("/top", None, None)),
    )
    assert could_ever_fit(entry, (), busy, settings()).kind is VerdictKind.ADMIT
    small = host(ancestors=(AncestorFacts("/up", 1300 * M, 0),))
    assert could_ever_fit(entry, (), small, settings()).kind is VerdictKind.REFUSE
    stays = guest("R", overhead_bytes=None, grant_bytes=700 * M)
    assert could_ever_fit(entry, (stays,), host(), settings()).kind is VerdictKind.REFUSE


def test_who_comes_back_keeps_its_turn_and_its_clock() -> None:
    """After a restart of the agent each ``run`` asks again; its description may have changed, its place has not."""
    again = enqueue(queue(200, 50), newcomer("B", need_bytes=300 * M), NOW + 99, timeout_s=5.0, burst_bytes=7)
    assert [entry.name for entry in again] == ["B", "C"]
    assert (again[0].number, again[0].queued_s, again[0].newcomer.need_bytes) == (1, NOW, 300 * M)
    assert (again[0].timeout_s, again[0].burst_bytes) == (5.0, 7)


def test_who_left_and_comes_again_is_last() -> None:
    """Giving up gives the turn up."""
    waiting = leave(queue(200, 50), "B")
    assert [entry.name for entry in waiting] == ["C"]
    assert [entry.name for entry in enqueue(waiting, newcomer("B"), NOW, timeout_s=None)] == ["C", "B"]
    assert leave(waiting, "nobody") == waiting


def test_entries_read_back_in_any_order_are_served_in_their_turns() -> None:
    """They are plain data, and the order of rows means nothing."""
    waiting = queue(200, 50, 60)
    assert in_turn(reversed(waiting)) == waiting
    assert [place.name for place in next_admissible(waiting[::-1], Admission(FULL), NOW).places] == ["B", "C", "D"]
    assert json.loads(json.dumps(asdict(waiting[0])))["newcomer"]["need_bytes"] == 200 * M


def test_whoever_asks_from_outside_waits_behind_all() -> None:
    """No overtaking by a newcomer that would not wait either: it is told who is before it."""
    waiting = queue(200, 50)
    assert [entry.name for entry in waits_before(waiting, "Z")] == ["B", "C"]
    assert [entry.name for entry in waits_before(waiting, "C")] == ["B"]
    assert waits_before(waiting, "B") == waits_before((), "Z") == ()


def test_a_refusal_becomes_a_wait_with_the_same_numbers() -> None:
    """What is short and who holds it stay in the verdict, the place is its message."""
    waiting = queue(200)
    refused = Admission(FULL)(waiting[0])
    verdict = told_to_wait(refused, next_admissible(waiting, Admission(FULL), NOW).places[0])
    assert (verdict.kind, verdict.short_bytes, verdict.holders) == (VerdictKind.WAIT, 100 * M, refused.holders)
    assert verdict.message.startswith("guest B waits at place 1 of 1")


def told(name: str, waiting: Queue, *guests: GuestFacts) -> Verdict:
    """What one of a queue is told."""
    entry = next(one for one in waiting if one.name == name)
    return in_line(waiting, name, Admission(*guests)(entry), alone(entry), NOW)


def test_with_nobody_before_it_a_newcomer_hears_its_own_verdict() -> None:
    """It starts if it fits; if not it waits where it wants to, with nothing granted, and is refused where not."""
    waits = replace(queue(200)[0].newcomer, on_short="wait")
    alone_in_line = enqueue((), waits, NOW, timeout_s=None)
    assert told("B", alone_in_line).kind is VerdictKind.ADMIT
    verdict = told("B", alone_in_line, FULL)
    assert (verdict.kind, verdict.grant_bytes, verdict.grants, verdict.short_bytes) == (
        VerdictKind.WAIT,
        0,
        (),
        100 * M,
    )
    assert verdict.message.startswith("guest B waits at place 1 of 1; it needs 200.0 MiB")
    assert told("B", queue(200), FULL).kind is VerdictKind.REFUSE


def test_one_that_does_not_wait_is_refused_behind_those_that_do() -> None:
    """Also where it would fit and whatever it asked for: the room there is belongs to those that came first."""
    for on_short in ("refuse", "squeeze", "recreate"):
        waiting = enqueue(queue(200, 50), newcomer("Z", need_bytes=M, on_short=on_short), NOW, timeout_s=None)
        verdict = told("Z", waiting, FULL)
        assert (verdict.kind, verdict.short_of, verdict.grants) == (VerdictKind.REFUSE, "queue", ())
        assert "B, C wait for room and came first; it needs 1.0 MiB of overhead, 100.0 MiB are free" in verdict.message
        assert verdict.advice[0].startswith('set on_short = "wait"')
    one = enqueue(queue(200), newcomer("Z", need_bytes=M), NOW, timeout_s=None)
    assert "B waits for room and came first" in told("Z", one, FULL).message


def test_nobody_gets_a_place_in_vain() -> None:
    """More than the whole reserve is refused at once, also behind others."""
    waiting = enqueue(queue(200), newcomer("Z", need_bytes=900 * M, on_short="wait"), NOW, timeout_s=None)
    verdict = told("Z", waiting, FULL)
    assert (verdict.kind, verdict.short_bytes) == (VerdictKind.REFUSE, 100 * M)
    assert verdict.message.endswith("waiting would not help: that is with nobody else here")


def test_who_gives_up_is_told_how_long_it_waited_and_for_what() -> None:
    """The first what was free and who holds the rest; one behind others who they are, also if it would fit."""
    waiting = queue(200, 50, timeout_s=60.0)
    first, second = places(waiting, None, NOW + 60)
    verdict = gave_up(Admission(FULL)(waiting[0]), first)
    assert (verdict.kind, verdict.short_of) == (VerdictKind.REFUSE, "overhead")
    assert verdict.message == (
        "guest B is refused: it waited 60 s for room at place 1 of 2, it needs 200.0 MiB of overhead, 100.0 MiB are "
        "free; A holds 700.0 MiB"
    )
    verdict = gave_up(Admission(FULL)(waiting[1]), second)
    assert (verdict.kind, verdict.grants, verdict.short_of) == (VerdictKind.REFUSE, (), "queue")
    assert "at place 2 of 2, behind B" in verdict.message


def test_each_kind_of_missing_room_has_its_words() -> None:
    """RAM, memory at this moment, and more holders than are named."""
    (entry,) = queue(100)
    large = replace(entry, newcomer=replace(entry.newcomer, ram_charged_bytes=9000 * M))
    for one, machine, words in (
        (large, host(), "its RAM does not fit the budget, "),
        (entry, host(available_bytes=0), "the host has too little memory at this moment, "),
    ):
        verdict = admit(one.newcomer, (), machine, settings(), 1e6)
        assert words in places((one,), verdict, NOW)[0].message
    many = [guest(name, grant_bytes=150 * M, use_bytes=150 * M) for name in ("G1", "G2", "G3", "G4", "G5")]
    verdict = admit(queue(100)[0].newcomer, many, host(), settings(), 1e6)
    assert "G3 holds 150.0 MiB, 2 more hold the rest" in places(queue(100), verdict, NOW)[0].message
