"""Nobody overtakes, whatever comes, leaves, gives up, or would fit."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from guestroom.actions import Verdict, VerdictKind
from guestroom.decide import enqueue, leave, next_admissible, rules, waits_before
from guestroom.facts import Newcomer
from guestroom.turns import QueueEntry

NAMES = "ABCDE"
Events = list[tuple[str, str, int]]
events = st.lists(
    st.one_of(
        st.tuples(st.just("come"), st.sampled_from(NAMES), st.integers(1, 9)),
        st.tuples(st.just("come"), st.sampled_from(NAMES), st.integers(1, 9)),
        st.tuples(st.just("leave"), st.sampled_from(NAMES), st.just(0)),
        st.tuples(st.just("room"), st.just(""), st.integers(0, 9)),
        st.tuples(st.just("pass"), st.just(""), st.sampled_from([1, 5, 40])),
    ),
    max_size=25,
)


def verdict(entry: QueueEntry, room: int) -> Verdict:
    """It may start if it fits ``room``."""
    need = entry.newcomer.need_bytes
    kind = VerdictKind.ADMIT if need <= room else VerdictKind.REFUSE
    return Verdict(kind, entry.name, need, 0, 0, room, max(0, need - room), "overhead", (), (), (), (), "")


def play(history: Events) -> list[str]:
    """What was wrong while a queue was served."""
    queue: tuple[QueueEntry, ...] = ()
    order: list[str] = []
    """Who waits, in the order they came: kept here once more."""
    now, room = 0.0, 0
    wrong: list[str] = []
    for kind, name, size in history:
        match kind:
            case "come":
                one = Newcomer(name, 1, 1, 1, size, 0, None, "wait")
                queue = enqueue(queue, one, now, timeout_s=30.0)
                order = order if name in order else [*order, name]
            case "leave":
                queue = leave(queue, name)
                order = [other for other in order if other != name]
            case "room":
                room = size
            case _:
                now += size
        free = room
        turn = next_admissible(queue, lambda entry, free=free: verdict(entry, free), now, alone=lambda e: verdict(e, 8))
        for entry in turn.expired:
            order.remove(entry.name)
        for entry, _ in turn.impossible:
            order.remove(entry.name)
        if turn.start is not None:
            started = turn.start[0]
            if order[0] != started.name:
                wrong.append(f"{started.name} overtakes {order[0]}")
            if started.newcomer.need_bytes > room:
                wrong.append(f"{started.name} starts without room")
            order.remove(started.name)
        elif order and next(e for e in turn.queue if e.name == order[0]).newcomer.need_bytes <= room:
            wrong.append(f"{order[0]} waits though there is room")
        queue = turn.queue
        if [entry.name for entry in queue] != order:
            wrong.append(f"{order} wait, the queue says {queue}")
        if [(p.name, p.place, p.of, p.before) for p in turn.places] != [
            (waits, i + 1, len(order), tuple(order[:i])) for i, waits in enumerate(order)
        ]:
            wrong.append(f"the places of {order} are told as {turn.places}")
        if any([e.name for e in waits_before(queue, waits)] != order[:i] for i, waits in enumerate(order)):
            wrong.append(f"who waits before whom among {order}")
    return wrong


@settings(max_examples=300, deadline=None)
@given(history=events)
def test_all_are_served_in_the_order_they_came(history: Events) -> None:
    """Only the first starts, as soon as it fits; places are right; who gives up or can't ever start blocks nobody."""
    assert play(history) == []


def test_without_the_rule_a_small_one_overtakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: asked in turn without stopping at the first, one that fits starts before one that does not."""
    monkeypatch.setattr(rules, "may_be_asked", lambda place: True)
    search: Any = settings(
        max_examples=1000,
        database=None,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    find(events, lambda history: any("overtakes" in line for line in play(history)), settings=search)
