"""Room for one newcomer: decided, made, and its cgroups there with their limit; or it waits, or is refused.

Admission is decided from fresh facts under the room's lock, so two newcomers never get the same room. If a
step of its plan does not hold (a guest grew, a raise took the room) all is put back and it is decided again.
"""

from __future__ import annotations

from dataclasses import replace

from guestroom import decide
from guestroom.actions import MakeGuest, StartGuest, Verdict, VerdictKind
from guestroom.agent.care import Care
from guestroom.agent.inputs import Inputs
from guestroom.agent.peaks import PeakWindow
from guestroom.agent.request import StartRequest, Understood
from guestroom.agent.room import Room, broken
from guestroom.agent.session import Session
from guestroom.agent.views import verdict_row
from guestroom.agent.waiting import Waiting
from guestroom.errors import LaunchError, UsageError
from guestroom.facts import Accounting, GuestFacts, GuestRecord, GuestState, HostFacts
from guestroom.turns import Process, QueueEntry
from guestroom.units import format_bytes

_ATTEMPTS = 3
"""How often admission is decided again from fresh facts when a shrink did not hold because a guest grew meanwhile."""


class Reservation:
    """One newcomer's way to its room. After ``make``, ``care`` is set if it was let in."""

    def __init__(self, room: Room, waiting: Waiting, session: Session, wanted: Understood, path: str) -> None:
        self.room = room
        self.deps = room.deps
        self.waiting = waiting
        self.session = session
        self.wanted = wanted
        self.path = path
        self.care: Care | None = None
        self._host: HostFacts
        self._now_s: float
        self._beside: tuple[GuestFacts, ...]
        self._is_refused = False
        self._waited_s: float | None = None

    async def make(self, request: StartRequest, process: Process) -> Verdict | None:
        """Decide and make room; on success ``care`` is set, its cgroups exist and its limit holds.

        One that is to wait is answered when its turn came or its time is over; None: its ``run`` went away first.
        """
        room, newcomer = self.room, self.wanted.newcomer
        async with room.lock:
            present = room.cares.get(newcomer.name)
            if present is not None and present.recreation is not None:
                return await self._come_back(present, self.wanted, self.path)
            if present is not None:
                raise UsageError(
                    f"a guest named {newcomer.name!r} is under care already",
                    where=newcomer.name,
                    hint="choose another name, or stop it first (guestroom ps shows it)",
                )
            await self.waiting.claim(newcomer.name, process)
            asked = self._asked(request, process)
            if decide.waits_before(self.waiting.queue, newcomer.name):
                verdict = await self._decide(self.wanted)  # for its numbers: others come first
            else:
                verdict = await self.attempt()
            if self.care is not None:
                self.waiting.took(newcomer.name)
                return verdict
            answer = self.waiting.foretell(asked, verdict, self._host)
            if answer.kind is VerdictKind.WAIT:
                await self.waiting.join(self, asked, answer)
            else:
                self._note_refusal()
                self.waiting.turned_away(newcomer.name, answer)
                return answer
        return await self.waiting.decision(newcomer.name)

    def _asked(self, request: StartRequest, process: Process) -> QueueEntry:
        """Its entry, were it to wait."""
        settings, wanted = self.deps.settings, self.wanted
        timeout_s = request.timeout_s if request.timeout_s is not None else settings.wait_timeout_s
        since_s = self.deps.clock.monotonic() - request.waited_s
        return QueueEntry(0, wanted.newcomer, wanted.burst_bytes, since_s, timeout_s, process)

    async def attempt(self, *, waited_s: float | None = None) -> Verdict:
        """Decide and make room, whoever else waits; ``care`` is set where it was made. The caller holds the lock."""
        self._waited_s = waited_s
        for _ in range(_ATTEMPTS):
            verdict = await self._decide(self.wanted)
            if verdict.kind is VerdictKind.REFUSE or await self._make_room(self.wanted, verdict, self.path):
                return verdict
        return _shrinks_failed(verdict)

    async def _decide(self, wanted: Understood) -> Verdict:
        room, deps = self.room, self.deps
        await room.look_at_all()
        host = await room.host()
        room.wall_bytes = host.wall_limit_bytes
        burst = room.following.with_newcomer(wanted.burst_bytes)
        self._host, self._burst, self._now_s = host, burst, deps.clock.monotonic()
        self._beside = room.guests()
        verdict = decide.admit(wanted.newcomer, self._beside, host, deps.settings, self._now_s, burst_bytes=burst)
        self._is_refused = verdict.kind is VerdictKind.REFUSE
        return verdict

    def _inputs(self, budget: decide.Budget) -> Inputs:
        """What it was decided from."""
        inputs = Inputs("admit", self._now_s, self.deps.settings, self._beside, budget, self._host)
        return inputs.given(newcomer=self.wanted.newcomer, burst_bytes=self._burst)

    def _note_refusal(self) -> None:
        """A refusal is a decision too, one without steps; what a grown guest foiled is not."""
        if self._is_refused:
            newcomer, settings = self.wanted.newcomer, self.deps.settings
            budget = decide.budget(self._host, self._beside, settings, newcomer=newcomer, burst_bytes=self._burst)
            self.deps.late.carried_out(f"refuse {newcomer.name}", self._inputs(budget).text(), ())
            self.deps.flush()

    async def _make_room(self, wanted: Understood, verdict: Verdict, path: str) -> bool:
        """Carry the verdict's plan out; False (all put back) when a step did not hold."""
        room, deps, newcomer = self.room, self.deps, wanted.newcomer
        guests = self._beside
        budget = room.following.guarded(
            decide.budget(self._host, guests, deps.settings, newcomer=newcomer, burst_bytes=self._burst)
        )
        room.expect(budget)
        actions = decide.steps(
            verdict.grants,
            guests,
            budget,
            deps.settings,
            newcomer=newcomer,
            verdict=verdict,
            now_s=self._now_s,
        )
        care = self._new_care(wanted, verdict, path)
        outcomes = await room.transact(f"{verdict.kind} {newcomer.name}", self._inputs(budget), actions, budget, care)
        if not broken(outcomes):
            # Only now: until every shrink held, its grant is not there, and nobody may be shown that it is.
            self.care = room.cares[newcomer.name] = care
            room.following.admitted(budget)
            room.set_budget(budget)
            kind = "squeezed" if verdict.kind is VerdictKind.SQUEEZE else "admitted"
            message, numbers = verdict.message, verdict_row(verdict)
            if self._waited_s is not None:
                message += f"; it waited {self._waited_s:.0f} s"
                numbers["waited_s"] = round(self._waited_s, 3)
            deps.event(kind, newcomer.name, message, numbers)
            return True
        await room.retire(care, "a step of its admission did not hold")
        await room.put_back(outcomes, budget, f"admitting {newcomer.name}")
        return False

    async def _come_back(self, care: Care, wanted: Understood, path: str) -> Verdict:
        """A recreated guest returns under the grant that was kept for it."""
        deps, room, grant = self.deps, self.room, care.recreation
        assert grant is not None
        limit = care.record.limit_bytes
        fresh = self._new_care(wanted, None, path)
        fresh.record = replace(
            fresh.record,
            grant_bytes=grant,
            admitted_grant_bytes=grant,
            limit_bytes=limit,
            squeezed=grant < wanted.newcomer.need_bytes,
            recreated_wall_s=deps.clock.wall(),
        )
        fresh.limit_bytes, fresh.recreated_s = limit, deps.clock.monotonic()
        room.cares[care.name] = fresh
        actions = (
            MakeGuest(care.name, limit, grant, "it comes back recreated"),
            StartGuest(care.name, grant, limit, "it comes back recreated"),
        )
        outcomes = await room.transact(f"recreate {care.name}", {"grant_bytes": grant}, actions, None, fresh)
        if broken(outcomes):
            await room.retire(fresh, "its cgroups could not be made")
            raise LaunchError(f"{care.name} could not come back: {outcomes[0].detail}", where=care.name)
        self.care = fresh
        message = f"{care.name} is recreated with {format_bytes(grant)} of overhead"
        deps.event("recreated", care.name, message, {"grant_bytes": grant, "limit_bytes": limit})
        return decide.returned(wanted.newcomer, grant, limit, message)

    def _new_care(self, wanted: Understood, verdict: Verdict | None, path: str) -> Care:
        newcomer, deps = wanted.newcomer, self.deps
        now_s = deps.clock.monotonic()
        grant = verdict.grant_bytes if verdict is not None else newcomer.need_bytes
        limit = verdict.limit_bytes if verdict is not None else newcomer.ram_charged_bytes + grant
        record = GuestRecord(
            name=newcomer.name,
            state=GuestState.STARTING,
            accounting=Accounting.SPLIT,
            identity=None,
            ram_bytes=newcomer.ram_bytes,
            ram_charged_bytes=newcomer.ram_charged_bytes,
            weight=newcomer.weight,
            need_bytes=newcomer.need_bytes,
            boot_floor_bytes=newcomer.boot_floor_bytes,
            cap_bytes=newcomer.cap_bytes,
            grant_bytes=grant,
            admitted_grant_bytes=grant,
            limit_bytes=limit,
            overhead_peak_bytes=None,
            started_wall_s=deps.clock.wall(),
            policy=wanted.policy,
            promised=wanted.promised,
            on_short=newcomer.on_short,
            squeezed=verdict is not None and verdict.kind is VerdictKind.SQUEEZE,
            recreatable=newcomer.recreatable,
            recreate_need_bytes=newcomer.recreate_need_bytes,
            fixed_overhead=wanted.fixed_overhead,
            burst_bytes=wanted.burst_bytes,
            burst_reason=wanted.burst_reason,
            qmp_path=path,
            own_stop=wanted.prepared.own_stop,
            ram_block_bytes=wanted.prepared.ram_block_bytes,
        )
        peaks = PeakWindow(deps.settings.peak_window_s)
        return Care(record, now_s, peaks, limit_bytes=limit, session=self.session)


def _shrinks_failed(verdict: Verdict) -> Verdict:
    """Admission was decided but the guests kept growing into the room: refused, with the numbers."""
    message = (
        f"{verdict.name} is refused: {format_bytes(verdict.grant_bytes)} were decided for it, but the guests that "
        f"were to give room grew meanwhile ({_ATTEMPTS} attempts)"
    )
    return replace(
        verdict,
        kind=VerdictKind.REFUSE,
        message=message,
        grants=(),
        short_bytes=verdict.need_bytes,
        short_of="overhead",
        advice=("try again when the load has settled",),
    )
