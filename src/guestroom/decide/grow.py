"""Room for a guest that grows, before it meets its wall (promise P5).

Its burst is served by the kernel from the headroom, at once; what is decided here makes that lasting: its grant is
raised so that the headroom fills again. Room comes from what no grant has, then from neighbours above what they
use and a step, then from their slack down to their floors, each time weighted max-min between bounds (P7), and never
more than is needed: whoever has most by weight gives first, and nobody else moves. What is not found that way stays
lent by the headroom, until it is used up and ``hold`` decides.

A raise never waits for another guest's shrink, so the answer is two plans: ``now`` only raises, within room that is
free at this moment, and ``then`` shrinks neighbours before it raises further. Every prefix of ``now`` followed
by ``then`` keeps P1, P2 and P3, and so does ``now`` alone.

Asked twice with the same facts it has nothing to add: a guest is raised to its use and a step, neighbours are
protected at their use and a step, and when there is not enough all share what there is by the same division.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from guestroom.actions import Action, SetLimit
from guestroom.config import Settings
from guestroom.decide import rules
from guestroom.decide.budget import Budget, under_wall
from guestroom.decide.claims import MARGIN_BYTES, claim_of, least_bytes, limit_bytes
from guestroom.decide.divide import Claim, divide
from guestroom.decide.floor import floor_bytes
from guestroom.facts import GuestFacts, GuestState
from guestroom.units import MIB, format_bytes, round_down, round_up

LEAST_STEP_BYTES = 16 * MIB
"""Room given beyond the use: what a heavy overlay write load takes in 5 ms (measured on QEMU 7.2, TCG)."""
LEAST_CHANGE_BYTES = MIB
"""Smaller changes are not worth a kernel write, nor is anything under 1 % of the grant (DESIGN, The division)."""

_NONE: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Wanting:
    """A guest that grows: what it uses, has, wishes and gets. Overhead bytes."""

    name: str
    overhead_bytes: int
    grant_bytes: int
    wish_bytes: int
    """Its use and a step, within its cap."""
    now_bytes: int
    """Its grant after ``now``."""
    then_bytes: int
    """Its grant after ``then``."""

    @property
    def short_bytes(self) -> int:
        """What it wishes and does not get."""
        return self.wish_bytes - self.then_bytes

    @property
    def lent_bytes(self) -> int:
        """What it goes on borrowing from the headroom after both plans."""
        return max(0, self.overhead_bytes - self.then_bytes)


@dataclass(frozen=True, slots=True)
class Giving:
    """A neighbour whose grant falls for it."""

    name: str
    grant_bytes: int
    to_bytes: int
    least_bytes: int
    """Its floor, below which it gives nothing."""


@dataclass(frozen=True, slots=True)
class Growth:
    """Who grows, who gives, and the steps: carry out ``now`` at once, ``then`` as any plan that shrinks."""

    now: tuple[Action, ...]
    """Raises only, within free room."""
    then: tuple[Action, ...]
    """Shrinks of neighbours followed by further raises."""
    wanting: tuple[Wanting, ...]
    giving: tuple[Giving, ...]
    free_bytes: int
    """Room that no grant had."""
    message: str

    @property
    def lent_bytes(self) -> int:
        """What stays borrowed from the headroom after both plans."""
        return sum(want.lent_bytes for want in self.wanting)


@dataclass(frozen=True, slots=True)
class Stake:
    """One guest while room is looked for; whole pages, lent <= hard <= wish <= top."""

    guest: GuestFacts
    grows: bool
    lent: int
    """Where what it uses above its grant stays borrowed."""
    hard: int
    """Where nothing of its use is borrowed."""
    wish: int
    """Its use and a step."""
    top: int
    """The most it gets: its wish where it grows, else what it has."""


def grow(
    guests: Iterable[GuestFacts],
    budget: Budget,
    settings: Settings,
    now_s: float,
    *,
    grown: Mapping[str, int] = _NONE,
) -> Growth:
    """The raises that guests above (or within ``MARGIN_BYTES`` of) their grants get, and who gives for them.

    ``grown`` is what each guest gained lately, in bytes: its step is that, at least 16 MiB and at most the
    headroom. Guests whose use is unknown, released ones (cap = grant) and those that do not run are not raised; nobody
    is on an overcommitted host. Joint guests stand outside the host wall and are not looked at.
    """
    present = under_wall(guests)
    stakes = [_stake(guest, budget, settings, now_s, grown.get(guest.name, 0)) for guest in present]
    granted = sum(guest.grant_bytes for guest in present)
    free = rules.free_now(room_bytes(budget), granted)
    growing = [stake for stake in stakes if stake.grows]
    if not growing:
        return Growth((), (), (), (), free, "nobody grows")
    if not rules.may_be_raised(budget.overcommitted_bytes):
        over = format_bytes(budget.overcommitted_bytes)
        return _nothing(growing, free, f"the host is overcommitted by {over}: no grant is raised")
    targets = _targets(stakes, budget)
    if targets is None:
        return _nothing(growing, free, "not even the present floors fit the reserve: no grant is raised")
    # Below 0 where the grants are over the room: then cuts go there first.
    left = room_bytes(budget) - granted
    cuts = _cuts(stakes, targets, left)
    left += sum(stake.guest.grant_bytes - cuts[stake.guest.name] for stake in stakes if stake.guest.name in cuts)
    has = {stake.guest.name: stake.guest.grant_bytes for stake in growing}
    raisable = [stake for stake in growing if isinstance(stake.guest.limit_bytes, int)]
    first = has | spread(free, raisable, targets, budget.page_bytes)
    # Up to the wish: cuts that were made worth a write free more than was missing.
    last = spread(left, growing, {stake.guest.name: stake.wish for stake in growing}, budget.page_bytes)
    last = {name: max(first[name], grant) for name, grant in last.items()}
    if all(last[name] == first[name] for name in has):
        cuts, last = {}, first
    return _growth(stakes, cuts, first, last, free, budget, settings, now_s)


def still_good(
    actions: Sequence[Action], guests: Iterable[GuestFacts], budget: Budget, settings: Settings, now_s: float
) -> tuple[Action, ...]:
    """Those steps of an unfinished plan that may still be carried out, since a raise may have made it void.

    A step stays only if its guest still has the grant it starts from, a shrink only if its floor still allows it and
    its use is known and it is not held, a raise only if room for it is free or freed by the steps that stay before it.
    """
    present = {guest.name: guest for guest in under_wall(guests)}
    left = room_bytes(budget) - sum(guest.grant_bytes for guest in present.values())
    kept: list[Action] = []
    for action in actions:
        if isinstance(action, SetLimit):
            guest = present.get(action.name)
            change = action.grant_to_bytes - action.grant_from_bytes
            if guest is None or guest.grant_bytes != action.grant_from_bytes:
                continue
            if change < 0 and action.grant_to_bytes < least_bytes(guest, settings, now_s, lent=True):
                continue
            if change > 0 and (change > left or not rules.may_be_raised(budget.overcommitted_bytes)):
                continue
            left -= change
        kept.append(action)
    return tuple(kept)


def room_bytes(budget: Budget) -> int:
    """What all grants may sum to now: less than the budget's room where the host wall is not where it should be."""
    return round_down(max(0, budget.room_bytes - missing_bytes(budget)), budget.page_bytes)


