"""What wakes the alarm on cgroup v2: ``memory.events``, and brakes that make it speak in time.

v2 has no usage thresholds, but ``memory.high`` is one: whoever takes memory beyond it raises a ``high`` event, and is
slowed down besides (hardly, under a large cgroup: the sleep grows with the square of the overrun relative to it,
mm/memcontrol.c ``calculate_high_delay``). It is set at the limit less the guard, on the host wall and on each guest,
which is where somebody is about to be held. The kernel reports events of one file at most every 10 ms
(CGROUP_FILE_NOTIFY_MIN_INTV). What comes before that point, such as a guest passing its grant, is seen by the sweep,
which is faster here than on v1.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from guestroom.agent.alarm_wire import GuestOp, WallOp
from guestroom.apply.upkeep2 import brake
from guestroom.layout import Layout

if TYPE_CHECKING:
    from guestroom.ports import Files

SWEEP_S = 0.05
SWEEP_PER_GUEST_S = 0.001
"""A look costs about 20 microseconds a guest: so it takes 2 % of a CPU, however many there are."""


class EventAlarms:
    """The files that are polled: the wall's and each guest's ``memory.events``, which count for everything below."""

    def __init__(
        self, files: Files, layout: Layout, epoll: select.epoll, on_error: Callable[[str | None, str], None]
    ) -> None:
        """``on_error`` is told a guest's name (None: the wall) and what went wrong, on any thread."""
        self._files = files
        self._layout = layout
        self._epoll = epoll
        self._on_error = on_error
        self._fds: dict[str | None, int] = {}
        """By guest's name; the wall's under None, as everywhere here."""
        self._limits: dict[str | None, int] = {}
        self._guard_bytes = 0
        self._brakes: dict[str | None, int | None] = {}
        """Where each brake is, or is about to be, set."""
        self._braking = threading.Lock()

    @property
    def sweep_s(self) -> float:
        """Seconds between two looks while nothing wakes the alarm."""
        return max(SWEEP_S, len(self._fds) * SWEEP_PER_GUEST_S)

    def wall(self, op: WallOp) -> None:
        """Listen to the wall, and set all brakes anew where the guard changed."""
        self._listen(None, op.path)
        self._limits[None] = op.limit_bytes
        changed = self._guard_bytes != op.guard_bytes
        self._guard_bytes = op.guard_bytes
        self._brake(list(self._limits) if changed else [None])

    def guest(self, op: GuestOp) -> bool:
        """Listen to a guest. True where it is new."""
        new = self._listen(op.name, op.memory_path)
        self._limits[op.name] = op.limit_bytes
        self._brake([op.name])
        return new

    def forget(self, name: str) -> None:
        """Listen to a guest no longer; it goes on without a brake."""
        self._silence(name)
        if self._limits.pop(name, None) is not None:
            self._brake([name])

    def _silence(self, name: str | None) -> None:
        fd = self._fds.pop(name, None)
        if fd is not None:
            self._epoll.unregister(fd)
            os.close(fd)

    def took(self, fd: int) -> bool:
        """True if ``fd`` is one of these; it is read, so that it wakes again only for news."""
        names = [name for name, known in self._fds.items() if known == fd]
        try:
            if names:
                os.pread(fd, 4096, 0)
        except OSError:
            # Its cgroup is gone: it would wake for ever.
            self._silence(names[0])
        return bool(names)

    def _listen(self, name: str | None, folder: str) -> bool:
        if name in self._fds:
            return False
        path = f"{folder}/memory.events"
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            self._on_error(name, f"not armed: {path}: {error.strerror}")
            return True
        # Only what changes after a first reading is news.
        os.pread(fd, 4096, 0)
        self._epoll.register(fd, select.EPOLLPRI)
        self._fds[name] = fd
        return True

    def _brake(self, names: list[str | None]) -> None:
        """Set brakes to where they belong now, on a thread: the kernel reclaims within the write where use is above."""
        for name in names:
            limit_bytes = self._limits.get(name)
            at_bytes = None if limit_bytes is None else max(0, limit_bytes - self._guard_bytes)
            if self._brakes.get(name) != at_bytes:
                self._brakes[name] = at_bytes
                threading.Thread(target=self._write, args=(name,), name=f"brake {name}", daemon=True).start()

    def _write(self, name: str | None) -> None:
        """Of several threads the last one writes what is meant."""
        with self._braking:
            report = brake(self._files, self._layout, name, self._brakes.get(name))
        if not report.ok:
            self._on_error(name, f"no brake: {report.detail}")
