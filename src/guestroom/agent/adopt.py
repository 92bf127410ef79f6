"""Guests that run already, taken under care, let go again, and found again after a restart.

Adopting moves nothing and shrinks nothing. What was there, the limit and the OOM killer's setting, is written down
durably before anything is changed, so that ``release`` can put it back whatever happens in between.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from guestroom import decide, size
from guestroom.actions import LetGo, SetLimit
from guestroom.agent.care import Care
from guestroom.agent.clocks import ago_s
from guestroom.agent.deps import Deps, Elsewhere
from guestroom.agent.endings import Endings
from guestroom.agent.peaks import PeakWindow
from guestroom.agent.room import Room
from guestroom.decide import adopt as rules
from guestroom.decide import joint
from guestroom.decide.adopt import Objection
from guestroom.decide.floor import JOINT_MARGIN_BYTES
from guestroom.describe.running import RunningGuest, running
from guestroom.errors import HostError, InputError, NoRoomError, UsageError, VanishedError
from guestroom.facts import Accounting, Adoption, Candidate, GuestFacts, GuestRecord, GuestState
from guestroom.guest import check_name
from guestroom.units import UNLIMITED, Limit, format_bytes, format_limit, round_up

_LOOKS = 3
"""Two counts of a busy guest may differ once; three times in a row they do so for a reason."""
_LOOK_AGAIN_S = 0.1


@dataclass(frozen=True, slots=True)
class AdoptRequest:
    """An adoption as asked for, by ``pid`` or libvirt's ``domain``; ``peer_uid`` is the kernel's word for who asks."""

    pid: int | None
    domain: str | None
    name: str | None
    limit_bytes: int | None
    watch: bool
    ram_bytes: int | None
    peer_uid: int


class Adoptions:
    """Ways into care and out of it for guests that guestroom did not start."""

    def __init__(self, room: Room, endings: Endings) -> None:
        self.room = room
        self.deps = room.deps
        self.endings = endings

    async def adopt(self, wish: AdoptRequest) -> Care:
        """Take a running QEMU under care. Raises ``InputError`` or ``NoRoomError``, with nothing changed."""
        deps, room, elsewhere = self.deps, self.room, _elsewhere(self.deps)
        if (wish.pid is None) == (wish.domain is None):
            raise UsageError("name one guest: a pid or a libvirt domain")
        if wish.watch and wish.limit_bytes is not None:
            raise UsageError("--watch writes nothing, so it goes without --limit")
        pid = wish.pid if wish.pid is not None else await deps.kernel(elsewhere.domain, str(wish.domain))
        found = await deps.kernel(elsewhere.candidate, pid)
        _check_asker(found, wish)
        async with room.lock:
            under_care = [c.record.identity.pid for c in room.cares.values() if c.record.identity is not None]
            _raise_for(
                rules.objection(
                    found, wall=deps.layout.memory, under_care=under_care, watch=wish.watch, domain=wish.domain
                ),
                str(pid),
            )
            guest = running(found.argv, huge_paths=deps.huge_paths, ram_bytes=wish.ram_bytes)
            name = self._name(wish, guest)
            unit = None if wish.watch or wish.domain is not None else rules.unit_to_tell(found)
            had = None if unit is None else await deps.kernel(elsewhere.unit_limit, unit, found.cgroup)
            care = self._care(name, wish, found, guest, unit, had)
            assert care.record.adoption is not None
            elsewhere.know(name, found.identity, care.record.adoption)
            try:
                await self._take(care, wish, found)
            except BaseException:
                room.cares.pop(name, None)
                if care.pidfd is not None:
                    os.close(care.pidfd)
                elsewhere.forget(name)
                raise
            self.endings.watch(care)
            await self._told(care, found)
        return care

    def _name(self, wish: AdoptRequest, guest: RunningGuest) -> str:
        name = wish.name or wish.domain or guest.guest.name
        if name is None:
            raise UsageError("this guest has no name of its own", hint="give it one with --name")
        if name in self.room.cares:
            raise UsageError(
                f"a guest named {name!r} is under care already", where=name, hint="give this one another --name"
            )
        return check_name(name)

    def _care(
        self,
        name: str,
        wish: AdoptRequest,
        found: Candidate,
        guest: RunningGuest,
        unit: str | None,
        unit_limit: Limit | None,
    ) -> Care:
        """The guest as it will be under care, with the limit it has; systemd's ``unit`` has ``unit_limit``."""
        deps, settings = self.deps, self.deps.settings
        own = settings.guest(name)
        need = size.need(
            guest.guest,
            settings.policy,
            host_overhead_bytes=settings.overhead_bytes,
            guest_overhead_bytes=own.overhead_bytes,
        )
        ram, overhead = guest.ram_charged_bytes, need.estimate.overhead_bytes
        limit = found.limit_bytes if isinstance(found.limit_bytes, int) else ram + overhead
        now_s, started_s = deps.clock.monotonic(), found.identity.start_ticks / os.sysconf("SC_CLK_TCK")
        started_s = min(now_s, started_s)
        kept = None if wish.watch else wish.limit_bytes or limit
        record = GuestRecord(
            name=name,
            state=GuestState.RUNNING,
            accounting=Accounting.JOINT,
            identity=found.identity,
            ram_bytes=guest.guest.ram_bytes or 0,
            ram_charged_bytes=ram,
            weight=own.weight if own.weight is not None else max(1, guest.guest.ram_bytes or 0),
            need_bytes=overhead,
            boot_floor_bytes=min(size.boot_floor_bytes(guest.guest), overhead),
            cap_bytes=own.cap_bytes if own.cap_bytes is not None else settings.cap_bytes,
            grant_bytes=max(0, limit - round_up(ram)),
            admitted_grant_bytes=max(0, limit - round_up(ram)),
            limit_bytes=limit,
            overhead_peak_bytes=None,
            started_wall_s=deps.clock.wall() - (now_s - started_s),
            policy=settings.policy if need.origin is size.Origin.ESTIMATE else need.origin.value,
            on_short=settings.on_short.value,
            ram_block_bytes=guest.ram_block_bytes,
            adoption=Adoption(
                found.cgroup,
                found.freezer,
                found.limit_bytes,
                found.killer,
                kept,
                wish.watch,
                wish.domain,
                unit,
                unit_limit,
            ),
        )
        return Care(record, started_s, PeakWindow(settings.peak_window_s), limit_bytes=found.limit_bytes)

    async def _take(self, care: Care, wish: AdoptRequest, found: Candidate) -> None:
        """Judge its limit, write down what is there, then switch its killer off and set the limit asked for."""
        deps, room, name = self.deps, self.room, care.name
        for _ in range(_LOOKS):
            await room.look(care)
            if care.reading is not None and care.reading.overhead_bytes is not None:
                break
            await asyncio.sleep(_LOOK_AGAIN_S)
        care.pidfd = await deps.kernel(deps.machine.pidfd, found.identity.pid, found.identity.start_ticks)
        if wish.watch:
            await room.save(care)
            room.cares[name] = care
            return
        facts = care.facts()
        floor = decide.floor_bytes(facts, deps.settings, deps.clock.monotonic())
        how = care.reading.how if care.reading is not None else "its memory can't be read"
        _raise_for(
            rules.limit_objection(
                found.limit_bytes,
                wish.limit_bytes,
                ram_charged_bytes=facts.ram_charged_bytes,
                overhead_bytes=facts.overhead_bytes,
                floor_bytes=floor,
                margin_bytes=JOINT_MARGIN_BYTES,
                how=how,
            ),
            name,
        )
        await room.save(care)
        room.cares[name] = care
        try:
            await deps.kernel(_elsewhere(deps).secure, name, found.limit_bytes)
            await deps.kernel(lambda: deps.machine.killers([name], enabled=False, wall=False))
            if wish.limit_bytes is not None and wish.limit_bytes != found.limit_bytes:
                await self._set(care, facts, wish.limit_bytes, floor or 0)
        except BaseException:
            await asyncio.shield(self._undo(care, found.limit_bytes))
            raise

    async def _set(self, care: Care, facts: GuestFacts, limit: int, floor: int) -> None:
        """Set the limit that was asked for: a first one, or a raise for which there must be room (P1)."""
        deps, room = self.deps, self.room
        reason = "asked for at its adoption"
        if isinstance(facts.limit_bytes, int):
            host, guests, now_s = await room.host(), room.guests(), deps.clock.monotonic()
            burst = room.burst_bytes()
            total = decide.budget(host, guests, deps.settings, burst_bytes=burst)
            most = joint.most_raise(total, guests, deps.settings, now_s)
            if limit - facts.limit_bytes > most:
                raise NoRoomError(
                    f"there is no room to raise the limit of {care.name} to {format_bytes(limit)}: "
                    f"{format_bytes(most)} are left in the budget",
                    where=care.name,
                    numbers={"limit_bytes": facts.limit_bytes, "wanted_bytes": limit, "left_bytes": most},
                    hint="leave --limit out to keep its present limit, or make room on the host",
                )
            more = limit - facts.limit_bytes
            actions = joint.raise_by(facts, more, reason, guests, host, deps.settings, now_s, burst_bytes=burst)
        else:
            ram = round_up(facts.ram_charged_bytes)
            least = ram + round_up(floor)
            actions = (SetLimit(care.name, UNLIMITED, limit, facts.grant_bytes, limit - ram, least, reason),)
        outcomes = await room.transact(f"adopt {care.name}", {"limit_bytes": limit}, actions)
        if not outcomes[-1].ok:
            raise HostError(f"the limit of {care.name} could not be set: {outcomes[-1].detail}", where=care.name)

    async def _undo(self, care: Care, limit: Limit) -> None:
        """An adoption that failed leaves what it found."""
        deps = self.deps
        try:
            await deps.kernel(_elsewhere(deps).restore, care.name, limit)
        except HostError as error:
            deps.event("step_failed", care.name, f"what was there before could not be put back: {error.line()}")
        deps.late.remove_guest(care.name, "it was not adopted")
        deps.flush()

    async def _told(self, care: Care, found: Candidate) -> None:
        """It is under care: say so, divide what is left for the others, and say loudly if it is too little (P1)."""
        deps, room, record = self.deps, self.room, care.record
        _elsewhere(deps).held(care.name, held=False)
        how = "only looked at" if record.adoption is not None and record.adoption.watch else "under care"
        message = (
            f"{care.name} (process {found.identity.pid} in {found.cgroup}) is {how}; "
            f"its limit is {format_limit(care.limit_bytes)}, it was {format_limit(found.limit_bytes)}"
        )
        deps.event("adopted", care.name, message, {"pid": found.identity.pid, "limit_bytes": record.limit_bytes})
        await room.divide_again(f"{care.name} was adopted")
        tell_overcommitted(room)

    # --- out of care -----------------------------------------------------------------------------------

    async def release(self, care: Care) -> None:
        """Put back what was there and forget it; it counts on as a QEMU that is not under care. Caller holds the lock.

        Its former limit is not put back where it uses more than that by now: then the limit it has stays (P2).
        """
        room, name = self.room, care.name
        if care.record.held:
            await self.endings.let_go(care, "released")
        care.record = replace(care.record, released=True)
        await room.save(care)
        await self._finish_release(care)
        await room.divide_again(f"{name} was released")

    async def _finish_release(self, care: Care) -> None:
        deps, name, adoption = self.deps, care.name, care.record.adoption
        assert adoption is not None
        limit = self._limit_after(care, adoption)
        message = f"{name} is let go; nothing of it was written"
        if not adoption.watch:
            message = f"{name} is let go with a limit of {format_limit(limit)}"
            if limit != adoption.former_limit_bytes:
                message += f": it uses too much for its former {format_limit(adoption.former_limit_bytes)}"
            try:
                await deps.kernel(_elsewhere(deps).restore, name, limit)
            except VanishedError:
                message = f"{name} is let go; it has ended"
            except HostError as error:
                deps.event("step_failed", name, f"its former limit could not be put back: {error.line()}")
                message = f"{name} is let go with the limit it has"
        care.limit_bytes = care.limit_bytes if adoption.watch else limit
        deps.event("released", name, message, {"limit_bytes": limit if isinstance(limit, int) else "unlimited"})
        await self.room.retire(care, "released")

    def _limit_after(self, care: Care, adoption: Adoption) -> Limit:
        """The limit it is let go with: the former one, unless that is below what it must keep."""
        former, now = adoption.former_limit_bytes, care.limit_bytes
        if not isinstance(former, int) or not isinstance(now, int) or former >= now:
            return former
        # A released guest's facts hide its use, so that nobody moves it: asked here as one under care.
        facts = replace(care, record=replace(care.record, released=False)).facts()
        floor = decide.floor_bytes(facts, self.deps.settings, self.deps.clock.monotonic())
        if floor is None:
            return now
        return min(now, max(former, round_up(facts.ram_charged_bytes) + round_up(floor)))

    # --- after a restart -------------------------------------------------------------------------------

    async def take_back(self, records: Mapping[str, GuestRecord]) -> None:
        """Find the adopted guests of the last agent again. The caller holds the lock."""
        for record in records.values():
            care, why = await self._found_again(record)
            if care is None:
                self.deps.late.remove_guest(record.name, why)
                self.deps.event("ended", record.name, f"{record.name} ended while no agent ran: {why}")
            elif record.released:
                await self.room.look(care)
                await self._finish_release(care)

    async def _found_again(self, record: GuestRecord) -> tuple[Care | None, str]:
        """The guest under care again, or None and why not."""
        deps, identity, adoption = self.deps, record.identity, record.adoption
        assert identity is not None
        assert adoption is not None
        if deps.elsewhere is None:
            return None, "this host has no way to adopt"
        try:
            found = await deps.kernel(deps.elsewhere.candidate, identity.pid)
            pidfd = await deps.kernel(deps.machine.pidfd, identity.pid, identity.start_ticks)
        except HostError as error:
            return None, error.line()
        if found.identity != identity or found.cgroup != adoption.cgroup:
            os.close(pidfd)
            return None, f"process {identity.pid} is another one or was moved to {found.cgroup}"
        clock, name = deps.clock, record.name
        limit = found.limit_bytes if isinstance(found.limit_bytes, int) else record.limit_bytes
        held = record.held and found.still
        grant = max(0, limit - round_up(record.ram_charged_bytes))
        kept = replace(record, limit_bytes=limit, grant_bytes=grant, held=held)
        started_s = clock.monotonic() - ago_s(clock, record.started_wall_s, identity)
        peaks = PeakWindow(deps.settings.peak_window_s)
        care = Care(kept, started_s, peaks, limit_bytes=found.limit_bytes, pidfd=pidfd)
        care.hold(held=held, now_s=clock.monotonic())
        if record.overhead_peak_bytes is not None:
            care.peaks.restore(clock.monotonic(), record.overhead_peak_bytes)
        self.room.cares[name] = care
        deps.elsewhere.know(name, identity, adoption)
        if found.still and not held and not adoption.watch:
            reason = "it stands still and no hold of it is recorded"
            await self.room.transact(f"thaw {name}", {"reason": reason}, (LetGo(name, reason),))
            deps.event("thawed", name, f"{name} goes on: {reason}")
        deps.elsewhere.held(name, held=held)
        return care, ""


