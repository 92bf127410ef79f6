"""What is to be done: facts in, actions out, pure (no clock, no files, no randomness; the time is passed in)."""

from __future__ import annotations

from guestroom.decide.admit import admit, returned
from guestroom.decide.budget import Budget, budget
from guestroom.decide.divide import Claim, Division, divide
from guestroom.decide.floor import floor_bytes, lent_floor_bytes
from guestroom.decide.hold import Excess, headroom_left, hold, let_go
from guestroom.decide.plan import Plan, plan, plan_again
from guestroom.decide.rebalance import divide_again, steps
from guestroom.decide.reconcile import Adopt, Finding, Finish, Foreign, Found, KeepHold, KeepPlace, Thaw, reconcile
from guestroom.decide.rollback import stays, undo

__all__ = [
    "Adopt",
    "Budget",
    "Claim",
    "Division",
    "Excess",
    "Finding",
    "Finish",
    "Foreign",
    "Found",
    "KeepHold",
    "KeepPlace",
    "Plan",
    "Thaw",
    "admit",
    "budget",
    "divide",
    "divide_again",
    "floor_bytes",
    "headroom_left",
    "hold",
    "lent_floor_bytes",
    "let_go",
    "plan",
    "plan_again",
    "reconcile",
    "returned",
    "stays",
    "steps",
    "undo",
]
