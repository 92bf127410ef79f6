"""A raise within free room that the alarm may make by itself, at once (promise P5).

The agent decides about room; but between an alarm and the agent's answer lie a pipe, a busy interpreter and a thread,
which under load is tens of milliseconds, and a fast guest takes 4 MiB in each. So room that nobody has is lent to the
alarm process: from that, and only from that, it raises whoever passes its grant, kernel first, and says so. The agent
takes the loan back before it decides anything that takes room, so P1 holds at each step.

Where it is not enough for all who ask, nobody is raised here: sharing is the agent's (P7).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from guestroom.actions import SetLimit
from guestroom.decide import rules
from guestroom.decide.budget import Budget
from guestroom.decide.claims import MARGIN_BYTES
from guestroom.decide.grow import LEAST_STEP_BYTES, room_bytes, worth
from guestroom.units import format_bytes, round_down, round_up


@dataclass(frozen=True, slots=True)
class Asking:
    """One guest as the alarm sees it; sizes in bytes of overhead, RAM and limit in full."""

    name: str
    ram_charged_bytes: int
    overhead_bytes: int | None
    grant_bytes: int
    limit_bytes: int
    cap_bytes: int | None
    """Most overhead it may have; None: any."""
    grown_bytes: int = 0
    """What it is about to take, by its speed since its last raise; 0 where that is not known."""


def quick(askings: Sequence[Asking], free_bytes: int, headroom_bytes: int) -> tuple[SetLimit, ...]:
    """The raises of those that pass their grants, where ``free_bytes`` is enough for all of them; else none."""
    raises = [found for asking in askings if (found := _raise(asking, headroom_bytes)) is not None]
    taken = sum(action.grant_to_bytes - action.grant_from_bytes for action in raises)
    return tuple(raises) if taken <= rules.free_now(free_bytes, 0) else ()


def loan_bytes(budget: Budget, granted_bytes: int) -> int:
    """Room that no grant has, of which the alarm may raise guests by itself; none on an overcommitted host."""
    if not rules.may_be_raised(budget.overcommitted_bytes):
        return 0
    return rules.free_now(room_bytes(budget), granted_bytes)


def _raise(asking: Asking, headroom_bytes: int) -> SetLimit | None:
    """To its use and a step, as ``grow`` does: what it is about to take, at least 16 MiB, at most the headroom."""
    use, has, cap = asking.overhead_bytes, asking.grant_bytes, asking.cap_bytes
    if use is None or not rules.may_grow(use, has, MARGIN_BYTES):
        return None
    step = max(LEAST_STEP_BYTES, min(asking.grown_bytes, headroom_bytes))
    wish = round_up(use + step)
    if cap is not None:
        wish = min(wish, round_down(cap))
    if wish - has < worth(has):
        return None
    ram = round_up(asking.ram_charged_bytes)
    overhead = round_down(wish + headroom_bytes)
    if cap is not None:
        overhead = min(overhead, max(round_down(cap), wish))
    limit = rules.kept_limit(asking.limit_bytes, ram + overhead, may_shrink=False)
    why = f"it uses {format_bytes(use)} of its grant of {format_bytes(has)}"
    return SetLimit(asking.name, asking.limit_bytes, limit, has, wish, min(limit, ram + round_up(use)), why)
