"""Who has which room: the table of guests under care, and the one place where it changes.

Everything that decides about room holds ``lock``, so that two newcomers at the same moment never both get
the last of it. A change is one transaction: decide from fresh facts, write the plan down, carry it out
step by step, write down how it ended, and if a step failed put back what was shrunk (P3, P4, P8).
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, replace
from typing import assert_never

from guestroom import decide
from guestroom.actions import (
    Action,
    Hold,
    LetGo,
    MakeGuest,
    Outcome,
    OutcomeKind,
    SetLimit,
    SetWall,
    StartGuest,
    StopGuest,
    others_rely_on,
)
from guestroom.agent.care import Care
from guestroom.agent.deps import Deps
from guestroom.decide import Budget
from guestroom.errors import GuestroomError, HostError, LedgerError, VanishedError
from guestroom.facts import GuestFacts, GuestState, HostFacts, Newcomer
from guestroom.units import UNLIMITED, Limit, format_bytes


class Room:
    """The guests under care and the transactions on their limits."""

    def __init__(self, deps: Deps, stop_guest: Callable[[StopGuest, Budget], Awaitable[bool]]) -> None:
        self.deps = deps
        self._stop_guest = stop_guest
        self.lock = asyncio.Lock()
        self.cares: dict[str, Care] = {}
        self.wall_bytes: Limit | None = None
        self.budget: Budget | None = None
        self.leftovers: set[str] = set()
        """Ended guests whose cgroups could not be removed yet."""
        self.walls_hit = 0
        """How often a guest was seen waiting at its limit; the goal is 0."""
        self.unsettled = False
        """A division is due that could not be carried out; the sweep tries again."""

    # --- facts -----------------------------------------------------------------------------------------

    def guests(self) -> tuple[GuestFacts, ...]:
        """Facts of all guests under care, by name."""
        return tuple(self.cares[name].facts() for name in sorted(self.cares))

    def burst_bytes(self) -> int:
        """The largest burst one present guest can make."""
        return max((care.record.burst_bytes for care in self.cares.values()), default=0)

    async def host(self) -> HostFacts:
        """The host now."""
        return await self.deps.kernel(self.deps.observer.host)

    async def look(self, care: Care) -> None:
        """Read a guest's overhead now; an unreadable one becomes unknown, a vanished one keeps its last reading."""
        record = care.record
        pid = record.identity.pid if record.identity is not None else None
        observer = self.deps.observer
        try:
            reading = await self.deps.kernel(
                observer.overhead, record.name, record.ram_charged_bytes, pid, record.ram_block_bytes
            )
        except VanishedError:
            return
        except GuestroomError as error:
            care.reading = None
            self.deps.event("unknown", record.name, f"its overhead could not be read: {error.line()}")
            return
        care.reading = reading
        if reading.overhead_bytes is None:
            return
        if care.peaks.add(reading.at_s, reading.overhead_bytes, reading.kernel_peak_bytes, reading.cache_bytes):
            await self.deps.kernel(self.deps.machine.reset_peak, record.name, "vmm")
        peak = care.peaks.peak_bytes
        if peak != record.overhead_peak_bytes:
            care.record = replace(care.record, overhead_peak_bytes=peak)

    async def look_at_all(self) -> None:
        """Read every running guest's overhead."""
        away = (GuestState.QUEUED, GuestState.STARTING)
        running = [care for care in self.cares.values() if care.record.state not in away]
        await asyncio.gather(*(self.look(care) for care in running))

    # --- transactions ----------------------------------------------------------------------------------

    async def transact(
        self, reason: str, inputs: object, actions: Sequence[Action], budget: Budget | None = None
    ) -> tuple[Outcome, ...]:
        """Carry out ``actions`` in order; the caller holds the lock.

        A plan that shrinks, starts or stops is durable before its first step (P8); one that only raises
        goes to the kernel first. After a failed step that others rely on nothing further is tried. Raises
        ``LedgerError``, with nothing done, when a plan that must be durable can't be.
        """
        if not actions:
            return ()
        deps, text = self.deps, json.dumps(inputs, default=str)
        first = any(_written_first(action) for action in actions)
        number = await deps.durable(lambda book: book.begin(reason, text, tuple(actions))) if first else None
        deps.fault("written")
        outcomes: list[Outcome] = []
        for action in actions:
            if broken(outcomes):
                outcomes.append(Outcome(action, OutcomeKind.SKIPPED, "a step before it failed"))
            else:
                outcomes.append(await self._step(action, budget))
        for name in sorted({a.name for a in actions if isinstance(a, SetLimit)} & set(self.cares)):
            deps.late.put_guest(self.cares[name].record)
        if number is None:
            deps.late.carried_out(reason, text, tuple(outcomes))
        else:
            deps.late.finish(number, tuple(outcomes))
        deps.flush()
        return tuple(outcomes)

    async def _step(self, action: Action, budget: Budget | None) -> Outcome:
        """One action, with the fault points around it; raises are told to the alarm process at once."""
        label = f"{type(action).__name__}:{getattr(action, 'name', 'wall')}"
        self.deps.fault(f"before:{label}")
        if isinstance(action, StopGuest):
            stopped = budget is not None and await self._stop_guest(action, budget)
            kind = OutcomeKind.DONE if stopped else OutcomeKind.FAILED
            outcome = Outcome(action, kind, "stopped by its run" if stopped else "its run did not stop it")
        else:
            outcome = await self.deps.kernel(self.deps.applier.carry_out, action)
        self.deps.fault(f"after:{label}")
        if outcome.ok:
            self._took(action)
        else:
            self.deps.event(
                "step_failed",
                getattr(action, "name", None),
                f"{label} did not hold: {outcome.kind} {outcome.detail}",
                {"wanted_bytes": getattr(action, "to_bytes", None), "found_bytes": _plain(outcome.found_bytes)},
            )
        return outcome

    def _took(self, action: Action) -> None:
        match action:
            case SetLimit():
                care = self.cares.get(action.name)
                if care is not None:
                    care.limit_bytes = action.to_bytes
                    care.record = replace(care.record, grant_bytes=action.grant_to_bytes, limit_bytes=action.to_bytes)
                    self._eased(care)
                    self.tell_alarm(care)
            case SetWall():
                self.wall_bytes = action.to_bytes
            case _:
                pass

    def _eased(self, care: Care) -> None:
        """A squeezed guest that has its need by now is squeezed no more."""
        record = care.record
        if record.squeezed and record.grant_bytes >= record.need_bytes:
            care.record = replace(record, squeezed=False)
            message = (
                f"{record.name} is no longer squeezed: it has {format_bytes(record.grant_bytes)}, its need and more"
            )
            self.deps.event("eased", record.name, message, {"grant_bytes": record.grant_bytes})

    def tell_alarm(self, care: Care, *, held: bool = False) -> None:
        """Give the alarm process a guest's numbers; one that is released or not there yet is not its business.

        ``held`` hands over a hold that an earlier agent's alarm process made.
        """
        record = care.record
        if record.released or record.state is GuestState.QUEUED:
            return
        self.deps.alarms.guest(
            record.name,
            record.ram_charged_bytes,
            record.weight,
            record.grant_bytes,
            record.limit_bytes,
            held=held,
        )

    def set_budget(self, budget: Budget) -> None:
        """Remember the budget and give the alarm process the wall's numbers."""
        self.budget = budget
        if isinstance(self.wall_bytes, int):
            self.deps.alarms.wall(self.wall_bytes, budget.headroom_bytes, budget.guard_bytes)

    def note(self, care: Care) -> None:
        """Write a guest's record as soon as the disk takes it."""
        self.deps.late.put_guest(care.record)
        self.deps.flush()

    async def save(self, care: Care) -> None:
        """Write a guest's record, durably. Raises ``LedgerError``."""
        record = care.record
        await self.deps.durable(lambda book: book.put_guest(record))

    # --- changes ---------------------------------------------------------------------------------------

    async def divide_again(self, reason: str) -> tuple[Outcome, ...]:
        """Share the reserve again among those present; the caller holds the lock."""
        deps, now_s = self.deps, self.deps.clock.monotonic()
        self.unsettled = True
        await self.look_at_all()
        host = await self.host()
        self.wall_bytes = host.wall_limit_bytes
        guests = self.guests()
        budget = decide.budget(host, guests, deps.settings, burst_bytes=self.burst_bytes())
        grants = decide.divide_again(guests, budget, deps.settings, now_s, host.page_bytes)
        actions = decide.steps(grants, guests, budget, deps.settings, now_s=now_s)
        try:
            outcomes = await self.transact(reason, _inputs(guests, host, budget), actions)
        except LedgerError as error:
            deps.event("ledger", None, f"the room is not divided again until the ledger can be written: {error.line()}")
            return ()
        self.unsettled = False
        await self.put_back(outcomes, budget, reason)
        self.set_budget(budget)
        return outcomes

    async def put_back(self, outcomes: Sequence[Outcome], budget: Budget, reason: str) -> None:
        """P4: after a failed step raise again what was shrunk for it, if the room is still there."""
        if not broken(outcomes):
            return
        back = decide.undo(tuple(outcomes), self.guests(), budget, self.deps.settings)
        await self.transact(f"put back after a failed step: {reason}", {"outcomes": len(outcomes)}, back)

    async def retire(self, care: Care, why: str) -> None:
        """Forget a guest whose processes are gone: its cgroups, its alarms, its record. The caller holds the lock."""
        deps, name = self.deps, care.name
        if self.cares.get(name) is care:
            del self.cares[name]
        await self.clear(care)
        deps.late.remove_guest(name, why)
        deps.flush()

    async def clear(self, care: Care) -> None:
        """Remove an ended guest's cgroups and let go of its process; what the kernel still drains is tried again."""
        deps, name = self.deps, care.name
        deps.alarms.forget(name)
        deps.inodes.pop(name, None)
        if care.pidfd is not None:
            os.close(care.pidfd)
            care.pidfd = None
        try:
            await deps.kernel(deps.machine.remove, name)
        except HostError as error:
            self.leftovers.add(name)
            deps.event("not_removed", name, f"its cgroups could not be removed yet: {error.line()}")

    async def clear_leftovers(self) -> None:
        """Remove cgroups of ended guests that could not be removed at once."""
        for name in sorted(self.leftovers - set(self.cares)):
            try:
                await self.deps.kernel(self.deps.machine.remove, name)
            except HostError:
                continue
            self.leftovers.discard(name)

    def limits_moved(self) -> bool:
        """Whether the kernel has another limit than the one set: somebody else wrote it."""
        return any(
            care.limit_bytes != care.record.limit_bytes for care in self.cares.values() if not care.record.released
        )

    def newcomer_inputs(self, newcomer: Newcomer, host: HostFacts, budget: Budget) -> object:
        """What a verdict was decided from, for the ledger."""
        return _inputs(self.guests(), host, budget) | {"newcomer": asdict(newcomer)}


def broken(outcomes: Sequence[Outcome]) -> bool:
    """Whether a step that others rely on failed: the plan does not hold as a whole."""
    return any(not outcome.ok and others_rely_on(outcome.action) for outcome in outcomes)


def _written_first(action: Action) -> bool:
    """P8: starts, stops and shrinks are durable before they are carried out; what only gives room is not delayed."""
    match action:
        case SetLimit():
            return action.is_shrink or action.grant_to_bytes < action.grant_from_bytes
        case MakeGuest() | StartGuest() | StopGuest():
            return True
        case SetWall() | Hold() | LetGo():
            return False
        case _:
            assert_never(action)


def _plain(limit: Limit | None) -> int | str | None:
    return "unlimited" if limit is UNLIMITED else limit


def _inputs(guests: Sequence[GuestFacts], host: HostFacts, budget: Budget) -> dict[str, object]:
    """Inputs of a decision as plain data: enough to decide it again."""
    return {"guests": [asdict(g) for g in guests], "host": asdict(host), "budget": asdict(budget)}
