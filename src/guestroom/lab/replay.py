"""Recorded or made-up traces through the very rules the agent runs, to see what a setting costs and buys.

Nothing is decided here: admission, growth, giving back and holds are ``decide``'s own functions, called in the order
in which the agent calls them. What is assumed: a step holds when it is written, a reading is true, and a guest that
is held stands still, so that its trace goes on where it stopped. A trace that jumps between two samples can be taken
in pieces (``piece_bytes``) with the rules asked after each: real memory does not jump, and the alarm answers within
milliseconds. Recreations and the queue of those that wait are not played: whoever finds no room is refused.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from guestroom import decide
from guestroom.actions import Action, Hold, SetLimit, SetWall, VerdictKind
from guestroom.agent.care import LATELY_S, POINTS
from guestroom.agent.growth import GIVE_BACK_S
from guestroom.agent.peaks import PeakWindow
from guestroom.config import Settings
from guestroom.decide.hold import Excess
from guestroom.decide.trend import Point, largest_rise
from guestroom.facts import GuestFacts, HostFacts
from guestroom.lab.newcomers import newcomer_of, started
from guestroom.lab.pupil import Pupil
from guestroom.lab.traces import Shape, Trace
from guestroom.units import PAGE_BYTES, Limit

PIECE_BYTES = 16 << 20
"""What the fastest load takes in the 5 ms that an alarm needs to be answered (measured on QEMU 7.2, TCG).

It fills memory as fast as a core does, so guests that grow at once share that.
"""


@dataclass(slots=True)
class Totals:
    """What a replay saw; bytes and seconds."""

    admitted: int = 0
    squeezed: int = 0
    refused: int = 0
    raises: int = 0
    shrinks: int = 0
    given_back: int = 0
    """Times that somebody gave room back."""
    regrown: int = 0
    """Raises of a guest that had given back before: room that should not have been given."""
    held: int = 0
    held_s: float = 0.0
    walls_hit: int = 0
    """How often more was borrowed than there was: in the kernel somebody would have met a wall."""
    lent_peak_bytes: int = 0
    idle_byte_s: float = 0.0
    """Grants above overhead, summed over time: room that nobody else could have."""
    guest_s: float = 0.0

    @property
    def idle_mean_bytes(self) -> int:
        """Mean grant above overhead of a guest."""
        return int(self.idle_byte_s / self.guest_s) if self.guest_s else 0

    @property
    def changes(self) -> int:
        """Limits written for growth and giving back; those of starts and ends are everybody's."""
        return self.raises + self.shrinks


@dataclass(slots=True)
class _Running:
    facts: GuestFacts
    shape: Shape
    points: tuple[tuple[float, int], ...]
    peaks: PeakWindow
    times: list[float]
    lately: deque[Point] = field(default_factory=lambda: deque(maxlen=POINTS))
    behind_s: float = 0.0
    """How long it was held: its trace is that much behind."""
    gave: bool = False
    at_bytes: int = 0
    """Its overhead now: where its trace is, or on the way there."""
    peak_bytes: int = 0
    """The largest in all its life."""

    def at(self, now_s: float) -> int | None:
        """Its overhead now; None when its trace is over."""
        own_s = now_s - self.behind_s
        place = bisect_right(self.times, own_s)
        return None if own_s > self.times[-1] else self.points[max(0, place - 1)][1]

    def moved_to(self, now_s: float, overhead: int) -> None:
        """This is what it uses now."""
        self.at_bytes, self.peak_bytes = overhead, max(self.peak_bytes, overhead)
        self.peaks.add(now_s, overhead, overhead, 0)
        self.lately.append(Point(now_s, overhead))
        peak = self.peaks.peak_bytes
        if (overhead, peak) != (self.facts.overhead_bytes, self.facts.overhead_peak_bytes):
            self.facts = replace(self.facts, overhead_bytes=overhead, overhead_peak_bytes=peak)

    def is_quiet(self) -> bool:
        """Neither held nor above its grant, nor under a cap that could be near."""
        return not self.facts.held and self.at_bytes <= self.facts.grant_bytes and self.facts.cap_bytes is None

    def beyond_its_limit(self) -> bool:
        """In the kernel it would have met its limit on the way."""
        limit = self.facts.limit_bytes
        return isinstance(limit, int) and self.at_bytes > limit - self.facts.ram_charged_bytes


