"""The alarm process, ``python -m guestroom.agent.alarm``: wakes when overhead grows, holds who must be held.

A process of its own, because QEMU can take 4 MiB in a millisecond: it shares no interpreter lock with HTTP, smaps or
SQLite, imports little, and may run SCHED_FIFO (woken within 0.3 ms under load instead of 8, measured). Alarms only
wake it; what is done is decided from ``memory.stat`` (see ``alarm_watch``). Thresholds are blind to kernel memory
alone and once page cache fills the limit, hence the pressure alarm and the sweep.

It speaks ``alarm_wire`` on stdin and stdout. When stdin ends the agent is gone (P11): it goes on as before, and if
after ``--agent-lost-s`` nobody holds the flock on the wall's folder, it thaws every guest, switches the OOM killers
on again and exits. A new agent that holds the flock has an alarm of its own: then this one leaves without a touch.
SIGTERM is the agent's own wish: exit, nothing touched.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from guestroom.agent.alarm_breath import Breath
from guestroom.agent.alarm_events import EventAlarms
from guestroom.agent.alarm_ladder import Ladder, guest_rungs, wall_rungs
from guestroom.agent.alarm_lost import Undo, somebody_has_lock
from guestroom.agent.alarm_realtime import be_realtime, never_wait_for_this_process
from guestroom.agent.alarm_wait import drain, wait
from guestroom.agent.alarm_watch import Watch
from guestroom.agent.alarm_wire import (
    MAX_LINE_BYTES,
    AdoptedOp,
    BrakeOp,
    ForgetOp,
    FreeOp,
    GuestOp,
    PingOp,
    WallOp,
    parse_op,
    to_line,
)
from guestroom.apply.upkeep import SystemClock, make_applier
from guestroom.apply.upkeep2 import lift_brakes
from guestroom.errors import AgentError
from guestroom.kernelfs import KeptFiles
from guestroom.layout import Layout
from guestroom.units import MIB

SWEEP_S = 1.0
BUSY_SWEEP_S = 0.1
"""While somebody is above its grant or held."""
FREEZE_POLL_S = 0.001
LOCK_POLL_S = 0.2
DYING_S = 2.0
"""How long a lock that is still held may be the dying agent's own: its pipe is closed before its lock, and with many
threads it takes a while to end."""
PRESSURE_REST_S = 0.005
"""Reclaim reports every 2 MiB it scans; one look answers for all within this time."""
WALL_STEP_BYTES = 16 * MIB
_OUTBOX_BYTES = 4 << 20
_STDIN, _STDOUT = 0, 1


class Outbox:
    """Events for the agent; a slow or dead agent never blocks the alarm."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._waiting = bytearray()
        os.set_blocking(fd, False)

    def emit(self, fields: Mapping[str, object]) -> None:
        """Send one event, or keep it until the agent reads. Beyond 4 MiB unread, new ones are dropped."""
        if len(self._waiting) < _OUTBOX_BYTES:
            self._waiting += to_line(fields)
        self.flush()

    def flush(self) -> None:
        """Send what waits, as far as it goes."""
        try:
            while self._waiting:
                del self._waiting[: os.write(self._fd, self._waiting)]
        except BlockingIOError:
            return
        except OSError:
            # The agent is gone; stdin's end says so too and starts the clock.
            self._waiting.clear()

    def __bool__(self) -> bool:
        return bool(self._waiting)


@dataclass(slots=True)
class Times:
    """When what is due next, in monotonic seconds."""

    sweep_s: float = 0.0
    lock_s: float = 0.0
    pressure_s: float = 0.0
    lost_s: float | None = None
    """When stdin ended."""


