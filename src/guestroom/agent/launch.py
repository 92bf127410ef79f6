"""One guest from its request to its first instruction, with no moment outside a limit.

Order (DESIGN, two ways of accounting): room is decided and made, the guest's cgroups get their limit, the
waiting child is put into ``ram`` before it executes QEMU, QEMU obtains all its RAM there while stopped,
moves to ``vmm``, the alarms are armed, start-up page cache is dropped, and only then it is continued. If
anything fails before that, nothing was lost: it never ran (P3).
"""

from __future__ import annotations

import asyncio
import select
import signal
from collections.abc import Mapping
from dataclasses import replace

from guestroom import decide
from guestroom.actions import MakeGuest, StartGuest, Verdict, VerdictKind
from guestroom.agent.care import Care
from guestroom.agent.peaks import PeakWindow
from guestroom.agent.request import StartRequest, Understood, understand
from guestroom.agent.room import Room, broken
from guestroom.agent.session import Session
from guestroom.agent.views import verdict_row
from guestroom.errors import GuestroomError, HostError, LaunchError, NoRoomError, QmpError, UsageError
from guestroom.facts import Accounting, GuestRecord, GuestState, Identity, Newcomer
from guestroom.guest import check_name
from guestroom.ports import Machine, Monitor
from guestroom.units import PAGE_BYTES, format_bytes

_ATTEMPTS = 3
"""How often admission is decided again from fresh facts when a shrink did not hold because a guest grew meanwhile."""
_MONITOR_TRY_S = 0.5
"""How long one attempt to reach QEMU's monitor waits; between two the child and the client are looked at."""
_RAM_TOLERANCE_BYTES = 256 * PAGE_BYTES
"""How much less than its RAM may show in ``ram``: per-CPU charge stock is at most 64 pages a CPU."""


