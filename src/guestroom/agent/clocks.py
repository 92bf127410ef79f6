"""The wall clock against the monotonic one: a jump is told, and no duration is ever taken from it alone.

Every decision runs on the monotonic clock. The wall clock stamps events and records only; but what a record says of
before a restart is in its terms, and somebody may have set it meanwhile (an NTP step, a bad battery, ``date -s``).
QEMU's own start time, in ticks since boot, does not jump: nothing of this QEMU is older than that.
"""

from __future__ import annotations

import os

from guestroom.facts import Identity
from guestroom.ports import Clock

TOLD_S = 2.0
"""A step worth an event: less is what a busy host loses between two reads of two clocks, and NTP slewing."""


class WallClock:
    """Notices that the wall clock was set."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset_s = clock.wall() - clock.monotonic()

    def jumped_s(self) -> float | None:
        """Seconds it was moved by since the last look, forward or (negative) back; None where it was not."""
        offset_s = self._clock.wall() - self._clock.monotonic()
        moved_s, self._offset_s = offset_s - self._offset_s, offset_s
        return moved_s if abs(moved_s) >= TOLD_S else None


def ago_s(clock: Clock, at_wall_s: float, identity: Identity | None) -> float:
    """How long ago ``at_wall_s`` was, at most as long ago as the guest's process began, and never in the future."""
    ago = max(0.0, clock.wall() - at_wall_s)
    if identity is None:
        return ago
    began_s = identity.start_ticks / os.sysconf("SC_CLK_TCK")
    return min(ago, max(0.0, clock.monotonic() - began_s))
