"""The promises as checkers: what must be true after every single step, whoever planned it.

These know nothing of how ``decide`` comes to its answers and share no code with it, so that they can convict it.
Each function returns sentences, one per broken promise, beginning with the promise's number; nothing found is an
empty tuple. Tests use them on plans, the simulated host on every tick.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from guestroom.actions import (
    Action,
    Bound,
    Grant,
    Hold,
    LetGo,
    MakeGuest,
    SetLimit,
    SetWall,
    StartGuest,
    StopGuest,
)
from guestroom.units import PAGE_BYTES, Limit, pages_down, pages_up, round_down, round_up

Broken = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Seat:
    """One guest's place: what it was promised and what it must keep."""

    ram_bytes: int
    """Charged RAM."""
    grant_bytes: int
    limit_bytes: Limit | None
    floor_bytes: int | None
    """Overhead it can't do without; None: its use is unknown."""
    held: bool = False
    running: bool = True


@dataclass(frozen=True, slots=True)
class State:
    """All promises on a host at one moment."""

    budget_bytes: int
    reserve_bytes: int
    headroom_bytes: int
    wall_bytes: Limit | None
    seats: Mapping[str, Seat] = field(default_factory=dict)

    @property
    def granted_bytes(self) -> int:
        """All grants and the headroom."""
        return sum(seat.grant_bytes for seat in self.seats.values()) + self.headroom_bytes

    @property
    def promised_bytes(self) -> int:
        """All grants, the headroom and all RAM."""
        return self.granted_bytes + sum(seat.ram_bytes for seat in self.seats.values())


def after(state: State, action: Action, *, newcomer_ram_bytes: int = 0) -> State:
    """The state once ``action`` held. ``newcomer_ram_bytes`` is the RAM of a guest being made."""
    seats = dict(state.seats)
    match action:
        case SetLimit():
            seat = seats[action.name]
            seats[action.name] = replace(seat, grant_bytes=action.grant_to_bytes, limit_bytes=action.to_bytes)
        case SetWall():
            return replace(state, wall_bytes=action.to_bytes)
        case MakeGuest():
            seats[action.name] = Seat(newcomer_ram_bytes, action.grant_bytes, action.limit_bytes, 0, running=False)
        case StartGuest():
            seats[action.name] = replace(seats[action.name], running=True)
        case StopGuest():
            # Stopped, it uses nothing; what it comes back with is kept for it.
            seat = seats[action.name]
            seats[action.name] = replace(seat, grant_bytes=action.grant_bytes, floor_bytes=0, running=False)
        case Hold():
            seats[action.name] = replace(seats[action.name], held=True)
        case LetGo():
            seats[action.name] = replace(seats[action.name], held=False)
    return replace(state, seats=seats)


def step_keeps(before: State, action: Action, now: State, page_bytes: int = PAGE_BYTES) -> Broken:
    """P1, P2 and P6 over one step from ``before`` to ``now``."""
    return (*_within_budget(before, now, page_bytes), *_above_floors(before, action, page_bytes))


def _within_budget(before: State, now: State, page_bytes: int) -> Iterable[str]:
    """P1: no step raises a sum above what it must stay within; one that is above already may only fall."""
    if now.granted_bytes > max(now.reserve_bytes, before.granted_bytes):
        yield f"P1: grants + headroom are {now.granted_bytes}, the reserve is {now.reserve_bytes}"
    if isinstance(now.wall_bytes, int):
        allowed = max(now.budget_bytes, before.wall_bytes if isinstance(before.wall_bytes, int) else 0)
        must_keep = sum(seat.ram_bytes + (seat.floor_bytes or 0) for seat in now.seats.values())
        if now.wall_bytes > max(allowed, round_up(must_keep, page_bytes)):
            yield f"P1: the wall is {now.wall_bytes}, the budget is {now.budget_bytes}"
        slack = page_bytes * (len(now.seats) + 1)
        raised = now.promised_bytes > before.promised_bytes
        if raised and now.promised_bytes > now.wall_bytes + slack:
            yield f"P1: RAM + grants + headroom are {now.promised_bytes}, the wall is {now.wall_bytes}"


def _above_floors(before: State, action: Action, page_bytes: int) -> Iterable[str]:
    """P2 and P6 for the one guest a step is about."""
    match action:
        case SetLimit():
            seat = before.seats[action.name]
            if seat.floor_bytes is None or seat.held:
                if action.grant_to_bytes < seat.grant_bytes:
                    yield f"P6: {action.name} is shrunk though its use is unknown or it is held"
                if isinstance(seat.limit_bytes, int) and action.to_bytes < seat.limit_bytes:
                    yield f"P6: the limit of {action.name} falls though its use is unknown or it is held"
            if seat.floor_bytes is not None:
                if action.to_bytes < seat.ram_bytes + seat.floor_bytes:
                    yield f"P2: the limit of {action.name} is below RAM + floor"
                if action.grant_to_bytes < min(seat.floor_bytes, seat.grant_bytes):
                    yield f"P2: the grant of {action.name} falls below its floor"
            if action.to_bytes < round_down(seat.ram_bytes + min(action.grant_to_bytes, seat.grant_bytes), page_bytes):
                yield f"P2: the limit of {action.name} is below RAM + grant"
        case MakeGuest():
            if action.limit_bytes < action.grant_bytes:
                yield f"P2: {action.name} is made under a limit below its grant"
        case _:
            pass


