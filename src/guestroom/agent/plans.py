"""What the transactions on the room ask of a plan: does it hold as a whole, what does it take, is it written first?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import assert_never

from guestroom.actions import (
    Action,
    Hold,
    LetGo,
    MakeGuest,
    Outcome,
    SetLimit,
    SetWall,
    StartGuest,
    StopGuest,
    others_rely_on,
)
from guestroom.decide import Budget
from guestroom.facts import GuestFacts, HostFacts
from guestroom.units import UNLIMITED, Limit


def broken(outcomes: Sequence[Outcome]) -> bool:
    """Whether a step that others rely on failed: the plan does not hold as a whole."""
    return any(not outcome.ok and others_rely_on(outcome.action) for outcome in outcomes)


def takes_bytes(action: Action) -> int:
    """Room for grants that a step takes."""
    match action:
        case SetLimit():
            return max(0, action.grant_to_bytes - action.grant_from_bytes)
        case MakeGuest():
            return action.grant_bytes
        case _:
            return 0


def written_first(action: Action) -> bool:
    """P8: starts, stops and shrinks are durable before they are carried out; what only gives room is not delayed."""
    match action:
        case SetLimit():
            return action.is_shrink or action.grant_to_bytes < action.grant_from_bytes
        case MakeGuest() | StartGuest() | StopGuest():
            return True
        case SetWall() | Hold() | LetGo():
            return False
        case _:
            assert_never(action)


def plain_bytes(limit: Limit | None) -> int | str | None:
    """A limit for an event's numbers."""
    return "unlimited" if limit is UNLIMITED else limit


def inputs_of(
    guests: Sequence[GuestFacts], host: HostFacts | None = None, budget: Budget | None = None
) -> dict[str, object]:
    """Inputs of a decision as plain data: enough to decide it again."""
    return {
        "guests": [asdict(guest) for guest in guests],
        "host": asdict(host) if host is not None else None,
        "budget": asdict(budget) if budget is not None else None,
    }
