"""What guests can be asked for before a newcomer is turned away or a growing guest is held: who, how much, in order.

Three means, and each gains something else, so each is only used against the shortage it helps with:

- **cache**: page cache is no overhead and frees no grant. Dropping it frees *charge* (a shrink that was EBUSY fits, the
  host wall has room for a newcomer's RAM, thresholds see again), and on v1 the kernel's records of the cached pages,
  which v1 can't tell from other kernel memory, so they sit in *use* and floor: 2.7 % of the cache (measured on 6.18).
- **balloon**: RAM that its operator allows to be taken. What really came back is taken off the promised RAM: it frees
  *budget* for another's RAM, and for overhead where the reserve is all that promised RAM leaves.
- **swap**: what is swapped stays overhead (it comes back), so it frees *host memory* now and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from guestroom.actions import SetLimit, Verdict, VerdictKind
from guestroom.config import Reclaim, Rest, Settings
from guestroom.decide.budget import Budget, under_wall
from guestroom.decide.claims import least_bytes
from guestroom.decide.divide import Claim, divide
from guestroom.decide.floor import floor_bytes
from guestroom.facts import GuestFacts
from guestroom.units import MIB, format_bytes, round_down, round_up

LEAST_BYTES = 4 * MIB
"""Less than this is not worth asking for: the error of counting a guest's charge (``attribute.overhead``)."""


class Means(StrEnum):
    """How memory is got back."""

    CACHE = "cache"
    SWAP = "swap"
    BALLOON = "balloon"


class Short(StrEnum):
    """Which room is short."""

    OVERHEAD = "overhead"
    """Grants: a newcomer's need, or a growing guest's."""
    RAM = "ram"
    """The budget has no room for a newcomer's RAM."""
    MEMORY_NOW = "memory now"
    """The host has not got the bytes at this moment."""
    CHARGE = "charge"
    """The kernel's own count: page cache stands where the host wall or a limit needs the room."""


@dataclass(frozen=True, slots=True)
class Source:
    """What one guest could give. Bytes; unknown is None and is never asked for."""

    name: str
    weight: int
    cache_bytes: int | None
    """Page cache charged to it."""
    swappable_bytes: int | None
    """Anonymous memory beside its RAM."""
    ram_bytes: int
    """RAM it is promised now, less what it lent already."""
    balloon_min_bytes: int | None
    """RAM its operator lets it keep at least; None: its balloon is not to be touched."""
    active: bool = True
    """It runs, and is not held: nothing else answers."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One guest is asked for one thing."""

    means: Means
    name: str
    want_bytes: int
    """At most so much: cache and swap to give up, or RAM less than it has now."""
    reason: str


def shortage(verdict: Verdict) -> tuple[Short, int] | None:
    """What a verdict is short of and by how much; None where there is enough."""
    if verdict.kind is VerdictKind.ADMIT or verdict.short_bytes <= 0 or not verdict.short_of:
        return None
    return Short(verdict.short_of), verdict.short_bytes


def reclaim(
    short: Short,
    short_bytes: int,
    sources: Iterable[Source],
    settings: Settings,
    *,
    cache_in_use: bool,
    swap_free_bytes: int | None = None,
    page_bytes: int = 4096,
) -> tuple[Ask, ...]:
    """Whom to ask for what, cheapest first; empty where nothing would help or nothing is allowed.

    ``cache_in_use``: records of cached pages count as overhead (cgroup v1). Swap is used only where the settings say
    so and the host has some free. No guest is asked for RAM below what its operator allows, none that is held for
    anything, and none for what is not known.
    """
    if settings.reclaim is Reclaim.OFF or short_bytes <= 0:
        return ()
    asked = tuple(sorted((one for one in sources if one.active), key=lambda one: one.name))
    match short:
        case Short.CHARGE:
            return _caches(asked, short_bytes)
        case Short.OVERHEAD:
            # How much of a guest's kernel memory is records of its cache only shows when the cache is gone: all of it.
            caches = _caches(asked, None) if cache_in_use else ()
            balloons = _balloons(asked, short_bytes, page_bytes) if settings.reserve is Rest.REST else ()
            return (*caches, *balloons)
        case Short.RAM:
            return _balloons(asked, short_bytes, page_bytes)
        case Short.MEMORY_NOW:
            swaps = _swaps(asked, min(short_bytes, swap_free_bytes or 0)) if settings.reclaim is Reclaim.SWAP else ()
            left = short_bytes - sum(ask.want_bytes for ask in swaps)
            return (*swaps, *_balloons(asked, left, page_bytes))


