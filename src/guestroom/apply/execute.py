"""A list of actions, in order, with what depends on a failed one left undone.

Shrink before grow, grow before start (P3): a plan's order is its safety, so after a step others rely on has
failed nothing more of this plan is tried. Taking back what was done is a new decision, not this module's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, assert_never

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
)

if TYPE_CHECKING:
    from guestroom.ports import Applier


def carry_out_all(
    actions: Iterable[Action],
    applier: Applier,
    *,
    on_outcome: Callable[[Outcome], None] | None = None,
    fault: Callable[[str], None] | None = None,
) -> tuple[Outcome, ...]:
    """Carry ``actions`` out in order and return one outcome for each.

    After a failed shrink, host wall, new guest or stop everything later is ``SKIPPED``: it was planned on room
    or cgroups that are not there. A failed raise, hold or let-go takes nothing from the others, so the rest
    goes on. ``on_outcome`` is told each outcome at once. ``fault`` is called with ``fault_point`` names around
    each step; tests crash or kill the process there.
    """
    outcomes: list[Outcome] = []
    broken: Outcome | None = None
    for action in actions:
        if broken is not None:
            why = f"not tried: {_label(broken.action)} ended {broken.kind.value}"
            outcome = Outcome(action, OutcomeKind.SKIPPED, why)
        else:
            if fault is not None:
                fault(fault_point("before", action))
            outcome = applier.carry_out(action)
            if fault is not None:
                fault(fault_point("after", action))
            if not outcome.ok and others_rely_on(action):
                broken = outcome
        outcomes.append(outcome)
        if on_outcome is not None:
            on_outcome(outcome)
    return tuple(outcomes)


def others_rely_on(action: Action) -> bool:
    """True if later steps of a plan count on this one having been done."""
    match action:
        case SetLimit():
            return action.is_shrink
        case SetWall() | MakeGuest() | StopGuest():
            return True
        case Hold() | LetGo() | StartGuest():
            return False
    assert_never(action)


def fault_point(moment: str, action: Action) -> str:
    """Name of a fault point: ``before:SetLimit:NAME``, ``after:SetWall:wall``."""
    return f"{moment}:{type(action).__name__}:{getattr(action, 'name', 'wall')}"


def _label(action: Action) -> str:
    return f"{type(action).__name__} of {getattr(action, 'name', 'the host wall')}"
