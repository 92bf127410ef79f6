"""The agent's loop around the room: guests that start and end, the sweep, holds, and the way in and out.

Nothing is decided here: ``decide`` decides, ``room`` carries out. The keeper only notices (a process that
ended, an alarm that held somebody, a second that passed) and calls.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine, Mapping
from dataclasses import asdict, replace

from guestroom import decide
from guestroom.actions import LetGo, StopGuest
from guestroom.agent.care import Care
from guestroom.agent.deps import Deps
from guestroom.agent.launch import Launch, error_line
from guestroom.agent.recover import recover
from guestroom.agent.request import StartRequest, understand
from guestroom.agent.room import Room
from guestroom.agent.session import Session
from guestroom.agent.views import guest_row, host_row, verdict_row
from guestroom.config import OnShort
from guestroom.decide.claims import limit_bytes
from guestroom.errors import GuestroomError, HostError, InputError
from guestroom.facts import GuestState
from guestroom.units import format_bytes

_DRAIN_S = 10.0
"""How long a guest's helpers may outlive its QEMU before they are told to end."""
_ANY_PATH = "/run/guestroom/monitors/plan/qmp"
"""Stands for the monitor's path in a dry run."""
_BUDGET_S = 10.0
"""How often the host's side of the budget (other QEMUs, huge pages, limits above) is looked at between events."""


