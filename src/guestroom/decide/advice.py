"""What a verdict says to people: the numbers, who holds the room, and what would make some.

A refusal that only says "no" sends its reader to the source code; each sentence here names an act and what it
gives, and only acts that would really be enough (or the best there is) are named.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from guestroom.actions import VerdictKind
from guestroom.config import OnShort, Settings
from guestroom.decide.budget import Budget
from guestroom.decide.claims import least_bytes
from guestroom.decide.floor import floor_bytes, unsettled_s
from guestroom.decide.recreate import comes_back_with, may_be_recreated
from guestroom.facts import GuestFacts, Newcomer
from guestroom.units import format_bytes

_MOST_STOPS = 3
"""Guests named as worth stopping; a longer list is not read."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Everything a refusal is explained from; sizes in bytes."""

    newcomer: Newcomer
    guests: tuple[GuestFacts, ...]
    budget: Budget
    settings: Settings
    now_s: float
    need: int
    left: int
    short: int
    short_of: str

    def least(self, guest: GuestFacts) -> int:
        """What ``guest`` keeps at least."""
        return least_bytes(guest, self.settings, self.now_s, lent=True)


def accepted(kind: VerdictKind, name: str, need: int, grant: int, left: int, recreate: tuple[str, ...]) -> str:
    """One line for a newcomer that may start."""
    asked, given, room = format_bytes(need), format_bytes(grant), format_bytes(left)
    match kind:
        case VerdictKind.SQUEEZE:
            return f"guest {name} is squeezed: it asked for {asked} of overhead and gets {given}, all there is; at risk"
        case VerdictKind.RECREATE:
            who = ", ".join(recreate)
            return (
                f"guest {name} gets {given} of overhead (asked {asked}, {room} left) once {who} is recreated with less"
            )
        case _:
            return f"guest {name} gets {given} of overhead (asked {asked}, {room} left)"


def refused(case: Refusal) -> tuple[str, tuple[str, ...]]:
    """Message and advice for a newcomer that may not start."""
    match case.short_of:
        case "ram":
            return _ram_message(case), tuple(_ram_advice(case))
        case "memory now":
            return _now_message(case), tuple(_now_advice(case))
        case _:
            return _overhead_message(case), tuple(_overhead_advice(case))


def _ram_message(case: Refusal) -> str:
    b, name, asked = case.budget, case.newcomer.name, case.newcomer.ram_charged_bytes
    budget, reserve = format_bytes(b.budget_bytes), format_bytes(b.reserve_bytes)
    if b.overcommitted_bytes:
        return (
            f"guest {name} is refused: the host is overcommitted by {format_bytes(b.overcommitted_bytes)}: promised "
            f"RAM and the reserve of {reserve} are over the budget of {budget}"
        )
    others = b.promised_ram_bytes - asked
    left = max(0, b.budget_bytes - b.reserve_bytes - others)
    return (
        f"guest {name} is refused: it asks for {format_bytes(asked)} of RAM and {format_bytes(left)} is left (budget "
        f"{budget}, reserve {reserve}, promised to others {format_bytes(others)}); short {format_bytes(case.short)}"
    )


def _ram_advice(case: Refusal) -> Iterable[str]:
    ram = {guest.name: guest.ram_charged_bytes for guest in case.guests}
    yield from _stops(case, ram, "of RAM comes back")
    if not case.budget.overcommitted_bytes and case.short < case.newcomer.ram_charged_bytes:
        yield f"lower its RAM to {format_bytes(case.newcomer.ram_charged_bytes - case.short)} or less"
    if case.short < case.budget.reserve_bytes:
        yield f"lower the reserve, now {format_bytes(case.budget.reserve_bytes)}, by {format_bytes(case.short)}"


