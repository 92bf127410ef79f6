"""What a replayed host learns from its own guests, with the agent's own sizer.

The agent reports a life when it ends, when it misses its promise and, while it runs, when its peak has risen. Only the
next start can tell what was reported, so here every guest that runs is reported right before a start.
"""

from __future__ import annotations

from dataclasses import replace

from guestroom import size
from guestroom.agent.learning import RISEN_S
from guestroom.agent.sizer import Sizer
from guestroom.config import Settings
from guestroom.lab.traces import Shape
from guestroom.lives import Life, Promised


class Pupil:
    """Sizes newcomers by what the guests before them came to."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.history = size.History()
        self._promised: dict[str, Promised] = {}

    def sized(self, name: str, shape: Shape, now_s: float) -> Shape:
        """``shape`` with the need it is given now."""
        settings, own_name = self.settings, shape.own_name or name
        need, self._promised[name] = Sizer(settings, self.history, now_s).need(shape.described(), own_name, "")
        own = settings.guest(own_name)
        cap = own.cap_bytes if own.cap_bytes is not None else settings.cap_bytes
        wanted = need.overhead_bytes
        if cap is not None and not need.is_set:
            wanted = min(wanted, cap)
        floor = min(size.boot_floor_bytes(shape.described()), wanted)
        return replace(shape, need_bytes=wanted, boot_floor_bytes=floor, fixed_overhead=need.is_set)

    def saw(
        self, name: str, shape: Shape, started_s: float, now_s: float, *, peak_bytes: int, grant_bytes: int, ended: bool
    ) -> None:
        """A life so far; one that is young and kept its promise says nothing yet."""
        promised = self._promised[name]
        life = Life(
            guest=shape.own_name or name,
            started_wall_s=started_s,
            at_wall_s=now_s,
            ran_s=now_s - started_s,
            ended=ended,
            peak_bytes=peak_bytes,
            grant_bytes=grant_bytes,
            promised=promised,
        )
        if ended or life.missed or life.ran_s >= RISEN_S:
            self.history.add(life)
