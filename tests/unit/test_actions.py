"""Actions as data: which writes shrink, which outcomes hold."""

from typing import get_args

import pytest

from guestroom.actions import (
    Action,
    Hold,
    LetGo,
    MakeGuest,
    Outcome,
    OutcomeKind,
    SetLimit,
    SetWall,
    StartGuest,
    StopGuest,
    others_rely_on,
)
from guestroom.units import MIB, UNLIMITED, Limit


@pytest.mark.parametrize(
    ("before", "after", "shrinks"),
    [
        (10 * MIB, 9 * MIB, True),
        (10 * MIB, 10 * MIB, False),
        (9 * MIB, 10 * MIB, False),
        (UNLIMITED, 9, True),
        (None, 9, True),
    ],
)
def test_a_write_shrinks_when_it_lowers_or_may_lower(before: Limit | None, after: int, shrinks: bool) -> None:
    """From unlimited or unknown every limit is a shrink: it takes the careful path (P3)."""
    assert SetLimit("a", before, after, 0, 0, 0, "why").is_shrink is shrinks
    assert SetWall(before, after, "why").is_shrink is shrinks


@pytest.mark.parametrize("kind", list(OutcomeKind))
def test_only_done_holds(kind: OutcomeKind) -> None:
    """Skipped, busy and every failure leave the action undone."""
    assert Outcome(StartGuest("a", 1, 2, "why"), kind, "detail").ok is (kind is OutcomeKind.DONE)


def test_every_action_carries_its_reason() -> None:
    """A decision that can't say why is not one (P10)."""
    for action in get_args(Action):
        assert "reason" in action.__dataclass_fields__


@pytest.mark.parametrize(
    ("action", "relied_on"),
    [
        (SetLimit("a", 100, 50, 100, 50, 0, ""), True),
        (SetLimit("a", 50, 100, 50, 100, 0, ""), False),
        (SetLimit("a", 100, 100, 100, 50, 0, ""), True),
        (SetWall(100, 50, ""), True),
        (SetWall(50, 100, ""), True),
        (MakeGuest("a", 1, 1, ""), True),
        (StopGuest("a", 1, ""), True),
        (StartGuest("a", 1, 1, ""), False),
        (Hold("a", 1, 1, 1, ""), False),
        (LetGo("a", ""), False),
    ],
)
def test_what_gives_room_or_place_is_relied_on(action: Action, relied_on: bool) -> None:
    """A plan goes on after a failed raise or hold, and never after a shrink, wall, folder or stop that failed."""
    assert others_rely_on(action) is relied_on
