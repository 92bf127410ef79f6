"""Headroom and guard that follow what is present: the largest burst, and how fast it comes (DESIGN, words).

The headroom serves a burst before anybody decides anything, so it must hold the largest one that a guest here can
make, whether that was read off its description or seen. The guard is what the fastest guest takes before the alarm
is answered. Both only guard against what was described or seen, so the least they are is what was measured.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from guestroom.config import Settings
from guestroom.decide.budget import LEAST_GUARD_BYTES, LEAST_HEADROOM_BYTES, Budget, under_wall
from guestroom.decide.claims import claim_of
from guestroom.facts import GuestFacts
from guestroom.units import MIB, round_down, round_up

HEADROOM_STEP_BYTES = 16 * MIB
"""Headroom moves in such steps: every change of it is a new division."""


@dataclass(frozen=True, slots=True)
class Burst:
    """What one guest may take at once, in bytes of overhead."""

    name: str
    described_bytes: int
    """From its description: requests in flight x cluster size (``describe.burst``)."""
    seen_bytes: int | None = None
    """The largest rise seen (``trend.largest_rise``, or the kernel's peak above the use before it); None: none yet."""


@dataclass(frozen=True, slots=True)
class HeadroomWanted:
    """How much, and because of whom."""

    headroom_bytes: int
    because: str
    """The guest whose burst it is, ``""`` where it is the least there is."""


def headroom_wanted(bursts: Iterable[Burst], present_bytes: int | None = None) -> HeadroomWanted:
    """max(128 MiB, largest burst described, largest burst seen), rounded up to 16 MiB.

    With ``present_bytes``, the headroom there is, it falls only when less than three quarters of that are wanted:
    a burst that is nearly as large as the last one must not cost two divisions. Give the result to
    ``budget(burst_bytes=...)``, which keeps it within the reserve and below what the settings say.
    """
    largest, because = LEAST_HEADROOM_BYTES, ""
    for burst in sorted(bursts, key=lambda burst: burst.name):
        size = max(burst.described_bytes, burst.seen_bytes or 0)
        if size > largest:
            largest, because = size, burst.name
    wanted = round_up(largest, HEADROOM_STEP_BYTES)
    if present_bytes is not None and present_bytes * 3 <= wanted * 4 and wanted < present_bytes:
        return HeadroomWanted(present_bytes, because)
    return HeadroomWanted(wanted, because)


def guard_wanted(speed_bytes_per_s: float | None, reaction_s: float | None) -> int:
    """max(64 MiB, fastest growth x measured reaction), in bytes; 64 MiB where one of them is not known yet."""
    if speed_bytes_per_s is None or reaction_s is None:
        return LEAST_GUARD_BYTES
    return max(LEAST_GUARD_BYTES, round(speed_bytes_per_s * reaction_s))


def guarded(
    budget: Budget,
    settings: Settings,
    speed_bytes_per_s: float | None,
    reaction_s: float | None,
    present_bytes: int | None = None,
) -> Budget:
    """``budget`` with the guard that was measured, unless it is set; at most half of the headroom.

    More than half would hold guests before they had the burst the headroom is for. With ``present_bytes``, the guard
    there is, it falls only below three quarters of that, as the headroom does.
    """
    if settings.guard_bytes is not None:
        return budget
    wanted = guard_wanted(speed_bytes_per_s, reaction_s)
    if present_bytes is not None and wanted < present_bytes <= wanted * 4 // 3:
        wanted = present_bytes
    return replace(budget, guard_bytes=min(wanted, budget.headroom_bytes // 2))


@dataclass(frozen=True, slots=True)
class HeadroomGiven:
    """The headroom there is room for, and what of the wish is refused."""

    headroom_bytes: int
    refused_bytes: int


def headroom_given(
    wanted_bytes: int,
    present_bytes: int,
    guests: Iterable[GuestFacts],
    budget: Budget,
    settings: Settings,
    now_s: float,
) -> HeadroomGiven:
    """How much of ``wanted_bytes`` the headroom gets (P1): it falls freely and rises only into unused grants.

    What the guests must keep (their floors in full, what they borrow included; the grant where use is unknown) is
    never taken for it, so the division that follows always fits. In whole steps: floors swing.
    """
    if wanted_bytes <= present_bytes:
        return HeadroomGiven(wanted_bytes, 0)
    page = budget.page_bytes
    claims = (claim_of(guest, settings, now_s, page, lent=False) for guest in under_wall(guests))
    kept = sum(round_up(claim.floor_bytes, page) for claim in claims)
    most = round_down(max(0, budget.reserve_bytes - kept), HEADROOM_STEP_BYTES)
    given = max(present_bytes, min(wanted_bytes, most))
    return HeadroomGiven(given, wanted_bytes - given)
