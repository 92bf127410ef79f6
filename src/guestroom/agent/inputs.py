"""What a decision was made from, complete enough to make it again from the ledger alone (promise P10).

Which rule, at what time, with which settings, from which facts: ``guestroom replay --verify`` gives the same to
``decide`` and must get the same steps. Facts are frozen, so where carrying out may not wait they are written out later.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from enum import Enum
from types import MappingProxyType
from typing import Any

from guestroom.actions import Action, Outcome
from guestroom.config import GuestSettings, Settings
from guestroom.decide import Budget
from guestroom.facts import GuestFacts, HostFacts

_NOT_SET = GuestSettings()


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that one of ``decide``'s rules was given."""

    rule: str
    """``admit``, ``divide``, ``grow``, ``give_back`` or ``undo``."""
    now_s: float
    settings: Settings
    guests: tuple[GuestFacts, ...]
    budget: Budget
    host: HostFacts | None = None
    more: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    """What only this rule is given."""

    def given(self, **more: object) -> Inputs:
        """With more that only this rule is given."""
        return replace(self, more={**self.more, **more})

    def text(self) -> str:
        """As the ledger keeps it."""
        return json.dumps(
            {
                "rule": self.rule,
                "now_s": self.now_s,
                "guests": plain(self.guests),
                "host": plain(self.host),
                "budget": plain(self.budget),
                "settings": plain(self.settings),
            }
            | {name: plain(value) for name, value in self.more.items()}
        )


Given = Inputs | Mapping[str, object]
"""The inputs of a rule, or a few numbers of what no rule of ``decide`` decided."""


def written(inputs: Given) -> str:
    """As the ledger keeps it."""
    return inputs.text() if isinstance(inputs, Inputs) else json.dumps(inputs, default=str)


def plain(value: object) -> Any:
    """Dataclasses as dicts, enums as their values, tuples as lists; what a guest's settings do not set is left out."""
    if isinstance(value, GuestSettings):
        set_here = {one.name: getattr(value, one.name) for one in fields(value)}
        return {name: plain(it) for name, it in set_here.items() if it != getattr(_NOT_SET, name)}
    if is_dataclass(value):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {name: plain(it) for name, it in value.items()}
    if isinstance(value, tuple | list):
        return [plain(it) for it in value]
    return value


def plain_action(action: Action) -> dict[str, Any]:
    """An action with its type, as the ledger's steps have it."""
    return {"type": type(action).__name__, **plain(action)}


def plain_outcome(outcome: Outcome) -> dict[str, Any]:
    """An outcome with its action's type."""
    return {**plain(outcome), "action": plain_action(outcome.action)}
