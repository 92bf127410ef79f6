"""Getting memory back before anybody is turned away or held: what ``decide.reclaim`` names, carried out and measured.

Everything here blocks on the kernel or on guests, so it runs on threads, outside the room's lock, within ``reclaim_s``,
and never on the way of an alarm: a newcomer waits for it before it is decided about, a growing guest does not.
What was gained is what the kernel shows afterwards, never what was hoped for.
"""

from __future__ import annotations

import asyncio
import math

from guestroom import decide
from guestroom.actions import Verdict
from guestroom.agent.balloons import Balloons
from guestroom.agent.care import Care
from guestroom.agent.request import Understood
from guestroom.agent.room import Room
from guestroom.config import Reclaim
from guestroom.decide.reclaim import Ask, Means, Short, Source, reclaim, shortage
from guestroom.errors import GuestroomError, HostError
from guestroom.facts import Accounting, GuestState, HostFacts, MemoryReading
from guestroom.units import format_bytes

_REST_S = 10.0
"""How long the guests are left in peace after they were asked for a growing one."""
_TEND_S = 5.0
"""How often lent RAM is looked after."""


class Reclaiming:
    """Asks guests for memory, one round at a time."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.deps = room.deps
        self._lock = asyncio.Lock()
        self._rest_until_s = 0.0
        self._tended_s = self.deps.clock.monotonic()
        reclaimer = self.deps.reclaimer
        self.balloons = Balloons(room, reclaimer) if reclaimer is not None else None

    @property
    def _on(self) -> bool:
        return self.balloons is not None and self.deps.settings.reclaim is not Reclaim.OFF

    # --- occasions -------------------------------------------------------------------------------------

    async def before(self, wanted: Understood) -> None:
        """Before a newcomer is decided about: where it would fall short, get back what may be got back."""
        if not self._on or wanted.newcomer.name in self.room.cares:
            return
        try:
            await self._before(wanted)
        except GuestroomError as error:
            # Whether it may start is decided from what there is, with or without this.
            self._failed(wanted.newcomer.name, error.line())

    async def _before(self, wanted: Understood) -> None:
        room, deps, newcomer = self.room, self.deps, wanted.newcomer
        await room.look_at_all()
        host = await room.host()
        burst = max(room.burst_bytes(), wanted.burst_bytes)
        verdict = decide.admit(newcomer, room.guests(), host, deps.settings, deps.clock.monotonic(), burst_bytes=burst)
        found = shortage(verdict)
        if found is None:
            total = decide.budget(host, room.guests(), deps.settings, newcomer=newcomer, burst_bytes=burst)
            wall = await deps.kernel(deps.observer.cgroup, deps.layout.memory)
            wanted_bytes = newcomer.ram_charged_bytes + newcomer.boot_floor_bytes
            found = (Short.CHARGE, (wall.usage_bytes or 0) + wanted_bytes - total.wall_bytes)
        await self._round(*found, host, newcomer.name)

    async def for_growth(self, name: str, short_bytes: int) -> bool:
        """A guest grows and nobody has room for it: ask the others; True where something was gained."""
        now_s = self.deps.clock.monotonic()
        if not self._on or self._lock.locked() or now_s < self._rest_until_s or short_bytes <= 0:
            return False
        self._rest_until_s = now_s + _REST_S
        try:
            return await self._round(Short.OVERHEAD, short_bytes, await self.room.host(), name) > 0
        except GuestroomError as error:
            self._failed(name, error.line())
            return False

    def named(self, verdict: Verdict, host: HostFacts) -> list[dict[str, object]]:
        """For ``plan``: who would be asked for what before this verdict stands."""
        found = shortage(verdict)
        asks = self._asks(*found, host) if found is not None and self._on else ()
        return [
            {"means": ask.means.value, "name": ask.name, "bytes": ask.want_bytes, "why": ask.reason} for ask in asks
        ]

    async def tend(self) -> None:
        """Look after RAM that is lent."""
        now_s = self.deps.clock.monotonic()
        if self.balloons is None or self._lock.locked() or now_s - self._tended_s < _TEND_S:
            return
        self._tended_s = now_s
        async with self._lock:
            try:
                await self.balloons.tend()
            except GuestroomError as error:
                self._failed(None, error.line())

    # --- one round -------------------------------------------------------------------------------------

    def _asks(self, short: Short, short_bytes: int, host: HostFacts) -> tuple[Ask, ...]:
        return reclaim(
            short,
            short_bytes,
            [self._source(care) for care in self.room.cares.values() if care.record.accounting is Accounting.SPLIT],
            self.deps.settings,
            cache_in_use=self.deps.layout.version == 1,
            swap_free_bytes=host.swap_free_bytes,
            page_bytes=host.page_bytes,
        )

    def _source(self, care: Care) -> Source:
        record, reading = care.record, care.reading
        assert self.balloons is not None
        return Source(
            name=record.name,
            weight=record.weight,
            cache_bytes=reading.cache_bytes if reading is not None else None,
            swappable_bytes=reading.overhead_bytes if reading is not None else None,
            ram_bytes=record.promised_charged_bytes,
            balloon_min_bytes=self.balloons.least(care),
            active=record.state in (GuestState.RUNNING, GuestState.PAUSED) and not record.held and not record.released,
        )

    async def _round(self, short: Short, short_bytes: int, host: HostFacts, whom: str) -> int:
        """Ask in order until time is up; bytes gained of what was short."""
        if not (asks := self._asks(short, short_bytes, host)):
            return 0
        async with self._lock:
            deadline_s = self.deps.clock.monotonic() + self.deps.settings.reclaim_s
            gained, lending = 0, []
            for ask in asks:
                if ask.means is Means.BALLOON:
                    lending.append(self._lent(ask, whom, deadline_s))
                elif self.deps.clock.monotonic() < deadline_s:
                    gained += await self._taken(ask, short, whom, deadline_s)
            return gained + sum(await asyncio.gather(*lending))

    async def _taken(self, ask: Ask, short: Short, whom: str, deadline_s: float) -> int:
        """Page cache or swap of one guest; bytes gained of what was short, by the kernel's figures before and after."""
        deps, care = self.deps, self.room.cares.get(ask.name)
        if care is None:
            return 0
        began_s = deps.clock.monotonic()
        if ask.means is Means.CACHE:
            care.cache_gone_s = math.inf
        work = asyncio.ensure_future(deps.kernel(self._take, ask))
        work.add_done_callback(lambda _: self._cache_gone(care))
        done, _ = await asyncio.wait((work,), timeout=max(0.1, deadline_s - began_s))
        if not done:
            work.add_done_callback(lambda task: task.exception())
            self._failed(ask.name, "the kernel takes longer than there is time")
            return 0
        try:
            before, after, host_bytes = work.result()
        except HostError as error:
            self._failed(ask.name, error.line())
            return 0
        charge = _fall(before.usage_bytes, after.usage_bytes)
        # On v2 kernel memory is shown without what reclaim can take: there records were never in use.
        records = _fall(before.kernel_bytes, after.kernel_bytes) if deps.layout.version == 1 else 0
        if ask.means is Means.CACHE:
            care.peaks.cache_gone(before.file_bytes or 0, records)
        await self.room.look(care)
        self._tell(ask, whom, began_s, charge_bytes=charge, overhead_bytes=records, host_bytes=host_bytes)
        match short:
            case Short.OVERHEAD | Short.RAM:
                return records
            case Short.MEMORY_NOW:
                return host_bytes
            case Short.CHARGE:
                return charge

    def _cache_gone(self, care: Care) -> None:
        """From now on the kernel's peak is of what is there: it was reset after the drop."""
        care.cache_gone_s = min(care.cache_gone_s, self.deps.clock.monotonic())

    def _take(self, ask: Ask) -> tuple[MemoryReading, MemoryReading, int]:
        """On a thread: the guest before and after, and by how much more the host has available."""
        deps, reclaimer = self.deps, self.deps.reclaimer
        assert reclaimer is not None
        folder = deps.layout.guest(ask.name)
        before, host = deps.observer.cgroup(folder), deps.observer.host()
        if ask.means is Means.CACHE:
            reclaimer.drop_cache(ask.name)
        else:
            reclaimer.swap_out(ask.name, ask.want_bytes)
        available = deps.observer.host().available_bytes
        return before, deps.observer.cgroup(folder), _fall(available, host.available_bytes)

    async def _lent(self, ask: Ask, whom: str, deadline_s: float) -> int:
        """RAM of one guest."""
        care, began_s = self.room.cares.get(ask.name), self.deps.clock.monotonic()
        if care is None or self.balloons is None:
            return 0
        lent = await self.balloons.lend(care, ask, deadline_s)
        if lent:
            self._tell(ask, whom, began_s, ram_bytes=lent)
        return lent

    def _tell(self, ask: Ask, whom: str, began_s: float, **gained: int) -> None:
        what = {
            Means.CACHE: "page cache dropped",
            Means.SWAP: "memory swapped",
            Means.BALLOON: "RAM lent",
        }[ask.means]
        parts = ", ".join(f"{format_bytes(size)} of {_NAMES[name]}" for name, size in gained.items() if size > 0)
        self.deps.event(
            "reclaimed",
            ask.name,
            f"{what} by {ask.name} for {whom}: {parts or 'nothing gained'}",
            {"means": ask.means.value, "for": whom, "asked_bytes": ask.want_bytes}
            | {"charge_bytes": 0, "overhead_bytes": 0, "host_bytes": 0, "ram_bytes": 0}
            | gained
            | {"took_s": round(self.deps.clock.monotonic() - began_s, 3)},
        )

    def _failed(self, name: str | None, why: str) -> None:
        self.deps.event("reclaim_failed", name, f"nothing was got back: {why}")


_NAMES = {
    "charge_bytes": "charge",
    "overhead_bytes": "overhead",
    "host_bytes": "host memory",
    "ram_bytes": "promised RAM",
}


def _fall(before: int | None, after: int | None) -> int:
    """By how much a figure fell; nothing where one is not known."""
    return max(0, before - after) if before is not None and after is not None else 0
