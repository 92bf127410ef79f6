"""Limits that live: room for guests that grow, back from guests that don't need it, and what becomes of the held.

A burst is served by the kernel from the headroom, without us; what is done here makes it lasting (a grant is
raised so that the headroom fills again) or ends it. Alarms call ``over``; the sweep calls ``look`` as the
safety net. A raise within free room takes no lock and makes an unfinished plan void, so that growth of one
guest never waits for the shrink of another (P5).
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Collection, Mapping
from dataclasses import replace

from guestroom import decide
from guestroom.agent.brakes import Brakes
from guestroom.agent.care import Care
from guestroom.agent.endings import Endings
from guestroom.agent.inputs import Inputs
from guestroom.agent.reclaim import Reclaiming
from guestroom.agent.room import Room
from guestroom.agent.tasks import Tasks
from guestroom.config import OnRunaway
from guestroom.decide import Growth
from guestroom.decide.trend import Cleared, Warned
from guestroom.errors import LedgerError
from guestroom.facts import GuestState, HostFacts

_BOOT_S = 60.0
"""No trend is told of a guest before this: its start rises by tens of MiB and then stops."""
_LENT_AGAIN_S = 60.0
"""A guest that goes over its grant and back all the time is told of once a minute."""
_REST_S = 0.1
"""After a look that found nothing to give: somebody around its grant alarms thousands of times a second."""
GIVE_BACK_S = 5.0
"""How often it is asked whether somebody has room to spare; the clocks of that are minutes."""


class Growing:
    """Carries out what ``decide`` says about growth, giving back, warnings and runaways."""

    def __init__(self, room: Room, endings: Endings, tasks: Tasks, reclaiming: Reclaiming) -> None:
        self.room = room
        self.deps = room.deps
        self.endings = endings
        self.tasks = tasks
        self.brakes = Brakes(room, tasks)
        self.reclaiming = reclaiming
        self._busy = False
        self._over: dict[str, Care] = {}
        """Who alarmed and was not looked at yet."""
        self._rests_s: dict[str, float] = {}
        """Until when it makes no sense to look again, by guest."""
        self._later: set[str] = set()
        self._since_s: Mapping[str, float] = {}
        self._gave_s = self.deps.clock.monotonic()
        self._short: dict[str, float] = {}
        """When it was last told that nobody has room for a guest."""
        self._warned: dict[str, Warned] = {}

    # --- growth ----------------------------------------------------------------------------------------

    def over(self, care: Care) -> None:
        """An alarm: this guest's overhead passed its grant."""
        self.brakes.wake(care)
        now_s = self.deps.clock.monotonic()
        if (rest_s := self._rests_s.get(care.name, now_s) - now_s) > 0:
            if care.name not in self._later:
                self._later.add(care.name)
                asyncio.get_running_loop().call_later(rest_s, self._rested, care)
            return
        self._over[care.name] = care
        if not self._busy:
            self._busy = True
            self.tasks.spawn(self._grow())

    def _rested(self, care: Care) -> None:
        self._later.discard(care.name)
        self._rests_s.pop(care.name, None)
        if self.room.cares.get(care.name) is care:
            self.over(care)

    async def _grow(self) -> None:
        """First what free room allows, at once; then, with the lock, what neighbours can give."""
        room = self.room
        try:
            while self._over:
                growing, self._over = self._over, {}
                await asyncio.gather(*(room.look(care) for care in growing.values()))
                if room.budget is None:
                    return
                found, inputs = self._found(room.free_budget())
                if found.now:
                    await room.raise_now(found.message, inputs.given(part="now"), found.now)
                # Free room on loan to an alarm process that stands still would help nobody: the lock calls it back.
                if found.then or (found.lent_bytes and room.loan.bytes):
                    async with room.lock:
                        found = await self._from_neighbours() or found
                self._tell(found)
                if not (found.now or found.then):
                    until_s = self.deps.clock.monotonic() + _REST_S
                    self._rests_s.update(dict.fromkeys(growing, until_s))
                if found.lent_bytes > 0:
                    # Beside it: no growing guest waits for what others may give up.
                    most = max(found.wanting, key=lambda want: want.lent_bytes)
                    self.tasks.spawn(self._reclaim(most.name, found.lent_bytes))
        finally:
            self._busy = False

    async def _reclaim(self, name: str, short_bytes: int) -> None:
        """Ask others for memory that no grant can give; what comes of it is shared as any room."""
        if not await self.reclaiming.for_growth(name, short_bytes):
            return
        async with self.room.lock:
            await self.room.divide_again(f"memory was got back for {name}")

    async def _from_neighbours(self) -> Growth | None:
        """Decide again from fresh facts and carry all of it out; the caller holds the lock. None: it could not be."""
        room, deps = self.room, self.deps
        await room.look_at_all()
        host = await room.host()
        budget = room.make_budget(host)
        found, inputs = self._found(budget, host)
        try:
            inputs = inputs.given(part="all", burst_bytes=room.burst_bytes())
            outcomes = await room.transact(found.message, inputs, (*found.now, *found.then), budget)
        except LedgerError as error:
            deps.event("ledger", None, f"neighbours give no room until the ledger can be written: {error.line()}")
            return None
        await room.put_back(outcomes, budget, found.message)
        return found

    def _found(self, budget: decide.Budget, host: HostFacts | None = None) -> tuple[Growth, Inputs]:
        grown = {name: care.lately_bytes for name, care in self.room.cares.items()}
        guests, settings, now_s = self.room.guests(), self.deps.settings, self.deps.clock.monotonic()
        found = decide.grow(guests, budget, settings, now_s, grown=grown)
        return found, Inputs("grow", now_s, settings, guests, budget, host, {"grown": grown})

    def _tell(self, found: Growth) -> None:
        """Growth as an event, and now and then what could not be given."""
        now_s = self.deps.clock.monotonic()
        if found.now or found.then:
            numbers = {want.name: want.then_bytes for want in found.wanting}
            self.deps.event("grown", found.wanting[0].name, found.message, {"grants": numbers})
        for want in found.wanting:
            told_s = self._short.get(want.name)
            if want.lent_bytes > 0 and (told_s is None or now_s - told_s >= _LENT_AGAIN_S):
                self._short[want.name] = now_s
                self.deps.event("lent", want.name, found.message, {"lent_bytes": want.lent_bytes})

    # --- the safety net --------------------------------------------------------------------------------

    async def look(self, looked: Collection[Care]) -> None:
        """What the sweep asks: anybody over its grant, with room to spare, heading for its wall, or held for long?

        ``looked``: those with a reading of this sweep; a trend can only have changed there.
        """
        room, now_s = self.room, self.deps.clock.monotonic()
        names = {care.name for care in looked}
        for care in list(room.cares.values()):
            if care.warned or care.name in names:
                self._warn(care, now_s)
            self.brakes.learn(care)
            if care.record.braked is not None:
                self.brakes.wake(care)
            if self._is_over(care):
                self.over(care)
            if care.record.held:
                await self._runaway(care, now_s)
        if now_s - self._gave_s >= GIVE_BACK_S and not room.lock.locked():
            self._gave_s = now_s
            await self._give_back(now_s)

    def _is_over(self, care: Care) -> bool:
        reading = care.reading
        if reading is None or reading.overhead_bytes is None or care.record.released:
            return False
        return reading.overhead_bytes + care.returned_bytes > care.record.grant_bytes

    async def _give_back(self, now_s: float) -> None:
        """Steps back of those that have had room to spare for a while."""
        self.tasks.spawn(self.reclaiming.tend())
        room, deps = self.room, self.deps
        async with room.lock.only_looking():
            if room.budget is None:
                return
            # By the budget as last seen: looking at a host with a thousand guests takes a tenth of a second.
            found = decide.give_back(room.guests(), room.budget, deps.settings, now_s, self._since_s)
            if not found.actions:
                self._since_s = found.since_s
                return
            await room.loan.recall()
            host = await room.host()
            budget = room.make_budget(host)
            guests = room.guests()
            found = decide.give_back(guests, budget, deps.settings, now_s, self._since_s)
            inputs = Inputs("give_back", now_s, deps.settings, guests, budget, host, {"since_s": self._since_s})
            self._since_s = found.since_s
            if not found.actions:
                return
            names = ", ".join(one.name for one in found.spare if one.to_bytes < one.grant_bytes)
            try:
                inputs = inputs.given(burst_bytes=room.burst_bytes())
                outcomes = await room.transact(f"{names} give room back", inputs, found.actions, budget)
            except LedgerError as error:
                deps.event("ledger", None, f"nobody gives room back until the ledger can be written: {error.line()}")
                return
            await room.put_back(outcomes, budget, "giving back")
            room.set_budget(budget)
            deps.event("given_back", None, f"{names} give room back", {"given_bytes": found.given_bytes})

    def _warn(self, care: Care, now_s: float) -> None:
        """Raise or clear the warning that a guest is heading for its wall; booting is no trend."""
        if now_s - care.started_s < _BOOT_S:
            return
        seen = decide.outlook(care.facts(), care.points, self.room.headroom_left())
        news = decide.warning(seen, self._warned.get(care.name), self.deps.settings, now_s)
        match news:
            case Warned():
                self._warned[care.name] = news
                numbers = {"left_s": news.left_s, "room_bytes": news.room_bytes, "slope": news.slope_bytes_per_s}
                self.deps.event("warning", care.name, news.message, numbers)
            case Cleared():
                self._warned.pop(care.name, None)
                self.deps.event("warning_cleared", care.name, news.message, {"lasted_s": news.lasted_s})
            case None:
                pass
        care.warned = care.name in self._warned

    async def _runaway(self, care: Care, now_s: float) -> None:
        """What becomes of a guest that has been held for long (``on_runaway``)."""
        if not care.record.held or care.held_since_s is None or self.room.lock.locked():
            return
        found = decide.runaway(care.facts(), now_s - care.held_since_s, self.deps.settings)
        if found is None or found.choice is OnRunaway.HOLD:
            return
        self.deps.event("runaway", care.name, found.reason, {"over_bytes": found.over_bytes})
        async with self.room.lock:
            self.deps.alarms.forget(care.name)
            care.let_run = found.choice is OnRunaway.WALL
            await self.endings.free_to_end(care, found.reason)
            if found.choice is OnRunaway.STOP:
                care.before_stop, care.stopping_s = care.record.state, now_s
                care.record = replace(care.record, state=GuestState.STOPPING)
        if found.choice is OnRunaway.STOP and care.record.identity is not None:
            identity = care.record.identity
            machine = self.deps.machine
            await self.deps.kernel(machine.kill, identity.pid, identity.start_ticks, signal.SIGTERM)