class Launch:
    """Carries one request through. ``run`` is the whole of it."""

    def __init__(self, room: Room, request: StartRequest, session: Session) -> None:
        self.room = room
        self.deps = room.deps
        self.request = request
        self.session = session
        self.care: Care | None = None

    async def run(self) -> Care | None:
        """Start the guest; returns it running, or None when it was refused. Raises ``GuestroomError`` for bad input."""
        request, deps = self.request, self.deps
        await self._check_children()
        check_name(request.name)
        path = await deps.kernel(deps.monitor_path, request.name, request.peer_uid)
        wanted = understand(
            request.name, request.argv, request.readconfig, deps.settings, path, deps.huge_paths, request.on_short
        )
        verdict = await self._reserve(wanted, path)
        if self.care is None:
            self.session.emit({"event": "verdict"} | verdict_row(verdict))
            return None
        try:
            await self._obtain(wanted, verdict, path)
        except BaseException:
            # Cancelled too: whatever ends the launch before the guest runs gives its room back.
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

    # --- room ------------------------------------------------------------------------------------------

    async def _reserve(self, wanted: Understood, path: str) -> Verdict:
        """Decide and make room; on success ``care`` is set, its cgroups exist and its limit holds."""
        room, newcomer = self.room, wanted.newcomer
        async with room.lock:
            present = room.cares.get(newcomer.name)
            if present is not None and present.recreation is not None:
                return await self._come_back(present, wanted, path)
            if present is not None:
                raise UsageError(
                    f"a guest named {newcomer.name!r} is under care already",
                    where=newcomer.name,
                    hint="choose another name, or stop it first (guestroom ps shows it)",
                )
            for _ in range(_ATTEMPTS):
                verdict = await self._decide(wanted)
                if verdict.kind is VerdictKind.REFUSE:
                    break
                if await self._make_room(wanted, verdict, path):
                    return verdict
            else:
                verdict = _shrinks_failed(verdict)
        self.deps.event("refused", newcomer.name, verdict.message, verdict_row(verdict))
        return verdict

    async def _decide(self, wanted: Understood) -> Verdict:
        room, deps = self.room, self.deps
        await room.look_at_all()
        host = await room.host()
        room.wall_bytes = host.wall_limit_bytes
        burst = max(room.burst_bytes(), wanted.burst_bytes)
        self._host, self._burst = host, burst
        return decide.admit(
            wanted.newcomer, room.guests(), host, deps.settings, deps.clock.monotonic(), burst_bytes=burst
        )

    async def _make_room(self, wanted: Understood, verdict: Verdict, path: str) -> bool:
        """Carry the verdict's plan out; False (all put back) when a step did not hold."""
        room, deps, newcomer = self.room, self.deps, wanted.newcomer
        guests = room.guests()
        budget = decide.budget(self._host, guests, deps.settings, newcomer=newcomer, burst_bytes=self._burst)
        actions = decide.steps(
            verdict.grants,
            guests,
            budget,
            deps.settings,
            newcomer=newcomer,
            verdict=verdict,
            now_s=deps.clock.monotonic(),
        )
        care = self._new_care(wanted, verdict, path)
        await room.save(care)
        outcomes = await room.transact(
            f"{verdict.kind} {newcomer.name}", room.newcomer_inputs(newcomer, self._host, budget), actions, budget, care
        )
        if not broken(outcomes):
            # Only now: until every shrink held, its grant is not there, and nobody may be shown that it is.
            self.care = room.cares[newcomer.name] = care
            room.set_budget(budget)
            kind = "squeezed" if verdict.kind is VerdictKind.SQUEEZE else "admitted"
            deps.event(kind, newcomer.name, verdict.message, verdict_row(verdict))
            return True
        await self._forget(care, "a step of its admission did not hold")
        await room.put_back(outcomes, budget, f"admitting {newcomer.name}")
        return False

    async def _come_back(self, care: Care, wanted: Understood, path: str) -> Verdict:
        """A recreated guest returns under the grant that was kept for it."""
        deps, room, grant = self.deps, self.room, care.recreation
        assert grant is not None
        limit = care.record.limit_bytes
        fresh = self._new_care(wanted, None, path)
        fresh.record = replace(
            fresh.record,
            grant_bytes=grant,
            admitted_grant_bytes=grant,
            limit_bytes=limit,
            squeezed=grant < wanted.newcomer.need_bytes,
            recreated_wall_s=deps.clock.wall(),
        )
        fresh.limit_bytes, fresh.recreated_s = limit, deps.clock.monotonic()
        room.cares[care.name] = fresh
        await room.save(fresh)
        actions = (
            MakeGuest(care.name, limit, grant, "it comes back recreated"),
            StartGuest(care.name, grant, limit, "it comes back recreated"),
        )
        outcomes = await room.transact(f"recreate {care.name}", {"grant_bytes": grant}, actions)
        if broken(outcomes):
            await self._forget(fresh, "its cgroups could not be made")
            raise LaunchError(f"{care.name} could not come back: {outcomes[0].detail}", where=care.name)
        self.care = fresh
        message = f"{care.name} is recreated with {format_bytes(grant)} of overhead"
        deps.event("recreated", care.name, message, {"grant_bytes": grant, "limit_bytes": limit})
        return _returned(wanted.newcomer, grant, limit, message)

    def _new_care(self, wanted: Understood, verdict: Verdict | None, path: str) -> Care:
        newcomer, deps = wanted.newcomer, self.deps
        now_s = deps.clock.monotonic()
        grant = verdict.grant_bytes if verdict is not None else newcomer.need_bytes
        limit = verdict.limit_bytes if verdict is not None else newcomer.ram_charged_bytes + grant
        record = GuestRecord(
            name=newcomer.name,
            state=GuestState.STARTING,
            accounting=Accounting.SPLIT,
            identity=None,
            ram_bytes=newcomer.ram_bytes,
            ram_charged_bytes=newcomer.ram_charged_bytes,
            weight=newcomer.weight,
            need_bytes=newcomer.need_bytes,
            boot_floor_bytes=newcomer.boot_floor_bytes,
            cap_bytes=newcomer.cap_bytes,
            grant_bytes=grant,
            admitted_grant_bytes=grant,
            limit_bytes=limit,
            overhead_peak_bytes=None,
            started_wall_s=deps.clock.wall(),
            policy=wanted.policy,
            on_short=newcomer.on_short,
            squeezed=verdict is not None and verdict.kind is VerdictKind.SQUEEZE,
            recreatable=newcomer.recreatable,
            recreate_need_bytes=newcomer.recreate_need_bytes,
            fixed_overhead=wanted.fixed_overhead,
            burst_bytes=wanted.burst_bytes,
            qmp_path=path,
            own_stop=wanted.prepared.own_stop,
            ram_block_bytes=wanted.prepared.ram_block_bytes,
        )
        peaks = PeakWindow(deps.settings.peak_window_s)
        return Care(record, now_s, peaks, limit_bytes=limit, session=self.session)

    # --- the guest itself ------------------------------------------------------------------------------

    async def _obtain(self, wanted: Understood, verdict: Verdict, path: str) -> None:
        """Place the child, let it execute QEMU, see its RAM obtained, move it, arm the alarms, continue it."""
        care, deps, machine = self._its_care, self.deps, self.deps.machine
        name, pid = care.name, self.request.child_pid
        identity = await deps.kernel(self._identity, name, pid)
        care.record = replace(care.record, identity=identity)
        deps.inodes[name] = identity.cgroup_inode
        for helper in self.request.helper_pids:
            await deps.kernel(machine.put, helper, name, "vmm")
        await self.room.save(care)
        await deps.kernel(machine.put, pid, name, "ram")
        self.room.tell_alarm(care)
        deps.fault("placed")
        argv = list(wanted.prepared.argv)
        self.session.emit({"event": "verdict"} | verdict_row(verdict) | {"argv": argv, "monitor": path})
        monitor = await self._monitor(care, path)
        try:
            status = await deps.kernel(monitor.query_status)
            await self._check(care, wanted)
            await deps.kernel(machine.put, pid, name, "vmm")
            deps.fault("moved")
            if not await deps.alarms.armed(name, 5.0):
                deps.event("alarm_late", name, "its alarms were not armed within 5 s; the sweep watches it")
            await deps.kernel(machine.drop_cache, name, "ram")
            await self._continue(care, monitor, status)
        finally:
            await deps.kernel(monitor.close)

    async def _continue(self, care: Care, monitor: Monitor, status: str) -> None:
        """From here on it is a running guest, durable before it is continued."""
        deps = self.deps
        if self.session.gone.is_set():
            raise LaunchError("its run went away before it was continued", where=care.name)
        ours = care.record.own_stop and status in ("prelaunch", "paused")
        paused = status in ("prelaunch", "paused") and not care.record.own_stop
        state = GuestState.PAUSED if paused else GuestState.RUNNING
        care.record = replace(care.record, state=state, started_wall_s=deps.clock.wall())
        care.started_s = deps.clock.monotonic()
        await self.room.look(care)
        await self.room.save(care)
        deps.fault("durable")
        if ours:
            await deps.kernel(monitor.cont)
        deps.fault("continued")

    @property
    def _its_care(self) -> Care:
        assert self.care is not None
        return self.care

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
                return await deps.kernel(deps.machine.monitor, path, _MONITOR_TRY_S)
            except QmpError as error:
                if self.session.gone.is_set():
                    raise LaunchError("its run went away while it was starting", where=care.name) from error
                if _is_readable(care.pidfd) or await deps.kernel(self._starved, care):
                    raise await self._died(care) from error
                if deps.clock.monotonic() > deadline_s:
                    raise QmpError(
                        f"QEMU did not answer on {path} within {deps.settings.start_timeout_s:g} s",
                        where=care.name,
                        hint="raise start_timeout_s in [timing] if this host is slow",
                    ) from error

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
            await self._forget(care, "it never ran")
            await self.room.divide_again(f"{care.name} never ran")

    async def _forget(self, care: Care, why: str) -> None:
        """Remove its cgroups and records; the caller holds the lock."""
        await self.room.retire(care, why)


