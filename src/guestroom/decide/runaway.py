"""What becomes of a guest that stays held because no room comes (setting ``on_runaway``).

``hold`` decides who stands still; here is asked what comes after that. The answer is data with the time it took, so
that it can be counted, shown and reported; carrying it out (QMP ``quit``, then SIGTERM, or a release that the
alarm must know of) is the agent's.
"""

from __future__ import annotations

from dataclasses import dataclass

from guestroom.config import OnRunaway, Settings
from guestroom.decide.floor import JOINT_MARGIN_BYTES
from guestroom.facts import Accounting, GuestFacts
from guestroom.units import format_bytes


@dataclass(frozen=True, slots=True)
class Runaway:
    """What to do with a held guest."""

    name: str
    choice: OnRunaway
    """``hold``: keep it still; ``stop``: stop it now; ``wall``: let it go on now, whatever happens."""
    over_bytes: int | None
    """Overhead above its grant; None where unknown."""
    held_for_s: float
    left_s: float | None
    """Until another choice is due; None where it is held without end, or the choice is due now."""
    reason: str


def runaway(guest: GuestFacts, held_for_s: float, settings: Settings) -> Runaway | None:
    """What becomes of ``guest``, held for ``held_for_s``; None for one that is not held.

    Until ``runaway_after_s`` it stays held, and so does one whose use is unknown (P6: nothing is ended on
    guesswork) or is within its grant (then ``hold`` lets it go, that is no runaway; unless it is held for its own
    cap, which only a guest with a cap can be). After that the guest's own
    ``on_runaway``, else the host's, decides.
    """
    if not guest.held:
        return None
    allowed = guest.grant_bytes - (JOINT_MARGIN_BYTES if guest.accounting is Accounting.JOINT else 0)
    over = None if guest.overhead_bytes is None else max(0, guest.overhead_bytes - allowed)
    own = settings.guest(guest.name).on_runaway
    choice = settings.on_runaway if own is None else own
    told = f"it has been held for {held_for_s:.0f} s"
    if over is None:
        return Runaway(guest.name, OnRunaway.HOLD, None, held_for_s, None, f"{told} and what it uses is unknown")
    what = "its grant" if allowed == guest.grant_bytes else "its grant less a margin"
    told += f", {format_bytes(over)} above {what} of {format_bytes(guest.grant_bytes)}"
    capped = guest.cap_bytes is not None and guest.accounting is Accounting.SPLIT
    if capped:
        told += f", its cap is {format_bytes(guest.cap_bytes or 0)}"
    if choice is OnRunaway.HOLD or not (over or capped):
        return Runaway(guest.name, OnRunaway.HOLD, over, held_for_s, None, told)
    left = settings.runaway_after_s - held_for_s
    if left > 0:
        return Runaway(guest.name, OnRunaway.HOLD, over, held_for_s, left, f"{told}; {choice.value} in {left:.0f} s")
    return Runaway(guest.name, choice, over, held_for_s, None, f"{told}: on_runaway is {choice.value}")