def missing_bytes(budget: Budget) -> int:
    """By how much the host wall is below what the budget asks for: that much of the reserve is not there."""
    wall = budget.wall_from_bytes
    return max(0, budget.wall_bytes - wall) if isinstance(wall, int) else 0


def spread(free: int, stakes: Sequence[Stake], targets: Mapping[str, int], page: int) -> dict[str, int]:
    """Grants after ``free`` bytes went to ``stakes``, none above its target: first what is borrowed, then the rest.

    By weighted max-min, so that who asks first has no advantage. Changes that are not worth a write are left out.
    """
    has = {s.guest.name: round_up(s.guest.grant_bytes, page) for s in stakes}
    room = free + sum(s.guest.grant_bytes for s in stakes)
    top = {s.guest.name: max(has[s.guest.name], targets[s.guest.name]) for s in stakes}
    hard = {s.guest.name: max(has[s.guest.name], min(s.hard, top[s.guest.name])) for s in stakes}
    weights = {s.guest.name: s.guest.weight for s in stakes}
    for low, high in ((hard, top), (has, hard)):
        division = divide(max(0, room), [Claim(n, w, low[n], high[n]) for n, w in weights.items()], page)
        if division.feasible:
            given = {grant.name: grant.grant_bytes for grant in division.grants}
            before = {s.guest.name: s.guest.grant_bytes for s in stakes}
            return {n: given[n] if given[n] - g >= worth(g) else g for n, g in before.items()}
    return {s.guest.name: s.guest.grant_bytes for s in stakes}


