"""The host agent without its doors: what can be asked of it, and its way in and out.

Nothing is decided here: ``decide`` decides, ``room`` carries out, ``endings`` and ``sweep`` notice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

from guestroom import decide
from guestroom.agent.adopt import Adoptions, AdoptRequest
from guestroom.agent.alarm_told import as_decision
from guestroom.agent.care import Care
from guestroom.agent.deps import Deps
from guestroom.agent.endings import Endings
from guestroom.agent.growth import Growing
from guestroom.agent.launch import Launch, error_line
from guestroom.agent.reclaim import Reclaiming
from guestroom.agent.recover import recover
from guestroom.agent.request import StartRequest, understand
from guestroom.agent.room import Room
from guestroom.agent.session import Session
from guestroom.agent.sweep import Sweep
from guestroom.agent.tasks import Tasks
from guestroom.agent.views import guest_row, host_row, verdict_row
from guestroom.agent.waiting import Waiting
from guestroom.config import OnShort
from guestroom.errors import AgentError, GuestroomError, HostError, InputError
from guestroom.facts import GuestState
from guestroom.turns import QueueEntry
from guestroom.units import format_bytes

_ANY_PATH = "/run/guestroom/monitors/plan/qmp"
"""Stands for the monitor's path in a dry run."""


class Keeper:
    """The host agent."""

    def __init__(self, deps: Deps) -> None:
        self.deps = deps
        self.tasks = Tasks()
        self.room = Room(deps, stop_guest=lambda action, budget: self.endings.stop_for_recreation(action, budget))
        self.waiting = Waiting(self.room)
        self.endings = Endings(self.room, self.tasks)
        self.adoptions = Adoptions(self.room, self.endings)
        self.reclaiming = Reclaiming(self.room)
        self.waiting.reclaim = self.reclaiming.before
        self.growing = Growing(self.room, self.endings, self.tasks, self.reclaiming)
        self.sweep = Sweep(self.room, self.endings, self.growing)
        self.ending = False
        """Connections that would stay open end now."""

    # --- life ------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Reconcile with ledger and kernel (P8), then begin to watch."""
        async with self.room.lock:
            await recover(self.room, self.adoptions)
            await self.growing.brakes.off_all("a new agent is there")
            await self.waiting.recover()
        for care in list(self.room.cares.values()):
            self.endings.watch(care)
        self.tasks.spawn(self.sweep.run())
        self.tasks.spawn(self.waiting.run())

    async def end(self) -> None:
        """A clean stop: nothing stays held, killers are as they were, guests go on under their limits (P11)."""
        self.ending = True
        self.tasks.cancel()
        self.room.learning.report(self.room.cares.values())
        async with self.room.lock:
            for care in self.room.cares.values():
                if care.record.held:
                    await self.endings.let_go(care, "the agent is stopping")
                care.send({"event": "agent_stopping"})
                if care.session is not None:
                    care.session.close()
            await self.growing.brakes.off_all("the agent is stopping")
            # A released guest's killer is on by now, and where its cgroup was taken away the name is another's (P9).
            cares = [care for care in self.room.cares.values() if not care.record.released]
            names = [care.name for care in cares if care.record.identity is not None]
            await self.deps.kernel(lambda: self.deps.machine.killers(names, enabled=True))
        self.deps.event("agent_stopped", None, f"the agent stops; {len(names)} guests go on under their limits")

    # --- guests ----------------------------------------------------------------------------------------

    def begin_start(self, request: StartRequest, session: Session) -> None:
        """Take a request through beside everything else; ``session`` hears how it went."""
        if self.ending:
            session.emit(error_line(AgentError("the agent is stopping; nothing was started", where=request.name)))
            session.close()
            return
        self.tasks.spawn(self._start(request, session))

    async def _start(self, request: StartRequest, session: Session) -> None:
        try:
            care = await Launch(self.room, self.waiting, request, session, self.reclaiming.before).run()
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
        self.endings.watch(care)

    async def plan(
        self, name: str, argv: tuple[str, ...], readconfig: Mapping[str, str], on_short: OnShort | None
    ) -> dict[str, object]:
        """Dry run: the verdict and every limit that would change."""
        room, deps = self.room, self.deps
        sizer = room.learning.sizer()
        wanted = understand(name, argv, readconfig, deps.settings, _ANY_PATH, deps.huge_paths, on_short, sizer)
        async with room.lock:
            if name in room.cares:
                raise InputError(f"a guest named {name!r} is under care already", where=name)
            await room.look_at_all()
            host = await room.host()
            burst = room.following.with_newcomer(wanted.burst_bytes)
            now_s = deps.clock.monotonic()
            plan = decide.plan(wanted.newcomer, room.guests(), host, deps.settings, now_s, burst_bytes=burst)
            assert plan.verdict is not None
            asked = QueueEntry(0, wanted.newcomer, wanted.burst_bytes, now_s, deps.settings.wait_timeout_s)
            verdict = self.waiting.foretell(asked, plan.verdict, host)
        actions = [deps.encode(action) for action in plan.actions] if verdict is plan.verdict else []
        return verdict_row(verdict) | {"actions": actions, "reclaim": self.reclaiming.named(plan.verdict, host)}

    async def adopt(self, wish: AdoptRequest) -> dict[str, object]:
        """Take a running QEMU under care."""
        care = await self.adoptions.adopt(wish)
        return guest_row(care, self.deps.settings, self.deps.clock.monotonic())

    async def release(self, name: str) -> dict[str, object]:
        """Let a guest go: its limit stays and counts, its killer is as it was, nothing else is done to it.

        An adopted one gets back what was there before.
        """
        async with self.room.lock:
            care = self._care(name)
            if care.record.state in (GuestState.QUEUED, GuestState.STARTING):
                raise InputError(
                    f"{name} is still starting", where=name, hint="release it once it runs, or end its run"
                )
            if care.record.adoption is not None:
                await self.adoptions.release(care)
                return guest_row(care, self.deps.settings, self.deps.clock.monotonic())
            self.deps.alarms.forget(name)
            if care.record.held:
                await self.endings.let_go(care, "released")
            await self.growing.brakes.off_quietly(care, "released")
            care.record = replace(care.record, released=True)
            self.room.note(care)
            await self.deps.kernel(lambda: self.deps.machine.killers([name], enabled=True, wall=False))
            self.deps.event("released", name, f"{name} is let go; it keeps its limit, which still counts")
            return guest_row(care, self.deps.settings, self.deps.clock.monotonic())

    async def stopping(self, name: str) -> dict[str, object]:
        """A guest's user is about to end it: it is not held any more, so that it can."""
        care = self._care(name)
        await self.endings.stopping(care)
        return guest_row(care, self.deps.settings, self.deps.clock.monotonic())

    async def rejoin(self, name: str, peer_pid: int, session: Session) -> None:
        """A ``run`` that lost its connection is back: tell it what is, and give it its orders again."""
        if self.ending:
            raise AgentError("the agent is stopping", where=name)
        care = self._care(name)
        identity = care.record.identity
        try:
            parent = await self.deps.kernel(self.deps.machine.parent, identity.pid) if identity is not None else None
        except HostError:
            parent = None
        if identity is None or parent != peer_pid:
            raise InputError(f"{name} was not started by process {peer_pid}", where=name)
        care.session = session
        if care.record.state in (GuestState.RUNNING, GuestState.PAUSED):
            session.emit({"event": "running", "name": name, "pid": identity.pid, "state": care.record.state.value})

    def _care(self, name: str) -> Care:
        care = self.room.cares.get(name)
        if care is None:
            where = name[:63]
            if any(entry.name == name for entry in self.waiting.queue):
                raise InputError(f"{name} waits for room and does not run", where=where, hint="end its run to give up")
            raise InputError(f"no guest named {where!r} is under care", where=where, hint="guestroom ps lists them")
        return care

    async def alarm(self, news: Mapping[str, object]) -> None:
        """What the alarm process did or met."""
        kind, name = str(news.get("event")), news.get("name")
        care = self.room.cares.get(str(name))
        if kind in ("held", "let_go") and care is not None:
            care.hold(held=kind == "held", now_s=self.deps.clock.monotonic())
            parts = await self._parts(care) if kind == "held" else {}
            self.deps.event(kind, care.name, _hold_message(kind, care, news), {**news, **parts})
            self.room.note(care)
        elif kind == "decided":
            self.deps.late.carried_out(*as_decision(news))
            self.deps.flush()
        elif kind == "thawed" and care is not None:
            care.hold(held=False, now_s=self.deps.clock.monotonic())
            times = news.get("times")
            message = f"somebody else let {care.name} go while it was held; it is held again when it takes more"
            self.deps.event("hold_lost", care.name, message, {"times": times})
            self.room.note(care)
        elif kind == "raised" and care is not None:
            message = f"{care.name} gets {_size(news.get('grant_bytes'))} from free room: {news.get('reason')}"
            self.deps.event("grown", care.name, message, _raise_numbers(care, news))
        elif kind == "over" and care is not None:
            self.room.following.over(care.name, news.get("at_s"))
            self.growing.over(care)
        elif self.room.following.heard(news):
            self.room.tune_guard()
        elif kind == "error":
            self.deps.event("alarm_error", str(name) if name else None, str(news.get("message")), news)

    async def _parts(self, care: Care) -> dict[str, int | None]:
        """What a held guest's charges since it was continued consist of; empty where that can't be read any more."""
        try:
            found = await self.deps.kernel(self.deps.observer.cgroup, self.deps.layout.vmm(care.name))
        except HostError:
            return {}
        return {
            "anon_bytes": found.anon_bytes,
            "shmem_bytes": found.shmem_bytes,
            "kernel_bytes": found.kernel_bytes,
            "cache_bytes": found.file_bytes,
        }

    # --- showing ---------------------------------------------------------------------------------------

    def guest_rows(self) -> list[dict[str, object]]:
        """All guests as ``ps`` shows them: those under care by name, then those that wait in their order."""
        now_s = self.deps.clock.monotonic()
        rows = [guest_row(self.room.cares[n], self.deps.settings, now_s) for n in sorted(self.room.cares)]
        return rows + self.waiting.rows()

    async def events(
        self, after: int, limit: int, *, guest: str | None = None, last: bool = False
    ) -> list[dict[str, object]]:
        """Events after a number, or the last ones, oldest first; of one guest or all."""
        ledger = self.deps.ledger
        if last:
            found = await self.deps.book(ledger.last_events, limit, guest)
        else:
            found = await self.deps.book(ledger.events, after, limit, guest)
        return [asdict(event) | {"numbers": dict(event.numbers)} for event in found]

    async def learning_row(self) -> dict[str, object]:
        """What was promised and kept, as ``/v1/learning`` shows it."""
        return await self.room.learning.row()

    async def host_row(self) -> dict[str, object]:
        """The host as ``/v1/host`` shows it."""
        room = self.room
        host, cares = await room.host(), list(room.cares.values())
        budget = room.make_budget(host, room.following.in_force_bytes)
        return host_row(host, budget, cares, room.walls_hit, room.following.view(budget), len(self.waiting.queue))