def _caches(sources: Sequence[Source], enough_bytes: int | None) -> tuple[Ask, ...]:
    """The fullest first; until that is enough, where so much is known."""
    asks: list[Ask] = []
    got = 0
    for one in sorted(sources, key=lambda one: (-(one.cache_bytes or 0), one.name)):
        if (one.cache_bytes or 0) < LEAST_BYTES or (enough_bytes is not None and got >= enough_bytes):
            break
        assert one.cache_bytes is not None
        got += one.cache_bytes
        why = f"{format_bytes(one.cache_bytes)} of page cache are charged to it"
        asks.append(Ask(Means.CACHE, one.name, one.cache_bytes, why))
    return tuple(asks)


def _swaps(sources: Sequence[Source], want_bytes: int) -> tuple[Ask, ...]:
    """The largest first, as much as is missing and swap has room for."""
    asks: list[Ask] = []
    for one in sorted(sources, key=lambda one: (-(one.swappable_bytes or 0), one.name)):
        size = min(one.swappable_bytes or 0, want_bytes)
        if size < LEAST_BYTES:
            break
        want_bytes -= size
        asks.append(Ask(Means.SWAP, one.name, size, f"the host has not got {format_bytes(size)} now"))
    return tuple(asks)


def _balloons(sources: Sequence[Source], want_bytes: int, page_bytes: int) -> tuple[Ask, ...]:
    """What is missing, shared by weighted max-min over what everybody keeps: whoever has most by weight gives first."""
    lenders = [
        (one, keeps)
        for one in sources
        if one.balloon_min_bytes is not None
        and one.ram_bytes - (keeps := round_up(one.balloon_min_bytes, page_bytes)) >= LEAST_BYTES
    ]
    if want_bytes <= 0 or not lenders:
        return ()
    want_bytes += LEAST_BYTES  # what smaps and the kernel's counters disagree by is not lent
    most = sum(one.ram_bytes - keeps for one, keeps in lenders)
    left = sum(round_down(one.ram_bytes, page_bytes) for one, _ in lenders) - min(
        most, round_up(want_bytes, page_bytes)
    )
    claims = [Claim(one.name, one.weight, keeps, one.ram_bytes) for one, keeps in lenders]
    division = divide(max(left, sum(keeps for _, keeps in lenders)), claims, page_bytes)
    kept = {grant.name: grant.grant_bytes for grant in division.grants}
    asks = []
    for one, keeps in lenders:
        size = one.ram_bytes - kept.get(one.name, one.ram_bytes)
        if size >= page_bytes:
            why = f"its operator lets it keep no more than {format_bytes(keeps)} of {format_bytes(one.ram_bytes)}"
            asks.append(Ask(Means.BALLOON, one.name, size, why))
    return tuple(asks)


def lending(guest: GuestFacts, more_bytes: int, settings: Settings, now_s: float, page_bytes: int) -> SetLimit | None:
    """The step that takes ``more_bytes`` off a guest's promised RAM: its limit falls by that, its grant stays.

    From then on RAM that it takes back unasked is overhead like any other: the headroom serves it, and where that ends
    it is held, never its neighbours. None where its limit or its floor is not known.
    """
    floor = floor_bytes(guest, settings, now_s)
    if floor is None or not isinstance(guest.limit_bytes, int) or guest.held or more_bytes <= 0:
        return None
    keeps = round_up(max(0, guest.ram_charged_bytes - more_bytes), page_bytes) + round_up(floor, page_bytes)
    limit = max(guest.limit_bytes - more_bytes, keeps)
    why = f"its balloon gave {format_bytes(more_bytes)} of RAM back"
    return SetLimit(guest.name, guest.limit_bytes, limit, guest.grant_bytes, guest.grant_bytes, keeps, why)


def spare_bytes(guests: Iterable[GuestFacts], budget: Budget, settings: Settings, now_s: float) -> int:
    """Budget that lenders may have back: what is promised to nobody, as far as it leaves everybody room for their use.

    Where the reserve is all that promised RAM leaves, that is what grants could do without: down to floors and
    ``giveback_keep``.
    """
    if settings.reserve is not Rest.REST:
        return max(0, budget.budget_bytes - budget.promised_ram_bytes - budget.reserve_bytes)
    kept = sum(
        max(least_bytes(guest, settings, now_s, lent=False), min(guest.need_bytes, guest.grant_bytes))
        + settings.giveback_keep_bytes
        for guest in under_wall(guests)
    )
    return max(0, budget.room_bytes - kept)


def given_back(guests: Iterable[GuestFacts], free_bytes: int, page_bytes: int) -> dict[str, int]:
    """RAM to return to each lender from ``free_bytes`` of budget that nobody needs, by weighted max-min (P7)."""
    lenders = [one for one in guests if one.lent_ram_bytes > 0 and not one.held]
    if free_bytes < LEAST_BYTES or not lenders:
        return {}
    claims = [Claim(one.name, one.weight, 0, one.lent_ram_bytes) for one in lenders]
    division = divide(round_down(free_bytes, page_bytes), claims, page_bytes)
    return {grant.name: grant.grant_bytes for grant in division.grants if grant.grant_bytes > 0}
