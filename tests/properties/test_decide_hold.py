"""P5: who is held when the headroom runs out, who never is, and that holding does not flutter."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guestroom.actions import Hold, LetGo
from guestroom.decide import Excess, headroom_left, hold

MODULE = sys.modules["guestroom.decide.hold"]
amounts = st.integers(0, 300)
excess_lists = st.lists(
    st.builds(
        Excess,
        name=st.just(""),
        weight=st.integers(1, 9),
        grant_bytes=amounts,
        overhead_bytes=st.none() | amounts,
        held=st.booleans(),
    ),
    max_size=6,
).map(lambda excesses: [replace(excess, name=f"g{i}") for i, excess in enumerate(excesses)])
MANY = settings(max_examples=300, deadline=None)


def carried_out(excesses: list[Excess], actions: tuple[Hold | LetGo, ...]) -> list[Excess]:
    """The guests once the actions held."""
    held = {action.name: isinstance(action, Hold) for action in actions}
    return [replace(excess, held=held.get(excess.name, excess.held)) for excess in excesses]


@MANY
@given(excesses=excess_lists, headroom=amounts, guard=amounts)
def test_nobody_within_its_grant_is_held(excesses: list[Excess], headroom: int, guard: int) -> None:
    """Whatever the others take, a guest within its grant or of unknown use is not held, and once back it is let go."""
    actions = hold(excesses, headroom, guard)
    by_name = {excess.name: excess for excess in excesses}
    for action in actions:
        excess = by_name[action.name]
        if isinstance(action, Hold):
            assert excess.overhead_bytes is not None
            assert excess.overhead_bytes > excess.grant_bytes
            assert not excess.held
        else:
            assert excess.held
    within = {e.name for e in excesses if e.held and e.overhead_bytes is not None and e.overhead_bytes <= e.grant_bytes}
    assert within <= {action.name for action in actions if isinstance(action, LetGo)}


@MANY
@given(excesses=excess_lists, headroom=amounts, guard=amounts)
def test_at_the_guard_everybody_above_its_grant_stands_still(excesses: list[Excess], headroom: int, guard: int) -> None:
    """With the headroom left at or under the guard nobody above its grant goes on."""
    after = carried_out(excesses, hold(excesses, headroom, guard))
    if headroom_left(excesses, headroom) <= guard:
        assert all(excess.held for excess in after if excess.over_bytes > 0)


@MANY
@given(excesses=excess_lists, headroom=amounts, guard=amounts)
def test_doing_it_again_changes_nothing(excesses: list[Excess], headroom: int, guard: int) -> None:
    """The same use seen twice gives no second action for anybody, beyond further releases where there is room."""
    once = carried_out(excesses, hold(excesses, headroom, guard))
    again = hold(once, headroom, guard)
    assert not any(isinstance(action, Hold) for action in again)
    assert {a.name for a in again} <= {e.name for e in once if e.held}


def flutters(guard: int, headroom: int) -> bool:
    """A held guest whose neighbour gives back byte by byte, and that takes one guard as soon as it goes: held again?"""
    for given_back in range(headroom):
        guests = [Excess("A", 1, 0, headroom // 2, True), Excess("B", 1, 0, headroom // 2 - given_back, False)]
        if any(isinstance(a, LetGo) and a.name == "A" for a in hold(guests[:1] + guests[1:], headroom, guard)):
            burst = replace(guests[0], held=False, overhead_bytes=headroom // 2 + guard - 1)
            return any(isinstance(a, Hold) for a in hold([burst, guests[1]], headroom, guard))
    return False


@settings(max_examples=50, deadline=None)
@given(guard=st.integers(2, 40))
def test_a_guest_let_go_may_burst_once_without_being_held_again(guard: int) -> None:
    """One guard beyond the guard is left when a guest goes on, which is the most it takes before the next alarm."""
    assert not flutters(guard, 400)


def test_without_hysteresis_it_flutters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: released right above the guard, the guest is held again by its first burst."""
    monkeypatch.setattr(MODULE, "hysteresis", lambda guard_bytes: 0)
    assert flutters(20, 400)


def test_without_its_rule_a_guest_within_its_grant_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: with ``may_be_held`` taken away an innocent neighbour stands still."""
    guests = [Excess("A", 1, 100, 150, False), Excess("B", 1, 100, 20, False)]
    assert [action.name for action in hold(guests, 50, 10)] == ["A"]
    monkeypatch.setattr(MODULE, "may_be_held", lambda excess: True)
    assert [action.name for action in hold(guests, 50, 10)] == ["A", "B"]


@MANY
@given(
    excesses=excess_lists, headroom=amounts, guard=amounts, marks=st.lists(st.none() | amounts, min_size=6, max_size=6)
)
def test_nobody_goes_on_at_its_own_cap(
    excesses: list[Excess], headroom: int, guard: int, marks: list[int | None]
) -> None:
    """Whoever is at its cap's mark stands still, nobody else is held for it, and nothing changes when asked again."""
    guests = [replace(e, hold_at_bytes=mark) for e, mark in zip(excesses, marks, strict=False)]
    actions = hold(guests, headroom, guard)
    after = carried_out(guests, actions)
    for guest in after:
        if guest.overhead_bytes is None or guest.hold_at_bytes is None:
            continue
        if guest.overhead_bytes >= guest.hold_at_bytes:
            assert guest.held
    held = {action.name for action in actions if isinstance(action, Hold)}
    unmarked = [replace(guest, hold_at_bytes=None) for guest in guests]
    without = {action.name for action in hold(unmarked, headroom, guard) if isinstance(action, Hold)}
    near = {g.name for g in guests if None not in (g.overhead_bytes, g.hold_at_bytes) and MODULE.at_own_wall(g)}
    assert without <= held <= without | near
    assert len(held) == sum(isinstance(action, Hold) for action in actions)
    assert not any(isinstance(action, Hold) for action in hold(after, headroom, guard))


def test_without_its_rule_a_guest_meets_its_own_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: with ``at_own_wall`` taken away a guest at its mark goes on."""
    guests = [Excess("A", 1, 100, 95, False, 90)]
    assert [action.name for action in hold(guests, 1000, 10)] == ["A"]
    monkeypatch.setattr(MODULE, "at_own_wall", lambda excess, margin_bytes=0: False)
    assert hold(guests, 1000, 10) == ()
