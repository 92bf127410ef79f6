"""An agent's recorded decisions made again from what they were made from, step by step the same or not.

The ledger keeps with each decision the rule, the time, the settings and the facts (``agent.inputs``). Giving those to
``decide`` must give the recorded steps: the same code, the same facts, nothing else. What differs shows a fact that was
not written down, a ledger of another version's rules, or a hand that changed it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from guestroom import decide
from guestroom.actions import Action, Outcome, VerdictKind
from guestroom.config import Settings
from guestroom.decide import Asking, Budget, Excess
from guestroom.errors import LedgerError
from guestroom.facts import GuestFacts, HostFacts, Newcomer
from guestroom.record import encode
from guestroom.record.reader import Made


@dataclass(frozen=True, slots=True)
class Difference:
    """The first step of a decision that came out otherwise."""

    decision: int
    at_wall_s: float
    rule: str
    reason: str
    step: int
    """Counted from 1; one more than there are where a step is missing on one side."""
    recorded: str | None
    """The step as it was written down; None: there was none."""
    again: str | None
    """The step as it comes out now; None: there is none."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What became of a ledger's decisions."""

    same: Mapping[str, int]
    """How many came out the same, by rule."""
    differences: tuple[Difference, ...]
    incomplete: int
    """Decisions of an older guestroom, which did not keep all they were made from."""
    no_rule: int
    """Decisions that no rule of room made: a thaw at the start, somebody else's limit put right, an adopted guest's."""

    @property
    def checked(self) -> int:
        """Decisions that could be made again."""
        return sum(self.same.values()) + len(self.differences)


def verify(decisions: Sequence[Made], progress: Callable[[float], None] = lambda done: None) -> Verified:
    """Make each decision again. Raises ``LedgerError`` for inputs that are no JSON or hold what can't be."""
    same: dict[str, int] = dict.fromkeys(_RULES, 0)
    differences: list[Difference] = []
    incomplete = no_rule = 0
    for place, made in enumerate(decisions):
        progress(place / len(decisions))
        given = _given(made)
        rule = given.get("rule")
        if rule is None:
            incomplete += _of_older(given)
            no_rule += not _of_older(given)
        elif rule not in _RULES:
            incomplete += 1
        elif (difference := _difference(made, rule, _RULES[rule](given))) is not None:
            differences.append(difference)
        else:
            same[rule] += 1
    return Verified({rule: count for rule, count in same.items() if count}, tuple(differences), incomplete, no_rule)


def _given(made: Made) -> dict[str, Any]:
    try:
        given = json.loads(made.inputs)
    except ValueError as error:
        raise LedgerError(f"the inputs of decision {made.number} are not JSON: {error}") from error
    if not isinstance(given, dict):
        raise LedgerError(f"the inputs of decision {made.number} are not an object")
    return given


def _of_older(given: Mapping[str, Any]) -> bool:
    """Before rules were named, what a rule decided had guests and the budget."""
    return given.get("guests") is not None and given.get("budget") is not None


def _difference(made: Made, rule: str, again: Sequence[Action]) -> Difference | None:
    recorded = [encode.action_to_json(action) for action in made.actions]
    now = [encode.action_to_json(action) for action in again]
    for step in range(max(len(recorded), len(now))):
        pair = [texts[step] if step < len(texts) else None for texts in (recorded, now)]
        if pair[0] != pair[1]:
            return Difference(made.number, made.at_wall_s, rule, made.reason, step + 1, pair[0], pair[1])
    return None


# --- the rules -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Facts:
    """What most rules are given."""

    now_s: float
    settings: Settings
    guests: tuple[GuestFacts, ...]
    budget: Budget
    host: HostFacts | None


def _facts(given: Mapping[str, Any]) -> _Facts:
    found: _Facts = encode.restore({key: given.get(key) for key in _Facts.__annotations__}, _Facts, "inputs")
    return found


def _host(facts: _Facts) -> HostFacts:
    if facts.host is None:
        raise LedgerError("the inputs of a decision have no host")
    return facts.host


