"""Slows guests down before they would have to be held, and asks QEMU to give back what its heap keeps.

``decide.brake`` says whom, ``brake_qmp`` how; here is the loop that is awake while somebody borrows from the headroom,
and what makes a brake safe: it is written down before it is put on (P8), and the alarm process is told how to take
it off when this agent is lost (P11). The alarm never waits for any of this: at the guard it freezes. A monitor that
does not answer while its guest is held is what is to be expected.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from guestroom.agent import brake_qmp
from guestroom.agent.care import Care
from guestroom.agent.room import Room
from guestroom.agent.tasks import Tasks
from guestroom.config import Brake
from guestroom.decide.brake import THROTTLE_IOPS, WORTH_BYTES, BrakeOff, BrakeOn, Braking, Ease, Flow, brake, trim
from guestroom.decide.trend import Point, largest_rise
from guestroom.errors import GuestroomError, LedgerError, VanishedError
from guestroom.facts import BrakeMark, GuestState
from guestroom.ports import Monitor
from guestroom.queues import CLUSTER_BYTES
from guestroom.units import MIB, format_bytes

LOOK_S = 0.05
"""A heavy load takes some 100 MiB in this time, a quarter of the room that a brake needs."""
CALM_S = 0.1
"""The same after a second in which nobody rose and nobody was braked."""
_MONITOR_S = 2.0
_WRITE_S = 0.5
"""A disk that takes longer must not delay the brake: then there is none, and the freezer does its work."""
_LATELY_S = 60.0
_RISE_S = 0.5


class Brakes:
    """Carries out what ``decide.brake`` says."""

    def __init__(self, room: Room, tasks: Tasks) -> None:
        self.room = room
        self.deps = room.deps
        self.tasks = tasks
        self._busy: set[str] = set()
        """Guests whose monitor is in use."""
        self._stopped: dict[str, Monitor] = {}
        """Monitors of guests that stand still: kept open, so that it is seen if their users let them go on."""
        self._points: dict[str, list[Point]] = {}
        self._alarmed: set[str] = set()
        """Said to be above their grants by the alarm, which is newer than any reading."""
        self._awake = False
        self._told: set[str] = set()

    def wake(self, care: Care) -> None:
        """This guest is above its grant, or braked: look closely until nobody is."""
        self._alarmed.add(care.name)
        if not self._awake:
            self._awake = True
            self.tasks.spawn(self._watch())

    async def _watch(self) -> None:
        try:
            busy_s = self.deps.clock.monotonic()
            while await self.once():
                now_s = self.deps.clock.monotonic()
                if any(self._risen(name) >= MIB or self._is_braked(name) for name in self._points):
                    busy_s = now_s
                await asyncio.sleep(LOOK_S if now_s - busy_s < 1.0 else CALM_S)
        finally:
            self._awake = False
            self._points.clear()

    def _risen(self, name: str) -> int:
        """What a guest gained within the last half second."""
        return largest_rise(self._points.get(name, []))

    def _is_braked(self, name: str) -> bool:
        care = self.room.cares.get(name)
        return care is not None and care.record.braked is not None

    def learn(self, care: Care) -> None:
        """Find out, once, how large the clusters of a guest's images are: its bursts are that much larger."""
        record, state = care.record, care.brake
        able = record.adoption is None and record.qmp_path is not None and not record.held and not record.released
        unknown = record.state is GuestState.RUNNING and record.burst_bytes > 0 and state.burst_bytes is None
        if able and unknown and care.name not in self._busy and self._choice(care) is not Brake.NONE:
            self._busy.add(care.name)
            self.tasks.spawn(self._learn(care))

    async def _learn(self, care: Care) -> None:
        deps, record = self.deps, care.record
        assert record.qmp_path is not None
        try:
            monitor = await deps.kernel(deps.machine.monitor, record.qmp_path, _MONITOR_S)
            try:
                cluster = await deps.kernel(brake_qmp.cluster_bytes, monitor)
            finally:
                await deps.kernel(monitor.close)
            care.brake.burst_bytes = record.burst_bytes * max(1, cluster // CLUSTER_BYTES)
        except GuestroomError as error:
            self._silent(care, error)
        finally:
            self._busy.discard(care.name)

    async def once(self) -> bool:
        """One look; True while there is something to watch."""
        room = self.room
        cares = [care for care in list(room.cares.values()) if self._concerns(care)]
        self._alarmed.clear()
        if room.budget is None or not cares:
            return False
        await asyncio.gather(*(self._read(care) for care in cares))
        now_s = self.deps.clock.monotonic()
        flows = [self._flow(care, now_s) for care in cares if care.name not in self._busy]
        # Whose monitor is busy is about to be braked or let go: what it may still take is spoken for.
        spoken = sum(self._flow(care, now_s).drain_bytes for care in cares if care.name in self._busy)
        left = room.headroom_left()
        budget = room.budget
        steps = brake(flows, left - spoken, budget.headroom_bytes, budget.guard_bytes)
        for step in steps:
            self._spawn(step)
        for name in trim(flow for flow in flows if flow.name not in self._busy):
            self._busy.add(name)
            self.tasks.spawn(self._trim(room.cares[name]))
        return True

    # --- facts -----------------------------------------------------------------------------------------

    def _concerns(self, care: Care) -> bool:
        """Whether there is anything to do about a guest: it is braked, or could be and is above its grant."""
        record = care.record
        if record.adoption is not None or record.qmp_path is None or record.released:
            return False
        if record.braked is not None:
            return True
        seen = care.reading is not None and (care.reading.overhead_bytes or 0) > record.grant_bytes
        over = seen or care.name in self._alarmed
        running = record.state is GuestState.RUNNING and not record.held
        return over and running and record.burst_bytes > 0 and self._choice(care) is not Brake.NONE

    def _choice(self, care: Care) -> Brake:
        return self.deps.settings.brake_of(care.name)

    async def _read(self, care: Care) -> None:
        """Its overhead now. Not ``room.look``: that feeds the trend, which wants one point a second."""
        record = care.record
        pid = record.identity.pid if record.identity is not None else None
        try:
            reading = await self.deps.kernel(
                self.deps.observer.overhead, record.name, record.ram_charged_bytes, pid, record.ram_block_bytes
            )
        except VanishedError:
            return
        except GuestroomError:
            # The sweep tells it.
            care.reading = None
            return
        care.reading = reading
        if reading.overhead_bytes is not None:
            points = self._points.setdefault(care.name, [])
            points.append(Point(reading.at_s, reading.overhead_bytes))
            while points[0].at_s < reading.at_s - _RISE_S:
                points.pop(0)

    def _flow(self, care: Care, now_s: float) -> Flow:
        record, state = care.record, care.brake
        idle = min((point.overhead_bytes for point in care.points), default=None)
        return Flow(
            record.name,
            record.weight,
            record.grant_bytes,
            care.reading.overhead_bytes if care.reading is not None else None,
            idle,
            state.burst_bytes or 0,
            self._choice(care),
            held=record.held,
            runs=record.state is GuestState.RUNNING,
            throttles=not care.brake.unable,
            braked=Brake(record.braked.kind) if record.braked is not None else None,
            iops=record.braked.iops if record.braked is not None else 0,
            braked_for_s=_ago(state.since_s, now_s) or 0.0,
            eased_ago_s=_ago(state.eased_s, now_s),
            rested_s=_ago(state.off_s, now_s),
            lately=sum(at_s > now_s - _LATELY_S for at_s in state.times_s),
            rising_bytes=self._risen(care.name),
            trimmed_ago_s=_ago(state.trimmed_s, now_s),
            in_vain=state.in_vain,
        )

    # --- steps -----------------------------------------------------------------------------------------

    def _spawn(self, step: Braking) -> None:
        self._busy.add(step.name)
        self.tasks.spawn(self._do(self.room.cares[step.name], step))

    async def _do(self, care: Care, step: Braking) -> None:
        try:
            match step:
                case BrakeOn():
                    await self._on(care, step)
                case Ease():
                    await self._ease(care, step.iops)
                case BrakeOff():
                    await self.off(care, step.reason)
        except GuestroomError as error:
            self._silent(care, error)
        finally:
            self._busy.discard(care.name)

    async def _on(self, care: Care, step: BrakeOn) -> None:
        deps, path = self.deps, care.record.qmp_path
        assert path is not None
        monitor = await deps.kernel(deps.machine.monitor, path, _MONITOR_S)
        keep = False
        try:
            if await deps.kernel(brake_qmp.unfit, monitor) is not None:
                return
            mark = await deps.kernel(brake_qmp.mark_for, monitor, step.kind, THROTTLE_IOPS)
            if mark is None:
                care.brake.unable = True
                return
            if care.record.held or not await self._written(care, mark):
                return
            now_s = deps.clock.monotonic()
            care.brake.on(now_s, care.record.grant_bytes + step.over_bytes)
            deps.event("braked", care.name, f"{care.name} is slowed down: {step.reason}", _numbers(step))
            deps.fault("braking")
            keep = step.kind is Brake.STOP
            if keep:
                self._stopped[care.name] = monitor
            await deps.kernel(brake_qmp.apply, monitor, mark)
            deps.fault("braked")
        finally:
            if not keep:
                await deps.kernel(monitor.close)

    async def _written(self, care: Care, mark: BrakeMark) -> bool:
        """Write the brake down and tell the alarm process, before it is put on; False where that took too long."""
        before = care.record
        care.record = record = replace(before, braked=mark)
        try:
            await asyncio.wait_for(self.deps.durable(lambda book: book.put_guest(record)), _WRITE_S)
        except (TimeoutError, LedgerError):
            care.record = replace(care.record, braked=None)
            self.room.note(care)
            return False
        assert record.qmp_path is not None
        self.deps.alarms.brake(care.name, record.qmp_path, mark)
        return True

    async def _ease(self, care: Care, iops: int) -> None:
        deps, mark, path = self.deps, care.record.braked, care.record.qmp_path
        assert mark is not None
        assert path is not None
        monitor = await deps.kernel(deps.machine.monitor, path, _MONITOR_S)
        try:
            eased = await deps.kernel(brake_qmp.ease, monitor, mark, iops)
        finally:
            await deps.kernel(monitor.close)
        care.record = replace(care.record, braked=eased)
        care.brake.eased_s = deps.clock.monotonic()
        self.room.note(care)
        deps.alarms.brake(care.name, path, eased)

    async def off(self, care: Care, reason: str) -> None:
        """Take a brake off what is still ours. Raises ``QmpError`` when QEMU does not answer: it stays noted."""
        deps, mark, path = self.deps, care.record.braked, care.record.qmp_path
        if mark is None or path is None:
            return
        kept = self._stopped.pop(care.name, None)
        monitor = kept if kept is not None else await deps.kernel(deps.machine.monitor, path, _MONITOR_S)
        try:
            other = await deps.kernel(brake_qmp.release, monitor, mark)
        finally:
            await deps.kernel(monitor.close)
        deps.fault("unbraked")
        lasted_s = care.brake.off(deps.clock.monotonic())
        care.record = replace(care.record, braked=None)
        deps.alarms.brake(care.name, path, None)
        self.room.note(care)
        overhead = care.reading.overhead_bytes if care.reading is not None else None
        gave = max(0, care.brake.before_bytes - overhead) if overhead is not None else None
        told = f"{care.name} goes on at full speed after {lasted_s:.1f} s: {reason}"
        numbers = {"braked_s": round(lasted_s, 3), "given_back_bytes": gave, "overhead_bytes": overhead}
        deps.event("unbraked", care.name, told + (f" ({other})" if other else ""), numbers)

    async def off_all(self, reason: str) -> None:
        """Nobody stays slowed down: the agent stops, or the last one ended without taking its brakes off.

        One that is held can't answer: its brake stays noted, here and with the alarm process, until it is let go.
        """
        for care in list(self.room.cares.values()):
            if care.record.braked is None or care.record.qmp_path is None:
                continue
            self.deps.alarms.brake(care.name, care.record.qmp_path, care.record.braked)
            if not care.record.held:
                await self.off_quietly(care, reason)

    async def off_quietly(self, care: Care, reason: str) -> None:
        """Take a brake off if QEMU answers; else it stays noted."""
        try:
            await self.off(care, reason)
        except GuestroomError as error:
            self._silent(care, error)

    async def _trim(self, care: Care) -> None:
        """Ask QEMU's heap for what it keeps, and see whether it helped."""
        deps, path, state = self.deps, care.record.qmp_path, care.brake
        before = care.reading.overhead_bytes if care.reading is not None else None
        began_s = state.trimmed_s = deps.clock.monotonic()
        try:
            assert path is not None
            kept = self._stopped.get(care.name)
            monitor = kept if kept is not None else await deps.kernel(deps.machine.monitor, path, _MONITOR_S)
            try:
                if care.record.braked is None and await deps.kernel(brake_qmp.unfit, monitor) is not None:
                    return
                await deps.kernel(brake_qmp.trim, monitor)
            finally:
                if kept is None:
                    await deps.kernel(monitor.close)
            await asyncio.sleep(0.1)
            await self._read(care)
        except GuestroomError as error:
            self._silent(care, error)
            return
        finally:
            self._busy.discard(care.name)
        after = care.reading.overhead_bytes if care.reading is not None else None
        if before is None or after is None:
            return
        gave = before - after
        state.in_vain = 0 if gave >= WORTH_BYTES else state.in_vain + 1
        if gave >= WORTH_BYTES:
            took_s = round(deps.clock.monotonic() - began_s, 3)
            message = f"QEMU of {care.name} gave back {format_bytes(gave)} that its heap had kept"
            deps.event("trimmed", care.name, message, {"given_back_bytes": gave, "took_s": took_s})

    def _silent(self, care: Care, error: GuestroomError) -> None:
        """A monitor that does not answer: expected while its guest is held, told once otherwise."""
        monitor = self._stopped.pop(care.name, None)
        if monitor is not None:
            self.deps.threads.submit(monitor.close)
        if not care.record.held and care.name not in self._told:
            self._told.add(care.name)
            self.deps.event("monitor", care.name, f"its own monitor does not answer: {error.line()}")


def _ago(then_s: float | None, now_s: float) -> float | None:
    return None if then_s is None else now_s - then_s


def _numbers(step: BrakeOn) -> dict[str, object]:
    return {
        "over_bytes": step.over_bytes,
        "drain_bytes": step.drain_bytes,
        "headroom_left_bytes": step.headroom_left_bytes,
        "guard_bytes": step.guard_bytes,
        "kind": step.kind.value,
    }
