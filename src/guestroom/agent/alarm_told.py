"""What the alarm process decided by itself, as it tells the agent: with all it decided from, for the ledger.

Told after it was carried out, so that no hold and no raise waits for its own report.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from guestroom.actions import Hold, LetGo, Outcome, OutcomeKind, SetLimit
from guestroom.decide.hold import Excess
from guestroom.decide.quick import Asking
from guestroom.errors import AgentError

_MOST = 200
"""Guests whose part in a decision is told: a line has its length, and more are never above their grants at once."""


def raised(
    action: SetLimit, asking: Asking, free_bytes: int, headroom_bytes: int, *, woken: bool, woke_s: float, at_s: float
) -> dict[str, object]:
    """A raise within lent room, written at ``at_s``; ``free_bytes`` is what was lent before it."""
    return {
        "event": "raised",
        "name": action.name,
        "overhead_bytes": asking.overhead_bytes,
        "grant_from_bytes": action.grant_from_bytes,
        "grant_bytes": action.grant_to_bytes,
        "from_bytes": action.from_bytes,
        "limit_bytes": action.to_bytes,
        "floor_bytes": action.floor_bytes,
        "reason": action.reason,
        "woken": woken,
        "woke_s": woke_s,
        "written_s": at_s,
        "rule": "quick",
        "ram_charged_bytes": asking.ram_charged_bytes,
        "cap_bytes": asking.cap_bytes,
        "grown_bytes": asking.grown_bytes,
        "free_bytes": free_bytes,
        "headroom_bytes": headroom_bytes,
    }


def decided(
    excesses: Sequence[Excess], headroom_bytes: int, guard_bytes: int, actions: Sequence[Hold | LetGo]
) -> dict[str, object] | None:
    """Holds and releases with what they were decided from; None where that is too much for a line.

    Who is within its grant, not held and has no wall of its own near changes nothing, and is left out.
    """
    matter = [one for one in excesses if one.over_bytes or one.held or one.hold_at_bytes is not None]
    if len(matter) > _MOST:
        return None
    return {
        "event": "decided",
        "name": None,
        "excesses": [asdict(one) for one in matter],
        "headroom_bytes": headroom_bytes,
        "guard_bytes": guard_bytes,
        "actions": [{"type": type(action).__name__} | asdict(action) for action in actions],
    }


def as_decision(news: Mapping[str, Any]) -> tuple[str, str, tuple[Outcome, ...]]:
    """Reason, inputs and outcomes of what ``decided`` told, as the ledger takes them. Raises ``AgentError``."""
    kinds: dict[str, type[Hold | LetGo]] = {"Hold": Hold, "LetGo": LetGo}
    try:
        actions = [kinds[one["type"]](**{k: v for k, v in one.items() if k != "type"}) for one in news["actions"]]
        inputs = {"rule": "hold"} | {key: news[key] for key in ("excesses", "headroom_bytes", "guard_bytes")}
    except (KeyError, TypeError) as error:
        raise AgentError(f"the alarm process told a decision that can't be read: {error}") from error
    words = [f"{'hold' if isinstance(one, Hold) else 'let go'} {one.name}" for one in actions]
    outcomes = tuple(Outcome(one, OutcomeKind.DONE, "by the alarm, at once") for one in actions)
    return ", ".join(words), json.dumps(inputs), outcomes