def runs(guest: GuestFacts) -> bool:
    """True for a guest whose use is its own: one that starts is being filled, one that stops will give all back."""
    return guest.state in (GuestState.RUNNING, GuestState.PAUSED)


def worth(grant_bytes: int) -> int:
    """The least change of a grant that is worth a kernel write."""
    return max(LEAST_CHANGE_BYTES, grant_bytes // 100)


def set_grant(
    guest: GuestFacts, before: int, after: int, budget: Budget, settings: Settings, now_s: float, reason: str
) -> SetLimit:
    """The write that brings a guest from grant ``before`` to ``after``; a raise never lowers the limit there is."""
    floor = floor_bytes(guest, settings, now_s)
    least = after if floor is None else floor
    limit = limit_bytes(guest.ram_charged_bytes, after, guest.cap_bytes, least, budget)
    may_shrink = after < before and floor is not None and not guest.held
    limit = rules.kept_limit(guest.limit_bytes, limit, may_shrink=may_shrink)
    page = budget.page_bytes
    lowest = round_up(guest.ram_charged_bytes, page) + round_up(least, page)
    return SetLimit(guest.name, guest.limit_bytes, limit, before, after, lowest, reason)


def _stake(guest: GuestFacts, budget: Budget, settings: Settings, now_s: float, grown: int) -> Stake:
    """A guest's bounds."""
    page, has = budget.page_bytes, guest.grant_bytes
    floor = floor_bytes(guest, settings, now_s)
    lent = round_up(min(has, claim_of(guest, settings, now_s, page, lent=True).floor_bytes), page)
    top = round_up(has, page)
    use = has if guest.overhead_bytes is None else guest.overhead_bytes
    step = max(LEAST_STEP_BYTES, min(grown, budget.headroom_bytes))
    if runs(guest) and rules.may_grow(guest.overhead_bytes, has, MARGIN_BYTES):
        cap = guest.need_bytes if guest.fixed_overhead else guest.cap_bytes
        most = None if cap is None else round_down(cap, page)
        hard = max(top, _within(round_up(use, page), most))
        wish = max(hard, _within(round_up(max(floor or 0, use + step), page), most))
        if wish - has >= worth(has):
            return Stake(guest, True, top, hard, wish, wish)
    return Stake(guest, False, lent, lent, max(lent, min(top, round_up(use + step, page))), top)


def _within(size: int, most: int | None) -> int:
    return size if most is None else min(size, most)


def _targets(stakes: Sequence[Stake], budget: Budget) -> dict[str, int] | None:
    """Everybody's grant by the first division that fits; None where not even the lent floors do."""
    room, page = room_bytes(budget), budget.page_bytes
    for low, high in (("wish", "top"), ("hard", "wish"), ("lent", "hard")):
        claims = [Claim(s.guest.name, s.guest.weight, getattr(s, low), getattr(s, high)) for s in stakes]
        division = divide(room, claims, page)
        if division.feasible:
            return {grant.name: grant.grant_bytes for grant in division.grants}
    return None


def _cuts(stakes: Sequence[Stake], targets: Mapping[str, int], left: int) -> dict[str, int]:
    """New grants of those who give, as much as the raises need beyond what is ``left``.

    A thousand neighbours that give 16 KiB each would be a thousand writes. So small cuts are made as deep as is
    worth a write, where the floor allows it, largest first and only as many as are needed: nobody ends up further
    below its fair share than the change that is left out everywhere else.
    """
    raises = [targets[s.guest.name] - s.guest.grant_bytes for s in stakes if s.grows]
    least = [worth(s.guest.grant_bytes) for s in stakes if s.grows]
    missing = sum(rise for rise, enough in zip(raises, least, strict=True) if rise >= enough) - left
    due = sorted(
        ((s.guest.grant_bytes - targets[s.guest.name], s) for s in stakes if not s.grows),
        key=lambda item: (-item[0], -item[1].guest.grant_bytes, item[1].guest.name),
    )
    cuts: dict[str, int] = {}
    for cut, stake in due:
        if cut <= 0 or missing <= 0:
            break
        has = stake.guest.grant_bytes
        deep = max(cut, min(worth(has), has - stake.lent))
        cuts[stake.guest.name] = has - deep
        missing -= deep
    return cuts


def _growth(
    stakes: Sequence[Stake],
    cuts: Mapping[str, int],
    first: Mapping[str, int],
    last: Mapping[str, int],
    free: int,
    budget: Budget,
    settings: Settings,
    now_s: float,
) -> Growth:
    """Both plans with their numbers."""
    wanting, giving = [], []
    now: list[Action] = []
    then: list[Action] = []
    whom = ", ".join(sorted(name for name, grant in last.items() if grant > first[name]))
    for stake in stakes:
        guest, name = stake.guest, stake.guest.name
        if stake.grows:
            wanting.append(_wanting(stake, first[name], last[name]))
            why = f"it uses {format_bytes(guest.overhead_bytes or 0)} of its grant of {format_bytes(guest.grant_bytes)}"
            raised = guest
            if first[name] > guest.grant_bytes:
                step = set_grant(guest, guest.grant_bytes, first[name], budget, settings, now_s, why)
                now.append(step)
                raised = replace(guest, limit_bytes=step.to_bytes)
            if last[name] > first[name]:
                then.append(set_grant(raised, first[name], last[name], budget, settings, now_s, why))
        elif name in cuts:
            giving.append(Giving(name, guest.grant_bytes, cuts[name], stake.lent))
            why = f"it gives {format_bytes(guest.grant_bytes - cuts[name])} to {whom}, which grows"
            then.append(set_grant(guest, guest.grant_bytes, cuts[name], budget, settings, now_s, why))
    return Growth(
        tuple(now),
        tuple(sorted(then, key=rules.in_order)),
        tuple(wanting),
        tuple(giving),
        free,
        _message(wanting, giving, free),
    )


def _wanting(stake: Stake, first: int, last: int) -> Wanting:
    guest = stake.guest
    return Wanting(guest.name, guest.overhead_bytes or 0, guest.grant_bytes, stake.wish, first, last)


def _nothing(growing: Sequence[Stake], free: int, message: str) -> Growth:
    """No step, with the numbers of those who would need one."""
    wanting = tuple(_wanting(stake, stake.guest.grant_bytes, stake.guest.grant_bytes) for stake in growing)
    return Growth((), (), wanting, (), free, message)


def _message(wanting: Sequence[Wanting], giving: Sequence[Giving], free: int) -> str:
    """One line for people."""
    told = [
        f"{want.name} uses {format_bytes(want.overhead_bytes)} of {format_bytes(want.grant_bytes)} and gets "
        f"{format_bytes(want.then_bytes)}"
        + (f" ({format_bytes(want.lent_bytes)} stay lent by the headroom)" if want.lent_bytes else "")
        for want in wanting
    ]
    from_whom = [f"{give.name} gives {format_bytes(give.grant_bytes - give.to_bytes)}" for give in giving]
    return "; ".join([*told, *from_whom, f"{format_bytes(free)} were free"])
