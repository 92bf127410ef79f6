"""Guests as claims on the reserve, and grants as limits: what admission and rebalancing have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from guestroom.config import Settings, Sharing
from guestroom.decide import rules
from guestroom.decide.budget import Budget
from guestroom.decide.divide import Claim, Division, divide
from guestroom.decide.floor import floor_bytes
from guestroom.facts import GuestFacts, Newcomer
from guestroom.units import MIB, round_down, round_up

MARGIN_BYTES = 4 * MIB
"""So close to its grant a guest counts as growing: the most it takes in a millisecond (a heavy overlay write load,
measured on QEMU 7.2, TCG)."""


def least_bytes(guest: GuestFacts, settings: Settings, now_s: float, *, lent: bool) -> int:
    """The least grant the guest may get: its floor; its present grant where unknown or held.

    ``lent``: what it uses above its grant stays borrowed from the headroom, so not more than its grant.
    """
    least = rules.kept(floor_bytes(guest, settings, now_s), guest.grant_bytes, held=guest.held)
    return min(least, guest.grant_bytes) if lent else least


def claim_of(guest: GuestFacts, settings: Settings, now_s: float, page_bytes: int, *, lent: bool) -> Claim:
    """The claim of a guest under care.

    Sharing ``static``, or a need that the operator fixed: it keeps its need and nothing moves, except that a squeezed
    guest may grow up to it.
    """
    least = least_bytes(guest, settings, now_s, lent=lent)
    cap = guest.cap_bytes
    if settings.sharing is Sharing.STATIC or guest.fixed_overhead:
        wanted = guest.need_bytes if cap is None else min(guest.need_bytes, cap)
        least = max(least, min(wanted, guest.grant_bytes))
        cap = wanted
    return Claim(guest.name, guest.weight, least, _cap_over(cap, least, page_bytes))


def claim_of_newcomer(
    newcomer: Newcomer, settings: Settings, least: int, page_bytes: int, *, cap_bytes: int | None = None
) -> Claim:
    """The claim of a newcomer that gets at least ``least`` bytes and at most its cap (or ``cap_bytes``)."""
    cap = newcomer.cap_bytes if cap_bytes is None else cap_bytes
    if settings.sharing is Sharing.STATIC or newcomer.fixed_overhead:
        cap = least
    return Claim(newcomer.name, newcomer.weight, least, _cap_over(cap, least, page_bytes))


def need_bytes(newcomer: Newcomer) -> int:
    """What a newcomer asks for: its need, within its cap."""
    return newcomer.need_bytes if newcomer.cap_bytes is None else min(newcomer.need_bytes, newcomer.cap_bytes)


def roomy(claim: Claim, guest: GuestFacts, budget: Budget) -> Claim:
    """The claim with a little above its floor, in whole pages and within its cap.

    At its floor exactly, a guest is so close to its grant that the next look counts it as growing and moves grants
    once more. Without a headroom nobody grows that way, and no more than the headroom is kept clear of it.
    """
    if guest.overhead_bytes is None or guest.held:
        return claim
    page = budget.page_bytes
    floor = round_up(claim.floor_bytes + min(MARGIN_BYTES, budget.headroom_bytes), page)
    most = floor if claim.cap_bytes is None else round_down(claim.cap_bytes, page)
    return replace(claim, floor_bytes=max(claim.floor_bytes, min(floor, most)))


def divide_room(budget: Budget, *attempts: Sequence[Claim]) -> Division:
    """Divide the reserve less the headroom by the first of ``attempts`` whose floors fit, else by the last."""
    *first, last = attempts
    for claims in first:
        division = divide(budget.room_bytes, claims, budget.page_bytes)
        if division.feasible:
            return division
    return divide(budget.room_bytes, last, budget.page_bytes)


def limit_bytes(ram_charged_bytes: int, grant_bytes: int, cap_bytes: int | None, floor: int, budget: Budget) -> int:
    """A guest's wall: guest RAM + min(grant + headroom, cap), in whole pages, never below guest RAM + floor."""
    page = budget.page_bytes
    ram = round_up(ram_charged_bytes, page)
    overhead = round_down(grant_bytes + budget.headroom_bytes, page)
    if cap_bytes is not None:
        overhead = min(overhead, max(round_down(cap_bytes, page), grant_bytes))
    return rules.not_below(ram + overhead, ram + round_up(floor, page))


def _cap_over(cap_bytes: int | None, least: int, page_bytes: int) -> int | None:
    """A cap that is not below its floor once both are rounded: what a guest uses already can't be capped away."""
    return None if cap_bytes is None else max(cap_bytes, round_up(least, page_bytes))
