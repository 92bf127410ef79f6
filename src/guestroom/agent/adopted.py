"""Adopted guests between adoption and release: raised, held, let go and followed, once a sweep.

They stand outside the host wall and have no alarm ladder; their margin covers what they may grow by between two
sweeps. A hold never waits: where the room is being decided about elsewhere at this moment, a guest that comes near
its limit is held first and raised when its turn comes.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace

from guestroom.actions import Hold, LetGo, SetLimit
from guestroom.agent.care import Care
from guestroom.agent.endings import Endings
from guestroom.agent.room import Room
from guestroom.config import OnRunaway
from guestroom.decide import floor_bytes, joint
from guestroom.errors import HostError, LedgerError
from guestroom.facts import Adoption, GuestState
from guestroom.units import UNLIMITED, Limit, format_bytes, format_limit, round_up

TELL_AGAIN_S = 10.0
"""A systemd that did not answer is busy or on its way out."""


class Adopted:
    """What the sweep does for adopted guests."""

    def __init__(self, room: Room, endings: Endings) -> None:
        self.room = room
        self.deps = room.deps
        self.endings = endings
        self._spare_since_s: dict[str, float] = {}
        self._tell_again_s: dict[str, float] = {}
        """When the owner of a limit, who has not taken it, is told again."""

    async def tend(self) -> None:
        """One look at every adopted guest; their readings are fresh."""
        for care in list(self.room.cares.values()):
            adoption = care.record.adoption
            if adoption is None or care.record.released or care.record.state is not GuestState.RUNNING:
                continue
            if adoption.watch:
                self._follow(care)
                continue
            try:
                await self._one(care, adoption)
            except LedgerError as error:
                self.deps.event("ledger", care.name, f"its room is not changed until that works: {error.line()}")

    def _follow(self, care: Care) -> None:
        """A guest that is only looked at has the limit its owner gives it."""
        limit = care.limit_bytes
        if isinstance(limit, int) and limit != care.record.limit_bytes:
            self._accept(care, limit)

    async def _one(self, care: Care, adoption: Adoption) -> None:
        room, settings = self.room, self.deps.settings
        alarmed = joint.in_alarm(care.facts())
        if alarmed and not care.record.held and room.lock.locked():
            await self._hold(care, joint.hold(care.facts(), "room is being decided about at this moment"))
            return
        now_s = self.deps.clock.monotonic()
        kept = adoption.kept_limit_bytes or care.record.limit_bytes
        spare = joint.spare_bytes(care.facts(), settings, now_s, kept)
        since_s = self._spare_since_s.setdefault(care.name, now_s)
        if spare <= 0:
            self._spare_since_s.pop(care.name)
        moved = care.limit_bytes != care.record.limit_bytes
        due = spare > 0 and now_s - since_s >= settings.giveback_after_s
        untold = now_s >= self._tell_again_s.get(care.name, now_s + 1)
        if not (alarmed or moved or due or untold or care.record.held) or room.lock.locked():
            return
        async with room.lock:
            if room.cares.get(care.name) is not care or care.record.released:
                return
            if moved:
                await self._moved(care, adoption)
            if alarmed or care.record.held:
                await self._tend(care)
            elif due:
                self._spare_since_s.pop(care.name, None)
                await self._take_back(care, spare)
            elif untold:
                await self._tell_owner(care)

    # --- room ------------------------------------------------------------------------------------------

    async def _tend(self, care: Care) -> None:
        """Raise it, hold it, or let it go. The caller holds the lock."""
        room, deps = self.room, self.deps
        host, guests, now_s = await room.host(), room.guests(), deps.clock.monotonic()
        facts = care.facts()
        due = joint.tend(facts, guests, host, deps.settings, now_s, burst_bytes=room.burst_bytes())
        for action in due.actions:
            if isinstance(action, Hold):
                await self._hold(care, action)
        steps = tuple(action for action in due.actions if not isinstance(action, Hold | LetGo))
        before = care.record.limit_bytes
        if steps:
            outcomes = await room.transact(f"raise {care.name}", {"short_bytes": due.short_bytes}, steps)
            if not outcomes[-1].ok:
                if not care.record.held and joint.in_alarm(care.facts()):
                    await self._hold(care, joint.hold(care.facts(), "its limit could not be raised"))
                return
            self._note_owner(care)
            grant, limit = care.record.grant_bytes, care.record.limit_bytes
            message = f"the limit of {care.name} rises from {format_bytes(before)} to {format_bytes(limit)}"
            deps.event("grown", care.name, message, {"grants": {care.name: grant}, "limit_bytes": limit})
        for action in due.actions:
            if isinstance(action, LetGo):
                await self._let_go(care, action.reason)
        if steps:
            await room.divide_again(f"{care.name} was raised")

    def _note_owner(self, care: Care) -> None:
        """Say where libvirt or systemd has not taken a raise: it holds, until they write what they know."""
        why = None if self.deps.elsewhere is None else self.deps.elsewhere.untold(care.name)
        if why is None:
            self._tell_again_s.pop(care.name, None)
            return
        if care.name not in self._tell_again_s:
            self.deps.event("step_failed", care.name, f"the owner of its limit has not taken the raise: {why}")
        self._tell_again_s[care.name] = self.deps.clock.monotonic() + TELL_AGAIN_S

    async def _tell_owner(self, care: Care) -> None:
        """Try once more. The caller holds the lock."""
        assert self.deps.elsewhere is not None
        self._tell_again_s[care.name] = self.deps.clock.monotonic() + TELL_AGAIN_S
        with contextlib.suppress(HostError):
            await self.deps.kernel(self.deps.elsewhere.secure, care.name, care.record.limit_bytes)
            self._note_owner(care)

    async def _take_back(self, care: Care, spare: int) -> None:
        """Room that it was given and has not used for a while comes back. The caller holds the lock."""
        room, deps = self.room, self.deps
        due = joint.take_back(care.facts(), deps.settings, deps.clock.monotonic(), spare)
        # On v2 it stands still for the moment of the shrink; if the agent dies in it, the alarm process lets it go.
        self._tell(care, held=True)
        outcomes = await room.transact(f"{care.name} gives back", {"spare_bytes": spare}, due.actions)
        self._tell(care, held=care.record.held)
        if outcomes and outcomes[-1].ok:
            limit = care.record.limit_bytes
            message = f"{care.name} gives {format_bytes(spare)} back; its limit is {format_bytes(limit)}"
            deps.event("given_back", care.name, message, {"given_bytes": spare, "limit_bytes": limit})
            await room.divide_again(f"{care.name} gave room back")

    async def _hold(self, care: Care, action: Hold) -> None:
        """Hold it still, without waiting for a raise or the lock; not one that was let go into its wall on purpose."""
        settings, now_s = self.deps.settings, self.deps.clock.monotonic()
        choice = settings.guest(care.name).on_runaway or settings.on_runaway
        if choice is OnRunaway.WALL and care.held_s(now_s) >= settings.runaway_after_s:
            return
        outcomes = await self.room.transact(f"hold {care.name}", {"reason": action.reason}, (action,))
        if not outcomes[-1].ok:
            return
        care.hold(held=True, now_s=now_s)
        self.room.note(care)
        self._tell(care, held=True)
        numbers = {
            "over_bytes": action.over_bytes,
            "headroom_left_bytes": action.headroom_left_bytes,
            "guard_bytes": action.guard_bytes,
        }
        self.deps.event("held", care.name, f"{care.name} is held still: {action.reason}", numbers)

    async def _let_go(self, care: Care, reason: str) -> None:
        await self.endings.let_go(care, reason)
        self._tell(care, held=False)
        self.deps.event("let_go", care.name, f"{care.name} goes on: {reason}")

    def _tell(self, care: Care, *, held: bool) -> None:
        if self.deps.elsewhere is not None:
            self.deps.elsewhere.held(care.name, held=held)

    # --- others who write ------------------------------------------------------------------------------

    async def _moved(self, care: Care, adoption: Adoption) -> None:
        """Somebody else set its limit: its owner may. A limit that was taken away is set again."""
        deps, record = self.deps, care.record
        try:
            reading = await deps.kernel(deps.observer.cgroup, adoption.cgroup)
        except HostError:
            return
        care.limit_bytes = limit = reading.limit_bytes
        if limit is None or limit == record.limit_bytes:
            return
        if isinstance(limit, int):
            self._accept(care, limit)
            return
        facts = care.facts()
        floor = floor_bytes(facts, deps.settings, deps.clock.monotonic())
        if floor is None:
            return
        ram = round_up(record.ram_charged_bytes)
        to = max(record.limit_bytes, ram + round_up(floor))
        action = SetLimit(
            care.name, UNLIMITED, to, record.grant_bytes, to - ram, ram + round_up(floor), "its limit was taken away"
        )
        await self.room.transact(f"limit {care.name} again", {"limit_bytes": to}, (action,))
        self._tell_moved(care, UNLIMITED, f"; it is set to {format_bytes(to)} again")

    def _accept(self, care: Care, limit: int) -> None:
        """The limit its owner set is what counts from now on, and what ``release`` leaves."""
        deps, record, adoption = self.deps, care.record, care.record.adoption
        assert adoption is not None
        assert record.identity is not None
        kept = None if adoption.watch else limit
        adoption = replace(adoption, former_limit_bytes=limit, kept_limit_bytes=kept)
        grant = max(0, limit - round_up(record.ram_charged_bytes))
        self._tell_moved(care, limit, "")
        care.record = replace(record, limit_bytes=limit, grant_bytes=grant, adoption=adoption)
        if deps.elsewhere is not None:
            deps.elsewhere.know(care.name, record.identity, adoption)
        self.room.note(care)

    def _tell_moved(self, care: Care, limit: Limit, then: str) -> None:
        message = (
            f"somebody else set the limit of {care.name} from {format_bytes(care.record.limit_bytes)} to "
            f"{format_limit(limit)}{then}"
        )
        found = limit if isinstance(limit, int) else "unlimited"
        self.deps.event("limit_moved", care.name, message, {"limit_bytes": found})
