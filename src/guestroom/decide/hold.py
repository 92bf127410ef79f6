"""Who is held still when the headroom runs out, and who is let go (promise P5).

The alarm path runs this in a small process of its own, within milliseconds of the kernel's event, so it needs
nothing but ``actions`` and ``units``, and its input is the few numbers that process can read. A hold costs its
guest standing still and nothing else; reaching the host wall loses a guest. So when in doubt about the
*amount* it holds, and in doubt about *who* (unknown use) it does not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from guestroom.actions import Hold, LetGo
from guestroom.units import MIB, format_bytes

OWN_MARGIN_BYTES = 4 * MIB
"""So far from its cap's guard it must be to go on: a frozen guest's kernel memory still moves a little."""


@dataclass(frozen=True, slots=True)
class Excess:
    """One guest as the alarm sees it."""

    name: str
    weight: int
    grant_bytes: int
    overhead_bytes: int | None
    """Overhead now; None where it can't be told, and then it is neither held nor let go for it."""
    held: bool
    hold_at_bytes: int | None = None
    """Overhead at which its own cap is near (``ownwall``); None: it has none, or it is not the nearest wall."""

    @property
    def over_bytes(self) -> int:
        """What it has borrowed from the headroom: overhead above its grant; 0 where unknown."""
        return max(0, (self.overhead_bytes or 0) - self.grant_bytes)


def headroom_left(excesses: Iterable[Excess], headroom_bytes: int) -> int:
    """Headroom less everything borrowed from it, in bytes; negative where more was borrowed than there is.

    What a held guest has borrowed counts as well: standing still gives nothing back.
    """
    return headroom_bytes - sum(excess.over_bytes for excess in excesses)


def may_be_held(excess: Excess) -> bool:
    """For the headroom's sake a guest within its grant is never held, whatever the others do (promise P5)."""
    return excess.over_bytes > 0


def at_own_wall(excess: Excess, margin_bytes: int = 0) -> bool:
    """Its own cap is near: the one reason to hold a guest whatever the headroom, and though it is within its grant."""
    if excess.hold_at_bytes is None or excess.overhead_bytes is None:
        return False
    return excess.overhead_bytes >= excess.hold_at_bytes - margin_bytes


def hysteresis(guard_bytes: int) -> int:
    """Headroom beyond the guard that one guest needs before it is let go.

    The guard is what the fastest guest can take before the next alarm is answered. A guest let go may do just
    that, so with one more guard left the alarm after it still comes in time, and each further guest let go at
    the same moment needs another. A smaller distance would let a guest go only to hold it at the next alarm.
    """
    return guard_bytes


def hold(excesses: Iterable[Excess], headroom_bytes: int, guard_bytes: int) -> tuple[Hold | LetGo, ...]:
    """Holds and releases due now: with the headroom left at or under the guard, every guest above its grant.

    Whatever is left, one whose own cap is near is held too, and stays held until that is ``OWN_MARGIN_BYTES`` away.
    Those furthest above their grants by weight are held first, since each needs milliseconds. A held guest
    is let go when it is back within its grant, or, least above first, when there is headroom beyond the guard
    for it (``hysteresis``). Guests already in the right state get no action.
    """
    known = [excess for excess in excesses if excess.overhead_bytes is not None]
    left_bytes = headroom_left(known, headroom_bytes)
    furthest = sorted(known, key=lambda excess: (-(excess.over_bytes << 64) // excess.weight, excess.name))
    if left_bytes <= guard_bytes:
        holds = [_hold(e, left_bytes, guard_bytes) for e in furthest if may_be_held(e) and not e.held]
    else:
        holds = []
    done = {action.name for action in holds}
    holds += [
        _hold_before_cap(e, left_bytes, guard_bytes)
        for e in furthest
        if at_own_wall(e) and not e.held and e.name not in done
    ]
    return (*holds, *_releases(furthest[::-1], left_bytes, guard_bytes))


def _hold(excess: Excess, left_bytes: int, guard_bytes: int) -> Hold:
    """The action, with its numbers."""
    return Hold(
        excess.name,
        excess.over_bytes,
        left_bytes,
        guard_bytes,
        f"it is {format_bytes(excess.over_bytes)} above its grant and {format_bytes(left_bytes)} of headroom is left, "
        f"at or under the guard of {format_bytes(guard_bytes)}",
    )


def _hold_before_cap(excess: Excess, left_bytes: int, guard_bytes: int) -> Hold:
    """The same for its own cap."""
    return Hold(
        excess.name,
        excess.over_bytes,
        left_bytes,
        guard_bytes,
        f"its overhead is {format_bytes(excess.overhead_bytes or 0)}; from {format_bytes(excess.hold_at_bytes or 0)} "
        "on it is held, so that it does not meet its cap",
    )


def _releases(least_above_first: Iterable[Excess], left_bytes: int, guard_bytes: int) -> list[LetGo]:
    """Held guests that may go on."""
    releases: list[LetGo] = []
    room_bytes = left_bytes - guard_bytes
    for excess in least_above_first:
        if not excess.held or at_own_wall(excess, OWN_MARGIN_BYTES):
            continue
        if not may_be_held(excess):
            releases.append(LetGo(excess.name, "it is back within its grant"))
        elif room_bytes > hysteresis(guard_bytes):
            room_bytes -= max(1, hysteresis(guard_bytes))
            releases.append(LetGo(excess.name, f"there is headroom again: {format_bytes(left_bytes)} is left"))
    return releases


def let_go(name: str, reason: str) -> LetGo:
    """A release for another reason than headroom: it is let out of care, or only an interrupted step froze it."""
    return LetGo(name, reason)
