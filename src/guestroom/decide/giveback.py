"""Room that is not used goes back, slowly, so that grants do not flutter.

What giving back is: *divide again with fresh floors*, nothing else. Under ``reserve`` sharing the whole reserve is
always divided, so a guest gives back what growth once gave it above its share and its peak no longer asks for;
under ``static`` sharing it gives back what it has above its need. What comes back refills the headroom first (who
borrows from it is raised to its use), then goes to those below their share, and is free room for the next that grows.

Why it is not simply ``divide_again`` every second:

- a guest keeps ``giveback_keep_bytes`` above its floor, and its floor is its peak over ``peak_window_s``, so a load
  that swings by less than that, at whatever pace, moves no grant;
- it must have had that room to spare for ``giveback_after_s`` without a break;
- it gives at most ``giveback_step`` of its grant at once, so that a guest that wakes up has lost little;
- changes that are not worth a write are left out.

The clocks are data: ``give_back`` returns since when each guest has had room to spare, and is given it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from guestroom.actions import Action
from guestroom.config import Settings
from guestroom.decide import rules
from guestroom.decide.budget import Budget, under_wall
from guestroom.decide.claims import MARGIN_BYTES, claim_of
from guestroom.decide.divide import Claim, divide
from guestroom.decide.floor import floor_bytes, unsettled_s
from guestroom.decide.grow import Stake, room_bytes, runs, set_grant, spread, worth
from guestroom.facts import GuestFacts
from guestroom.units import MIB, format_bytes, round_up

LEAST_STEP_BYTES = 16 * MIB
"""A step gives back at least this: otherwise a small grant would take ever smaller steps."""


@dataclass(frozen=True, slots=True)
class Spare:
    """A guest with room to spare: what it has, keeps and gives now. Overhead bytes."""

    name: str
    grant_bytes: int
    keep_bytes: int
    """Its floor and what its load may swing by: it gives nothing below that."""
    share_bytes: int
    """What it will have when it has given all it can: its share by a fresh division, not below ``keep_bytes``."""
    to_bytes: int
    """Its grant after this step; ``grant_bytes`` where its time has not come."""
    since_s: float
    """Since when it has had room to spare, or when it gave the last step."""


@dataclass(frozen=True, slots=True)
class GivingBack:
    """One look: the steps, who has room to spare, and the clocks for the next look."""

    actions: tuple[Action, ...]
    """Shrinks, then the raises of those who get it. Carry out as any plan that shrinks."""
    spare: tuple[Spare, ...]
    since_s: Mapping[str, float]
    """Hand this to the next call. After a plan that failed it serves as well: the next step is due later."""

    @property
    def given_bytes(self) -> int:
        """What comes back in this step."""
        return sum(spare.grant_bytes - spare.to_bytes for spare in self.spare)


def give_back(
    guests: Iterable[GuestFacts],
    budget: Budget,
    settings: Settings,
    now_s: float,
    since_s: Mapping[str, float],
) -> GivingBack:
    """Who gives room back now, how much, and who gets it.

    Nobody gives whose use is unknown, who is held, not settled, or does not run. On an overcommitted host room is
    given back and nobody raised. ``now_s`` is monotonic; after a restart begin with an empty ``since_s``.
    """
    present = under_wall(guests)
    shares = _shares(present, budget, settings, now_s)
    spare: list[Spare] = []
    for guest in present:
        keep = _keep(guest, settings, now_s)
        if keep is None:
            continue
        share = max(shares[guest.name], min(guest.grant_bytes, round_up(keep, budget.page_bytes)))
        if guest.grant_bytes - share < worth(guest.grant_bytes):
            continue
        since = min(since_s.get(guest.name, now_s), now_s)
        due = now_s - since >= settings.giveback_after_s
        after = _step(guest.grant_bytes, share, settings, budget.page_bytes) if due else guest.grant_bytes
        spare.append(Spare(guest.name, guest.grant_bytes, keep, share, after, now_s if due else since))
    to = {one.name: one.to_bytes for one in spare if one.to_bytes < one.grant_bytes}
    actions = _actions(present, to, shares, budget, settings, now_s)
    return GivingBack(actions, tuple(spare), {one.name: one.since_s for one in spare})


def _keep(guest: GuestFacts, settings: Settings, now_s: float) -> int | None:
    """What it keeps at least; None where it may not be asked for anything."""
    floor = floor_bytes(guest, settings, now_s)
    if floor is None or guest.held or not runs(guest) or unsettled_s(guest, settings, now_s) > 0:
        return None
    return rules.keeps(floor, settings.giveback_keep_bytes)


def _step(grant: int, share: int, settings: Settings, page: int) -> int:
    """The grant after one step towards ``share``; the last step goes all the way."""
    most = max(settings.giveback_step.of(grant), LEAST_STEP_BYTES)
    to = max(share, round_up(grant - most, page))
    return share if to - share < worth(to) else to


def _shares(present: Sequence[GuestFacts], budget: Budget, settings: Settings, now_s: float) -> dict[str, int]:
    """Everybody's grant by a division with fresh floors and what each keeps above it.

    Where those do not fit, nobody has a claim on keeping more than it has.
    """
    for within_grant in (False, True):
        claims = [_claim(guest, budget, settings, now_s, within_grant=within_grant) for guest in present]
        division = divide(room_bytes(budget), claims, budget.page_bytes)
        if division.feasible:
            return {grant.name: grant.grant_bytes for grant in division.grants}
    return {guest.name: guest.grant_bytes for guest in present}


def _claim(guest: GuestFacts, budget: Budget, settings: Settings, now_s: float, *, within_grant: bool) -> Claim:
    """Its claim with what it keeps as its floor; who may not be asked is not raised either, except one held."""
    page = budget.page_bytes
    claim = claim_of(guest, settings, now_s, page, lent=within_grant)
    if guest.overhead_bytes is None or not runs(guest):
        has = round_up(guest.grant_bytes, page)
        return replace(claim, floor_bytes=has, cap_bytes=has)
    floor, keep = claim.floor_bytes, _keep(guest, settings, now_s)
    if keep is not None:
        # What it has is right while its floor swings below it: only so do others' shares stand still as well.
        least = min(claim.floor_bytes + MARGIN_BYTES, keep)
        roomy = min(max(guest.grant_bytes, least), keep)
        floor = max(floor, min(roomy, guest.grant_bytes) if within_grant else roomy)
    cap = claim.cap_bytes
    if cap is not None:
        # What it may have at most is not raised by what it would like to keep.
        floor = max(claim.floor_bytes, min(floor, cap - cap % page))
    return replace(claim, floor_bytes=floor)


def _actions(
    present: Sequence[GuestFacts],
    to: Mapping[str, int],
    shares: Mapping[str, int],
    budget: Budget,
    settings: Settings,
    now_s: float,
) -> tuple[Action, ...]:
    """Shrinks of those who give, then raises of those below their share, with what there is after the shrinks."""
    actions: list[Action] = []
    for guest in present:
        if guest.name in to:
            why = (
                f"it gives {format_bytes(guest.grant_bytes - to[guest.name])} back: at most "
                f"{format_bytes(guest.overhead_peak_bytes or 0)} were used in the last {settings.peak_window_s:g} s"
            )
            actions.append(set_grant(guest, guest.grant_bytes, to[guest.name], budget, settings, now_s, why))
    if not rules.may_be_raised(budget.overcommitted_bytes):
        return tuple(actions)
    granted = sum(to.get(guest.name, guest.grant_bytes) for guest in present)
    takers = [_taker(g, shares[g.name], budget.page_bytes) for g in present if shares[g.name] > g.grant_bytes]
    after = spread(room_bytes(budget) - granted, takers, shares, budget.page_bytes)
    for taker in takers:
        guest, grant = taker.guest, after[taker.guest.name]
        if grant > guest.grant_bytes:
            why = f"its share is {format_bytes(shares[guest.name])} and room came back"
            actions.append(set_grant(guest, guest.grant_bytes, grant, budget, settings, now_s, why))
    return tuple(sorted(actions, key=rules.in_order))


def _taker(guest: GuestFacts, share: int, page: int) -> Stake:
    """One below its share: first what it borrows, then the rest of its share."""
    has = round_up(guest.grant_bytes, page)
    hard = max(has, min(round_up(guest.overhead_bytes or 0, page), share))
    return Stake(guest, True, has, hard, max(hard, share), max(hard, share))
