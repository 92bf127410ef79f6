"""What is put back after a step failed (promise P4).

Whatever was shrunk for a plan that will not be carried out is raised again, as far as the room is still there. A
raise is taken back only where that room is needed, and only as a new shrink under P2; what can't be taken
back stays and is named by ``stays``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf

from guestroom.actions import Action, Outcome, SetLimit, SetWall, StopGuest
from guestroom.config import Rest, Settings
from guestroom.decide import rules
from guestroom.decide.budget import Budget, under_wall
from guestroom.decide.claims import least_bytes, limit_bytes
from guestroom.decide.grow import missing_bytes
from guestroom.facts import GuestFacts
from guestroom.units import Limit, format_bytes, round_down, round_up


@dataclass(slots=True)
class _Room:
    """What is known while the undo is put together."""

    guests: dict[str, GuestFacts]
    grants: dict[str, int]
    """Everybody's grant now."""
    budget: Budget
    settings: Settings
    now_s: float
    reserve_bytes: int
    """The reserve without the newcomer, which is gone."""
    wall_bytes: Limit | None
    """The host wall as these steps leave it."""

    @property
    def left_bytes(self) -> int:
        """Room no grant takes, under the host wall there will be: what is above that is nobody's to give."""
        ram = sum(guest.ram_charged_bytes for guest in self.guests.values())
        now = replace(
            self.budget,
            reserve_bytes=self.reserve_bytes,
            promised_ram_bytes=ram,
            wall_from_bytes=self.wall_bytes,
        )
        return max(0, now.room_bytes - missing_bytes(now)) - sum(self.grants.values())

    def set_limit(self, name: str, now: SetLimit, grant: int, reason: str) -> SetLimit:
        """A step from what ``now`` left behind to ``grant``."""
        guest = self.guests[name]
        least = least_bytes(guest, self.settings, self.now_s, lent=False)
        limit = limit_bytes(guest.ram_charged_bytes, grant, guest.cap_bytes, least, self.budget)
        if grant == now.grant_from_bytes and isinstance(now.from_bytes, int):
            limit = rules.not_below(now.from_bytes, guest.ram_charged_bytes + least)
        page = self.budget.page_bytes
        before, self.grants[name] = self.grants[name], grant
        return SetLimit(
            name, now.to_bytes, limit, before, grant, round_up(guest.ram_charged_bytes + least, page), reason
        )


def undo(
    outcomes: Sequence[Outcome],
    guests: Iterable[GuestFacts],
    budget: Budget,
    settings: Settings,
    *,
    now_s: float = -inf,
) -> tuple[Action, ...]:
    """The steps that put back what the plan behind ``outcomes`` changed; none where every step held.

    ``guests`` are those present now, without the newcomer: its cgroups must be gone before these steps are
    carried out. Grants are taken from the outcomes, so facts from before the plan serve as well. Without
    ``now_s`` every guest counts as not settled, which takes fewer raises back. The order is that of any plan: what
    gives room first.
    """
    if all(outcome.ok for outcome in outcomes):
        return ()
    present = {guest.name: guest for guest in under_wall(guests)}
    grants = _grants_now(present, outcomes)
    present = {name: replace(guest, grant_bytes=grants[name]) for name, guest in present.items()}
    room = _Room(present, grants, budget, settings, now_s, _reserve_now(present, budget, settings), None)
    walls = _wall_back(room, outcomes)
    room.wall_bytes = walls[-1].to_bytes if walls else _wall_now(budget, outcomes)
    held = [o.action for o in outcomes if _changed(o) and isinstance(o.action, SetLimit) and o.action.name in present]
    shrunk = [step for step in held if rules.shrinks(step)]
    missing = sum(max(0, step.grant_from_bytes - room.grants[step.name]) for step in shrunk)
    actions: list[Action] = []
    for step in reversed(held):
        if not rules.shrinks(step) and missing > room.left_bytes:
            actions += _taken_back(room, step, missing)
    actions += walls
    for step in reversed(shrunk):
        actions += _raised_again(room, step)
    return tuple(sorted(actions, key=rules.in_order))


