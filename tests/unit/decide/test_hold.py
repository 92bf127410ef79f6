"""The headroom runs out (P5): who stands still, in which order, and when it goes on."""

from __future__ import annotations

from dataclasses import replace

from guestroom.actions import Hold, LetGo
from guestroom.decide import Excess, headroom_left, hold, let_go
from guestroom.units import MIB


def excess(name: str, over: int, *, weight: int = 1, held: bool = False) -> Excess:
    """A guest with a grant of 100 that uses ``over`` more."""
    return Excess(name, weight, 100, 100 + over, held)


def test_the_headroom_left_is_less_by_what_is_borrowed() -> None:
    """Unused grants of the others do not make it larger, and a held guest still holds what it borrowed."""
    assert headroom_left([excess("A", 30), excess("B", -80), excess("C", 20, held=True)], 100) == 50
    assert headroom_left([excess("A", 130)], 100) == -30


def test_above_the_guard_nobody_is_held() -> None:
    """The boundary: with one byte more than the guard left everybody goes on, at the guard it is a hold."""
    assert hold([excess("A", 59)], 100, 40) == ()
    (action,) = hold([excess("A", 60)], 100, 40)
    assert isinstance(action, Hold)
    assert (action.name, action.over_bytes, action.headroom_left_bytes, action.guard_bytes) == ("A", 60, 40, 40)
    assert action.reason


def test_furthest_above_by_weight_is_held_first() -> None:
    """A freezer takes milliseconds each, so the one that took most for its weight goes first; ties by name."""
    guests = [excess("A", 30, weight=3), excess("C", 20), excess("B", 20)]
    assert [action.name for action in hold(guests, 100, 40)] == ["B", "C", "A"]


def test_who_is_held_already_is_not_held_again() -> None:
    """No second action for a state that is right."""
    assert hold([excess("A", 90, held=True)], 100, 40) == ()


def test_back_within_its_grant_it_goes_on_even_at_the_guard() -> None:
    """The others' use is no reason to hold it."""
    actions = hold([excess("A", 0, held=True), excess("B", 90)], 100, 40)
    assert [type(action) for action in actions] == [Hold, LetGo]


def test_it_goes_on_when_there_is_a_guard_beyond_the_guard() -> None:
    """With 80 left at a guard of 40 it stays, with 81 it goes on."""
    assert hold([excess("A", 20, held=True)], 100, 40) == ()
    assert hold([excess("A", 19, held=True)], 100, 40) == (LetGo("A", "there is headroom again: 81 B is left"),)


def test_each_further_guest_needs_another_guard() -> None:
    """Two held guests and room for one: the one that borrowed least goes on."""
    guests = [excess("A", 60, held=True), excess("B", 50, held=True)]
    assert [action.name for action in hold(guests, 200, 40)] == ["B"]
    assert [action.name for action in hold(guests, 300, 40)] == ["B", "A"]


def test_unknown_use_is_neither_held_nor_let_go() -> None:
    """P6: what can't be read is no reason for either."""
    assert hold([Excess("A", 1, 100, None, False), excess("B", 100)], 100, 40)[0].name == "B"
    assert hold([Excess("A", 1, 100, None, True)], 1000, 40) == ()


def test_without_headroom_and_guard_everybody_within_its_grant_goes_on() -> None:
    """The seed's setting: nobody can borrow, so nobody is held."""
    assert hold([excess("A", 0), excess("B", -1)], 0, 0) == ()


def test_a_release_for_another_reason_is_a_plain_action() -> None:
    """Released from care or frozen by an interrupted step."""
    assert let_go("A", "released") == LetGo("A", "released")


def capped(use: int, *, held: bool = False) -> Excess:
    """A guest in MiB that is held from 584 on, though its grant is all of its cap of 600."""
    return Excess("A", 1, 600 * MIB, use * MIB, held, 584 * MIB)


def test_a_guest_near_its_own_cap_is_held_whatever_the_headroom() -> None:
    """The boundary, though it is within its grant: at the mark it is held, a MiB below it goes on."""
    assert hold([capped(583)], 1000 * MIB, 64 * MIB) == ()
    (action,) = hold([capped(584)], 1000 * MIB, 64 * MIB)
    assert isinstance(action, Hold)
    assert (action.over_bytes, action.headroom_left_bytes) == (0, 1000 * MIB)
    assert "584.0 MiB" in action.reason
    assert "cap" in action.reason
    assert hold([capped(590, held=True)], 1000 * MIB, 64 * MIB) == ()


def test_it_goes_on_when_its_cap_is_far_enough_again() -> None:
    """Frozen it moves by a little kernel memory: that is no reason, 4 MiB are."""
    assert hold([capped(580, held=True)], 1000 * MIB, 64 * MIB) == ()
    assert [type(action) for action in hold([capped(579, held=True)], 1000 * MIB, 64 * MIB)] == [LetGo]
    assert hold([replace(capped(0), overhead_bytes=None)], 1000 * MIB, 64 * MIB) == ()


def test_at_the_guard_a_guest_near_its_cap_is_held_once() -> None:
    """Two reasons are one hold."""
    both = replace(capped(590), grant_bytes=500 * MIB)
    assert [action.name for action in hold([both], 100 * MIB, 64 * MIB)] == ["A"]
