"""The promises as single rules, at their boundaries."""

from __future__ import annotations

import pytest

from guestroom.actions import Action, Hold, LetGo, MakeGuest, SetLimit, SetWall, StartGuest, StopGuest
from guestroom.decide import rules
from guestroom.units import UNLIMITED


def limit(grants: tuple[int, int], limits: tuple[int, int]) -> SetLimit:
    """A step between two grants and limits."""
    return SetLimit("A", limits[0], limits[1], grants[0], grants[1], 0, "test")


def test_the_room_for_grants_is_never_negative() -> None:
    """P1: the reserve less the headroom, and nothing where the headroom takes it all."""
    assert [rules.room_for_grants(10, headroom) for headroom in (0, 4, 10, 11)] == [10, 6, 0, 0]


def test_short_of_the_budget_from_the_first_byte() -> None:
    """P1: what fits exactly is not short."""
    assert [rules.short_of_budget(6, 4, budget) for budget in (11, 10, 9)] == [0, 0, 1]


def test_not_below_is_the_larger() -> None:
    """P2: a limit below RAM + floor becomes RAM + floor."""
    assert (rules.not_below(5, 7), rules.not_below(9, 7)) == (7, 9)


def test_raised_again_as_far_as_there_is_room() -> None:
    """P4: all of it, part of it, or nothing where the room is gone or overdrawn."""
    assert [rules.raised_again(5, room) for room in (9, 5, 3, 0, -2)] == [5, 5, 3, 0, 0]


def test_unknown_and_held_keep_their_grant() -> None:
    """P6: unknown is the grant, held at least the grant, known the floor."""
    assert rules.kept(None, 5, held=False) == 5
    assert rules.kept(3, 5, held=True) == 5
    assert rules.kept(7, 5, held=True) == 7
    assert rules.kept(3, 5, held=False) == 3


def test_the_limit_of_one_that_may_not_shrink_does_not_fall() -> None:
    """P6 for the wall: it may rise, and where none is known the wanted one is set."""
    assert rules.kept_limit(8, 5, may_shrink=False) == 8
    assert rules.kept_limit(8, 9, may_shrink=False) == 9
    assert rules.kept_limit(8, 5, may_shrink=True) == 5
    assert rules.kept_limit(None, 5, may_shrink=False) == 5
    assert rules.kept_limit(UNLIMITED, 5, may_shrink=False) == 5


@pytest.mark.parametrize(
    ("grants", "limits", "gives"),
    [
        ((5, 4), (9, 8), True),
        ((5, 4), (9, 9), True),
        ((5, 6), (9, 8), False),
        ((5, 5), (9, 8), True),
        ((5, 5), (8, 9), False),
        ((5, 5), (9, 9), False),
    ],
)
def test_a_step_gives_room_by_its_grant_first(grants: tuple[int, int], limits: tuple[int, int], gives: bool) -> None:
    """The grant decides, and where it stays the limit."""
    assert rules.shrinks(limit(grants, limits)) is gives


def test_the_order_of_all_actions() -> None:
    """P3: holds, shrinks, stops, the wall down, the wall up, raises, make, start."""
    ordered: list[Action] = [
        Hold("A", 1, 1, 1, ""),
        limit((5, 4), (9, 8)),
        StopGuest("A", 1, ""),
        SetWall(9, 8, ""),
        SetWall(8, 9, ""),
        limit((4, 5), (8, 9)),
        MakeGuest("B", 1, 1, ""),
        StartGuest("B", 1, 1, ""),
    ]
    mixed = [ordered[i] for i in (5, 2, 7, 0, 6, 1, 4, 3)]
    assert sorted(mixed, key=rules.in_order) == ordered
    assert rules.in_order(LetGo("A", "")) == rules.in_order(ordered[0])
