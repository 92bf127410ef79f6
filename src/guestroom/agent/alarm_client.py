"""The agent's side of the alarm process: starts it, tells it numbers, passes its events on, starts it again.

Sending never waits: numbers are a few hundred bytes a guest and the alarm reads at once. If the process ends
unasked, a new one gets the wall and every guest as last told, with the holds the old one had, so that nobody
stays frozen with no one to let it go.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict

from guestroom.agent.alarm_wire import MAX_LINE_BYTES, from_line, to_line
from guestroom.errors import AgentError
from guestroom.facts import Adoption, BrakeMark, Identity
from guestroom.layout import Layout
from guestroom.units import MIB

_READY_S = 30.0
"""It is ready within 0.3 s; a loaded emulated machine took more than 5."""
_RECALL_S = 0.2
_STOP_S = 2.0
_END_S = 0.5
_PING_S = 1.0
_DEAF_PINGS = 3
"""So many pings without any word from it, while this process itself runs: it is stuck."""
_START_PINGS = 30
"""The same until its first word: a slow machine imports for ten seconds and more (seen emulated)."""
_AGAIN_S = (0.0, 0.1, 0.5, 1.0, 5.0)
"""Waits before starting it again, the last one for all later times; reset once it is ready."""


class AlarmClient:
    """A running alarm process. Made by ``await AlarmClient.start(...)``, ended by ``await stop()``."""

    def __init__(self, argv: Sequence[str], layout: Layout, step_bytes: int) -> None:
        self.scheduler: str | None = None
        """``fifo`` or ``other``, once it is ready."""
        self._argv = tuple(argv)
        self._layout = layout
        self._step_bytes = step_bytes
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._wall: dict[str, object] | None = None
        self._guests: dict[str, dict[str, object]] = {}
        self._adopted: dict[str, dict[str, object]] = {}
        self._brakes: dict[str, dict[str, object]] = {}
        self._held: set[str] = set()
        self._armed: dict[str, asyncio.Event] = {}
        self._ready = asyncio.Event()
        self._events: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        self._stopping = False
        self._unheard = 0
        """Pings since its last word."""
        self._turn = 0
        self._free_heard = asyncio.Event()
        self.on_raised: Callable[[Mapping[str, object]], None] = lambda news: None

    @classmethod
    async def start(
        cls, layout: Layout, agent_lost_s: float, *, step_bytes: int = 16 * MIB, timeout_s: float = _READY_S
    ) -> AlarmClient:
        """Start the process and wait until it is ready. Raises ``AgentError`` if it does not start."""
        # -P: what lies in the current folder must not be imported into a root process.
        argv = [sys.executable, "-P", "-m", "guestroom.agent.alarm", "--memory", layout.memory]
        argv += ["--freezer", layout.freezer] if layout.freezer is not None else []
        argv += ["--cgroups", str(layout.version), "--agent-lost-s", str(agent_lost_s)]
        client = cls(argv, layout, step_bytes)
        client._task = asyncio.create_task(client._keep_running())
        try:
            await asyncio.wait_for(client._ready.wait(), timeout_s)
        except TimeoutError as error:
            await client.stop()
            raise AgentError(
                f"the alarm process was not ready within {timeout_s:g} s", hint="see its messages"
            ) from error
        return client

    @property
    def pid(self) -> int | None:
        """Pid of the process that runs now."""
        return self._process.pid if self._process is not None else None

    @property
    def held(self) -> frozenset[str]:
        """Names the alarm process holds, as far as it said."""
        return frozenset(self._held)

    # --- telling it ------------------------------------------------------------------------------------

    def wall(self, limit_bytes: int, headroom_bytes: int, guard_bytes: int) -> None:
        """The host wall's numbers, in bytes."""
        self._wall = {
            "op": "wall",
            "path": self._layout.memory,
            "limit_bytes": limit_bytes,
            "headroom_bytes": headroom_bytes,
            "guard_bytes": guard_bytes,
        }
        self.send(self._wall)

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
        """A guest's numbers: the first call arms its ladder, later ones only move numbers.

        ``held``: it stands frozen by somebody else (an earlier agent) and the alarm takes that hold over.
        ``hold_at_bytes``: overhead at which it is held for its own cap.
        """
        fields: dict[str, object] = {
            "op": "guest",
            "name": name,
            "memory_path": self._layout.guest(name),
            "freezer_path": self._layout.freezer_of(name),
            "ram_charged_bytes": ram_charged_bytes,
            "weight": weight,
            "grant_bytes": grant_bytes,
            "limit_bytes": limit_bytes,
            "step_bytes": self._step_bytes,
            "hold_at_bytes": hold_at_bytes,
            "cap_bytes": cap_bytes,
        }
        self._guests[name] = fields
        self._armed.setdefault(name, asyncio.Event())
        if held:
            self._held.add(name)
        self.send(fields | {"held": held})

    def adopted(self, name: str, identity: Identity, adoption: Adoption, *, held: bool) -> None:
        """An adopted guest and whether it is held: the alarm lets it go when this agent is lost, and no more."""
        self._adopted[name] = {
            "op": "adopted",
            "name": name,
            "boot_id": identity.boot_id,
            "inode": identity.cgroup_inode,
            "pid": identity.pid,
            "start_ticks": identity.start_ticks,
            "cgroup": adoption.cgroup,
            "freezer": adoption.freezer,
            "killer": adoption.former_killer,
            "held": held,
        }
        self.send(self._adopted[name])

    def brake(self, name: str, path: str, mark: BrakeMark | None) -> None:
        """A guest is slowed down through the monitor at ``path``, or no longer (None).

        The alarm process takes the brake off when this agent is lost, and no more.
        """
        plain = asdict(mark) if mark is not None else None
        fields: dict[str, object] = {"op": "brake", "name": name, "path": path, "mark": plain}
        if mark is None:
            self._brakes.pop(name, None)
        else:
            self._brakes[name] = fields
        self.send(fields)

    def forget(self, name: str) -> None:
        """A guest that is gone or released; a hold of the alarm's on it ends."""
        self._guests.pop(name, None)
        self._adopted.pop(name, None)
        self._brakes.pop(name, None)
        self._armed.pop(name, None)
        self._held.discard(name)
        self.send({"op": "forget", "name": name})

    def lend(self, free_bytes: int) -> None:
        """Room from which the alarm may raise whoever passes its grant; ``on_raised`` is called for each raise."""
        self._turn += 1
        self.send({"op": "free", "free_bytes": free_bytes, "turn": self._turn})

    async def recall(self) -> None:
        """Take lent room back. When this returns nothing more is raised, and ``on_raised`` has heard of all that was.

        An alarm process that does not answer has none: it hears before it raises.
        """
        self._turn += 1
        self._free_heard.clear()
        self.send({"op": "free", "free_bytes": 0, "turn": self._turn})
        if self._process is not None and self._process.returncode is None and self._ready.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._free_heard.wait(), _RECALL_S)

    def ping(self) -> None:
        """Ask for a ``pong``."""
        self.send({"op": "ping"})

    def send(self, fields: Mapping[str, object]) -> None:
        """Send one operation; while no process runs it is dropped, and the next process is told the state instead."""
        writer = self._process.stdin if self._process is not None else None
        if writer is not None and not writer.is_closing():
            writer.write(to_line(fields))

    async def armed(self, name: str, timeout_s: float) -> bool:
        """Wait until the essential rungs of a guest's ladder are registered; False when that took too long."""
        event = self._armed.get(name)
        if event is None:
            return False
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), timeout_s)
        return event.is_set()

    async def events(self) -> AsyncIterator[dict[str, object]]:
        """What the alarm process did and met, as it comes, until ``stop``."""
        while True:
            news = await self._events.get()
            if news.get("event") == "stopped":
                return
            yield news

    async def stop(self) -> None:
        """End the process; nothing is thawed or changed."""
        self._stopping = True
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._task, _STOP_S)
        self._events.put_nowait({"event": "stopped"})

    # --- keeping it running ----------------------------------------------------------------------------

    async def _keep_running(self) -> None:
        tries = 0
        while not self._stopping:
            await asyncio.sleep(_AGAIN_S[min(tries, len(_AGAIN_S) - 1)])
            self._ready.clear()
            try:
                await self._run_once()
            except (AgentError, OSError, ValueError) as error:
                self._events.put_nowait({"event": "error", "name": None, "message": f"the alarm process: {error}"})
            tries = 0 if self._ready.is_set() else tries + 1
            if not self._stopping:
                code = self._process.returncode if self._process is not None else None
                message = f"the alarm process ended (exit {code}) and is started again"
                self._events.put_nowait({"event": "error", "name": None, "message": message})

    async def _run_once(self) -> None:
        """Start it, tell it the state, take its events until it ends."""
        process = await asyncio.create_subprocess_exec(
            *self._argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=MAX_LINE_BYTES,
            # A Ctrl-C in the agent's terminal is the agent's to answer.
            start_new_session=True,
        )
        self._process = process
        assert process.stdout is not None
        listening = asyncio.create_task(self._watch(process))
        try:
            self._tell_all()
            while line := await process.stdout.readline():
                self._take(from_line(line))
        finally:
            listening.cancel()
            # Its end of the pipe closes a moment before it has ended; one that talks nonsense has not ended at all.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _END_S)
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
                await process.wait()

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """End a process that does not answer any more (stopped, or stuck in the kernel): nobody holds or lets go then.

        Counted in pings and not in seconds: an agent that stood still itself has not asked meanwhile.
        """
        self._unheard = 0
        while True:
            await asyncio.sleep(_PING_S)
            if self._unheard >= (_DEAF_PINGS if self._ready.is_set() else _START_PINGS):
                message = f"the alarm process (pid {process.pid}) has not answered for {self._unheard} s: it is ended"
                self._events.put_nowait({"event": "error", "name": None, "message": message})
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                return
            self._unheard += 1
            self.ping()

    def _tell_all(self) -> None:
        if self._wall is not None:
            self.send(self._wall)
        for name, fields in self._guests.items():
            self.send(fields | {"held": name in self._held})
        for fields in (*self._adopted.values(), *self._brakes.values()):
            self.send(fields)

    def _take(self, news: dict[str, object]) -> None:
        name, self._unheard = news.get("name"), 0
        match news["event"]:
            case "pong":
                return
            case "ready":
                self.scheduler = str(news.get("scheduler"))
                self._ready.set()
                return
            case "armed" if isinstance(name, str) and name in self._armed:
                self._armed[name].set()
            case "holding" | "held" if isinstance(name, str):
                self._held.add(name)
            case "let_go" | "thawed" if isinstance(name, str):
                self._held.discard(name)
            case "raised" if isinstance(name, str) and name in self._guests:
                self._guests[name] |= {key: news[key] for key in ("grant_bytes", "limit_bytes")}
                self.on_raised(news)
            case "free":
                if news.get("turn") == self._turn:
                    self._free_heard.set()
                return
        self._events.put_nowait(news)