class Keeper:
    """The host agent without its doors."""

    def __init__(self, deps: Deps) -> None:
        self.deps = deps
        self.room = Room(deps, stop_guest=self.stop_for_recreation)
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done with an error when a task of the keeper ended unexpectedly: then the agent must not go on half alive."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._watched: set[int] = set()
        self._stopping = False

    # --- life ------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Reconcile with ledger and kernel (P8), then begin to watch."""
        async with self.room.lock:
            await recover(self.room)
        for care in list(self.room.cares.values()):
            self.watch(care)
        self._spawn(self._sweeps())

    async def end(self) -> None:
        """A clean stop: nothing stays held, killers are as they were, guests go on under their limits (P11)."""
        self._stopping = True
        for task in list(self._tasks):
            task.cancel()
        async with self.room.lock:
            for care in self.room.cares.values():
                if care.record.held:
                    await self.let_go(care, "the agent is stopping")
                if care.emit is not None:
                    care.emit({"event": "agent_stopping"})
            names = sorted(self.room.cares)
            await self.deps.kernel(lambda: self.deps.machine.killers(names, enabled=True))
        self.deps.event("agent_stopped", None, f"the agent stops; {len(names)} guests go on under their limits")

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not self.failed.done():
            self.failed.set_exception(error)

    # --- starting --------------------------------------------------------------------------------------

    async def start(self, request: StartRequest, session: Session) -> None:
        """Take one request through, and tell its ``run`` how it went."""
        launch = Launch(self.room, request, session)
        try:
            care = await launch.run()
        except GuestroomError as error:
            self.deps.event("not_started", request.name, error.line(), error.numbers)
            session.emit(error_line(error))
            session.close()
            return
        if care is None:
            session.close()
            return
        record = care.record
        pid = record.identity.pid if record.identity is not None else None
        message = f"{record.name} runs with {format_bytes(record.grant_bytes)} of overhead granted"
        self.deps.event("started", record.name, message, {"pid": pid, "limit_bytes": record.limit_bytes})
        session.emit({"event": "running", "name": record.name, "pid": pid, "state": record.state.value})
        self.watch(care)

    async def plan(
        self, name: str, argv: tuple[str, ...], readconfig: Mapping[str, str], on_short: OnShort | None
    ) -> dict[str, object]:
        """Dry run: the verdict and every limit that would change."""
        room, deps = self.room, self.deps
        wanted = understand(name, argv, readconfig, deps.settings, _ANY_PATH, deps.huge_paths, on_short)
        async with room.lock:
            if name in room.cares:
                raise InputError(f"a guest named {name!r} is under care already", where=name)
            await room.look_at_all()
            host = await room.host()
            burst = max(room.burst_bytes(), wanted.burst_bytes)
            plan = decide.plan(
                wanted.newcomer,
                room.guests(),
                host,
                deps.settings,
                deps.clock.monotonic(),
                burst_bytes=burst,
            )
        assert plan.verdict is not None
        return verdict_row(plan.verdict) | {"actions": [deps.encode(action) for action in plan.actions]}

    # --- ending ----------------------------------------------------------------------------------------

    def watch(self, care: Care) -> None:
        """Notice the end of a guest's QEMU at once (its pidfd becomes readable)."""
        if care.pidfd is None or care.pidfd in self._watched:
            return
        fd = care.pidfd
        self._watched.add(fd)

        def ended() -> None:
            asyncio.get_running_loop().remove_reader(fd)
            self._watched.discard(fd)
            care.ended.set()
            self._spawn(self.finish(care))

        asyncio.get_running_loop().add_reader(fd, ended)

    async def finish(self, care: Care) -> None:
        """Its QEMU ended: when its cgroup is empty give its room back to the others."""
        name, room, deps = care.name, self.room, self.deps
        await self._drain(care)
        async with room.lock:
            if room.cares.get(name) is not care or care.recreation is not None:
                return
            care.record = replace(care.record, state=GuestState.STOPPING)
            await room.retire(care, "ended")
            message = f"{name} ended; {format_bytes(care.record.grant_bytes)} of overhead come back"
            deps.event("ended", name, message, {"grant_bytes": care.record.grant_bytes})
            await room.divide_again(f"{name} ended")
        if care.emit is not None:
            care.emit({"event": "ended", "name": name})

    async def _drain(self, care: Care) -> None:
        """Wait until no process is left in its cgroup; helpers that outlive their QEMU are told to end."""
        deps, name = self.deps, care.name
        deadline_s = deps.clock.monotonic() + _DRAIN_S
        sent = {signal.SIGTERM: False, signal.SIGKILL: False}
        while pids := await deps.kernel(self._members, name):
            late_s = deps.clock.monotonic() - deadline_s
            for number, after_s in ((signal.SIGTERM, 0.0), (signal.SIGKILL, 5.0)):
                if late_s > after_s and not sent[number]:
                    sent[number] = True
                    await deps.kernel(self._signal_all, pids, number)
                    deps.event("helpers", name, f"{len(pids)} helpers outlived QEMU: sent {number.name}")
            await asyncio.sleep(0.02)

    def _members(self, name: str) -> tuple[int, ...]:
        machine = self.deps.machine
        return machine.members(name, "ram") + machine.members(name, "vmm")

    def _signal_all(self, pids: tuple[int, ...], number: int) -> None:
        for pid in pids:
            try:
                self.deps.machine.kill(pid, self.deps.machine.start_ticks(pid), number)
            except HostError:
                continue

    async def stop_for_recreation(self, action: StopGuest, budget: decide.Budget) -> bool:
        """Order a guest's own ``run`` to stop it, and keep its place at the new grant. The caller holds the lock."""
        care = self.room.cares[action.name]
        deps = self.deps
        if care.emit is None:
            return False
        care.recreation = action.grant_bytes
        care.emit({"event": "recreate", "grant_bytes": action.grant_bytes, "reason": action.reason})
        try:
            await asyncio.wait_for(care.ended.wait(), deps.settings.stop_timeout_s + 5.0)
        except TimeoutError:
            care.recreation = None
            return False
        await self._drain(care)
        await deps.kernel(deps.machine.remove, care.name)
        deps.alarms.forget(care.name)
        limit = limit_bytes(
            care.record.ram_charged_bytes, action.grant_bytes, care.record.cap_bytes, action.grant_bytes, budget
        )
        record = replace(
            care.record,
            state=GuestState.QUEUED,
            identity=None,
            held=False,
            grant_bytes=action.grant_bytes,
            limit_bytes=limit,
        )
        care.record, care.limit_bytes, care.reading = record, record.limit_bytes, None
        care.started_s = deps.clock.monotonic()
        self.room.note(care)
        return True

    async def release(self, name: str) -> dict[str, object]:
        """Let a guest go: its limit stays and counts, its killer is as it was, nothing else is done to it."""
        async with self.room.lock:
            care = self.room.cares.get(name)
            if care is None:
                raise InputError(f"no guest named {name!r} is under care", where=name, hint="guestroom ps lists them")
            if care.record.held:
                await self.let_go(care, "released")
            care.record = replace(care.record, released=True)
            self.room.note(care)
            self.deps.alarms.forget(name)
            await self.deps.kernel(lambda: self.deps.machine.killers([name], enabled=True, wall=False))
            self.deps.event("released", name, f"{name} is let go; it keeps its limit, which still counts")
            return guest_row(care, self.deps.settings, self.deps.clock.monotonic())

    # --- watching --------------------------------------------------------------------------------------

    async def alarm(self, news: Mapping[str, object]) -> None:
        """What the alarm process did or met."""
        kind, name = str(news.get("event")), news.get("name")
        care = self.room.cares.get(str(name))
        if kind in ("held", "let_go") and care is not None:
            care.record = replace(care.record, held=kind == "held")
            self.deps.event(kind, care.name, self._hold_message(kind, care, news), news)
            self.room.note(care)
        elif kind == "error":
            self.deps.event("alarm_error", str(name) if name else None, str(news.get("message")), news)

    def _hold_message(self, kind: str, care: Care, news: Mapping[str, object]) -> str:
        if kind == "let_go":
            return f"{care.name} goes on: {news.get('reason', 'there is room again')}"
        over, left, guard = (_size(news.get(k)) for k in ("over_bytes", "headroom_left_bytes", "guard_bytes"))
        grant = format_bytes(care.record.grant_bytes)
        return (
            f"{care.name} is held still: its overhead is {over} above its grant of {grant}, and {left} of the "
            f"shared headroom are left (guard {guard}); it goes on when there is room"
        )

    async def let_go(self, care: Care, reason: str) -> None:
        """Thaw a held guest; the caller holds the lock."""
        await self.room.transact(f"let {care.name} go", {"reason": reason}, (LetGo(care.name, reason),))
        care.record = replace(care.record, held=False)
        self.room.note(care)

    async def _sweeps(self) -> None:
        """The safety net: readings, ends that were missed, the host's side of the budget."""
        deps, looked_s = self.deps, self.deps.clock.monotonic()
        while not self._stopping:
            await asyncio.sleep(deps.settings.sweep_s)
            try:
                await self.room.look_at_all()
                self._record_readings()
                await self._missed_ends()
                if self.room.unsettled:
                    async with self.room.lock:
                        await self.room.divide_again("an earlier division could not be written down")
                if deps.clock.monotonic() - looked_s >= _BUDGET_S:
                    looked_s = deps.clock.monotonic()
                    await self._check_budget()
            except GuestroomError as error:
                # One bad sweep must not end the loop that would see the next one go well.
                deps.event("sweep_failed", None, error.line())

    def _record_readings(self) -> None:
        deps = self.deps
        for care in list(self.room.cares.values()):
            if care.reading is not None:
                deps.late.reading(care.reading, care.limit_bytes, care.record.grant_bytes)
        deps.flush()

    async def _missed_ends(self) -> None:
        """Guests whose cgroup is empty though nothing said so, and recreated ones that never came back."""
        deps = self.deps
        for care in list(self.room.cares.values()):
            running = care.record.state in (GuestState.RUNNING, GuestState.PAUSED)
            if running and not care.ended.is_set() and not await deps.kernel(self._members, care.name):
                care.ended.set()
                self._spawn(self.finish(care))
            waited_s = deps.clock.monotonic() - care.started_s
            if (
                care.recreation is not None
                and waited_s > deps.settings.start_timeout_s
                and care.record.identity is None
            ):
                async with self.room.lock:
                    if self.room.cares.get(care.name) is care:
                        await self.room.retire(care, "it did not come back")
                        deps.event("not_recreated", care.name, f"{care.name} did not come back; its room is free")
                        await self.room.divide_again(f"{care.name} did not come back")

    async def _check_budget(self) -> None:
        """Follow the host: another QEMU, a changed huge page pool or a limit above us change the budget."""
        async with self.room.lock:
            host = await self.room.host()
            guests = self.room.guests()
            budget = decide.budget(host, guests, self.deps.settings, burst_bytes=self.room.burst_bytes())
            before = self.room.budget
            if before is not None and _same(budget, before):
                return
            if budget.overcommitted_bytes > 0:
                message = (
                    f"the host is overcommitted by {format_bytes(budget.overcommitted_bytes)}: no admissions and no "
                    "raises until room comes back"
                )
                self.deps.event("overcommitted", None, message, {"overcommitted_bytes": budget.overcommitted_bytes})
            await self.room.divide_again("the host's budget changed")

    def rejoin(self, name: str, peer_pid: int, session: Session) -> None:
        """A ``run`` that lost its connection is back: tell it what is, and give it its orders again."""
        care = self.room.cares.get(name)
        if care is None or care.record.identity is None:
            raise InputError(f"no guest named {name!r} is under care", where=name[:63])
        if self.deps.machine.parent(care.record.identity.pid) != peer_pid:
            raise InputError(f"{name} was not started by process {peer_pid}", where=name)
        care.emit = session.emit
        if care.record.state in (GuestState.RUNNING, GuestState.PAUSED):
            session.emit({"event": "running", "name": name, "pid": care.record.identity.pid})

    # --- showing ---------------------------------------------------------------------------------------

    def guest_rows(self) -> list[dict[str, object]]:
        """All guests as ``ps`` shows them."""
        now_s = self.deps.clock.monotonic()
        return [guest_row(self.room.cares[n], self.deps.settings, now_s) for n in sorted(self.room.cares)]

    async def events(self, after: int, limit: int) -> list[dict[str, object]]:
        """Events after a number, oldest first."""
        found = await self.deps.book(self.deps.ledger.events, after, limit)
        return [asdict(event) | {"numbers": dict(event.numbers)} for event in found]

    async def host_row(self) -> dict[str, object]:
        """The host as ``/v1/host`` shows it."""
        host, cares = await self.room.host(), list(self.room.cares.values())
        guests = self.room.guests()
        budget = decide.budget(host, guests, self.deps.settings, burst_bytes=self.room.burst_bytes())
        return host_row(host, budget, cares)


def _size(value: object) -> str:
    return format_bytes(value) if isinstance(value, int) else "unknown"


def _same(one: decide.Budget, other: decide.Budget) -> bool:
    """Whether two budgets differ by less than what is worth a new division (1 MiB or 1 %)."""
    slack = max(1 << 20, other.reserve_bytes // 100)
    return (
        abs(one.reserve_bytes - other.reserve_bytes) <= slack
        and one.headroom_bytes == other.headroom_bytes
        and (one.overcommitted_bytes > 0) == (other.overcommitted_bytes > 0)
    )