class Replay:
    """One host, a trace, and settings."""

    def __init__(
        self,
        trace: Trace,
        settings: Settings,
        host: HostFacts,
        *,
        step_s: float = 0.2,
        piece_bytes: int | None = None,
        pupil: Pupil | None = None,
        progress: Callable[[float], None] = lambda done: None,
    ) -> None:
        """``step_s``: how often the trace is looked at; ``progress`` is called with the part done, 0 to 1.

        ``pupil`` sizes each guest when it starts, by what it saw of those before; else its shape says what it needs.
        """
        self.trace, self.settings, self.host, self.step_s = trace, settings, host, step_s
        self.piece_bytes, self.pupil, self.progress = piece_bytes, pupil, progress
        self.totals = Totals()
        self.guests: dict[str, _Running] = {}
        self.wall_bytes: Limit | None = None
        self._since_s: dict[str, float] = {}
        self._gave_s = 0.0
        self._short = False
        self._waiting = sorted((points[0][0], name) for name, points in trace.samples.items() if points)

    def run(self) -> Totals:
        """The whole trace."""
        now_s, end_s = 0.0, self.trace.length_s
        while now_s <= end_s or self.guests:
            self._step(now_s)
            now_s += self.step_s
            self.progress(min(1.0, now_s / end_s) if end_s else 1.0)
            if now_s > end_s and all(one.facts.held for one in self.guests.values()):
                break  # they are held for good: the totals say so
            if now_s > 4 * end_s + 600:
                break  # so is somebody who goes on for a moment now and then
        return self.totals

    def _step(self, now_s: float) -> None:
        while self._waiting and self._waiting[0][0] <= now_s:
            self._start(self._waiting.pop(0)[1], now_s)
        more = self._read(now_s, self.step_s)
        self._grow(now_s)
        self._hold()
        while more:
            more = self._read(now_s, 0.0)
            self._grow(now_s)
            self._hold()
        if now_s - self._gave_s >= GIVE_BACK_S:
            self._gave_s = now_s
            self._give_back(now_s)
        self._count()

    # --- starts and ends -------------------------------------------------------------------------------

    def _burst(self) -> int:
        return max((one.shape.burst_bytes for one in self.guests.values()), default=0)

    def _facts(self) -> tuple[GuestFacts, ...]:
        return tuple(self.guests[name].facts for name in sorted(self.guests))

    def _budget(self) -> decide.Budget:
        host = replace(self.host, wall_limit_bytes=self.wall_bytes)
        return decide.budget(host, self._facts(), self.settings, burst_bytes=self._burst())

    def _start(self, name: str, now_s: float) -> None:
        shape = self.trace.shapes[name]
        if self.pupil is not None:
            for other in list(self.guests):
                self._learn(other, now_s, ended=False)
            shape = self.pupil.sized(name, shape, now_s)
        newcomer = newcomer_of(name, shape, self.settings)
        host = replace(self.host, wall_limit_bytes=self.wall_bytes)
        plan = decide.plan(
            newcomer,
            self._facts(),
            host,
            self.settings,
            now_s,
            burst_bytes=max(self._burst(), shape.burst_bytes),
            wall_bytes=self.wall_bytes,
        )
        verdict = plan.verdict
        assert verdict is not None
        if verdict.kind not in (VerdictKind.ADMIT, VerdictKind.SQUEEZE):
            self.totals.refused += 1
            return
        self.totals.admitted += 1
        self.totals.squeezed += verdict.kind is VerdictKind.SQUEEZE
        self._take(plan.actions, counted=False)
        points = self.trace.samples[name]
        # Whatever its first sample says, it comes there from nothing.
        first = points[0][1] if self.piece_bytes is None else min(points[0][1], verdict.grant_bytes)
        facts = started(newcomer, verdict.grant_bytes, verdict.limit_bytes, now_s, overhead_bytes=first)
        facts = replace(facts, squeezed=verdict.kind is VerdictKind.SQUEEZE)
        window = PeakWindow(self.settings.peak_window_s)
        one = _Running(facts, shape, points, window, [at for at, _ in points], behind_s=now_s - points[0][0])
        one.at_bytes = one.peak_bytes = first
        self.guests[name] = one

    def _learn(self, name: str, now_s: float, *, ended: bool) -> None:
        one = self.guests[name]
        if self.pupil is not None:
            self.pupil.saw(
                name,
                one.shape,
                one.facts.started_s,
                now_s,
                peak_bytes=one.peak_bytes,
                grant_bytes=one.facts.grant_bytes,
                ended=ended,
            )

    def _end(self, name: str, now_s: float) -> None:
        self._learn(name, now_s, ended=True)
        del self.guests[name]
        self._since_s.pop(name, None)
        host = replace(self.host, wall_limit_bytes=self.wall_bytes)
        plan = decide.plan_again(
            self._facts(), host, self.settings, now_s, burst_bytes=self._burst(), wall_bytes=self.wall_bytes
        )
        self._take(plan.actions, counted=False)

    # --- one step of time ------------------------------------------------------------------------------

    def _read(self, now_s: float, passed_s: float) -> bool:
        """What each guest uses now; True where somebody is still on the way to where its trace is."""
        wanted: dict[str, int] = {}
        for name, one in list(self.guests.items()):
            if one.facts.held:
                one.behind_s += passed_s
                self.totals.held_s += passed_s
            elif (overhead := one.at(now_s)) is None:
                self._end(name, now_s)
            else:
                wanted[name] = overhead
        most = self._piece([wanted[name] - self.guests[name].at_bytes for name in wanted])
        for name, overhead in wanted.items():
            one = self.guests[name]
            one.moved_to(now_s, overhead if most is None else min(overhead, one.at_bytes + most))
        return any(self.guests[name].at_bytes < overhead for name, overhead in wanted.items())

    def _piece(self, rises: Sequence[int]) -> int | None:
        """The most one guest takes before the rules are asked again; None: no bound. Who grow at once share it."""
        if self.piece_bytes is None:
            return None
        growing = sum(rise > 0 for rise in rises)
        return max(PAGE_BYTES, self.piece_bytes // max(1, growing))

    def _grow(self, now_s: float) -> None:
        over = [g for g in self._facts() if g.overhead_bytes is not None and g.overhead_bytes > g.grant_bytes]
        if not over:
            return
        grown = {name: self._lately(one, now_s) for name, one in self.guests.items()}
        found = decide.grow(self._facts(), self._budget(), self.settings, now_s, grown=grown)
        self._take((*found.now, *found.then))

    def _lately(self, one: _Running, now_s: float) -> int:
        return largest_rise(point for point in one.lately if point.at_s >= now_s - LATELY_S)

    def _hold(self) -> None:
        if all(one.is_quiet() for one in self.guests.values()):
            self._short = False
            return
        budget = self._budget()
        excesses = [self._excess(guest, budget) for guest in self._facts()]
        left = decide.headroom_left(excesses, budget.headroom_bytes)
        self.totals.lent_peak_bytes = max(self.totals.lent_peak_bytes, budget.headroom_bytes - left)
        short = left < 0 or any(one.beyond_its_limit() for one in self.guests.values())
        self.totals.walls_hit += short and not self._short
        self._short = short
        for action in decide.hold(excesses, budget.headroom_bytes, budget.guard_bytes):
            one = self.guests[action.name]
            one.facts = replace(one.facts, held=isinstance(action, Hold))
            self.totals.held += isinstance(action, Hold)

    def _excess(self, guest: GuestFacts, budget: decide.Budget) -> Excess:
        at = decide.hold_at_bytes(guest.cap_bytes, guest.grant_bytes, budget.headroom_bytes)
        return Excess(
            guest.name, guest.weight, guest.grant_bytes, guest.overhead_bytes, held=guest.held, hold_at_bytes=at
        )

    def _give_back(self, now_s: float) -> None:
        found = decide.give_back(self._facts(), self._budget(), self.settings, now_s, self._since_s)
        self._since_s = dict(found.since_s)
        for spare in found.spare:
            if spare.to_bytes < spare.grant_bytes:
                self.totals.given_back += 1
                self.guests[spare.name].gave = True
        self._take(found.actions)

    def _take(self, actions: tuple[Action, ...], *, counted: bool = True) -> None:
        for action in actions:
            if isinstance(action, SetWall):
                self.wall_bytes = action.to_bytes
            if not isinstance(action, SetLimit) or action.name not in self.guests:
                continue
            one = self.guests[action.name]
            rises = action.grant_to_bytes > action.grant_from_bytes
            one.facts = replace(one.facts, grant_bytes=action.grant_to_bytes, limit_bytes=action.to_bytes)
            if not counted:
                continue
            self.totals.raises += rises
            self.totals.shrinks += not rises
            self.totals.regrown += rises and one.gave
            one.gave = one.gave and not rises

    def _count(self) -> None:
        for one in self.guests.values():
            self.totals.idle_byte_s += max(0, one.facts.grant_bytes - one.at_bytes) * self.step_s
            self.totals.guest_s += self.step_s
