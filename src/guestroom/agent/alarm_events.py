"""What wakes the alarm on cgroup v2: tripwires of ``memory.high``, heard through ``memory.events``.

v2 has no usage thresholds. But whoever takes memory beyond ``memory.high`` raises a ``high`` event, which is polled
for. It also reclaims and is slowed down, and a cgroup that lives above it evicts the very programs it runs, again and
again: a neighbour within its grant stood still for half a minute (seen). So it is never left below use: it is a wire at
the next rung above, moved up the moment it was tripped, which makes it the ladder that v1 has. Kernel memory trips it
too.
The kernel reports events of one file at most every 10 ms (CGROUP_FILE_NOTIFY_MIN_INTV). Beside them a pressure trigger
on the wall wakes for stalls that no wire sees (``alarm_pressure``).
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guestroom.agent import alarm_pressure
from guestroom.agent.alarm_eyes import Eyes2
from guestroom.agent.alarm_pressure import Trigger
from guestroom.agent.alarm_wire import GuestOp, WallOp
from guestroom.apply.upkeep2 import brake
from guestroom.errors import HostError
from guestroom.layout import Layout
from guestroom.units import MIB

if TYPE_CHECKING:
    from guestroom.ports import Files

WALL_STEP_BYTES = 16 * MIB


@dataclass(slots=True)
class Wire:
    """One cgroup's tripwire."""

    folder: str
    fd: int
    """Its ``memory.events``."""
    first_bytes: int = 0
    """Below this nobody needs to be woken."""
    limit_bytes: int = 0
    step_bytes: int = WALL_STEP_BYTES
    hold_bytes: int | None = None
    """Where its own cap is near: no rung may pass it by."""
    at_bytes: int | None = None
    """Where it is; None: nowhere."""

    def next(self, usage_bytes: int) -> int | None:
        """The rung it belongs on: a quarter step above use at least, so that growth meanwhile does not pass it.

        None at the limit: meeting that is an event of its own.
        """
        above = (usage_bytes + self.step_bytes // 4) // self.step_bytes * self.step_bytes + self.step_bytes
        at_bytes = max(self.first_bytes, above)
        if self.hold_bytes is not None and usage_bytes < self.hold_bytes:
            at_bytes = min(at_bytes, self.hold_bytes)
        return at_bytes if at_bytes < self.limit_bytes else None


class EventAlarms:
    """The wires of the wall (named None) and of each guest, and the files that are polled for them.

    ``memory.events`` counts for everything below, so a guest's limit or brake wakes through it as well.
    """

    def __init__(
        self, files: Files, layout: Layout, epoll: select.epoll, on_error: Callable[[str | None, str], None]
    ) -> None:
        """``on_error`` is told a guest's name (None: the wall) and what went wrong."""
        self._files = files
        self._layout = layout
        self._eyes = Eyes2(files, layout)
        self._epoll = epoll
        self._on_error = on_error
        self._wires: dict[str | None, Wire] = {}
        self.pressure: Trigger | None = None
        self._pressure_tried = False

    def wall(self, op: WallOp) -> None:
        """Be woken from where the headroom begins, and when somebody under the wall waits for memory."""
        if not self._pressure_tried:
            self._pressure_tried = True
            self._listen_to_pressure(op.path)
        self._stretch(None, op.path, op.limit_bytes - op.headroom_bytes, op.limit_bytes, WALL_STEP_BYTES)

    def guest(self, op: GuestOp) -> bool:
        """Be woken from where its grant ends. True where it is new."""
        first_bytes = op.ram_charged_bytes + op.grant_bytes
        new = self._stretch(op.name, op.memory_path, first_bytes, op.limit_bytes, op.step_bytes)
        wire = self._wires.get(op.name)
        if wire is not None:
            wire.hold_bytes = None if op.hold_at_bytes is None else op.ram_charged_bytes + op.hold_at_bytes
            self._tune(op.name, wire)
        return new

    def forget(self, name: str) -> None:
        """Listen to a guest no longer; it goes on without a wire."""
        wire = self._wires.pop(name, None)
        if wire is not None:
            self._silence(wire)
            self._write(name, None)

    def took(self, fd: int) -> bool:
        """True if ``fd`` is one of these. It is read, so that it wakes again only for news, and the wire moved up."""
        if self.pressure is not None and fd == self.pressure.fd:
            return self._took_pressure(self.pressure)
        for name, wire in self._wires.items():
            if wire.fd != fd:
                continue
            try:
                os.pread(fd, 4096, 0)
            except OSError:
                # Its cgroup is gone: it would wake for ever.
                self._silence(wire)
            else:
                self._tune(name, wire)
            return True
        return False

    def sweep(self) -> None:
        """Move wires down after use that fell."""
        for name, wire in self._wires.items():
            self._tune(name, wire)

    def _listen_to_pressure(self, folder: str) -> None:
        armed = alarm_pressure.arm(folder)
        if isinstance(armed, Trigger):
            self.pressure = armed
            self._epoll.register(armed.fd, select.EPOLLPRI)
        else:
            self._on_error(None, f"no pressure alarm: {armed}")

    def _took_pressure(self, trigger: Trigger) -> bool:
        """Being polled has taken the event. A wall that is gone would wake for ever."""
        try:
            os.pread(trigger.fd, 1, 0)
        except OSError:
            self._epoll.unregister(trigger.fd)
            os.close(trigger.fd)
            self.pressure = None
        return True

    def _stretch(self, name: str | None, folder: str, first_bytes: int, limit_bytes: int, step_bytes: int) -> bool:
        wire = self._wires.get(name)
        new = wire is None
        if wire is None:
            path = f"{folder}/memory.events"
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                self._on_error(name, f"not armed: {path}: {error.strerror}")
                return True
            # Only what changes after a first reading is news.
            os.pread(fd, 4096, 0)
            self._epoll.register(fd, select.EPOLLPRI)
            wire = self._wires[name] = Wire(folder, fd)
        wire.first_bytes, wire.limit_bytes, wire.step_bytes = max(0, first_bytes), limit_bytes, step_bytes
        self._tune(name, wire)
        return new

    def _tune(self, name: str | None, wire: Wire) -> None:
        """Put a wire where it belongs; within the ladder one that is a step too high may stay: use goes up and down."""
        if wire.fd < 0:
            return
        try:
            at_bytes = wire.next(self._eyes.usage(wire.folder))
        except HostError as error:
            # It may be going away this very moment; the sweep comes again.
            self._on_error(name, f"its use could not be read: {error.line()}")
            return
        if at_bytes == wire.at_bytes:
            return
        down_bytes = 0 if at_bytes is None or wire.at_bytes is None else wire.at_bytes - at_bytes
        if 0 < down_bytes <= wire.step_bytes and at_bytes != wire.first_bytes:
            return
        wire.at_bytes = at_bytes
        self._write(name, at_bytes)

    def _write(self, name: str | None, at_bytes: int | None) -> None:
        report = brake(self._files, self._layout, name, at_bytes)
        if not report.ok:
            self._on_error(name, f"no wire: {report.detail}")

    def _silence(self, wire: Wire) -> None:
        if wire.fd >= 0:
            self._epoll.unregister(wire.fd)
            os.close(wire.fd)
            wire.fd = -1
