"""Who has which room: the table of guests under care, and the one place where it changes.

Everything that decides about room holds ``lock``, so that two newcomers at the same moment never both get
the last of it. A change is one transaction: decide from fresh facts, write the plan down, carry it out
step by step, write down how it ended, and if a step failed put back what was shrunk (P3, P4, P8).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from guestroom import decide
from guestroom.actions import Action, MakeGuest, Outcome, OutcomeKind, SetLimit, SetWall, StopGuest
from guestroom.agent.care import Care
from guestroom.agent.deps import Deps
from guestroom.agent.folders import Folders
from guestroom.agent.following import Following
from guestroom.agent.inputs import Given, Inputs, plain_outcome, written
from guestroom.agent.learning import Learning
from guestroom.agent.lending import Loan, RoomLock
from guestroom.agent.plans import broken as broken
from guestroom.agent.plans import plain_bytes, takes_bytes, written_first
from guestroom.decide import Budget
from guestroom.decide.trend import Point
from guestroom.errors import GuestroomError, LedgerError, VanishedError
from guestroom.facts import GuestFacts, GuestState, HostFacts, OverheadReading
from guestroom.units import Limit, format_bytes


class Room:
    """The guests under care and the transactions on their limits."""

    def __init__(self, deps: Deps, stop_guest: Callable[[StopGuest, Budget], Awaitable[bool]]) -> None:
        self.deps = deps
        self._stop_guest = stop_guest
        self.loan = Loan(self)
        self.lock = RoomLock(self.loan)
        self.cares: dict[str, Care] = {}
        self.wall_bytes: Limit | None = None
        self.budget: Budget | None = None
        self.epoch = 0
        """Counts raises that were made beside a running plan, which makes that plan void."""
        self._in_flight = 0
        self.steps = 0
        self.taking_bytes = 0
        """Room that a step in flight takes: not free, though no grant shows it yet."""
        self.following = Following(deps, self.cares)
        self.learning = Learning(deps)
        self.folders = Folders(deps)
        self.walls_hit = 0
        """How often a guest was seen waiting at its limit; the goal is 0."""
        self.changed: Callable[[], None] = lambda: None
        """Called when room may have come free, for those that wait for it."""
        self.unsettled = False
        """A division is due that could not be carried out; the sweep tries again."""

    # --- facts -----------------------------------------------------------------------------------------

    def guests(self) -> tuple[GuestFacts, ...]:
        """Facts of all guests under care, by name."""
        return tuple(self.cares[name].facts() for name in sorted(self.cares))

    def burst_bytes(self) -> int:
        """The largest burst of those present that the headroom is given for."""
        return self.following.given_bytes

    async def host(self) -> HostFacts:
        """The host now."""
        host = await self.deps.kernel(self.deps.observer.host)
        # One that was moved out of its cgroup by somebody else is still promised for inside the wall.
        ours = {care.record.identity.pid for care in self.cares.values() if care.record.identity is not None}
        return replace(host, outsiders=tuple(one for one in host.outsiders if one.pid not in ours))

    def mark(self) -> int | None:
        """A number that changes with each step; None while one is in flight.

        A limit read between two equal marks is the one that was set last, or somebody else's.
        """
        return None if self._in_flight else self.steps

    async def look(self, care: Care) -> None:
        """Read a guest's overhead now; an unreadable one becomes unknown, a vanished one keeps its last reading."""
        try:
            await self.take(care, await self.deps.kernel(self.deps.observer.overhead, *care.to_observe()))
        except GuestroomError as error:
            self.not_read(care, error)

    def not_read(self, care: Care, error: GuestroomError) -> None:
        """A look that failed: the gone keep their last reading, what can't be read is unknown (P6)."""
        if isinstance(error, VanishedError):
            return
        if not care.unreadable:
            self.deps.event("unknown", care.name, f"its overhead could not be read: {error.line()}")
        care.reading, care.unreadable = None, True

    async def take(self, care: Care, reading: OverheadReading) -> None:
        """What a look at a guest showed; of one that lives elsewhere now it showed nothing (P6)."""
        if care.gone or care.outside:
            care.reading = None
            return
        care.unreadable = False
        if reading.at_s <= care.cache_gone_s:
            reading = replace(reading, kernel_peak_is_old=True)  # it may be from before the cache went
        care.reading = reading
        if reading.overhead_bytes is None:
            return
        care.points.append(Point(reading.at_s, reading.overhead_bytes))
        self.following.saw(care, care.burst_bytes(reading))
        if care.peaks.add(
            reading.at_s,
            reading.overhead_bytes,
            reading.kernel_peak_bytes,
            reading.cache_bytes,
            peak_is_old=reading.kernel_peak_is_old,
        ):
            care.kernel_peak_bytes = 0
            await self.deps.kernel(self.folders.reset_peak, care.name)
        peak = care.peaks.peak_bytes
        if peak != care.record.overhead_peak_bytes:
            care.record = replace(care.record, overhead_peak_bytes=peak, life_peak_bytes=care.peaks.life_bytes)

    async def look_at_all(self) -> None:
        """Read every running guest's overhead."""
        await asyncio.gather(*(self.look(care) for care in self.cares.values() if not care.away))

    # --- transactions ----------------------------------------------------------------------------------

    async def transact(
        self,
        reason: str,
        inputs: Given,
        actions: Sequence[Action],
        budget: Budget | None = None,
        newcomer: Care | None = None,
    ) -> tuple[Outcome, ...]:
        """Carry out ``actions`` in order; the caller holds the lock.

        A plan that shrinks, starts or stops is durable before its first step (P8); one that only raises
        goes to the kernel first. After a failed step that others rely on nothing further is tried. Raises
        ``LedgerError``, with nothing done, when a plan that must be durable can't be. ``newcomer`` counts as
        present from the moment its cgroups are made.
        """
        if not actions:
            return ()
        deps, epoch = self.deps, self.epoch
        first = any(written_first(action) for action in actions)
        record = newcomer.record if newcomer is not None else None
        text = written(inputs) if first else ""
        number = await deps.durable(lambda book: book.begin(reason, text, tuple(actions), record)) if first else None
        deps.fault("written")
        outcomes: list[Outcome] = []
        for action in actions:
            if broken(outcomes):
                outcomes.append(Outcome(action, OutcomeKind.SKIPPED, "a step before it failed"))
            elif self.epoch != epoch and takes_bytes(action):
                outcomes.append(Outcome(action, OutcomeKind.FAILED, "its room went to a guest that grew meanwhile"))
            else:
                outcomes.append(await self._step(action, budget, newcomer))
        for name in sorted({a.name for a in actions if isinstance(a, SetLimit)} & set(self.cares)):
            deps.late.put_guest(self.cares[name].record)
        if number is None:
            deps.late.carried_out(reason, written(inputs), tuple(outcomes))
        else:
            deps.late.finish(number, tuple(outcomes))
        deps.flush()
        self.changed()
        return tuple(outcomes)

    async def _step(self, action: Action, budget: Budget | None = None, newcomer: Care | None = None) -> Outcome:
        """One action, with the fault points around it; raises are told to the alarm process at once."""
        label = f"{type(action).__name__}:{getattr(action, 'name', 'wall')}"
        self.deps.fault(f"before:{label}")
        if isinstance(action, StopGuest):
            stopped = budget is not None and await self._stop_guest(action, budget)
            kind = OutcomeKind.DONE if stopped else OutcomeKind.FAILED
            outcome = Outcome(action, kind, "stopped by its run" if stopped else "its run did not stop it")
        else:
            taking = takes_bytes(action)
            self.taking_bytes += taking
            self._in_flight += 1
            try:
                outcome = await self.deps.kernel(self.deps.applier.carry_out, action)
            finally:
                self.taking_bytes -= taking
                self._in_flight -= 1
                self.steps += 1
        self.deps.fault(f"after:{label}")
        if outcome.ok:
            if newcomer is not None and isinstance(action, MakeGuest):
                self.cares[newcomer.name] = newcomer
                await self.deps.kernel(self.folders.made, newcomer.name)
                self.tell_alarm(newcomer)  # its thresholds are registered while QEMU starts
            self._took(action)
        else:
            self.deps.event(
                "step_failed",
                getattr(action, "name", None),
                f"{label} did not hold: {outcome.kind} {outcome.detail}",
                {"wanted_bytes": getattr(action, "to_bytes", None), "found_bytes": plain_bytes(outcome.found_bytes)},
            )
        return outcome

    async def raise_now(self, reason: str, inputs: Given, actions: Sequence[Action], *, takes: bool = True) -> None:
        """Raises within free room, beside whatever plan is running; it finds itself void and is decided again.

        Kernel first, ledger after: a full or slow disk never blocks room (P8). Not ``takes``: limits only, no grant
        moves, so no plan is made void.
        """
        self.epoch += takes
        outcomes = [await self._step(action) for action in actions]
        self.deps.late.carried_out(reason, written(inputs), tuple(outcomes))
        for action in actions:
            if isinstance(action, SetLimit) and action.name in self.cares:
                self.deps.late.put_guest(self.cares[action.name].record)
        self.deps.flush()

    def free_budget(self) -> Budget:
        """The budget as last decided, under the wall as it is, without the room that a step in flight is taking."""
        assert self.budget is not None
        return replace(
            self.budget,
            reserve_bytes=self.budget.reserve_bytes - self.taking_bytes - self.loan.bytes,
            wall_from_bytes=self.wall_bytes,
        )

    def make_budget(self, host: HostFacts, burst_bytes: int | None = None) -> Budget:
        """The budget of the host and the guests present now; ``burst_bytes`` in place of the headroom that is given."""
        burst = self.burst_bytes() if burst_bytes is None else burst_bytes
        budget = decide.budget(host, self.guests(), self.deps.settings, burst_bytes=burst)
        return self.following.guarded(budget)

    def granted_bytes(self) -> int:
        """The sum of all grants out of the reserve."""
        return sum(care.record.grant_bytes for care in self.cares.values() if care.record.adoption is None)

    def headroom_left(self) -> int:
        """Headroom less what guests above their grants borrow, by the last readings."""
        if self.budget is None:
            return 0
        lent = sum(
            max(0, care.reading.overhead_bytes + care.returned_bytes - care.record.grant_bytes)
            for care in self.cares.values()
            if care.record.adoption is None and care.reading is not None and care.reading.overhead_bytes is not None
        )
        return self.budget.headroom_bytes - lent

    def _took(self, action: Action) -> None:
        match action:
            case SetLimit():
                care = self.cares.get(action.name)
                if care is not None:
                    care.limit_bytes = action.to_bytes
                    care.record = replace(care.record, grant_bytes=action.grant_to_bytes, limit_bytes=action.to_bytes)
                    self.eased(care)
                    if action.grant_to_bytes > action.grant_from_bytes:
                        self.following.raised(action.name)
                    self.tell_alarm(care)
            case SetWall():
                self.wall_bytes = action.to_bytes
            case _:
                pass

    def eased(self, care: Care) -> None:
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
        if record.released or record.state is GuestState.QUEUED or care.let_run:
            return
        care.hold_at_bytes = self.following.hold_at_bytes(care, self.budget)
        self.deps.alarms.guest(
            record.name,
            record.promised_charged_bytes,
            record.weight,
            record.grant_bytes,
            record.limit_bytes,
            held=held,
            hold_at_bytes=care.hold_at_bytes,
            cap_bytes=record.need_bytes if record.fixed_overhead else record.cap_bytes,
        )

    def expect(self, budget: Budget) -> None:
        """While a plan for ``budget`` runs, raises beside it leave its headroom alone (P1)."""
        if self.budget is not None and budget.headroom_bytes > self.budget.headroom_bytes:
            self.budget = replace(self.budget, headroom_bytes=budget.headroom_bytes)

    def tune_guard(self) -> None:
        """Something was measured: the guard follows at once, without a division."""
        if self.budget is not None:
            budget = self.following.guarded(self.budget)
            if budget.guard_bytes != self.budget.guard_bytes:
                self.set_budget(budget)

    def set_budget(self, budget: Budget) -> None:
        """Remember the budget and give the alarm process the wall's numbers."""
        self.budget = budget
        self.following.taken(budget)
        if isinstance(self.wall_bytes, int):
            self.deps.alarms.wall(self.wall_bytes, budget.headroom_bytes, budget.guard_bytes)
        for care in self.cares.values():
            # Stopping ones are not to be held any more, and what does not run yet is told when it is made.
            runs = care.record.adoption is None and care.record.state in (GuestState.RUNNING, GuestState.PAUSED)
            if runs and care.hold_at_bytes != self.following.hold_at_bytes(care, budget):
                self.tell_alarm(care)

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
        self.following.settle(guests, self.make_budget(host))
        budget = self.make_budget(host)
        self.expect(budget)
        grants = decide.divide_again(guests, budget, deps.settings, now_s, host.page_bytes)
        actions = decide.steps(grants, guests, budget, deps.settings, now_s=now_s)
        try:
            inputs = Inputs("divide", now_s, deps.settings, guests, budget, host)
            outcomes = await self.transact(reason, inputs.given(burst_bytes=self.burst_bytes()), actions)
        except LedgerError as error:
            deps.event("ledger", None, f"the room is not divided again until the ledger can be written: {error.line()}")
            self.following.undo()
            self.set_budget(self.make_budget(host))
            return ()
        self.unsettled = False
        if broken(outcomes) or self.granted_bytes() > budget.room_bytes:
            self.following.undo()
            budget = self.make_budget(host)
        await self.put_back(outcomes, budget, reason)
        self.set_budget(budget)
        return outcomes

    async def put_back(self, outcomes: Sequence[Outcome], budget: Budget, reason: str) -> None:
        """P4: after a failed step raise again what was shrunk for it, if the room is still there."""
        if not broken(outcomes):
            return
        self.unsettled = True  # whatever comes of this, the sweep divides again
        guests, settings = self.guests(), self.deps.settings
        back = decide.undo(tuple(outcomes), guests, budget, settings)
        inputs = Inputs("undo", self.deps.clock.monotonic(), settings, guests, budget)
        inputs = inputs.given(outcomes=[plain_outcome(one) for one in outcomes])
        await self.transact(f"put back after a failed step: {reason}", inputs, back)

    async def retire(self, care: Care, why: str, *, left_over: bool = False) -> None:
        """Forget a guest whose processes are gone: its cgroups, its alarms, its record. The caller holds the lock.

        ``left_over``: an earlier agent's start ended before it was known which cgroup exactly it had made.
        """
        deps, name = self.deps, care.name
        if self.cares.get(name) is care:
            del self.cares[name]
        await self.clear(care, left_over=left_over)
        deps.late.remove_guest(name, why)
        deps.flush()
        self.changed()

    async def clear(self, care: Care, *, left_over: bool = False) -> None:
        """Remove an ended guest's cgroups and let go of its process; what the kernel still drains is tried again."""
        deps, name = self.deps, care.name
        self.learning.ended(care)
        deps.alarms.forget(name)
        made = deps.inodes.pop(name, None)
        if care.pidfd is not None:
            # First no longer watched: the number may be another file's a moment later.
            asyncio.get_running_loop().remove_reader(care.pidfd)
            os.close(care.pidfd)
            care.pidfd, care.watched = None, False
        identity = care.record.identity
        inode = identity.cgroup_inode if identity is not None else made
        # A newcomer whose cgroups could not be made, because another's are there, has none to be removed.
        if inode is not None or left_over:
            await self.folders.remove(name, inode)
