"""From grants to ordered steps: every prefix of them keeps the promises P1, P2 and P3.

The order is what makes a half-done plan harmless. While anything still has to give room nothing takes any, so
after each step grants and headroom fit the reserve and the host wall fits the budget, whichever step is the last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from guestroom.actions import (
    Action,
    Bound,
    Grant,
    MakeGuest,
    SetLimit,
    SetWall,
    StartGuest,
    StopGuest,
    Verdict,
    VerdictKind,
)
from guestroom.config import Settings
from guestroom.decide import rules
from guestroom.decide.budget import Budget, under_wall
from guestroom.decide.claims import claim_of, divide_room, least_bytes, limit_bytes, roomy
from guestroom.decide.floor import floor_bytes
from guestroom.facts import GuestFacts, Newcomer
from guestroom.units import MIB, PAGE_BYTES, Limit, format_bytes, round_down, round_up

_DEAD_BAND_BYTES = MIB
"""Smaller changes are not worth a kernel write (DESIGN, The division), nor is anything under 1 % of the grant."""


def divide_again(
    guests: Iterable[GuestFacts], budget: Budget, settings: Settings, now_s: float, page_bytes: int = PAGE_BYTES
) -> tuple[Grant, ...]:
    """Everybody's grant after a stop or a change, in the guests' order; no newcomer.

    Where the floors no longer fit (a smaller reserve, an overcommitted host) nobody is raised: each guest gets
    its floor or what it has, whichever is less, and the caller says it loudly.
    """
    present = under_wall(guests)
    full, lent = ([claim_of(g, settings, now_s, page_bytes, lent=lent) for g in present] for lent in (False, True))
    clear = [roomy(claim, guest, budget) for claim, guest in zip(full, present, strict=True)]
    division = divide_room(budget, clear, full, lent)
    if not division.feasible:
        least = (round_up(least_bytes(g, settings, now_s, lent=True), page_bytes) for g in present)
        return tuple(
            Grant(g.name, min(g.grant_bytes, floor), Bound.FLOOR) for g, floor in zip(present, least, strict=True)
        )
    if budget.overcommitted_bytes:
        now = {guest.name: guest.grant_bytes for guest in present}
        return tuple(Grant(g.name, min(g.grant_bytes, now[g.name]), g.bound) for g in division.grants)
    return division.grants


def steps(
    grants: Sequence[Grant],
    guests: Iterable[GuestFacts],
    budget: Budget,
    settings: Settings,
    *,
    newcomer: Newcomer | None = None,
    verdict: Verdict | None = None,
    now_s: float,
    wall_bytes: Limit | None = None,
) -> tuple[Action, ...]:
    """The ordered actions that bring ``guests`` to ``grants``, and the newcomer into its cgroups.

    Guests shrink, victims stop, the wall falls, the wall rises, guests grow, the newcomer's cgroups are made, it
    starts. ``budget`` is the one the grants were divided from (with the newcomer where there is one). Changes
    under max(1 MiB, 1 %) are left out unless another's room depends on them. A refusal has no steps. ``wall_bytes`` is
    the host wall now, where that is known better than by the budget.
    """
    if wall_bytes is not None:
        budget = replace(budget, wall_from_bytes=wall_bytes)
    if verdict is not None and verdict.kind is VerdictKind.REFUSE:
        return ()
    present = under_wall(guests)
    stopped = frozenset(verdict.recreate) if verdict is not None else frozenset[str]()
    targets = {grant.name: grant.grant_bytes for grant in grants}
    settled = _without_small_changes(present, targets, stopped, budget)
    actions: list[Action] = [
        step
        for guest in present
        if guest.name not in stopped and (step := _limit_step(guest, settled, budget, settings, now_s)) is not None
    ]
    actions += [_stop(name, targets[name], verdict) for name in sorted(stopped)]
    actions += _wall_step(present, settled, budget, settings, now_s)
    if newcomer is not None and verdict is not None:
        actions += _start(newcomer, verdict)
    return tuple(sorted(actions, key=rules.in_order))


def _without_small_changes(
    present: Sequence[GuestFacts], targets: Mapping[str, int], stopped: frozenset[str], budget: Budget
) -> dict[str, int]:
    """Targets with the small changes left out, as far as the sum still fits.

    Leaving out a raise always fits. A shrink left out leaves less for the others, so the largest of these are
    done after all until everything fits: those are the shrinks another's room depends on.
    """
    settled = dict(targets)
    spared: list[tuple[int, str]] = []
    for guest in present:
        target = settled.setdefault(guest.name, guest.grant_bytes)
        if guest.name in stopped or target == guest.grant_bytes:
            continue
        if abs(target - guest.grant_bytes) < max(_DEAD_BAND_BYTES, guest.grant_bytes // 100):
            settled[guest.name] = guest.grant_bytes
            if target < guest.grant_bytes:
                spared.append((guest.grant_bytes - target, guest.name))
    over = sum(settled.values()) - budget.room_bytes
    for given, name in sorted(spared, key=lambda item: (-item[0], item[1])):
        if over <= 0:
            break
        settled[name] = targets[name]
        over -= given
    return settled


def _limit_step(
    guest: GuestFacts, targets: Mapping[str, int], budget: Budget, settings: Settings, now_s: float
) -> SetLimit | None:
    """The write that gives ``guest`` its target, or None where nothing worth a write changes."""
    floor = floor_bytes(guest, settings, now_s)
    grant = targets[guest.name]
    least = grant if floor is None else floor
    limit = limit_bytes(guest.ram_charged_bytes, grant, guest.cap_bytes, least, budget)
    limit = rules.kept_limit(guest.limit_bytes, limit, may_shrink=floor is not None and not guest.held)
    if grant == guest.grant_bytes and not _limit_matters(guest, limit, least, budget):
        return None
    return SetLimit(
        guest.name,
        guest.limit_bytes,
        limit,
        guest.grant_bytes,
        grant,
        round_up(guest.ram_charged_bytes, budget.page_bytes) + round_up(least, budget.page_bytes),
        _why(guest, grant),
    )


def _limit_matters(guest: GuestFacts, limit: int, least: int, budget: Budget) -> bool:
    """With the grant unchanged: is the limit unknown, unlimited, below RAM + floor, or off by the dead-band?"""
    if not isinstance(guest.limit_bytes, int):
        return True
    if guest.limit_bytes < guest.ram_charged_bytes + least:
        return True
    return abs(limit - guest.limit_bytes) >= max(_DEAD_BAND_BYTES, guest.grant_bytes // 100)


def _why(guest: GuestFacts, grant: int) -> str:
    """Reason of a limit step."""
    if grant < guest.grant_bytes:
        return f"its share falls to {format_bytes(grant)}"
    if grant > guest.grant_bytes:
        return f"its share rises to {format_bytes(grant)}"
    return "its limit is not RAM + min(grant + headroom, cap)"


def _stop(name: str, grant: int, verdict: Verdict | None) -> StopGuest:
    """A victim's stop."""
    whom = verdict.name if verdict is not None else "a newcomer"
    return StopGuest(name, grant, f"recreated with {format_bytes(grant)} so that guest {whom} has room")


