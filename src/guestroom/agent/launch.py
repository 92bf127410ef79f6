"""One guest from its request to its first instruction, with no moment outside a limit.

Order (DESIGN, two ways of accounting): room is decided and made, the guest's cgroups get their limit, the
waiting child is put into ``ram`` before it executes QEMU, QEMU obtains all its RAM there while stopped,
moves to ``vmm``, the alarms are armed, start-up page cache is dropped, and only then it is continued. If
anything fails before that, nothing was lost: it never ran (P3).
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import replace

from guestroom.actions import Verdict
from guestroom.agent.care import Care
from guestroom.agent.readable import is_readable
from guestroom.agent.request import StartRequest, Understood, understand
from guestroom.agent.reserve import Reservation
from guestroom.agent.room import Room
from guestroom.agent.session import Session
from guestroom.agent.views import verdict_row
from guestroom.agent.waiting import Waiting
from guestroom.errors import GuestroomError, HostError, LaunchError, NoRoomError, QmpError, UsageError
from guestroom.facts import GuestState, Identity
from guestroom.guest import check_name
from guestroom.ports import Machine, Monitor
from guestroom.turns import Process
from guestroom.units import PAGE_BYTES, format_bytes

_MONITOR_TRY_S = 0.5
"""How long one attempt to reach QEMU's monitor waits; between two the child and the client are looked at."""
_RAM_TOLERANCE_BYTES = 256 * PAGE_BYTES
"""How much less than its RAM may show in ``ram``: per-CPU charge stock is at most 64 pages a CPU."""


Before = Callable[[Understood], Awaitable[None]]


