"""What is to be done: facts in, actions out, pure (no clock, no files, no randomness; the time is passed in)."""

from __future__ import annotations

from guestroom.decide.admit import admit, returned
from guestroom.decide.budget import Budget, budget
from guestroom.decide.divide import Claim, Division, divide
from guestroom.decide.floor import floor_bytes, lent_floor_bytes
from guestroom.decide.foreign import Patience, is_pressing, put_right
from guestroom.decide.giveback import GivingBack, Spare, give_back
from guestroom.decide.grow import Giving, Growth, Wanting, grow, still_good
from guestroom.decide.headroom import (
    Burst,
    HeadroomGiven,
    HeadroomWanted,
    guard_wanted,
    guarded,
    headroom_given,
    headroom_wanted,
)
from guestroom.decide.hold import Excess, headroom_left, hold, let_go
from guestroom.decide.ownwall import hold_at_bytes
from guestroom.decide.plan import Plan, plan, plan_again
from guestroom.decide.queue import (
    Place,
    Queue,
    Turn,
    could_ever_fit,
    enqueue,
    gave_up,
    in_line,
    in_turn,
    in_vain,
    leave,
    next_admissible,
    overdue,
    places,
    told_to_wait,
    waits_before,
)
from guestroom.decide.quick import Asking, loan_bytes, quick
from guestroom.decide.rebalance import divide_again, steps
from guestroom.decide.reconcile import Adopt, Finding, Finish, Foreign, Found, KeepHold, KeepPlace, Thaw, reconcile
from guestroom.decide.rollback import stays, undo
from guestroom.decide.runaway import Runaway, runaway
from guestroom.decide.trend import (
    Cleared,
    Outlook,
    Point,
    Trend,
    Warned,
    fastest,
    largest_rise,
    outlook,
    thin,
    trend,
    warning,
)

__all__ = [
    "Adopt",
    "Asking",
    "Budget",
    "Burst",
    "Claim",
    "Cleared",
    "Division",
    "Excess",
    "Finding",
    "Finish",
    "Foreign",
    "Found",
    "Giving",
    "GivingBack",
    "Growth",
    "HeadroomGiven",
    "HeadroomWanted",
    "KeepHold",
    "KeepPlace",
    "Outlook",
    "Patience",
    "Place",
    "Plan",
    "Point",
    "Queue",
    "Runaway",
    "Spare",
    "Thaw",
    "Trend",
    "Turn",
    "Wanting",
    "Warned",
    "admit",
    "budget",
    "could_ever_fit",
    "divide",
    "divide_again",
    "enqueue",
    "fastest",
    "floor_bytes",
    "gave_up",
    "give_back",
    "grow",
    "guard_wanted",
    "guarded",
    "headroom_given",
    "headroom_left",
    "headroom_wanted",
    "hold",
    "hold_at_bytes",
    "in_line",
    "in_turn",
    "in_vain",
    "is_pressing",
    "largest_rise",
    "leave",
    "lent_floor_bytes",
    "let_go",
    "loan_bytes",
    "next_admissible",
    "outlook",
    "overdue",
    "places",
    "plan",
    "plan_again",
    "put_right",
    "quick",
    "reconcile",
    "returned",
    "runaway",
    "stays",
    "steps",
    "still_good",
    "thin",
    "told_to_wait",
    "trend",
    "undo",
    "waits_before",
    "warning",
]