def _wall_step(
    present: Sequence[GuestFacts], targets: Mapping[str, int], budget: Budget, settings: Settings, now_s: float
) -> list[Action]:
    """The wall at promised RAM + reserve, and never below what the guests present must keep (P2)."""
    floors = ((g, floor_bytes(g, settings, now_s)) for g in present)
    kept = sum(
        round_up(g.ram_charged_bytes + max(targets[g.name], floor or 0), budget.page_bytes) for g, floor in floors
    )
    wall = budget.wall_bytes
    if budget.overcommitted_bytes:
        # Never above the budget by our own hand, never raised, and never into what the guests must keep.
        now = budget.wall_from_bytes
        lowest = rules.not_below(min(wall, round_down(budget.budget_bytes, budget.page_bytes)), kept)
        wall = min(lowest, now) if isinstance(now, int) else lowest
    if wall == budget.wall_from_bytes:
        return []
    reason = f"promised RAM {format_bytes(budget.promised_ram_bytes)} + reserve {format_bytes(budget.reserve_bytes)}"
    return [SetWall(budget.wall_from_bytes, wall, reason)]


def _start(newcomer: Newcomer, verdict: Verdict) -> list[Action]:
    """The newcomer's own two steps, last."""
    grant, limit = verdict.grant_bytes, verdict.limit_bytes
    reason = f"{verdict.kind.value}: {format_bytes(grant)} of overhead beside {format_bytes(newcomer.ram_bytes)} of RAM"
    return [MakeGuest(newcomer.name, limit, grant, reason), StartGuest(newcomer.name, grant, limit, reason)]