def _its_budget(facts: _Facts, given: Mapping[str, Any], newcomer: Newcomer | None = None) -> Budget:
    """The budget worked out again; the guard alone is taken as it was, since it follows what was measured."""
    host, burst = _host(facts), encode.restore(given.get("burst_bytes"), int, "burst_bytes")
    found = decide.budget(host, facts.guests, facts.settings, newcomer=newcomer, burst_bytes=burst)
    return replace(found, guard_bytes=facts.budget.guard_bytes)


def _admit(given: Mapping[str, Any]) -> tuple[Action, ...]:
    facts = _facts(given)
    newcomer = encode.restore(given.get("newcomer"), Newcomer, "newcomer")
    burst = encode.restore(given.get("burst_bytes"), int, "burst_bytes")
    verdict = decide.admit(newcomer, facts.guests, _host(facts), facts.settings, facts.now_s, burst_bytes=burst)
    if verdict.kind is VerdictKind.REFUSE:
        return ()
    budget = _its_budget(facts, given, newcomer)
    return decide.steps(
        verdict.grants, facts.guests, budget, facts.settings, newcomer=newcomer, verdict=verdict, now_s=facts.now_s
    )


def _divide(given: Mapping[str, Any]) -> tuple[Action, ...]:
    facts = _facts(given)
    budget = _its_budget(facts, given)
    grants = decide.divide_again(facts.guests, budget, facts.settings, facts.now_s, _host(facts).page_bytes)
    return decide.steps(grants, facts.guests, budget, facts.settings, now_s=facts.now_s)


def _grow(given: Mapping[str, Any]) -> tuple[Action, ...]:
    facts = _facts(given)
    # Room that is free at once is less than the budget's, by what is being taken that moment.
    budget = facts.budget if given.get("part") == "now" else _its_budget(facts, given)
    grown: Mapping[str, int] = encode.restore(given.get("grown"), Mapping[str, int], "grown")
    found = decide.grow(facts.guests, budget, facts.settings, facts.now_s, grown=grown)
    return found.now if given.get("part") == "now" else (*found.now, *found.then)


def _give_back(given: Mapping[str, Any]) -> tuple[Action, ...]:
    facts = _facts(given)
    since_s: Mapping[str, float] = encode.restore(given.get("since_s"), Mapping[str, float], "since_s")
    return decide.give_back(facts.guests, _its_budget(facts, given), facts.settings, facts.now_s, since_s).actions


def _undo(given: Mapping[str, Any]) -> tuple[Action, ...]:
    facts = _facts(given)
    told = given.get("outcomes")
    if not isinstance(told, list) or not all(isinstance(one, dict) for one in told):
        raise LedgerError("the inputs of a decision have no outcomes")
    return decide.undo(tuple(_outcome(one) for one in told), facts.guests, facts.budget, facts.settings)


def _outcome(given: Mapping[str, Any]) -> Outcome:
    action = encode.action_from_json(json.dumps(given.get("action")))
    return encode.outcome_from_json(action, json.dumps({k: v for k, v in given.items() if k != "action"}))


def _hold(given: Mapping[str, Any]) -> tuple[Action, ...]:
    excesses = encode.restore(given.get("excesses"), tuple[Excess, ...], "excesses")
    headroom, guard = (encode.restore(given.get(key), int, key) for key in ("headroom_bytes", "guard_bytes"))
    return decide.hold(excesses, headroom, guard)


def _quick(given: Mapping[str, Any]) -> tuple[Action, ...]:
    """A raise by the alarm process, of this guest alone: with room for all who asked, none depends on the others."""
    renamed = {"grant_bytes": "grant_from_bytes", "limit_bytes": "from_bytes"}
    fields = {key: given.get(renamed.get(key, key)) for key in Asking.__annotations__}
    asking = encode.restore(fields, Asking, "asking")
    free, headroom = (encode.restore(given.get(key), int, key) for key in ("free_bytes", "headroom_bytes"))
    return decide.quick((asking,), free, headroom)


_RULES: Mapping[str, Callable[[Mapping[str, Any]], tuple[Action, ...]]] = {
    "admit": _admit,
    "divide": _divide,
    "grow": _grow,
    "give_back": _give_back,
    "quick": _quick,
    "hold": _hold,
    "undo": _undo,
}
