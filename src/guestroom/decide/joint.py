"""What is due for an adopted guest: more room, a hold, going on, or giving back what it was given.

A guest with joint accounting stands outside the host wall: no headroom is behind its limit, so everything between its
RAM and its limit is its grant, and it is seen only at sweeps. Therefore it has a margin of its own. When its
overhead comes within one margin of its grant, its limit is raised to its floor (use or peak, and two margins), as far
as the budget has room; where there is none it is held before its wall. Page cache is no overhead and never holds.
On an overcommitted host nobody is raised (P1): only held.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from guestroom.actions import Action, Hold, LetGo, SetLimit
from guestroom.config import Percent, Rest, Settings
from guestroom.decide import rules
from guestroom.decide.budget import Budget, budget, under_wall
from guestroom.decide.claims import least_bytes
from guestroom.decide.floor import JOINT_MARGIN_BYTES, floor_bytes
from guestroom.decide.rebalance import divide_again, steps
from guestroom.facts import GuestFacts, HostFacts
from guestroom.units import MIB, format_bytes, round_down, round_up

_WORTH_BYTES = 16 * MIB
"""Room that is worth a write when it is taken back."""


@dataclass(frozen=True, slots=True)
class Due:
    """What is due for one guest now; ``actions`` in order, all or none of the raise."""

    actions: tuple[Action, ...] = ()
    short_bytes: int = 0
    """What its limit lacks and could not be given."""


def in_alarm(guest: GuestFacts) -> bool:
    """Its overhead is within a margin of its grant. Unknown overhead is no alarm: nobody is held on guesswork (P6)."""
    return guest.overhead_bytes is not None and guest.overhead_bytes > guest.grant_bytes - JOINT_MARGIN_BYTES


def may_go(guest: GuestFacts) -> bool:
    """A held guest may go on: two margins are left, or its overhead can't be told any more."""
    return guest.overhead_bytes is None or guest.overhead_bytes <= guest.grant_bytes - 2 * JOINT_MARGIN_BYTES


def spare_bytes(guest: GuestFacts, settings: Settings, now_s: float, kept_limit_bytes: int) -> int:
    """What could be taken back of the room it was given: never below the limit it came with or what it keeps."""
    floor = floor_bytes(guest, settings, now_s)
    if floor is None or guest.held or not isinstance(guest.limit_bytes, int):
        return 0
    keep = round_up(guest.ram_charged_bytes) + round_up(rules.keeps(floor, settings.giveback_keep_bytes))
    spare = guest.limit_bytes - max(kept_limit_bytes, keep)
    return spare if spare >= _WORTH_BYTES else 0


def take_back(guest: GuestFacts, settings: Settings, now_s: float, spare: int) -> Due:
    """The shrink that takes ``spare`` bytes back."""
    assert isinstance(guest.limit_bytes, int)
    floor = floor_bytes(guest, settings, now_s)
    assert floor is not None
    to = guest.limit_bytes - spare
    reason = f"it has had {format_bytes(spare)} to spare for {settings.giveback_after_s:g} s"
    return Due((_set_limit(guest, to, floor, reason),))


def tend(
    guest: GuestFacts,
    guests: Sequence[GuestFacts],
    host: HostFacts,
    settings: Settings,
    now_s: float,
    *,
    burst_bytes: int = 0,
) -> Due:
    """What ``guest``, one of ``guests``, needs now: a raise within the budget, else a hold; or to be let go.

    ``burst_bytes`` as for ``budget``.
    """
    floor = floor_bytes(guest, settings, now_s)
    if not isinstance(guest.limit_bytes, int) or floor is None or not (in_alarm(guest) or guest.held):
        return Due((LetGo(guest.name, "its overhead can't be told"),) if guest.held and floor is None else ())
    if not in_alarm(guest) and may_go(guest):
        return Due((LetGo(guest.name, "there is room between its overhead and its limit again"),))
    wanted = _wanted_limit(guest, floor) - guest.limit_bytes
    total = budget(host, guests, settings, burst_bytes=burst_bytes)
    given = min(wanted, round_down(most_raise(total, guests, settings, now_s)))
    if given < min(wanted, JOINT_MARGIN_BYTES):
        given = 0
    raised = _raised(guest, given)
    actions: list[Action] = []
    if given > 0:
        reason = f"its overhead of {format_bytes(guest.overhead_bytes or 0)} comes near its grant"
        actions += raise_by(guest, given, reason, guests, host, settings, now_s, burst_bytes=burst_bytes)
    if guest.held and may_go(raised):
        actions.append(LetGo(guest.name, "its limit was raised"))
    elif not guest.held and in_alarm(raised):
        # The hold comes first: a shrink of others may take its time, and this guest grows on meanwhile.
        actions.insert(0, hold(guest, _why_held(total, wanted - given)))
    return Due(tuple(actions), max(0, wanted - given))