def _now_message(case: Refusal) -> str:
    wanted = case.newcomer.ram_charged_bytes + case.newcomer.boot_floor_bytes
    return (
        f"guest {case.newcomer.name} is refused: it needs {format_bytes(wanted)} at once to start (RAM and boot floor) "
        f"and the host has {format_bytes(max(0, wanted - case.short))} available now; short {format_bytes(case.short)}"
    )


def _now_advice(case: Refusal) -> Iterable[str]:
    yield "free memory that processes outside guestroom's care hold, or raise the system reserve to what they use"
    yield from _stops(case, {guest.name: guest.ram_charged_bytes for guest in case.guests}, "comes back")


def _overhead_message(case: Refusal) -> str:
    b = case.budget
    newcomer = case.newcomer
    holders = ", ".join(
        f"{guest.name} holds {format_bytes(guest.grant_bytes)} and keeps {format_bytes(case.least(guest))}"
        for guest in sorted(case.guests, key=lambda guest: (-case.least(guest), guest.name))[:_MOST_STOPS]
    )
    return (
        f"guest {newcomer.name} is refused: it asks for {format_bytes(case.need)} of overhead and "
        f"{format_bytes(case.left)} is left (reserve {format_bytes(b.reserve_bytes)}, of it headroom "
        f"{format_bytes(b.headroom_bytes)}); short {format_bytes(case.short)}" + (f"; {holders}" if holders else "")
    )


def _overhead_advice(case: Refusal) -> Iterable[str]:
    newcomer = case.newcomer
    yield from _stops(case, {guest.name: case.least(guest) for guest in case.guests}, "comes back")
    if case.left >= newcomer.boot_floor_bytes:
        if newcomer.on_short != OnShort.SQUEEZE:
            yield (
                f'set on_short = "squeeze": {format_bytes(case.left)} is left and its boot floor is '
                f"{format_bytes(newcomer.boot_floor_bytes)}"
            )
        yield f"lower its need to {format_bytes(case.left)} or less"
    for guest in case.guests:
        yield from _about(case, guest)


def _about(case: Refusal, guest: GuestFacts) -> Iterable[str]:
    """What could be done about one guest that holds room, short of stopping it."""
    gives = case.least(guest) - comes_back_with(guest)
    if gives >= case.short:
        back = f"started again with {format_bytes(comes_back_with(guest))} it gives {format_bytes(gives)}"
        if not guest.recreatable:
            yield f'mark guest {guest.name} recreatable and set on_short = "recreate": {back}'
        elif not may_be_recreated(guest, case.settings, case.now_s):
            yield f"wait until guest {guest.name} may be recreated again: {back}"
        elif case.newcomer.on_short != OnShort.RECREATE:
            yield f'set on_short = "recreate": guest {guest.name} is recreatable, {back}'
    floor = floor_bytes(guest, case.settings, case.now_s)
    if floor is None:
        keeps = format_bytes(guest.grant_bytes)
        yield f"find out why the use of guest {guest.name} is unknown: until then it keeps {keeps}"
        return
    wait_s = unsettled_s(guest, case.settings, case.now_s)
    used = max(guest.overhead_bytes or 0, guest.overhead_peak_bytes or 0)
    if wait_s > 0 and floor - used >= case.short:
        yield f"try again in {wait_s:.0f} s: guest {guest.name} has just started and uses {format_bytes(used)} so far"


def _stops(case: Refusal, gives: dict[str, int], what: str) -> Iterable[str]:
    """Stopping one guest where one is enough, the least first; else the largest, and that it takes more than one."""
    enough = sorted((size, name) for name, size in gives.items() if size >= case.short > 0)[:_MOST_STOPS]
    for size, name in enough:
        yield f"stop guest {name}: {format_bytes(size)} {what}"
    if not enough and sum(gives.values()) >= case.short > 0:
        largest = sorted(gives.items(), key=lambda item: (-item[1], item[0]))[:_MOST_STOPS]
        yield "stop more than one guest: " + ", ".join(f"{name} gives {format_bytes(size)}" for name, size in largest)
