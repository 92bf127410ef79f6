"""How guests end: noticed at once, drained, their room given back; and the end that is ordered, a recreation."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import replace

from guestroom import decide
from guestroom.actions import LetGo, StopGuest
from guestroom.agent.care import Care
from guestroom.agent.room import Room
from guestroom.agent.tasks import Tasks
from guestroom.decide.claims import limit_bytes
from guestroom.errors import HostError
from guestroom.facts import GuestState
from guestroom.units import format_bytes

_DRAIN_S = 10.0
"""How long a guest's helpers may outlive its QEMU before they are told to end."""
_KILL_S = 5.0
"""How long after that before they are killed."""
_POLL_S = 0.02


class Endings:
    """Notices and carries out the end of guests."""

    def __init__(self, room: Room, tasks: Tasks) -> None:
        self.room = room
        self.deps = room.deps
        self.tasks = tasks

    def watch(self, care: Care) -> None:
        """Notice the end of a guest's QEMU at once (its pidfd becomes readable)."""
        if care.pidfd is None or care.watched:
            return
        fd = care.pidfd
        care.watched = True

        def ended() -> None:
            asyncio.get_running_loop().remove_reader(fd)
            care.watched = False
            self.noticed(care)

        asyncio.get_running_loop().add_reader(fd, ended)

    def noticed(self, care: Care) -> None:
        """A guest's QEMU has ended, however that was seen."""
        if not care.ended.is_set():
            care.ended.set()
            self.tasks.spawn(self.finish(care))

    async def finish(self, care: Care) -> None:
        """When its cgroup is empty give its room back to the others."""
        name, room, deps = care.name, self.room, self.deps
        await self.drain(care)
        async with room.lock:
            if room.cares.get(name) is not care or care.recreation is not None:
                return
            await self._look_why(care)
            await room.retire(care, "ended")
            grant = care.record.grant_bytes
            deps.event(
                "ended", name, f"{name} ended; {format_bytes(grant)} of overhead come back", {"grant_bytes": grant}
            )
            await room.divide_again(f"{name} ended")
        care.send({"event": "ended", "name": name})

    async def _look_why(self, care: Care) -> None:
        """Being killed at a limit is a wall hit too, and on v2, where nobody waits at one, the only kind (P5)."""
        kills = await self.deps.kernel(self.deps.machine.oom_kills, care.name)
        if not kills:
            return
        self.room.walls_hit += 1
        limit = care.record.limit_bytes
        self.deps.event(
            "wall_hit",
            care.name,
            f"{care.name} was killed by the kernel at a limit; its own is {format_bytes(limit)}",
            {"limit_bytes": limit, "killed": kills, "walls_hit": self.room.walls_hit},
        )

    async def drain(self, care: Care) -> None:
        """Wait until no process is left in its cgroup; helpers that outlive their QEMU are told to end."""
        deps, name = self.deps, care.name
        began_s = deps.clock.monotonic()
        patience = [(signal.SIGTERM, _DRAIN_S), (signal.SIGKILL, _DRAIN_S + _KILL_S)]
        while pids := tuple(set(await deps.kernel(self.members, name)) - care.strangers):
            if patience and deps.clock.monotonic() - began_s > patience[0][1]:
                number, _ = patience.pop(0)
                await deps.kernel(self._signal_all, pids, number)
                deps.event("helpers", name, f"{len(pids)} helpers outlived QEMU: sent {number.name}")
            await asyncio.sleep(_POLL_S)

    def members(self, name: str) -> tuple[int, ...]:
        """Pids in both of a guest's cgroups."""
        machine = self.deps.machine
        return machine.members(name, "ram") + machine.members(name, "vmm")

    def _signal_all(self, pids: tuple[int, ...], number: int) -> None:
        for pid in pids:
            try:
                self.deps.machine.kill(pid, self.deps.machine.start_ticks(pid), number)
            except HostError:
                continue

    async def let_go(self, care: Care, reason: str) -> None:
        """Thaw a held guest; the caller holds the lock."""
        await self.room.transact(f"let {care.name} go", {"reason": reason}, (LetGo(care.name, reason),))
        care.hold(held=False, now_s=self.deps.clock.monotonic())
        self.room.note(care)

    async def stopping(self, care: Care) -> None:
        """Its user is ending it: a frozen process could not even die, so it is let go and no longer held."""
        async with self.room.lock:
            if care.record.state not in (GuestState.RUNNING, GuestState.PAUSED):
                return
            self.deps.alarms.forget(care.name)
            care.before_stop, care.stopping_s = care.record.state, self.deps.clock.monotonic()
            care.record = replace(care.record, state=GuestState.STOPPING)
            await self.free_to_end(care, "its user ends it")

    async def free_to_end(self, care: Care, reason: str) -> None:
        """Let a held guest go so that it can end; the caller holds the lock and has told the alarms to forget it.

        It may run into its wall while it ends. With the killer off it would wait there for ever, deaf to its user; so
        the kernel may end it then.
        """
        if care.record.held:
            care.may_be_killed = True
            await self.deps.kernel(lambda: self.deps.machine.killers([care.name], enabled=True, wall=False))
            await self.let_go(care, reason)

    async def still_there(self, care: Care) -> None:
        """A guest that was told to end and did not (``-no-shutdown``) is watched again."""
        await self.deps.kernel(lambda: self.deps.machine.killers([care.name], enabled=False, wall=False))
        care.may_be_killed = False
        care.record = replace(care.record, state=care.before_stop or GuestState.RUNNING)
        care.before_stop = care.stopping_s = None
        self.room.tell_alarm(care)

    async def stop_for_recreation(self, action: StopGuest, budget: decide.Budget) -> bool:
        """Order a guest's own ``run`` to stop it, and keep its place at the new grant. The caller holds the lock."""
        care, deps = self.room.cares[action.name], self.deps
        if not care.reachable:
            return False
        care.recreation = action.grant_bytes
        deps.alarms.forget(care.name)
        await self.free_to_end(care, action.reason)
        care.send(
            {
                "event": "recreate",
                "grant_bytes": action.grant_bytes,
                "reason": action.reason,
                "stop_timeout_s": deps.settings.stop_timeout_s,
            }
        )
        deps.event(
            "recreating", care.name, f"{care.name} is stopped: {action.reason}", {"grant_bytes": action.grant_bytes}
        )
        try:
            await asyncio.wait_for(care.ended.wait(), deps.settings.stop_timeout_s + _KILL_S)
        except TimeoutError:
            care.recreation = None
            self.room.tell_alarm(care)
            return False
        await self.drain(care)
        record = care.record
        limit = limit_bytes(record.ram_charged_bytes, action.grant_bytes, record.cap_bytes, action.grant_bytes, budget)
        await self.room.clear(care)
        care.record = replace(
            record,
            state=GuestState.QUEUED,
            identity=None,
            held=False,
            grant_bytes=action.grant_bytes,
            limit_bytes=limit,
        )
        care.limit_bytes, care.reading = limit, None
        care.started_s = deps.clock.monotonic()
        self.room.note(care)
        return True