def tell_overcommitted(room: Room) -> None:
    """The event of a host that promised more than it has."""
    over = room.budget.overcommitted_bytes if room.budget is not None else 0
    if over > 0:
        message = (
            f"the host is overcommitted by {format_bytes(over)}: no admissions and no raises until room comes back"
        )
        room.deps.event("overcommitted", None, message, {"overcommitted_bytes": over})


def split_off(records: Mapping[str, GuestRecord]) -> tuple[dict[str, GuestRecord], dict[str, GuestRecord]]:
    """Records of guests that guestroom started, and of those it adopted."""
    adopted = {name: record for name, record in records.items() if record.adoption is not None}
    return {name: record for name, record in records.items() if name not in adopted}, adopted


def _elsewhere(deps: Deps) -> Elsewhere:
    if deps.elsewhere is None:
        raise HostError("guests can't be adopted on this host")
    return deps.elsewhere


def _check_asker(found: Candidate, wish: AdoptRequest) -> None:
    """Only its own user, the agent's user and root may have a process adopted."""
    if wish.peer_uid not in (0, os.geteuid(), found.uid):
        raise InputError(
            f"process {found.identity.pid} belongs to user {found.uid}, not to user {wish.peer_uid}",
            where=str(found.identity.pid),
            hint="ask as root or as its own user",
        )


def _raise_for(objection: Objection | None, where: str) -> None:
    if objection is not None:
        kind = NoRoomError if objection.no_room else InputError
        raise kind(objection.message, where=where, numbers=objection.numbers, hint=objection.hint)