class Launch:
    """Carries one request through. ``run`` is the whole of it."""

    def __init__(self, room: Room, waiting: Waiting, request: StartRequest, session: Session, before: Before) -> None:
        self.room = room
        self.waiting = waiting
        self.deps = room.deps
        self.request = request
        self.session = session
        self.before = before
        """Done before a newcomer is decided about."""
        self.care: Care | None = None
        self.continued = False
        """From here on it runs: nothing that goes wrong later may end it."""

    async def run(self) -> Care | None:
        """Start the guest; returns it running, or None when it never will. Raises ``GuestroomError`` for bad input."""
        request, deps = self.request, self.deps
        await self._check_children()
        check_name(request.name)
        path = await deps.kernel(deps.monitor_path, request.name, request.peer_uid)
        name, argv, sizer = request.name, request.argv, self.room.learning.sizer()
        wanted = understand(
            name, argv, request.readconfig, deps.settings, path, deps.huge_paths, request.on_short, sizer
        )
        await self.before(wanted)
        reservation = Reservation(self.room, self.waiting, self.session, wanted, path)
        verdict = await reservation.make(request, await deps.kernel(self._process))
        if verdict is None:
            return None
        self.care = reservation.care
        if self.care is None:
            self.session.emit({"event": "verdict"} | verdict_row(verdict))
            return None
        try:
            await self._obtain(wanted, verdict, path)
        except BaseException as error:
            if isinstance(error, GuestroomError):
                self.waiting.begun(request.name)
            # Cancelled too: whatever ends the launch before the guest runs gives its room back.
            if not self.continued:
                await asyncio.shield(self._never_ran())
            raise
        return self.care

    async def _check_children(self) -> None:
        """The processes to be placed must be the caller's own children (P9: nobody else's is ever moved)."""
        for pid in (self.request.child_pid, *self.request.helper_pids):
            parent = await self.deps.kernel(self.deps.machine.parent, pid)
            if parent != self.request.peer_pid:
                raise UsageError(
                    f"process {pid} is not a child of the caller {self.request.peer_pid}", where=self.request.name
                )

    # --- the guest itself ------------------------------------------------------------------------------

    async def _obtain(self, wanted: Understood, verdict: Verdict, path: str) -> None:
        """Place the child, let it execute QEMU, see its RAM obtained, move it, arm the alarms, continue it."""
        care, deps, machine = self._its_care, self.deps, self.deps.machine
        name, pid = care.name, self.request.child_pid
        identity = await deps.kernel(self._identity, name, pid)
        care.record = replace(care.record, identity=identity)
        deps.inodes[name] = identity.cgroup_inode
        await self._limit_swap(name)
        for helper in self.request.helper_pids:
            await deps.kernel(machine.put, helper, name, "vmm")
        await self.room.save(care)
        await deps.kernel(machine.put, pid, name, "ram")
        deps.fault("placed")
        # From here on a lost agent means a lost start: there is no place to come back to.
        self.waiting.begun(name)
        argv = list(wanted.prepared.argv)
        self.session.emit({"event": "verdict"} | verdict_row(verdict) | {"argv": argv, "monitor": path})
        monitor = await self._monitor(care, path)
        try:
            status = await deps.kernel(monitor.query_status)
            await self.room.learning.runs_on(care, monitor)
            await self._check(care, wanted)
            await deps.kernel(machine.put, pid, name, "vmm")
            deps.fault("moved")
            if not await deps.alarms.armed(name, 5.0):
                deps.event("alarm_late", name, "its alarms were not armed within 5 s; the sweep watches it")
            await self._continue(care, monitor, status)
            await deps.kernel(machine.drop_cache, name, "ram")
        finally:
            await deps.kernel(monitor.close)

    async def _limit_swap(self, name: str) -> None:
        """As its settings say. A kernel that can't is no reason not to start it, but it is said."""
        settings, own = self.deps.settings, self.deps.settings.guest(name)
        swap_bytes = settings.swap_bytes if own.swap_bytes is None else own.swap_bytes
        zswap_bytes = settings.zswap_bytes if own.zswap_bytes is None else own.zswap_bytes
        try:
            await self.deps.kernel(self.deps.machine.limit_swap, name, swap_bytes, zswap_bytes)
        except HostError as error:
            numbers = {"swap_bytes": swap_bytes, "zswap_bytes": zswap_bytes}
            self.deps.event("swap_not_limited", name, f"{name}: {error.message}", numbers)

    async def _continue(self, care: Care, monitor: Monitor, status: str) -> None:
        """From here on it is a running guest, durable before it is continued."""
        deps = self.deps
        if self.session.gone.is_set():
            raise LaunchError("its run went away before it was continued", where=care.name)
        ours = care.record.own_stop and status in ("prelaunch", "paused")
        paused = status in ("prelaunch", "paused") and not care.record.own_stop
        state = GuestState.PAUSED if paused else GuestState.RUNNING
        began_wall_s = deps.clock.wall()
        care.started_s = deps.clock.monotonic()
        await self.room.look(care)
        running = replace(care.record, state=state, started_wall_s=began_wall_s)
        await deps.durable(lambda book: book.put_guest(running))
        deps.fault("durable")
        if ours:
            await deps.kernel(monitor.cont)
        self.continued = True
        # Shown as running only now; its grant may have moved meanwhile.
        care.record = replace(care.record, state=state, started_wall_s=began_wall_s)
        deps.fault("continued")

    @property
    def _its_care(self) -> Care:
        assert self.care is not None
        return self.care

    def _process(self) -> Process:
        """The ``run`` that asks, exactly: a place in the queue is its."""
        machine, pid = self.deps.machine, self.request.peer_pid
        return Process(machine.boot_id(), pid, machine.start_ticks(pid))

    def _identity(self, name: str, pid: int) -> Identity:
        machine = self.deps.machine
        return Identity(machine.boot_id(), machine.inode(name), pid, machine.start_ticks(pid))

    async def _monitor(self, care: Care, path: str) -> Monitor:
        """Wait for QEMU to answer on our monitor: then its machine is built and its RAM preallocated."""
        deps, identity = self.deps, care.record.identity
        assert identity is not None
        care.pidfd = await deps.kernel(deps.machine.pidfd, identity.pid, identity.start_ticks)
        deadline_s = deps.clock.monotonic() + deps.settings.start_timeout_s
        while True:
            try:
                return await self._unless_gone(deps.kernel(deps.machine.monitor, path, _MONITOR_TRY_S))
            except QmpError as error:
                if is_readable(care.pidfd) or await deps.kernel(self._starved, care):
                    raise await self._died(care) from error
                if deps.clock.monotonic() > deadline_s:
                    raise QmpError(
                        f"QEMU did not answer on {path} within {deps.settings.start_timeout_s:g} s",
                        where=care.name,
                        hint="raise start_timeout_s in [timing] if this host is slow",
                    ) from error

    async def _unless_gone(self, work: Coroutine[None, None, Monitor]) -> Monitor:
        """Wait for a monitor, but not when its ``run`` went away: its name and room are wanted back at once."""
        attempt, gone = asyncio.ensure_future(work), asyncio.ensure_future(self.session.gone.wait())
        await asyncio.wait((attempt, gone), return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if not self.session.gone.is_set():
            return await attempt
        attempt.add_done_callback(self._close_unused)
        raise LaunchError("its run went away while it was starting", where=self._its_care.name)

    def _close_unused(self, attempt: asyncio.Future[Monitor]) -> None:
        """A monitor that came too late gives its place free, on a thread as all that blocks."""
        if not attempt.cancelled() and attempt.exception() is None:
            self.deps.threads.submit(attempt.result().close)

    def _starved(self, care: Care) -> bool:
        """With the OOM killer off a start that hits its limit sleeps there instead of failing."""
        layout, observer = self.deps.layout, self.deps.observer
        return bool(observer.cgroup(layout.guest(care.name)).under_oom)

    async def _died(self, care: Care) -> GuestroomError:
        """QEMU ended, or sleeps at its limit, before it ran: was it for want of room?"""
        deps, name = self.deps, care.name
        try:
            reading = await deps.kernel(deps.observer.cgroup, deps.layout.guest(name))
        except HostError as error:
            return LaunchError(f"QEMU ended before its guest ran: {error.line()}", where=name)
        if reading.under_oom or reading.failcnt:
            limit = care.record.limit_bytes
            return NoRoomError(
                f"{name} could not obtain its RAM: {format_bytes(care.record.ram_charged_bytes)} of RAM did not fit "
                f"its limit of {format_bytes(limit)} together with QEMU's own start; it never ran",
                where=name,
                numbers={"limit_bytes": limit, "peak_bytes": reading.peak_bytes, "failcnt": reading.failcnt},
                hint="give it more overhead (guests.NAME.overhead) or make room on the host",
            )
        return LaunchError("QEMU ended before its guest ran; its own message says why", where=name)

    async def _check(self, care: Care, wanted: Understood) -> None:
        """What runs is what was asked for, and its RAM is really there."""
        deps, pid = self.deps, self.request.child_pid
        found = await deps.kernel(deps.machine.cmdline, pid)
        if found != wanted.prepared.argv:
            raise LaunchError(f"process {pid} runs something else than was submitted", where=care.name)
        reading = await deps.kernel(deps.observer.cgroup, deps.layout.ram(care.name))
        there, asked = reading.unreclaimable_bytes, wanted.prepared.ram_charged_bytes
        if there is None or there + _RAM_TOLERANCE_BYTES < asked:
            raise NoRoomError(
                f"{care.name} did not obtain its RAM: {format_bytes(there or 0)} of {format_bytes(asked)} are there; "
                "it never ran",
                where=care.name,
                numbers={"ram_charged_bytes": asked, "found_bytes": there},
                hint="its memory backend did not preallocate; report this command line",
            )

    async def _never_ran(self) -> None:
        """End what was started, give the room back."""
        care, machine = self._its_care, self.deps.machine
        async with self.room.lock:
            for part in ("ram", "vmm"):
                for pid in await self.deps.kernel(machine.members, care.name, part):
                    ticks = await self.deps.kernel(_ticks, machine, pid)
                    if ticks is not None:
                        await self.deps.kernel(machine.kill, pid, ticks, signal.SIGKILL)
            await self.room.retire(care, "it never ran")
            await self.room.divide_again(f"{care.name} never ran")


def _ticks(machine: Machine, pid: int) -> int | None:
    try:
        return machine.start_ticks(pid)
    except HostError:
        return None


def error_line(error: GuestroomError) -> Mapping[str, object]:
    """An error as a line of the stream."""
    return {"event": "error", "exit_code": error.exit_code} | error.to_dict()
