"""RAM lent through balloons: taken where the operator allows it, counted by what really came back, returned room first.

Lending makes a guest's promise smaller: its limit falls by what came back before anybody else may have it, and what the
guest takes back unasked (a reset guest has an empty balloon) is then overhead like any other, served by the headroom
and held where that ends. Returning goes the other way round: first the room, written and read back, then the balloon.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from guestroom.actions import OutcomeKind
from guestroom.agent.care import Care
from guestroom.agent.deps import Balloon, Reclaimer
from guestroom.agent.plans import inputs_of
from guestroom.agent.room import Room, broken
from guestroom.decide.reclaim import LEAST_BYTES, Ask, given_back, lending, spare_bytes
from guestroom.errors import GuestroomError, HostError, LedgerError, QmpError
from guestroom.facts import Accounting, GuestState
from guestroom.ports import Clock
from guestroom.units import PAGE_BYTES, format_bytes, round_down

_REACH_S = 1.0
"""How long a monitor may take to answer at all."""
_LOOK_S = 0.05
"""How often the guest is asked how far it is."""
_TOLERANCE_BYTES = 4 << 20
"""RAM that came back by less than this is noise of counting."""


@dataclass(frozen=True, slots=True)
class _Inflated:
    """How far a guest came."""

    left_bytes: int
    """RAM it has left by its own word."""
    charge_bytes: int
    """By how much its charge fell meanwhile."""


class Balloons:
    """Carries out lending and returning. ``reclaimer`` blocks, so all of it runs on threads."""

    def __init__(self, room: Room, reclaimer: Reclaimer) -> None:
        self.room = room
        self.deps = room.deps
        self.reclaimer = reclaimer
        self._spare_since_s: float | None = None

    # --- lending ---------------------------------------------------------------------------------------

    def least(self, care: Care) -> int | None:
        """RAM the guest keeps at least, None where its balloon is not to be touched."""
        record = care.record
        usable = record.accounting is Accounting.SPLIT and not record.released and record.qmp_path is not None
        return self.deps.settings.guest(care.name).balloon_min_bytes if usable and record.ram_block_bytes else None

    async def lend(self, care: Care, ask: Ask, deadline_s: float) -> int:
        """Have a guest give up to ``want_bytes`` of RAM back; returns what is lent now and was not before.

        Whatever is not sure is not lent: a balloon that may come back unasked by its own option, one somebody else has
        set, RAM that can't be counted. What the guest gave up and nobody may have is given back to it at once.
        """
        try:
            inflated = await self._inflate(care, ask.want_bytes, deadline_s)
        except GuestroomError as error:
            self._not_lent(care, error.line())
            return 0
        async with self.room.lock:
            if self.room.cares.get(care.name) is not care:
                return 0
            more = await self._counted(care, inflated)
            step = lending(care.facts(), more, self.deps.settings, self.deps.clock.monotonic(), PAGE_BYTES)
            if step is not None:
                try:
                    outcomes = await self.room.transact(ask.reason, inputs_of(self.room.guests()), (step,))
                except LedgerError as error:
                    self._not_lent(care, error.line())
                    step = None
                else:
                    step = step if outcomes[0].kind is OutcomeKind.DONE else None
            if step is not None:
                care.record = replace(care.record, lent_ram_bytes=care.record.lent_ram_bytes + more)
                self.room.tell_alarm(care)
                self.room.note(care)
        if step is None:
            more = 0
            self._not_lent(care, "nothing came back that could be counted")
        await self._set_target(care)
        return more

    async def _inflate(self, care: Care, want_bytes: int, deadline_s: float) -> _Inflated:
        """Ask, and wait until the guest is there, or stop it where it is when time is up."""
        room, record = self.room, care.record
        least = self.least(care)
        if least is None or record.qmp_path is None:
            raise QmpError("its balloon is not to be touched", where=care.name)
        before = await self.deps.kernel(self._charge, care.name)
        balloon = await self.deps.kernel(self.reclaimer.balloon, record.qmp_path, _REACH_S)
        try:
            whole = sum(record.ram_block_bytes)
            now = await self.deps.kernel(_may_be_asked, balloon, None if record.ballooned else whole, care.name)
            care.record = replace(care.record, ballooned=True)
            await room.save(care)
            target = max(least, now - want_bytes)
            left = await self.deps.kernel(_wait, self.deps.clock, balloon, target, deadline_s)
        finally:
            await self.deps.kernel(balloon.close)
        # Pages of a huge page that was given up in parts stay charged until reclaim splits it.
        await self.deps.kernel(self.reclaimer.drop_cache, care.name)
        return _Inflated(left, before - await self.deps.kernel(self._charge, care.name))

    async def _counted(self, care: Care, inflated: _Inflated) -> int:
        """What of it may be lent: what the guest says, what smaps counts and what the kernel uncharged all agree on."""
        await self.room.look(care)
        record, reading = care.record, care.reading
        if reading is None or reading.overhead_bytes is None or reading.ram_resident_bytes is None:
            return 0
        said = sum(record.ram_block_bytes) - inflated.left_bytes
        counted = record.ram_charged_bytes - reading.ram_resident_bytes
        sure = min(min(said, counted) - record.lent_ram_bytes, inflated.charge_bytes)
        return round_down(max(0, sure), PAGE_BYTES) if sure >= LEAST_BYTES else 0

    def _charge(self, name: str) -> int:
        """What the kernel has charged to the guest that it could not take by itself."""
        reading = self.deps.observer.cgroup(self.deps.layout.guest(name))
        if reading.unreclaimable_bytes is None:
            raise HostError("its charge is not known", where=name)
        return reading.unreclaimable_bytes

    def _not_lent(self, care: Care, why: str) -> None:
        self.deps.event("not_lent", care.name, f"{care.name} lends no RAM: {why}", {"lent_ram_bytes": 0})

    # --- returning -------------------------------------------------------------------------------------

    async def tend(self) -> None:
        """Return what nobody needs, promise again what guests took back, end balloons that lend nothing."""
        room, deps, now_s = self.room, self.deps, self.deps.clock.monotonic()
        lenders = [care for care in room.cares.values() if care.record.ballooned and not care.record.released]
        if not lenders or room.budget is None:
            self._spare_since_s = None
            return
        host = await room.host()
        spare = spare_bytes(room.guests(), room.make_budget(host), deps.settings, now_s)
        for care in lenders:
            if care.record.lent_ram_bytes == 0 and not care.record.held:
                await self._end(care)
            elif care.returned_bytes > _TOLERANCE_BYTES and spare > 0:
                await self._return(care, min(care.returned_bytes, spare), "it took RAM back unasked")
                return
        if spare < LEAST_BYTES:
            self._spare_since_s = None
            return
        self._spare_since_s = now_s if self._spare_since_s is None else self._spare_since_s
        if now_s - self._spare_since_s < deps.settings.giveback_after_s:
            return
        back = given_back(room.guests(), spare, PAGE_BYTES)
        for care in lenders:
            if back.get(care.name, 0) > 0:
                await self._return(care, back[care.name], "nobody needs it any more")

    async def _return(self, care: Care, size_bytes: int, why: str) -> None:
        """Make the room, see that it holds, and only then let the balloon go."""
        room, deps = self.room, self.deps
        async with room.lock:
            before = care.record
            size = min(round_down(size_bytes, PAGE_BYTES), before.lent_ram_bytes)
            if room.cares.get(care.name) is not care or size <= 0:
                return
            care.record = replace(before, lent_ram_bytes=before.lent_ram_bytes - size)
            outcomes = await room.divide_again(f"{format_bytes(size)} of RAM go back to {care.name}")
            least = care.record.promised_charged_bytes + care.record.grant_bytes
            if room.unsettled or broken(outcomes) or not isinstance(care.limit_bytes, int) or care.limit_bytes < least:
                care.record = replace(care.record, lent_ram_bytes=before.lent_ram_bytes)
                await room.divide_again(f"there was no room for RAM to go back to {care.name}")
                return
            room.tell_alarm(care)
            room.note(care)
        numbers = {"returned_bytes": size, "lent_ram_bytes": care.record.lent_ram_bytes}
        deps.event("ram_returned", care.name, f"{care.name} has {format_bytes(size)} of RAM back: {why}", numbers)
        await self._set_target(care)

    async def _end(self, care: Care) -> None:
        """A balloon that lends nothing is emptied, and is not ours any more."""
        if await self._set_target(care):
            care.record = replace(care.record, ballooned=False)
            self.room.note(care)

    async def _set_target(self, care: Care) -> bool:
        """Let the guest have all RAM that is not lent; a guest that does not answer now is asked again later."""
        record = care.record
        if record.qmp_path is None or record.held or record.state not in (GuestState.RUNNING, GuestState.PAUSED):
            return False
        target = sum(record.ram_block_bytes) - record.lent_ram_bytes
        try:
            await self.deps.kernel(self._ask, record.qmp_path, target)
        except HostError as error:
            self.deps.event("monitor", care.name, f"its balloon could not be set: {error.line()}")
            return False
        return True

    def _ask(self, path: str, target_bytes: int) -> None:
        balloon = self.reclaimer.balloon(path, _REACH_S)
        try:
            balloon.ask(target_bytes)
        finally:
            balloon.close()


def _may_be_asked(balloon: Balloon, whole_bytes: int | None, name: str) -> int:
    """RAM the guest has now; raises ``QmpError`` where its balloon can't be trusted or is another's.

    ``whole_bytes``: what it has where nobody set the balloon; None: we did.
    """
    unasked = balloon.returns_unasked()
    if unasked is not False:
        how = "may come back unasked (deflate-on-oom)" if unasked else "could not be looked at (deflate-on-oom unknown)"
        raise QmpError(f"its balloon {how}", where=name, hint="leave deflate-on-oom off")
    now = balloon.ram_bytes()
    if whole_bytes is not None and now != whole_bytes:
        raise QmpError(
            f"its balloon is set by somebody else: {format_bytes(now)} of {format_bytes(whole_bytes)} are left",
            where=name,
        )
    return now


def _wait(clock: Clock, balloon: Balloon, target_bytes: int, deadline_s: float) -> int:
    """Set the target and follow the guest there; when time is up it stays where it is."""
    balloon.ask(target_bytes)
    left = balloon.ram_bytes()
    while left > target_bytes and clock.monotonic() < deadline_s:
        clock.sleep(_LOOK_S)
        left = balloon.ram_bytes()
    if left > target_bytes:
        balloon.ask(left)
        left = balloon.ram_bytes()
    return left
