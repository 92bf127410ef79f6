"""Limits that somebody else wrote: what is put right, and how soon again (promise P9).

A lowered limit brings a guest near its wall, so it is raised at once. A limit that was raised or taken away endangers
the others, but a shrink is a shrink whoever made it necessary: it goes by P2 and P6 (never below RAM + floor, not
where the use is unknown or the guest is held). Whoever writes again is somebody's tool with a purpose of its own:
writing against it each second would be a fight that nobody wins, so each repetition is answered later and said
once. Only a guest that is about to meet a lowered limit is not made to wait.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from guestroom.actions import SetLimit
from guestroom.config import Settings
from guestroom.decide.floor import floor_bytes
from guestroom.decide.grow import LEAST_STEP_BYTES
from guestroom.facts import GuestFacts
from guestroom.units import PAGE_BYTES, format_limit, round_up

AGAIN_S = (10.0, 60.0, 600.0)
"""How long after the first, second and every later correction the next may come."""
QUIET_S = 3600.0
"""After so long without a correction the next one is a first one again."""


@dataclass(slots=True)
class _Quarrel:
    times: int
    last_s: float


@dataclass(slots=True)
class Patience:
    """When a thing that somebody else changes again and again may be put right again."""

    _quarrels: dict[str, _Quarrel] = field(default_factory=dict)

    def wait_s(self, what: str, now_s: float) -> float:
        """Seconds until ``what`` may be put right; 0 for now."""
        quarrel = self._quarrels.get(what)
        if quarrel is None or now_s - quarrel.last_s >= QUIET_S:
            self._quarrels.pop(what, None)
            return 0.0
        return max(0.0, quarrel.last_s + AGAIN_S[min(quarrel.times, len(AGAIN_S)) - 1] - now_s)

    def put_right(self, what: str, now_s: float) -> int:
        """Note that it was put right now; how often that was by now."""
        quarrel = self._quarrels.setdefault(what, _Quarrel(0, now_s))
        quarrel.times, quarrel.last_s = quarrel.times + 1, now_s
        return quarrel.times

    def forget(self, what: str) -> None:
        """It is gone; another of its name begins anew."""
        self._quarrels.pop(what, None)


def put_right(guest: GuestFacts, meant_bytes: int, settings: Settings, now_s: float) -> SetLimit | None:
    """The write that brings the limit the kernel has (``guest.limit_bytes``) back to the one that was meant.

    None where there is nothing to do, or where a shrink would break P2 or P6: then it stays as it is.
    """
    found = guest.limit_bytes
    if found is None or found == meant_bytes:
        return None
    grant, why = guest.grant_bytes, f"somebody else set it to {format_limit(found)}"
    floor = floor_bytes(guest, settings, now_s)
    ram = round_up(guest.ram_charged_bytes, PAGE_BYTES)
    least = ram + round_up(grant if floor is None else floor, PAGE_BYTES)
    to = max(meant_bytes, least)
    if isinstance(found, int) and found < meant_bytes:
        return SetLimit(guest.name, found, to, grant, grant, least, why)
    if floor is None or guest.held or (isinstance(found, int) and found <= to):
        return None
    return SetLimit(guest.name, found, to, grant, grant, least, why)


def is_pressing(guest: GuestFacts) -> bool:
    """Whether the guest may meet the limit it has before the next look: then no patience is shown.

    Unknown use is pressing: it is not zero (P6), and a raise back to what was meant takes nothing from anybody.
    """
    found = guest.limit_bytes
    if not isinstance(found, int):
        return False
    if guest.overhead_bytes is None:
        return True
    return found - guest.ram_charged_bytes - guest.overhead_bytes < 4 * LEAST_STEP_BYTES