def raise_by(
    guest: GuestFacts,
    given_bytes: int,
    reason: str,
    guests: Sequence[GuestFacts],
    host: HostFacts,
    settings: Settings,
    now_s: float,
    *,
    burst_bytes: int = 0,
) -> tuple[Action, ...]:
    """The raise (at most by ``most_raise``), after the shrinks without which it would pass the budget."""
    assert isinstance(guest.limit_bytes, int)
    floor = floor_bytes(guest, settings, now_s) or 0
    raised = _raised(guest, given_bytes)
    before = _room_for(raised, guests, host, settings, now_s, burst_bytes)
    return (*before, _set_limit(guest, guest.limit_bytes + given_bytes, floor, reason))


def hold(guest: GuestFacts, why: str) -> Hold:
    """The hold of an adopted guest, with its numbers; ``headroom_left_bytes`` is what is left below its limit."""
    left = guest.grant_bytes - (guest.overhead_bytes or 0)
    return Hold(
        guest.name,
        max(0, -left),
        max(0, left),
        JOINT_MARGIN_BYTES,
        f"{format_bytes(max(0, left))} are left between its overhead and its limit, and {why}",
    )


def _raised(guest: GuestFacts, given: int) -> GuestFacts:
    assert isinstance(guest.limit_bytes, int)
    return replace(guest, limit_bytes=guest.limit_bytes + given, grant_bytes=guest.grant_bytes + given)


def _wanted_limit(guest: GuestFacts, floor: int) -> int:
    """RAM + floor, within its cap; never below what it has."""
    overhead = floor if guest.cap_bytes is None else min(floor, guest.cap_bytes)
    assert isinstance(guest.limit_bytes, int)
    return max(guest.limit_bytes, round_up(guest.ram_charged_bytes) + round_up(overhead))


def most_raise(total: Budget, guests: Sequence[GuestFacts], settings: Settings, now_s: float) -> int:
    """The most by which one adopted guest's limit may rise (P1), if everybody else gives what it may.

    Each byte leaves the budget one less. What has to hold afterwards: promised RAM and the reserve fit the budget, and
    the reserve holds the headroom and the least grants of all under the wall.
    """
    if not rules.may_be_raised(total.overcommitted_bytes):
        return 0
    promised = total.promised_ram_bytes
    least = total.headroom_bytes + sum(
        round_up(least_bytes(guest, settings, now_s, lent=True), total.page_bytes) for guest in under_wall(guests)
    )
    match settings.reserve:
        case Percent(hundredths=share):
            # (10000 - share) parts of the budget must hold the RAM, share parts the reserve.
            for_ram = -(-promised * 10_000 // max(1, 10_000 - share))
            for_reserve = -(-least * 10_000 // max(1, share))
            return max(0, total.budget_bytes - max(for_ram, for_reserve))
        case Rest():
            return max(0, total.budget_bytes - promised - least)
        case fixed:
            return max(0, total.budget_bytes - promised - fixed)


def _room_for(
    raised: GuestFacts,
    guests: Sequence[GuestFacts],
    host: HostFacts,
    settings: Settings,
    now_s: float,
    burst_bytes: int,
) -> tuple[Action, ...]:
    """Shrinks that must come first, so that no step puts limits above the budget; none where room is free."""
    present = tuple(raised if one.name == raised.name else one for one in guests)
    after = budget(host, present, settings, burst_bytes=burst_bytes)
    wall = host.wall_limit_bytes
    if not isinstance(wall, int) or after.budget_bytes >= wall:
        return ()
    grants = divide_again(present, after, settings, now_s, host.page_bytes)
    plan = steps(grants, present, after, settings, now_s=now_s)
    return tuple(step for step in plan if rules.in_order(step) < _RAISES)


_RAISES = 4
"""Rank from which steps take room (``rules.in_order``)."""


def _set_limit(guest: GuestFacts, to_bytes: int, floor: int, reason: str) -> SetLimit:
    ram = round_up(guest.ram_charged_bytes)
    return SetLimit(
        guest.name,
        guest.limit_bytes,
        to_bytes,
        guest.grant_bytes,
        max(0, to_bytes - ram),
        min(to_bytes, ram + round_up(floor)),
        reason,
    )


def _why_held(total: Budget, short: int) -> str:
    if total.overcommitted_bytes:
        return f"the host is overcommitted by {format_bytes(total.overcommitted_bytes)}"
    return f"{format_bytes(short)} are missing in the budget"