@dataclass(slots=True)
class Alarm:
    """The loop: one epoll over the agent, the thresholds and the registering threads' news."""

    layout: Layout
    agent_lost_s: float
    outbox: Outbox = field(default_factory=lambda: Outbox(_STDOUT))

    _files: KeptFiles = field(default_factory=KeptFiles)
    _clock: SystemClock = field(default_factory=SystemClock)
    _epoll: select.epoll = field(default_factory=select.epoll)
    _ladders: dict[str, Ladder] = field(default_factory=dict)
    """By guest's name; the wall's under ``""``."""
    _undo: Undo = field(default_factory=Undo)
    _by_fd: dict[int, str] = field(default_factory=dict)
    _news: deque[dict[str, object]] = field(default_factory=deque)
    _news_fd: int = field(default_factory=lambda: os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
    _pressure_fd: int = field(default_factory=lambda: os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
    _unread: bytearray = field(default_factory=bytearray)
    _times: Times = field(default_factory=Times)
    _parent: int = field(default_factory=os.getppid)
    """The agent, as long as it lives: who has ended, with all its locks, is nobody's parent."""
    _watch: Watch = field(init=False)
    _events: EventAlarms | None = field(init=False, default=None)
    """What wakes it on v2, where there are no thresholds."""

    def __post_init__(self) -> None:
        # No waiting for a freeze inside the applier: several guests may have to be held at the same moment.
        applier = make_applier(self._files, self.layout, self._clock, freeze_wait_s=0)
        self._watch = Watch(self._files, self.layout, applier, self._clock, self.outbox.emit)
        if self.layout.version == 2:
            self._events = EventAlarms(self._files, self.layout, self._epoll, self._not_armed)

    def run(self) -> int:
        """Watch until told to end or until nobody needs it; return the exit code."""
        os.set_blocking(_STDIN, False)
        for fd in (_STDIN, self._news_fd, self._pressure_fd):
            self._epoll.register(fd, select.EPOLLIN)
        self.outbox.emit({"event": "ready", "pid": os.getpid(), "scheduler": be_realtime()})
        writable, breath = False, Breath()
        while True:
            if bool(self.outbox) != writable and self._times.lost_s is None:
                writable = not writable
                self._wait_writable(writable)
            look = False
            woken = wait(self._epoll, self._timeout_s(), self._watch.reaction)
            began_s = time.monotonic()
            for fd, _ in woken:
                look = self._ready(fd) or look
            if look and self._watch.free_bytes:
                # Before all others are looked at: a raise is what hurries.
                self._watch.raise_woken([self._by_fd[fd] for fd, _ in woken if fd in self._by_fd], began_s)
            now_s = time.monotonic()
            if look or now_s >= self._times.sweep_s:
                self._watch.look()
                if self._events is not None and now_s >= self._times.sweep_s:
                    self._events.sweep()
                self._times.sweep_s = now_s + (BUSY_SWEEP_S if self._watch.anybody_over else SWEEP_S)
                self._watch.report()
            if self._watch.freezing:
                self._watch.settle()
            if self._times.lost_s is not None and now_s >= self._times.lock_s and self._left_alone(now_s):
                return 0
            # Counted after the work and before the wait; a hold under way is seen through first.
            wait_s = breath.wait_s(began_s, time.monotonic())
            if wait_s > 0 and not self._watch.freezing:
                time.sleep(wait_s)
                self._watch.reaction.wakes.append(wait_s)

    def _timeout_s(self) -> float:
        if self._watch.freezing:
            return FREEZE_POLL_S
        due_s = self._times.sweep_s
        if self._times.lost_s is not None:
            due_s = min(due_s, self._times.lock_s)
        return max(0.0, due_s - time.monotonic())

    def _wait_writable(self, wanted: bool) -> None:
        """Have epoll wait for room to write. stdin and stdout may be one socket, then it is one registration."""
        if os.fstat(_STDIN).st_ino == os.fstat(_STDOUT).st_ino:
            self._epoll.modify(_STDIN, select.EPOLLIN | (select.EPOLLOUT if wanted else 0))
        elif wanted:
            self._epoll.register(_STDOUT, select.EPOLLOUT)
        else:
            self._epoll.unregister(_STDOUT)

    def end(self) -> NoReturn:
        """The agent's own wish: nothing is thawed, but nobody is braked for an alarm that nobody hears (v2)."""
        lift_brakes(self._files, self.layout, self._watch.guests)
        os._exit(0)

    # --- what woke it ----------------------------------------------------------------------------------

    def _ready(self, fd: int) -> bool:
        """Take what is there; True if the guests must be looked at."""
        if fd == _STDIN:
            self.outbox.flush()
            return self._hear()
        if fd == _STDOUT:
            self.outbox.flush()
            return False
        event = self._events is not None and self._events.took(fd)
        if not event:
            drain(fd)
        if fd == self._news_fd:
            while self._news:
                self.outbox.emit(self._news.popleft())
            return False
        if event or fd == self._pressure_fd:
            now_s = time.monotonic()
            if now_s < self._times.pressure_s:
                # Not lost, only put off: the sweep is moved to when the rest is over.
                self._times.sweep_s = min(self._times.sweep_s, self._times.pressure_s)
                return False
            self._times.pressure_s = now_s + PRESSURE_REST_S
        return True

    def _hear(self) -> bool:
        """Read what the agent says, line by line; its end starts the clock of P11."""
        try:
            chunk = os.read(_STDIN, 1 << 16)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            chunk = b""
        if not chunk:
            self._epoll.unregister(_STDIN)
            self._times.lost_s = self._times.lock_s = time.monotonic()
            return False
        self._unread += chunk
        *lines, rest = bytes(self._unread).split(b"\n")
        self._unread = bytearray(rest)
        if len(rest) > MAX_LINE_BYTES:
            self._unread.clear()
            self.outbox.emit({"event": "error", "name": None, "message": "alarm: a line over 64 KiB was dropped"})
        heard = False
        for line in lines:
            heard = self._obey(line.decode(errors="replace")) or heard
        return heard

    def _obey(self, line: str) -> bool:
        if not line.strip():
            return False
        try:
            match parse_op(line):
                case WallOp() as op:
                    self._set_wall(op)
                case GuestOp() as op:
                    self._watch.set_guest(op)
                    self._arm(op)
                case AdoptedOp() | BrakeOp() as op:
                    self._undo.take(op)
                    return False
                case ForgetOp(name=name):
                    self._forget(name)
                case FreeOp(free_bytes=free_bytes, turn=turn):
                    self._watch.free_bytes = free_bytes
                    self.outbox.emit({"event": "free", "turn": turn})
                    return False
                case PingOp():
                    self.outbox.emit({"event": "pong"})
                    return False
        except AgentError as error:
            self.outbox.emit({"event": "error", "name": None, "message": error.line()})
            return False
        return True

    def _set_wall(self, op: WallOp) -> None:
        before = self._watch.wall
        self._watch.set_wall(op)
        if self._events is not None:
            self._events.wall(op)
            return
        self._ladder("", op.path).want(wall_rungs(op.limit_bytes, op.headroom_bytes, WALL_STEP_BYTES))
        if before is None or before.headroom_bytes != op.headroom_bytes:
            for guest in self._watch.guests.values():
                self._arm(guest.op)

    # --- ladders ---------------------------------------------------------------------------------------

    def _arm(self, op: GuestOp) -> None:
        """Register what this guest's numbers make necessary and is not there yet, in the background."""
        if self._events is not None:
            if self._events.guest(op):
                self.outbox.emit({"event": "armed", "name": op.name, "rungs": 0})
            return
        wall = self._watch.wall
        headroom_bytes = wall.headroom_bytes if wall is not None else 0
        above_ram_bytes = max(0, op.limit_bytes - op.ram_charged_bytes)
        essential, rest = guest_rungs(op.grant_bytes, above_ram_bytes, headroom_bytes, op.step_bytes, op.hold_at_bytes)
        new = op.name not in self._ladders
        self._ladder(op.name, self.layout.vmm(op.name)).want(essential, rest)
        if new:
            self._alarm_on_pressure(op)

    def _ladder(self, name: str, cgroup: str) -> Ladder:
        ladder = self._ladders.get(name)
        if ladder is None:
            ladder = Ladder(
                self._files,
                cgroup,
                lambda rungs: self._tell({"event": "armed", "name": name or None, "rungs": rungs}),
                lambda why: self._not_armed(name, f"not armed: {why}"),
            )
            self._ladders[name] = ladder
            self._by_fd[ladder.eventfd] = name
            self._epoll.register(ladder.eventfd, select.EPOLLIN)
        return ladder

    def _alarm_on_pressure(self, op: GuestOp) -> None:
        """Be woken by reclaim inside a guest: page cache that fills its limit hides growth from thresholds.

        Registering takes no grace period (memory.rst section 11), so it is done at once. Closing is the kernel's: it
        goes with the cgroup.
        """
        level = f"{op.memory_path}/memory.pressure_level"
        try:
            level_fd = os.open(level, os.O_RDONLY | os.O_CLOEXEC)
            try:
                control = f"{op.memory_path}/cgroup.event_control"
                self._files.write(control, f"{self._pressure_fd} {level_fd} low")
            finally:
                os.close(level_fd)
        except OSError as error:
            self.outbox.emit({"event": "error", "name": op.name, "message": f"no pressure alarm: {level}: {error}"})

    def _forget(self, name: str) -> None:
        self._undo.forget(name)
        self._watch.forget(name)
        for folder in (self.layout.guest(name), self.layout.freezer_of(name)):
            if folder is not None:
                self._files.forget(folder)
        if self._events is not None:
            self._events.forget(name)
        ladder = self._ladders.pop(name, None)
        if ladder is not None:
            self._epoll.unregister(ladder.eventfd)
            del self._by_fd[ladder.eventfd]
            ladder.close()

    def _not_armed(self, name: str | None, why: str) -> None:
        self._tell({"event": "error", "name": name or None, "message": why})

    def _tell(self, news: dict[str, object]) -> None:
        """Hand an event over from a registering thread to the loop."""
        self._news.append(news)
        os.eventfd_write(self._news_fd, 1)

    # --- the agent is gone -----------------------------------------------------------------------------

    def _left_alone(self, now_s: float) -> bool:
        """True when this process is done: a new agent is there, or nobody came and everything is freed."""
        self._times.lock_s = now_s + LOCK_POLL_S
        assert self._times.lost_s is not None
        if somebody_has_lock(self.layout):
            dying = os.getppid() == self._parent and now_s - self._times.lost_s < DYING_S
            return not dying
        if now_s - self._times.lost_s < self.agent_lost_s:
            return False
        self._undo.all(self._files, self.layout, self._watch.guests)
        return True


def main(argv: list[str] | None = None) -> int:
    """Run the alarm process; arguments are paths and the time after which a lost agent is given up."""
    parser = argparse.ArgumentParser(prog="guestroom.agent.alarm", description="The agent's alarm process.")
    parser.add_argument("--memory", required=True, help="the host wall's folder in the memory hierarchy")
    parser.add_argument("--freezer", help="the same in the freezer hierarchy")
    parser.add_argument(
        "--cgroups", type=int, choices=(1, 2), default=1, help="version of the cgroups these folders are"
    )
    parser.add_argument(
        "--agent-lost-s", type=float, required=True, help="seconds without an agent until it fails open"
    )
    options = parser.parse_args(argv)
    layout = Layout(options.memory, options.freezer, options.cgroups)
    alarm = Alarm(layout, options.agent_lost_s)
    signal.signal(signal.SIGTERM, lambda *_: alarm.end())
    # The agent decides when it ends, not a Ctrl-C or a hang-up meant for the agent.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    never_wait_for_this_process()
    return alarm.run()


if __name__ == "__main__":
    sys.exit(main())