def plan_keeps(state: State, actions: Sequence[Action], *, newcomer_ram_bytes: int = 0) -> Broken:
    """P1, P2, P3 and P6 over every prefix of ``actions`` carried out from ``state``."""
    broken = list(in_order(actions))
    for action in actions:
        now = after(state, action, newcomer_ram_bytes=newcomer_ram_bytes)
        broken += step_keeps(state, action, now)
        state = now
    return tuple(broken)


def in_order(actions: Sequence[Action]) -> Broken:
    """P3: everything that gives room comes before anything that takes it, and the start comes last."""
    gives = [i for i, action in enumerate(actions) if _gives(action) is True]
    takes = [i for i, action in enumerate(actions) if _gives(action) is False]
    broken = []
    if gives and takes and max(gives) > min(takes):
        broken.append(f"P3: {actions[min(takes)]} takes room before {actions[max(gives)]} gave it")
    starts = [i for i, action in enumerate(actions) if isinstance(action, StartGuest)]
    if starts and starts != [len(actions) - 1]:
        broken.append("P3: the newcomer starts before the last step")
    if starts and not any(isinstance(action, MakeGuest) for action in actions[: starts[0]]):
        broken.append("P3: the newcomer starts before its cgroups are made")
    return tuple(broken)


def _gives(action: Action) -> bool | None:
    """True: gives room, False: takes room, None: neither."""
    match action:
        case SetLimit() if action.grant_from_bytes != action.grant_to_bytes:
            return action.grant_to_bytes < action.grant_from_bytes
        case SetLimit() | SetWall():
            return action.is_shrink
        case StopGuest():
            return True
        case MakeGuest() | StartGuest():
            return False
        case Hold() | LetGo():
            return None


def put_back(before: State, failed: State, undone: Sequence[Action], page_bytes: int = PAGE_BYTES) -> Broken:
    """P4: after ``undone`` whoever had less than ``before`` has it again, or there is no room left for it.

    ``before`` is the state before the plan, ``failed`` the one after the steps that held (the newcomer gone).
    """
    broken = list(plan_keeps(failed, undone))
    state = failed
    for action in undone:
        state = after(state, action)
    left = state.reserve_bytes - state.granted_bytes
    for name, seat in state.seats.items():
        was = before.seats[name]
        stopped = not seat.running and was.running
        if not stopped and seat.grant_bytes < was.grant_bytes and left >= page_bytes:
            broken.append(f"P4: {name} had {was.grant_bytes}, has {seat.grant_bytes}, and {left} is left")
    return tuple(broken)


@dataclass(frozen=True, slots=True)
class Share:
    """One claim, as the checker of P7 needs it."""

    name: str
    weight: int
    floor_bytes: int
    cap_bytes: int | None


def fair(reserve_bytes: int, shares: Sequence[Share], grants: Sequence[Grant], page_bytes: int = PAGE_BYTES) -> Broken:
    """P7: ``grants`` are the weighted max-min division of ``reserve_bytes`` among ``shares``, in whole pages.

    The certificate: between bounds everybody has lambda x weight, so wherever i has less by weight than j by more
    than the rounding, i is at its cap or j at its floor; and at most n - 1 pages are left unless all are capped.
    """
    broken = []
    if [share.name for share in shares] != [grant.name for grant in grants]:
        return ("P7: the grants are not in the order of the claims",)
    pages = [pages_down(grant.grant_bytes, page_bytes) for grant in grants]
    floors = [pages_up(share.floor_bytes, page_bytes) for share in shares]
    caps = [None if share.cap_bytes is None else pages_down(share.cap_bytes, page_bytes) for share in shares]
    for share, grant, floor, cap in zip(shares, grants, floors, caps, strict=True):
        got = grant.grant_bytes // page_bytes
        if grant.grant_bytes % page_bytes or got < floor or (cap is not None and got > cap):
            broken.append(f"P7: {share.name} has {grant.grant_bytes}, outside its bounds or not in pages")
        expected = Bound.FLOOR if got == floor else Bound.CAP if got == cap else Bound.SHARE
        if grant.bound is not expected:
            broken.append(f"P7: {share.name} says {grant.bound.value}, it is at its {expected.value}")
    left = pages_down(reserve_bytes, page_bytes) - sum(pages)
    capped = all(page == cap for page, cap in zip(pages, caps, strict=True))
    if left < 0 or (not capped and left > len(shares) - 1):
        broken.append(f"P7: {left} pages are left")
    return (*broken, *_certificate(shares, pages, floors, caps))


def _certificate(
    shares: Sequence[Share], pages: Sequence[int], floors: Sequence[int], caps: Sequence[int | None]
) -> Iterable[str]:
    """The least lambda anybody above its floor shows must fit the most anybody below its cap allows.

    g pages above the floor show lambda >= g / w; below the cap (rounded down) lambda < (g + 1) / w.
    """
    shown = [(page, s.weight, s.name) for s, page, floor in zip(shares, pages, floors, strict=True) if page > floor]
    allowed = [(page + 1, s.weight, s.name) for s, page, cap in zip(shares, pages, caps, strict=True) if page != cap]
    for page, weight, name in shown:
        for other_page, other_weight, other in allowed:
            if page * other_weight >= other_page * weight:
                yield f"P7: {name} has {page} by {weight}, {other} only {other_page - 1} by {other_weight}"