def _is_readable(fd: int) -> bool:
    """Whether a file descriptor is readable now (a pidfd: its process ended)."""
    return bool(select.select([fd], [], [], 0)[0])


def _ticks(machine: Machine, pid: int) -> int | None:
    try:
        return machine.start_ticks(pid)
    except HostError:
        return None


def _returned(newcomer: Newcomer, grant: int, limit: int, message: str) -> Verdict:
    """The verdict on a guest that comes back: its place was kept, nothing is decided again."""
    squeezed = grant < newcomer.need_bytes
    return Verdict(
        kind=VerdictKind.SQUEEZE if squeezed else VerdictKind.ADMIT,
        name=newcomer.name,
        need_bytes=newcomer.need_bytes,
        grant_bytes=grant,
        limit_bytes=limit,
        left_bytes=grant,
        short_bytes=max(0, newcomer.need_bytes - grant),
        short_of="overhead" if squeezed else "",
        grants=(),
        holders=(),
        recreate=(),
        advice=(),
        message=message,
    )


def _shrinks_failed(verdict: Verdict) -> Verdict:
    """Admission was decided but the guests kept growing into the room: refused, with the numbers."""
    message = (
        f"{verdict.name} is refused: {format_bytes(verdict.grant_bytes)} were decided for it, but the guests that "
        f"were to give room grew meanwhile ({_ATTEMPTS} attempts)"
    )
    return replace(
        verdict,
        kind=VerdictKind.REFUSE,
        message=message,
        grants=(),
        short_bytes=verdict.need_bytes,
        short_of="overhead",
        advice=("try again when the load has settled",),
    )


def error_line(error: GuestroomError) -> Mapping[str, object]:
    """An error as a line of the stream."""
    return {"event": "error", "exit_code": error.exit_code} | error.to_dict()
