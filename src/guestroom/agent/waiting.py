"""The waiting room: newcomers that don't fit and want to wait, served first in, first out (``on_short = wait``).

Who may be asked is ``decide.queue``'s to say; here is who is there to be told, when it is worth asking again, and
what outlives the agent. A place is in the ledger before its owner hears of it, and belongs to one ``run``, by its
pid and start time: one that lost the agent asks again and has its place, nobody else can have it, and one that is
gone holds up nobody.

The queue changes only under the room's lock, like the room itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from guestroom import decide
from guestroom.actions import Verdict
from guestroom.agent.views import queued_row, verdict_row, waiting_row
from guestroom.decide import Place, Queue
from guestroom.errors import GuestroomError, HostError, UsageError
from guestroom.facts import HostFacts
from guestroom.turns import Process, QueueEntry
from guestroom.units import MIB

if TYPE_CHECKING:
    from guestroom.agent.request import Understood
    from guestroom.agent.reserve import Reservation
    from guestroom.agent.room import Room

_LOOK_S = 2.0
"""How often the first is asked again without any news: floors also fall by the clock (``settle_s``, peaks)."""
_COARSE_BYTES = 16 * MIB
"""Free room that moved by less is not told anew: it moves with every load."""
_RECLAIM_S = 30.0
"""How often memory is asked back from the guests for the first that waits."""


@dataclass(slots=True)
class _Waiter:
    """One that waits and can be told so."""

    reservation: Reservation
    decided: asyncio.Future[Verdict]
    told: tuple[object, ...] = ()
    place: int | None = None


@dataclass(slots=True)
class Waiting:
    """All that wait for room."""

    room: Room
    queue: Queue = ()
    _here: dict[str, _Waiter] = field(default_factory=dict)
    _written: set[str] = field(default_factory=set)
    """Who has a place in the ledger."""
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _began_s: float = 0.0
    _trouble: str = ""
    reclaim: Callable[[Understood], Awaitable[None]] | None = None
    """Gets memory back for one that falls short (``Reclaiming.before``)."""
    _reclaimed_s: float = 0.0

    def __post_init__(self) -> None:
        self.room.changed = self.wake

    # --- life ------------------------------------------------------------------------------------------

    async def recover(self) -> None:
        """Take back who waited when the last agent ended. The caller holds the lock, and the guests are back."""
        deps = self.room.deps
        self._began_s = deps.clock.monotonic()
        for entry in await deps.book(deps.ledger.get_waiting):
            self._written.add(entry.name)
            if entry.name in self.room.cares:
                self.begun(entry.name)  # it got its room with the last agent's last breath
            elif await self._lives(entry.process):
                self.queue = (*self.queue, entry)
            else:
                self._forget(entry, "its run ended while no agent ran")
        self.wake()

    async def run(self) -> None:
        """Ask again whenever something changed, and now and then, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._patience_s())
            if self.queue:
                await self.look()
                await self._get_back()
            else:
                self._wake.clear()

    async def _get_back(self) -> None:
        """Memory for the first that waits, now and then: what guests can spare changes while it waits."""
        now_s = self.room.deps.clock.monotonic()
        first = self._here.get(self.queue[0].name) if self.queue else None
        if self.reclaim is None or first is None or now_s - self._reclaimed_s < _RECLAIM_S:
            return
        self._reclaimed_s = now_s
        await self.reclaim(first.reservation.wanted)
        self.wake()

    def wake(self) -> None:
        """Room may have come free: a guest ended, gave back, shrank, or somebody left the queue."""
        self._wake.set()

    def _patience_s(self) -> float | None:
        """How long nobody needs to be asked without news."""
        now_s = self.room.deps.clock.monotonic()
        times = [left_s for entry in self.queue if (left_s := entry.left_s(now_s)) is not None]
        return min([_LOOK_S, *times]) if self.queue else None

    # --- coming and going ------------------------------------------------------------------------------

    async def claim(self, name: str, process: Process) -> None:
        """Make sure that a place under ``name`` is ``process``'s own. Raises ``UsageError`` where it is another's.

        The caller holds the lock.
        """
        entry = self._entry(name)
        if entry is None or entry.process == process:
            return
        if await self._lives(entry.process):
            raise UsageError(
                f"a guest named {name!r} waits for room already",
                where=name,
                hint="choose another name, or end the run that waits (guestroom ps shows it)",
            )
        self._leave(entry, "its run is gone")

    def with_one(self, entry: QueueEntry) -> Queue:
        """The queue with ``entry``'s guest in it: at its end, or at the place it has."""
        return decide.enqueue(
            self.queue,
            entry.newcomer,
            entry.queued_s,
            timeout_s=entry.timeout_s,
            burst_bytes=entry.burst_bytes,
            process=entry.process,
        )

    async def join(self, reservation: Reservation, asked: QueueEntry, verdict: Verdict) -> None:
        """Give a newcomer its place, or the one it had; durable before it hears of it. The caller holds the lock."""
        deps, name = self.room.deps, asked.name
        known = self._entry(name)
        queue = self.with_one(asked)
        entry = next(one for one in queue if one.name == name)
        if entry != known:
            await deps.durable(lambda book: book.put_waiting(entry))
            self._written.add(name)
        self.queue = queue
        self._replace(name, _Waiter(reservation, asyncio.get_running_loop().create_future()))
        word = "" if known is None else "back again: "
        deps.event("queued", name, f"{word}{verdict.message}", verdict_row(verdict))
        deps.fault("queued")
        self.wake()

    async def decision(self, name: str) -> Verdict | None:
        """Wait until ``name`` is let in or refused; None: its ``run`` went away, and its place with it."""
        waiter = self._here[name]
        gone = asyncio.ensure_future(waiter.reservation.session.gone.wait())
        try:
            await asyncio.wait((waiter.decided, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
        if not waiter.decided.done():
            async with self.room.lock:
                entry = self._entry(name)
                if self._here.get(name) is waiter and entry is not None and not waiter.decided.done():
                    self._leave(entry, "its run went away")
        return waiter.decided.result() if waiter.decided.done() else None

    def took(self, name: str) -> None:
        """``name`` has its room: it waits no more. Its place stays in the ledger until ``begun``."""
        self.queue = decide.leave(self.queue, name)
        self._here.pop(name, None)
        self.wake()

    def begun(self, name: str) -> None:
        """Its QEMU is about to be executed, or never will be: there is nothing left to come back to."""
        if name in self._written:
            self._written.discard(name)
            self.room.deps.late.remove_waiting(name)
            self.room.deps.flush()

    def _replace(self, name: str, waiter: _Waiter) -> None:
        """Only the newest connection of a ``run`` counts."""
        former = self._here.pop(name, None)
        if former is not None:
            former.reservation.session.gone.set()
        self._here[name] = waiter

    def _entry(self, name: str) -> QueueEntry | None:
        return next((entry for entry in self.queue if entry.name == name), None)

    def _leave(self, entry: QueueEntry, why: str) -> None:
        self.took(entry.name)
        self._forget(entry, why)

    def _forget(self, entry: QueueEntry, why: str) -> None:
        """Told, and out of the ledger."""
        waited_s = max(0.0, self.room.deps.clock.monotonic() - entry.queued_s)
        message = f"{entry.name} left the queue after {waited_s:.0f} s: {why}"
        self.room.deps.event("queue_left", entry.name, message, {"waited_s": round(waited_s, 3)})
        self.begun(entry.name)

    async def _lives(self, process: Process | None) -> bool:
        """Whether exactly this process is there."""
        deps = self.room.deps
        if process is None or process.boot_id != await deps.kernel(deps.machine.boot_id):
            return False
        try:
            return await deps.kernel(deps.machine.start_ticks, process.pid) == process.start_ticks
        except HostError:
            return False

    # --- whose turn it is ------------------------------------------------------------------------------

    async def look(self) -> None:
        """Serve whoever can be served, and tell the others where they stand."""
        async with self.room.lock:
            try:
                while await self._turn():
                    pass
                self._trouble = ""
            except GuestroomError as error:
                # The first stays the first; what went wrong is told once, and it is asked again.
                if error.line() != self._trouble:
                    self._trouble = error.line()
                    self.room.deps.event("queue_failed", None, f"nobody can be let in now: {error.line()}")
            # What was done here under the lock is no news for another look.
            self._wake.clear()

    async def _turn(self) -> bool:
        """One look at the queue; True where another may bring more."""
        room, deps = self.room, self.room.deps
        await room.look_at_all()
        host, now_s = await room.host(), deps.clock.monotonic()
        guests = room.guests()
        stays = tuple(care.facts() for care in room.cares.values() if care.record.released)

        def ask(entry: QueueEntry) -> Verdict:
            burst = room.following.with_newcomer(entry.burst_bytes)
            return decide.admit(entry.newcomer, guests, host, deps.settings, now_s, burst_bytes=burst)

        turn = decide.next_admissible(
            self.queue, ask, now_s, alone=lambda entry: decide.could_ever_fit(entry, stays, host, deps.settings)
        )
        stood = {place.name: place for place in decide.places(self.queue, None, now_s)}
        for entry in turn.expired:
            self._refuse(entry, decide.gave_up(ask(entry), stood[entry.name]), "queue_timeout")
        for entry, never in turn.impossible:
            self._refuse(entry, decide.in_vain(never), "refused")
        if not self.queue:
            return False
        first = self.queue[0]
        if first.name not in self._here:
            return await self._absent(first, now_s)
        if turn.start is not None and await self._let_in(turn.start[0], now_s):
            return True
        self._tell(turn.places)
        return False

    async def _let_in(self, first: QueueEntry, now_s: float) -> bool:
        """Make room for the first; False where a step of it did not hold, and it stays the first."""
        waiter = self._here[first.name]
        verdict = await waiter.reservation.attempt(waited_s=now_s - first.queued_s)
        if waiter.reservation.care is None:
            return False
        self.took(first.name)
        waiter.decided.set_result(verdict)
        return True

    async def _absent(self, first: QueueEntry, now_s: float) -> bool:
        """The first has not come back since the agent started. Its place is kept for as long as it may still come."""
        if not await self._lives(first.process):
            self._leave(first, "its run is gone")
            return True
        if now_s - self._began_s > self.room.deps.settings.agent_lost_s:
            self._leave(first, "its run did not come back")
            return True
        return False

    def _refuse(self, entry: QueueEntry, verdict: Verdict, kind: str) -> None:
        waiter, deps = self._here.get(entry.name), self.room.deps
        self.took(entry.name)
        if kind in ("queue_timeout", "refused"):
            deps.event(kind, entry.name, verdict.message, verdict_row(verdict))
        self.begun(entry.name)
        if waiter is not None:
            waiter.decided.set_result(verdict)

    def turned_away(self, name: str, verdict: Verdict) -> None:
        """A newcomer that is refused, whether it had a place (with other settings, or another command) or not."""
        entry = self._entry(name)
        if entry is not None:
            self.took(name)
            self.begun(name)
        self.room.deps.event("refused", name, verdict.message, verdict_row(verdict))

    def _tell(self, places: tuple[Place, ...]) -> None:
        """Each that listens hears its place again where something of it changed."""
        for place in places:
            waiter = self._here.get(place.name)
            if waiter is None:
                continue
            if waiter.place is not None and place.place < waiter.place:
                numbers = {"place": place.place, "of": place.of}
                self.room.deps.event("queue_moved", place.name, place.message, numbers)
            waiter.place = place.place
            coarse = None if place.free_bytes is None else place.free_bytes // _COARSE_BYTES
            holders = tuple(holder.name for holder in place.holders)
            told = (place.place, place.before, place.need_bytes, place.short_of, coarse, holders)
            if told != waiter.told:
                waiter.told = told
                waiter.reservation.session.emit(waiting_row(place))

    # --- showing ---------------------------------------------------------------------------------------

    def rows(self) -> list[dict[str, object]]:
        """Those that wait as ``ps`` shows them, the next one first."""
        now_s = self.room.deps.clock.monotonic()
        return [
            queued_row(entry, place, now_s)
            for entry, place in zip(self.queue, decide.places(self.queue, None, now_s), strict=True)
        ]

    def foretell(self, asked: QueueEntry, verdict: Verdict, host: HostFacts) -> Verdict:
        """What a newcomer would be told beside those that wait. The caller holds the lock."""
        room = self.room
        stays = tuple(care.facts() for care in room.cares.values() if care.record.released)
        never = decide.could_ever_fit(asked, stays, host, room.deps.settings)
        return decide.in_line(self.with_one(asked), asked.name, verdict, never, room.deps.clock.monotonic())
