"""The real agent on the simulated kernel: everything but the kernel, QEMU's monitor and time is the code that ships."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from guestroom.actions import Action, Outcome
from guestroom.agent.alarm_watch import Watch
from guestroom.agent.alarm_wire import GuestOp, WallOp
from guestroom.agent.deps import Deps
from guestroom.agent.keeper import Keeper
from guestroom.agent.request import StartRequest
from guestroom.agent.session import Session
from guestroom.apply.cgroup1 import KernelApplier
from guestroom.cli.machine import KernelMachine
from guestroom.cli.reclaiming import KernelReclaimer
from guestroom.config import OnShort, Settings
from guestroom.errors import QmpError
from guestroom.facts import BrakeMark, GuestState
from guestroom.layout import Layout
from guestroom.observe.snapshot import KernelObserver
from guestroom.ports import Monitor
from guestroom.record.outbox import Outbox
from guestroom.testing import Fate, ManualClock, SimGuest, SimHost
from guestroom.testing.ledger import MemoryLedger
from guestroom.testing.zoo import ZOO
from guestroom.units import GIB, MIB

from .virtual_time import InlineThreads, VirtualLoop

T = TypeVar("T")
HOST_BYTES = 4 * GIB

SETTINGS = Settings(
    reserve=480 * MIB,
    headroom_bytes=128 * MIB,
    guard_bytes=64 * MIB,
    system_reserve_bytes=512 * MIB,
    settle_s=30.0,
    peak_window_s=60.0,
    policy="proportional",
)
"""Sums that are easy to check by hand: budget 3584 MiB, of it 480 for overhead, of that 128 for all."""


class QuietSession(Session):
    """A ``run`` that only listens."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Mapping[str, object]] = []

    def emit(self, line: Mapping[str, object]) -> None:
        """Keep the line."""
        self.heard.append(line)

    def of(self, event: str) -> Mapping[str, object]:
        """The last line of a kind; empty where there was none."""
        return next((line for line in reversed(self.heard) if line.get("event") == event), {})


class _SimMonitor:
    def __init__(self, guest: SimGuest) -> None:
        self._guest = guest

    def query_status(self) -> str:
        return "prelaunch"

    def cont(self) -> None:
        self._guest.running = True

    def execute(self, command: str, /, **arguments: object) -> Any:
        if command == "query-version":
            return {"qemu": {"major": 7, "minor": 2, "micro": 22}, "package": "simulated"}
        return {} if command == "query-migrate" else []

    def events(self) -> tuple[str, ...]:
        return ()

    def close(self) -> None:
        return


class SimMachine(KernelMachine):
    """``KernelMachine`` with processes and monitors that are simulated."""

    def __init__(self, agent: SimAgent) -> None:
        super().__init__(agent.host, agent.layout, agent.clock)
        self._agent = agent
        self._ends: dict[int, list[int]] = {}
        agent.host.kernel.on_exit.append(self._ended)

    def parent(self, pid: int) -> int:
        """The ``run`` that asked for it."""
        return next(self._agent.runs[name] for name, guest in self._agent.guests.items() if guest.pid == pid)

    def pidfd(self, pid: int, start_ticks: int) -> int:
        """A pipe whose other end is closed when the process ends."""
        self.start_ticks(pid)
        ours, end = os.pipe()
        self._ends.setdefault(pid, []).append(end)
        return ours

    def kill(self, pid: int, start_ticks: int, signal_number: int) -> None:
        """Whatever the signal: it ends."""
        self._agent.host.exit(pid)

    def monitor(self, path: str, timeout_s: float) -> Monitor:
        """QEMU answers once it has its RAM; the first call is when it is executed."""
        guest = self._agent.guests[path.split("/")[-2]]
        process = self._agent.host.process(guest.pid)
        if process.argv == ("run",):
            argv = self._agent.sessions[guest.name].of("verdict")["argv"]
            assert isinstance(argv, list)
            process.argv = tuple(argv)
            if guest.boot() is not Fate.DONE:
                raise QmpError("no answer yet")
        elif guest.busy:
            raise QmpError("no answer yet")
        return _SimMonitor(guest)

    def close(self) -> None:
        """Close what is open."""
        for pid in list(self._ends):
            self._ended(pid)

    def _ended(self, pid: int) -> None:
        for end in self._ends.pop(pid, []):
            os.close(end)