def stays(outcomes: Sequence[Outcome], undone: Sequence[Action]) -> tuple[SetLimit, ...]:
    """The raises of a failed plan that ``undone`` does not take back in full: to be reported."""
    back = {step.name: step.grant_to_bytes for step in undone if isinstance(step, SetLimit)}
    raises = (o.action for o in outcomes if o.ok and isinstance(o.action, SetLimit) and not rules.shrinks(o.action))
    return tuple(step for step in raises if back.get(step.name, step.grant_to_bytes) > step.grant_from_bytes)


def _changed(outcome: Outcome) -> bool:
    """Done, or failed with the limit found elsewhere than it was: either way something is to be put back."""
    action = outcome.action
    if outcome.ok or not isinstance(action, SetLimit):
        return outcome.ok
    return outcome.found_bytes is not None and outcome.found_bytes != action.from_bytes


def _grants_now(present: dict[str, GuestFacts], outcomes: Iterable[Outcome]) -> dict[str, int]:
    """Everybody's grant after the steps that held."""
    grants = {name: guest.grant_bytes for name, guest in present.items()}
    for outcome in outcomes:
        if isinstance(outcome.action, SetLimit) and outcome.action.name in grants:
            step = outcome.action
            grants[step.name] = step.grant_to_bytes if outcome.ok else step.grant_from_bytes
        elif isinstance(outcome.action, StopGuest) and outcome.ok and outcome.action.name in grants:
            # It is gone, and this is what is kept for it until it comes back.
            grants[outcome.action.name] = outcome.action.grant_bytes
    return grants


def _wall_now(budget: Budget, outcomes: Iterable[Outcome]) -> Limit | None:
    """The host wall where the steps that held left it."""
    moved = [o.action.to_bytes for o in outcomes if o.ok and isinstance(o.action, SetWall)]
    return moved[-1] if moved else budget.wall_from_bytes


def _reserve_now(present: dict[str, GuestFacts], budget: Budget, settings: Settings) -> int:
    """The reserve once the newcomer's RAM is not promised any more."""
    if not isinstance(settings.reserve, Rest):
        return budget.reserve_bytes
    given_back = budget.promised_ram_bytes - sum(guest.ram_charged_bytes for guest in present.values())
    return budget.reserve_bytes + max(0, given_back)


def _taken_back(room: _Room, step: SetLimit, missing: int) -> list[Action]:
    """A done raise as a new shrink: as far as needed, not below where it was, and under P2."""
    guest = room.guests[step.name]
    grant = room.grants[step.name]
    page = room.budget.page_bytes
    least = max(step.grant_from_bytes, round_up(least_bytes(guest, room.settings, room.now_s, lent=True), page))
    target = max(least, grant - round_up(missing - room.left_bytes, page))
    if target >= grant:
        return []
    return [room.set_limit(step.name, step, target, "its raise is taken back: the plan it belonged to failed")]


def _raised_again(room: _Room, step: SetLimit) -> list[Action]:
    """A done shrink, raised again as far as there is room."""
    now = room.grants[step.name]
    missing = step.grant_from_bytes - now
    gain = rules.raised_again(missing, room.left_bytes)
    target = now + (gain if gain == missing else round_down(gain, room.budget.page_bytes))
    if target <= now and step.grant_from_bytes > now:
        return []
    reason = f"raised again to {format_bytes(target)}: the plan it gave room for failed"
    return [room.set_limit(step.name, step, target, reason)]


def _wall_back(room: _Room, outcomes: Iterable[Outcome]) -> list[SetWall]:
    """The host wall at what is promised now, where the plan had moved it."""
    moved = [o.action for o in outcomes if o.ok and isinstance(o.action, SetWall)]
    ram = sum(guest.ram_charged_bytes for guest in room.guests.values())
    wall = round_down(ram + room.reserve_bytes, room.budget.page_bytes)
    if room.budget.overcommitted_bytes and moved and isinstance(moved[0].from_bytes, int):
        wall = min(wall, moved[0].from_bytes)
    if not moved or moved[-1].to_bytes == wall:
        return []
    return [SetWall(moved[-1].to_bytes, wall, "the plan it was moved for failed")]
