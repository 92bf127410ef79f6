"""Whether a newcomer may start: admit, squeeze, refuse or recreate, with the numbers (the seed's story)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from guestroom.actions import Grant, Holder, Verdict, VerdictKind
from guestroom.config import OnShort, Settings
from guestroom.decide import advice, rules
from guestroom.decide.budget import Budget, budget, under_wall
from guestroom.decide.claims import claim_of, claim_of_newcomer, divide_room, limit_bytes, need_bytes, roomy
from guestroom.decide.divide import Claim, Division
from guestroom.decide.floor import floor_bytes
from guestroom.decide.recreate import victims
from guestroom.facts import GuestFacts, HostFacts, Newcomer
from guestroom.units import round_down, round_up


@dataclass(frozen=True, slots=True)
class _Case:
    """Everything one verdict is made from."""

    newcomer: Newcomer
    guests: tuple[GuestFacts, ...]
    """The guests it shares the reserve with."""
    budget: Budget
    settings: Settings
    now_s: float

    @property
    def need(self) -> int:
        """What it asks for, in whole pages."""
        return round_up(need_bytes(self.newcomer), self.budget.page_bytes)

    @property
    def boot_floor(self) -> int:
        """What it can't start without, in whole pages."""
        return round_up(self.newcomer.boot_floor_bytes, self.budget.page_bytes)

    @property
    def left(self) -> int:
        """Room within the lent floors of the others, in whole pages; negative where even those do not fit."""
        page = self.budget.page_bytes
        floors = (claim.floor_bytes for claim in self._claims(lent=True, instead={}))
        return round_down(self.budget.room_bytes, page) - sum(round_up(floor, page) for floor in floors)

    def divided(
        self, least: int, *, cap_bytes: int | None = None, instead: Mapping[str, Claim] | None = None
    ) -> Division:
        """The division in which the newcomer gets at least ``least``; ``instead`` replaces others' claims."""
        page = self.budget.page_bytes
        own = claim_of_newcomer(self.newcomer, self.settings, least, page, cap_bytes=cap_bytes)
        full, lent = (self._claims(lent=lent, instead=instead or {}) for lent in (False, True))
        clear = [
            claim if instead and guest.name in instead else roomy(claim, guest, self.budget)
            for claim, guest in zip(full, self.guests, strict=True)
        ]
        return divide_room(self.budget, [*clear, own], [*full, own], [*lent, own])

    def _claims(self, *, lent: bool, instead: Mapping[str, Claim]) -> list[Claim]:
        page = self.budget.page_bytes
        return [
            instead[guest.name]
            if guest.name in instead
            else claim_of(guest, self.settings, self.now_s, page, lent=lent)
            for guest in self.guests
        ]


def admit(
    newcomer: Newcomer,
    guests: Iterable[GuestFacts],
    host: HostFacts,
    settings: Settings,
    now_s: float,
    *,
    burst_bytes: int = 0,
) -> Verdict:
    """Decide about ``newcomer`` beside ``guests`` on ``host``; the headroom is never touched.

    RAM comes first: promised RAM, the newcomer's and the reserve must fit the budget, and the host must have
    the bytes now. Then its need (within its cap) must fit beside the floors of the others; if it does not,
    ``on_short`` decides. A guest of its own name among ``guests`` is itself coming back (recreated) and does
    not count. A guest that comes back must not be passed with ``on_short`` ``recreate``: no recreation is the
    consequence of another.
    """
    others = tuple(guest for guest in guests if guest.name != newcomer.name)
    total = budget(host, others, settings, newcomer=newcomer, burst_bytes=burst_bytes)
    case = _Case(newcomer, under_wall(others), total, settings, now_s)
    ram_short = max(
        total.overcommitted_bytes,
        rules.short_of_budget(total.promised_ram_bytes, total.reserve_bytes, total.budget_bytes),
    )
    if ram_short:
        return _refused(case, ram_short, "ram")
    wanted_now = newcomer.ram_charged_bytes + case.boot_floor
    if host.available_bytes is not None and host.available_bytes < wanted_now:
        return _refused(case, wanted_now - host.available_bytes, "memory now")
    division = case.divided(case.need)
    if division.feasible:
        return _accepted(case, VerdictKind.ADMIT, division, ())
    return _short(case)


