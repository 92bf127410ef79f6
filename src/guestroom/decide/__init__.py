"""What is to be done: facts in, actions out, pure (no clock, no files, no randomness; the time is passed in)."""

from __future__ import annotations

from guestroom.decide.admit import admit
from guestroom.decide.budget import Budget, budget
from guestroom.decide.divide import Claim, Division, divide
from guestroom.decide.floor import floor_bytes, lent_floor_bytes
from guestroom.decide.hold import Excess, headroom_left, hold
from guestroom.decide.plan import Plan, plan, plan_again
from guestroom.decide.rebalance import divide_again, steps

__all__ = [
    "Budget",
    "Claim",
    "Division",
    "Excess",
    "Plan",
    "admit",
    "budget",
    "divide",
    "divide_again",
    "floor_bytes",
    "headroom_left",
    "hold",
    "lent_floor_bytes",
    "plan",
    "plan_again",
    "steps",
]