class SimAlarms:
    """The alarm process without its process: the same ``Watch``, looked through when a test says so."""

    def __init__(self, agent: SimAgent) -> None:
        self._layout = agent.layout
        self.news: list[Mapping[str, object]] = []
        self.brakes: dict[str, BrakeMark | None] = {}
        self.deaf = False
        """No threshold wakes it: it looks by itself only, now and then."""
        applier = KernelApplier(agent.host, agent.layout, agent.clock, freeze_wait_s=0.0)
        self.watch = Watch(agent.host, agent.layout, applier, agent.clock, self._tell)
        self.on_raised: Callable[[Mapping[str, object]], None] = lambda news: None

    def _tell(self, news: Mapping[str, object]) -> None:
        if news["event"] == "raised":
            self.on_raised(news)
        self.news.append(news)

    def lend(self, free_bytes: int) -> None:
        """Room it may raise from."""
        self.watch.free_bytes = free_bytes

    async def recall(self) -> None:
        """None any more."""
        self.watch.free_bytes = 0

    def wall(self, limit_bytes: int, headroom_bytes: int, guard_bytes: int) -> None:
        """The host wall's numbers."""
        self.watch.set_wall(WallOp(self._layout.memory, limit_bytes, headroom_bytes, guard_bytes))

    def guest(
        self,
        name: str,
        ram_charged_bytes: int,
        weight: int,
        grant_bytes: int,
        limit_bytes: int,
        *,
        held: bool = False,
        hold_at_bytes: int | None = None,
        cap_bytes: int | None = None,
    ) -> None:
        """A guest's numbers."""
        place, freezer = self._layout.guest(name), self._layout.freezer_of(name)
        numbers = ram_charged_bytes, weight, grant_bytes, limit_bytes, 16 * MIB
        op = GuestOp(name, place, freezer, *numbers, held=held, hold_at_bytes=hold_at_bytes, cap_bytes=cap_bytes)
        self.watch.set_guest(op)

    def brake(self, name: str, path: str, mark: BrakeMark | None) -> None:
        """Keep it: a test may ask what would be undone if the agent were lost."""
        self.brakes[name] = mark

    def forget(self, name: str) -> None:
        """A guest that is gone."""
        self.watch.forget(name)

    async def armed(self, name: str, timeout_s: float) -> bool:
        """It always is."""
        return True

    def look(self) -> None:
        """What a crossed threshold makes the alarm process do."""
        if not self.deaf:
            self.sweep()

    def sweep(self) -> None:
        """A look by itself."""
        self.watch.look()
        self.watch.settle()


class WatchedApplier:
    """``KernelApplier`` with somebody looking before and after each action."""

    def __init__(self, inner: KernelApplier) -> None:
        self._inner = inner
        self.before: list[Callable[[Action], None]] = []
        self.after: list[Callable[[Action, Outcome], None]] = []

    def carry_out(self, action: Action) -> Outcome:
        """Do it."""
        for look in self.before:
            look(action)
        outcome = self._inner.carry_out(action)
        for judge in self.after:
            judge(action, outcome)
        return outcome