def _short(case: _Case) -> Verdict:
    """What ``on_short`` makes of a need that does not fit."""
    match OnShort(case.newcomer.on_short):
        case OnShort.SQUEEZE if case.boot_floor <= case.left:
            division = case.divided(case.left, cap_bytes=case.need)
            if division.feasible:
                return _accepted(case, VerdictKind.SQUEEZE, division, ())
        case OnShort.RECREATE:
            chosen = victims(case.guests, case.need - case.left, case.settings, case.now_s, case.budget.page_bytes)
            division = case.divided(case.need, instead={claim.name: claim for claim in chosen})
            if chosen and division.feasible:
                return _accepted(case, VerdictKind.RECREATE, division, tuple(claim.name for claim in chosen))
        case _:
            pass
    return _refused(case, max(0, case.need - case.left), "overhead")


def _accepted(case: _Case, kind: VerdictKind, division: Division, recreate: tuple[str, ...]) -> Verdict:
    """A verdict that lets the newcomer start."""
    newcomer, need, left = case.newcomer, case.need, max(0, case.left)
    grant = next(grant for grant in division.grants if grant.name == newcomer.name).grant_bytes
    limit = limit_bytes(newcomer.ram_charged_bytes, grant, newcomer.cap_bytes, grant, case.budget)
    short = 0 if kind is VerdictKind.ADMIT else max(0, need - case.left)
    message = advice.accepted(kind, newcomer.name, need, grant, left, recreate)
    return _verdict(
        case, kind, grant, limit, short, "overhead" if short else "", division.grants, recreate, (), message
    )


def _refused(case: _Case, short: int, short_of: str) -> Verdict:
    """A verdict that keeps the newcomer out; nothing was changed."""
    question = advice.Refusal(
        case.newcomer,
        case.guests,
        case.budget,
        case.settings,
        case.now_s,
        case.need,
        max(0, case.left),
        short,
        short_of,
    )
    message, hints = advice.refused(question)
    return _verdict(case, VerdictKind.REFUSE, 0, 0, short, short_of, (), (), hints, message)


def _verdict(
    case: _Case,
    kind: VerdictKind,
    grant: int,
    limit: int,
    short: int,
    short_of: str,
    grants: tuple[Grant, ...],
    recreate: tuple[str, ...],
    hints: tuple[str, ...],
    message: str,
) -> Verdict:
    """The verdict with what is the same for all kinds."""
    holders = sorted(
        (Holder(g.name, g.grant_bytes, floor_bytes(g, case.settings, case.now_s)) for g in case.guests),
        key=lambda holder: (-holder.grant_bytes, holder.name),
    )
    return Verdict(
        kind=kind,
        name=case.newcomer.name,
        need_bytes=case.need,
        grant_bytes=grant,
        limit_bytes=limit,
        left_bytes=max(0, case.left),
        short_bytes=short,
        short_of=short_of,
        grants=grants,
        holders=tuple(holders),
        recreate=recreate,
        advice=hints,
        message=message,
    )


def returned(newcomer: Newcomer, grant_bytes: int, limit_bytes: int, message: str) -> Verdict:
    """The verdict of a recreated guest that comes back under the grant kept for it: nothing is decided again."""
    return Verdict(
        kind=VerdictKind.ADMIT,
        name=newcomer.name,
        need_bytes=newcomer.need_bytes,
        grant_bytes=grant_bytes,
        limit_bytes=limit_bytes,
        left_bytes=grant_bytes,
        short_bytes=0,
        short_of="",
        grants=(),
        holders=(),
        recreate=(),
        advice=(),
        message=message,
    )