def _hold_message(kind: str, care: Care, news: Mapping[str, object]) -> str:
    if kind == "let_go":
        return f"{care.name} goes on: {news.get('reason', 'there is room again')}"
    before = news.get("headroom_left_bytes"), news.get("guard_bytes")
    if isinstance(before[0], int) and isinstance(before[1], int) and before[0] > before[1]:
        # Not for the headroom's sake.
        return f"{care.name} is held still: {news.get('reason')}; it goes on when it is let go or has more room"
    over, left, guard = (_size(news.get(k)) for k in ("over_bytes", "headroom_left_bytes", "guard_bytes"))
    grant = format_bytes(care.record.grant_bytes)
    return (
        f"{care.name} is held still: its overhead is {over} above its grant of {grant}, and {left} of the "
        f"shared headroom are left (guard {guard}); it goes on when there is room"
    )


def _raise_numbers(care: Care, news: Mapping[str, object]) -> dict[str, object]:
    """When the alarm woke, when the kernel had the limit, and what it saw."""
    kept = ("overhead_bytes", "limit_bytes", "woken", "woke_s", "written_s")
    return {"grants": {care.name: care.record.grant_bytes}} | {key: news.get(key) for key in kept}


def _size(value: object) -> str:
    return format_bytes(value) if isinstance(value, int) else "unknown"