class SimAgent:
    """An agent, its host and its guests."""

    def __init__(
        self,
        settings: Settings = SETTINGS,
        *,
        host: SimHost | None = None,
        ledger: MemoryLedger | None = None,
        clock: ManualClock | None = None,
    ) -> None:
        self.settings = settings
        self.clock = clock or ManualClock()
        self.host = host or SimHost(HOST_BYTES)
        self.layout: Layout = self.host.layout()
        self.ledger = ledger or MemoryLedger(self.clock)
        self.guests: dict[str, SimGuest] = {}
        self.sessions: dict[str, QuietSession] = {}
        self.runs: dict[str, int] = {}
        """The ``run`` of each guest: the parent of its process."""
        self.disks: dict[str, tuple[str, ...]] = {}
        self.events: list[tuple[str, str | None, str]] = []
        self.fault_points: list[str] = []
        self.at_fault: Callable[[str], None] = lambda point: None
        self.machine = SimMachine(self)
        self.alarms = SimAlarms(self)
        inodes: dict[str, int] = {}
        self.applier = WatchedApplier(KernelApplier(self.host, self.layout, self.clock, expected_inodes=inodes))
        self.deps = Deps(
            settings=settings,
            layout=self.layout,
            clock=self.clock,
            observer=KernelObserver(self.host, self.layout, self.clock),
            applier=self.applier,
            machine=self.machine,
            ledger=self.ledger,
            late=Outbox(self.ledger, self.clock),
            alarms=self.alarms,
            reclaimer=KernelReclaimer(self.host, self.layout),
            encode=lambda action: {},
            monitor_path=lambda name, uid: f"/run/guestroom/monitors/{name}/qmp",
            inodes=inodes,
            log=lambda kind, guest, message: self.events.append((kind, guest, message)),
            fault=self._fault,
            threads=InlineThreads(1),
            writer=InlineThreads(1),
        )
        self.keeper: Keeper

    def _fault(self, point: str) -> None:
        self.fault_points.append(point)
        self.at_fault(point)

    def run(self, history: Callable[[SimAgent], Coroutine[Any, Any, T]]) -> T:
        """Begin, go through ``history``, and take everything down."""
        loop = VirtualLoop(self.clock)
        try:
            return loop.run_until_complete(self._live(history))
        finally:
            self.machine.close()
            loop.close()

    async def _live(self, history: Callable[[SimAgent], Coroutine[Any, Any, T]]) -> T:
        self.keeper = Keeper(self.deps)
        try:
            await self.keeper.begin()
            await self.rest(0.0)
            return await history(self)
        finally:
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            for care in self.keeper.room.cares.values():
                if care.pidfd is not None:
                    asyncio.get_running_loop().remove_reader(care.pidfd)
                    os.close(care.pidfd)

    # --- what a test does ------------------------------------------------------------------------------

    async def start(
        self,
        name: str,
        kind: str = "obedient",
        ram_mib: int = 256,
        on_short: OnShort | None = None,
        *,
        disks: tuple[str, ...] = (),
    ) -> QuietSession:
        """Ask for a guest and wait until it runs or is refused; what its ``run`` heard."""
        if name in self.guests and self.guests[name].alive:
            return self.sessions[name]
        session = self.ask(name, kind, ram_mib, on_short, disks=disks)
        while not (session.of("running") or session.of("error") or session.of("verdict").get("verdict") == "refuse"):
            await self.rest(0.5)
        if not session.of("running"):
            self.host.exit(self.guests[name].pid)
        return session

    def ask(
        self,
        name: str,
        kind: str = "obedient",
        ram_mib: int = 256,
        on_short: OnShort | None = None,
        timeout_s: float | None = None,
        *,
        disks: tuple[str, ...] = (),
    ) -> QuietSession:
        """Ask for a guest and go on; what its ``run`` hears comes into the session."""
        self.disks[name] = disks
        self.runs[name] = self.host.spawn(self.host.memory, argv=("guestroom", "run"))
        self._fork(name, kind, ram_mib)
        return self.ask_again(name, on_short, timeout_s)

    def _fork(self, name: str, kind: str, ram_mib: int) -> None:
        """The process that waits to become QEMU."""
        host, ram = self.host, ram_mib * MIB
        pid = host.spawn(host.memory, argv=("run",))
        guest = ZOO[kind](host, self.layout, name, pid, ram, ram * 30 // 100)
        guest.after_step = self.alarms.look
        self.guests[name] = guest

    def ask_again(
        self, name: str, on_short: OnShort | None = None, timeout_s: float | None = None, waited_s: float = 0.0
    ) -> QuietSession:
        """Ask as a ``run`` does whose agent came back, with another process where the waiting one was ended."""
        if not self.guests[name].alive:
            self._fork(name, "obedient", self.guests[name].ram_bytes // MIB)
        guest, session = self.guests[name], QuietSession()
        self.sessions[name] = session
        argv = ("qemu-system-x86_64", "-machine", "q35", "-m", str(guest.ram_bytes // MIB), *self.disks.get(name, ()))
        request = StartRequest(name, argv, {}, guest.pid, (), self.runs[name], 0, on_short, timeout_s, waited_s)
        self.keeper.begin_start(request, session)
        return session

    def give_up(self, name: str) -> None:
        """The ``run`` of one that waits ends: its connection and its waiting process are gone."""
        self.host.exit(self.guests[name].pid)
        self.host.exit(self.runs[name])
        self.sessions[name].gone.set()

    async def stop(self, name: str) -> None:
        """Its user ends it."""
        if name in self.keeper.room.cares and self.guests[name].alive:
            if self.care_state(name) in (GuestState.RUNNING, GuestState.PAUSED):
                await self.keeper.stopping(name)
            self.host.exit(self.guests[name].pid)
        await self.rest(2.0)

    async def tick(self, seconds: float = 5.0) -> None:
        """Every guest goes on, one after another, with the alarm looking; then time passes."""
        for guest in list(self.guests.values()):
            if guest.alive and guest.running:
                guest.tick()
                self.alarms.look()
        await self.rest(seconds)

    async def rest(self, seconds: float) -> None:
        """Let time pass: sweeps, ends that are noticed, news of the alarm."""
        await self._tell()
        await asyncio.sleep(seconds)
        self.alarms.sweep()
        await self._tell()
        if self.keeper.tasks.failed.done():
            self.keeper.tasks.failed.result()

    async def _tell(self) -> None:
        while self.alarms.news:
            await self.keeper.alarm(self.alarms.news.pop(0))

    def care_state(self, name: str) -> GuestState:
        """What the agent says of a guest's life."""
        return self.keeper.room.cares[name].record.state

    def grant(self, name: str) -> int:
        """The grant it has now."""
        return self.keeper.room.cares[name].record.grant_bytes

    def limit(self, name: str) -> int:
        """The limit the kernel has for it now."""
        return int(self.host.read(f"{self.layout.guest(name)}/memory.limit_in_bytes"))
