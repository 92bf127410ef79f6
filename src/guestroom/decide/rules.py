"""The promises P1 to P6, one small function each, so that a test can take one away and see the harm.

Everything in ``decide`` asks here, through the module (``rules.room_for_grants(...)``), for what a promise
allows; nothing here knows about a host, a guest's life or a plan. P7 is ``divide`` itself, and P5's rules are
``hold.may_be_held`` and ``hold.hysteresis``, because the alarm process imports nothing else.
"""

from __future__ import annotations

from typing import assert_never

from guestroom.actions import Action, Hold, LetGo, MakeGuest, SetLimit, SetWall, StartGuest, StopGuest
from guestroom.units import Limit


def room_for_grants(reserve_bytes: int, headroom_bytes: int) -> int:
    """P1: grants and headroom together are at most the reserve; bytes that all grants may sum to."""
    return max(0, reserve_bytes - headroom_bytes)


def short_of_budget(promised_ram_bytes: int, reserve_bytes: int, budget_bytes: int) -> int:
    """P1: promised RAM and the reserve are at most the budget; bytes by which they are not, else 0."""
    return max(0, promised_ram_bytes + reserve_bytes - budget_bytes)


def not_below(wanted_bytes: int, least_bytes: int) -> int:
    """P2: a limit is at least guest RAM in full + floor, whatever was wanted."""
    return max(wanted_bytes, least_bytes)


def in_order(action: Action) -> int:
    """P3: shrink before grow, grow before start; steps are carried out by rising rank.

    What gives room comes first: guests shrink, victims stop, the wall falls. Then what takes it: the wall
    rises, guests grow, the newcomer's cgroups are made, it starts. (Two phases as in Xen's squeezed: while
    anything still has to free, nothing grows.)
    """
    match action:
        case Hold() | LetGo():
            return 0
        case SetLimit():
            return 1 if shrinks(action) else 5
        case StopGuest():
            return 2
        case SetWall():
            return 3 if action.is_shrink else 4
        case MakeGuest():
            return 6
        case StartGuest():
            return 7
        case _:
            assert_never(action)


def shrinks(action: SetLimit) -> bool:
    """True where the guest's grant falls, or stays and its limit falls: such a step gives room, it takes none."""
    if action.grant_to_bytes != action.grant_from_bytes:
        return action.grant_to_bytes < action.grant_from_bytes
    return action.is_shrink


def raised_again(missing_bytes: int, room_bytes: int) -> int:
    """P4: what was shrunk is raised again as far as the room is still there."""
    return min(missing_bytes, max(0, room_bytes))


def kept(floor_bytes: int | None, grant_bytes: int, *, held: bool) -> int:
    """P6: a guest whose use is unknown, or that stands still, keeps at least its present grant."""
    if floor_bytes is None:
        return grant_bytes
    return max(floor_bytes, grant_bytes) if held else floor_bytes


def kept_limit(limit_bytes: Limit | None, wanted_bytes: int, *, may_shrink: bool) -> int:
    """P6 for the wall itself: the limit of a guest that may not be shrunk does not fall."""
    return max(wanted_bytes, limit_bytes) if isinstance(limit_bytes, int) and not may_shrink else wanted_bytes


def may_grow(overhead_bytes: int | None, grant_bytes: int, margin_bytes: int) -> bool:
    """P6: a guest is raised for what it was seen to use, never on guesswork."""
    return overhead_bytes is not None and overhead_bytes > grant_bytes - margin_bytes


def free_now(room_bytes: int, granted_bytes: int) -> int:
    """P1: a raise that waits for nobody takes only room that no grant has at this moment."""
    return max(0, room_bytes - granted_bytes)


def may_be_raised(overcommitted_bytes: int) -> bool:
    """P1: on an overcommitted host nobody is raised."""
    return overcommitted_bytes <= 0


def keeps(floor_bytes: int, keep_bytes: int) -> int:
    """P2 and peace: who gives room back keeps its floor and what its load may swing by."""
    return floor_bytes + keep_bytes


def may_be_asked(place: int) -> bool:
    """No overtaking: of all that wait only the first may start, whatever would fit behind it."""
    return place == 1


def warned_again(left_s: float, before_s: float) -> bool:
    """A warning stays until twice its time is left: a trend that hovers at the mark is told once."""
    return left_s < 2 * before_s
