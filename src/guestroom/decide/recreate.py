"""Which guests are stopped and started again under a lower limit for a newcomer.

A hard reset from the guest's point of view, so only guests marked so by their owner, only where what they need
fits under the lower limit, at most once an hour each, and as few of them as possible.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from guestroom.config import Settings
from guestroom.decide.claims import claim_of
from guestroom.decide.divide import Claim
from guestroom.facts import GuestFacts, GuestState
from guestroom.units import round_up


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A guest that may be recreated, the claim it would come back with, and the room that gives."""

    guest: GuestFacts
    claim: Claim
    gives_bytes: int


def may_be_recreated(guest: GuestFacts, settings: Settings, now_s: float) -> bool:
    """Marked so, alive, and not recreated within the interval (DESIGN: at most once an hour)."""
    alive = guest.state in (GuestState.RUNNING, GuestState.PAUSED)
    rested = guest.recreated_s is None or now_s - guest.recreated_s >= settings.recreate_interval_s
    return guest.recreatable and alive and rested


def comes_back_with(guest: GuestFacts) -> int:
    """Overhead bytes that are enough when it is recreated: ``recreate_need_bytes``, else its need (within its cap)."""
    need = guest.need_bytes if guest.recreate_need_bytes is None else guest.recreate_need_bytes
    return need if guest.cap_bytes is None else min(need, guest.cap_bytes)


def victims(
    guests: Iterable[GuestFacts], short_bytes: int, settings: Settings, now_s: float, page_bytes: int
) -> tuple[Claim, ...]:
    """The claims of the fewest guests whose recreation gives ``short_bytes``; empty where all together do not.

    Those that give most are taken until one more is enough; that one is the smallest guest (by RAM, then name)
    that suffices, because a small guest's reset harms least. The same input always gives the same answer.
    """
    found = [_candidate(guest, settings, now_s, page_bytes) for guest in guests]
    candidates = sorted(
        (c for c in found if c.gives_bytes > 0 and may_be_recreated(c.guest, settings, now_s)),
        key=lambda c: (-c.gives_bytes, c.guest.ram_bytes, c.guest.name),
    )
    chosen: list[_Candidate] = []
    missing = short_bytes
    while candidates and missing > 0:
        enough = [c for c in candidates if c.gives_bytes >= missing]
        taken = min(enough, key=lambda c: (c.guest.ram_bytes, c.guest.name)) if enough else candidates[0]
        candidates.remove(taken)
        chosen.append(taken)
        missing -= taken.gives_bytes
    return tuple(c.claim for c in chosen) if missing <= 0 else ()


def _candidate(guest: GuestFacts, settings: Settings, now_s: float, page_bytes: int) -> _Candidate:
    """What recreating ``guest`` would give: its least now less what it comes back with, in whole pages."""
    now = claim_of(guest, settings, now_s, page_bytes, lent=True)
    back = round_up(comes_back_with(guest), page_bytes)
    cap = None if now.cap_bytes is None else max(guest.cap_bytes or back, back)
    return _Candidate(guest, Claim(guest.name, guest.weight, back, cap), round_up(now.floor_bytes, page_bytes) - back)
