"""The safety net under the events: once a second everything is looked at, whether anything was heard or not."""

from __future__ import annotations

import asyncio

from guestroom import decide
from guestroom.agent.adopted import Adopted
from guestroom.agent.care import Care
from guestroom.agent.clocks import WallClock
from guestroom.agent.endings import Endings
from guestroom.agent.foreign import Foreign
from guestroom.agent.glances import Glances
from guestroom.agent.growth import Growing
from guestroom.agent.room import Room
from guestroom.errors import GuestroomError, VanishedError
from guestroom.facts import GuestState
from guestroom.units import MIB, format_bytes

_BUDGET_S = 10.0
_BUDGET_S_A_GUEST = 0.02
"""How often the host's side of the budget (other QEMUs, huge pages, limits above) is looked at between events."""


class Sweep:
    """Readings, ends that were missed, walls that were hit, and the host's side of the budget."""

    def __init__(self, room: Room, endings: Endings, growing: Growing) -> None:
        self.room = room
        self.deps = room.deps
        self.endings = endings
        self.growing = growing
        self.glances = Glances(room)
        self.adopted = Adopted(room, endings)
        self.foreign = Foreign(room)
        self.wall_clock = WallClock(self.deps.clock)
        self._budget_s = self.deps.clock.monotonic()
        self._failed: str | None = None
        """What the last sweep failed of, so that it is told once."""

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(self.deps.settings.sweep_s)
            try:
                await self.once()
            except GuestroomError as error:
                # One bad sweep must not end the loop that would see the next one go well.
                if self._failed != error.code:
                    self.deps.event("sweep_failed", None, error.line())
                self._failed = error.code
            else:
                self._failed = None

    async def once(self) -> None:
        """One sweep."""
        room, deps, now_s = self.room, self.deps, self.deps.clock.monotonic()
        if (jumped_s := self.wall_clock.jumped_s()) is not None:
            message = f"the wall clock was set {abs(jumped_s):.1f} s {'forward' if jumped_s > 0 else 'back'}"
            deps.event("clock_set", None, f"{message}; no limit depends on it", {"jumped_s": round(jumped_s, 3)})
        looked, near = await self.glances.once()
        for care in looked:
            if care.reading is not None:
                deps.late.reading(care.reading, care.limit_bytes, care.record.grant_bytes)
        for care in near:
            await self._look_safely(care)
        self.foreign.keep(room.cares)
        await self._host_wall()
        await self.adopted.tend()
        room.learning.tend(room.cares.values())
        deps.flush()
        await self.growing.look(looked)
        if room.folders.due(now_s):
            # On its own: the kernel may take seconds to drain a cgroup, and the next look must not wait for that.
            self.endings.tasks.spawn(room.folders.try_again(room.cares, now_s))
        if room.lock.locked():
            # Who decides now may wait for a slow disk or a stop; nothing below is worth missing a look for.
            return
        if room.unsettled:
            async with room.lock:
                await room.divide_again("an earlier division could not be written down")
        due = deps.clock.monotonic() - self._budget_s >= max(_BUDGET_S, _BUDGET_S_A_GUEST * len(room.cares))
        if due or room.following.fresh:
            await self._follow()
        if due:
            self._budget_s = deps.clock.monotonic()
            await self._check_budget()

    async def _look_safely(self, care: Care) -> None:
        """One guest that can't be looked at does not keep the others from being looked at; told once."""
        try:
            await self._look(care)
        except GuestroomError as error:
            if care.look_failed != error.code:
                self.deps.event("sweep_failed", care.name, error.line())
            care.look_failed = error.code
        else:
            care.look_failed = None

    async def _look(self, care: Care) -> None:
        """One guest: is it still there, did it come back, did it reach its wall?"""
        deps, settings, now_s = self.deps, self.deps.settings, self.deps.clock.monotonic()
        if care.record.state in (GuestState.QUEUED, GuestState.STARTING):
            if care.recreation is not None and now_s - care.started_s > settings.start_timeout_s:
                await self._not_back(care)
            return
        if not await self.foreign.place(care, await deps.kernel(self.endings.members, care.name)):
            self.endings.noticed(care)
            return
        if care.stopping_s is not None and now_s - care.stopping_s > settings.stop_timeout_s:
            await self.endings.still_there(care)
        await self._wall(care)

    async def _wall(self, care: Care) -> None:
        """Reaching a wall is a counted failure: whoever waits there is lost or nearly so (P5)."""
        deps, mark = self.deps, self.room.mark()
        try:
            reading = await deps.kernel(deps.observer.cgroup, deps.layout.guest(care.name))
        except VanishedError:
            return
        if reading.limit_bytes != care.record.limit_bytes:
            await self.room.loan.catch_up()
        if mark is not None and mark == self.room.mark():
            care.limit_bytes = reading.limit_bytes
        if reading.under_oom and not care.at_wall:
            self.room.walls_hit += 1
            limit = care.record.limit_bytes
            deps.event(
                "wall_hit",
                care.name,
                f"{care.name} reached its limit of {format_bytes(limit)} and waits there; it needs room now",
                {"limit_bytes": limit, "usage_bytes": reading.usage_bytes, "walls_hit": self.room.walls_hit},
            )
        care.at_wall = bool(reading.under_oom)
        await self.foreign.killer(care, reading)
        await self.foreign.limit(care, reading.limit_bytes, mark)

    async def _host_wall(self) -> None:
        """The wall is where it was set, unless somebody else wrote it."""
        deps, mark = self.deps, self.room.mark()
        try:
            reading = await deps.kernel(deps.observer.cgroup, deps.layout.memory)
        except VanishedError:
            return
        await self.foreign.wall(reading, mark)

    async def _not_back(self, care: Care) -> None:
        """A recreated guest that was not started again: its place is given to the others."""
        room = self.room
        async with room.lock:
            if room.cares.get(care.name) is care and care.record.identity is None:
                await room.retire(care, "it did not come back")
                self.deps.event("not_recreated", care.name, f"{care.name} did not come back; its room is free")
                await room.divide_again(f"{care.name} did not come back")

    async def _follow(self) -> None:
        """The headroom follows what was seen since it was last divided."""
        room = self.room
        async with room.lock.only_looking():
            if room.budget is not None and room.following.due(room.guests, room.budget):
                await room.loan.recall()
                await room.divide_again("the headroom follows what guests take at once")

    async def _check_budget(self) -> None:
        """Follow the host: another QEMU, a changed huge page pool or a limit above us change the budget."""
        room = self.room
        async with room.lock.only_looking():
            host = await room.host()
            budget = room.make_budget(host)
            if room.budget is not None and _same(budget, room.budget):
                return
            await room.loan.recall()
            if budget.overcommitted_bytes > 0:
                message = (
                    f"the host is overcommitted by {format_bytes(budget.overcommitted_bytes)}: no admissions and no "
                    "raises until room comes back"
                )
                self.deps.event("overcommitted", None, message, {"overcommitted_bytes": budget.overcommitted_bytes})
            await room.divide_again("the host's budget changed")


def _same(one: decide.Budget, other: decide.Budget) -> bool:
    """Whether two budgets differ by less than what is worth a new division (1 MiB or 1 %)."""
    slack = max(MIB, other.reserve_bytes // 100)
    return bool(
        abs(one.reserve_bytes - other.reserve_bytes) <= slack
        and one.headroom_bytes == other.headroom_bytes
        and (one.overcommitted_bytes > 0) == (other.overcommitted_bytes > 0)
    )
