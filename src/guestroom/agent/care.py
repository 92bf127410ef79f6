"""A guest under care as the agent holds it: its record, what was last seen of it, and who is waiting for it.

The record is what the ledger has too and is only ever replaced as a whole; everything else here is
rebuilt after a restart.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from guestroom.agent.peaks import BLUR_BYTES, PeakWindow
from guestroom.agent.session import Session
from guestroom.decide.trend import Point, largest_rise
from guestroom.facts import GuestFacts, GuestRecord, GuestState, OverheadReading
from guestroom.units import Limit

POINTS = 120
LATELY_S = 5.0


@dataclass(slots=True)
class BrakeState:
    """A guest's brakes: times in monotonic seconds."""

    since_s: float | None = None
    """Since when one is on."""
    total_s: float = 0.0
    """How long one was on before, all times together."""
    times_s: deque[float] = field(default_factory=lambda: deque(maxlen=16))
    """When one was put on."""
    eased_s: float | None = None
    """When a throttle was last lifted a step."""
    off_s: float | None = None
    """When the last one was taken off."""
    trimmed_s: float | None = None
    in_vain: int = 0
    """How often in a row a trim gave nothing."""
    before_bytes: int = 0
    """Its overhead when the brake was put on."""
    burst_bytes: int | None = None
    """The most its requests in flight can take, by the clusters its images have; None: not looked at yet."""
    unable: bool = False
    """It has no disk that could be throttled."""

    def on(self, now_s: float, overhead_bytes: int) -> None:
        """A brake is on from now."""
        self.since_s, self.before_bytes, self.eased_s = now_s, overhead_bytes, None
        self.times_s.append(now_s)

    def off(self, now_s: float) -> float:
        """It is off; returns how long it was on."""
        lasted_s = now_s - self.since_s if self.since_s is not None else 0.0
        self.total_s += lasted_s
        self.since_s, self.off_s = None, now_s
        return lasted_s

    def braked_s(self, now_s: float) -> float:
        """How long one was on, all times together."""
        return self.total_s + (now_s - self.since_s if self.since_s is not None else 0.0)


@dataclass(slots=True)
class Care:
    """One guest under care."""

    record: GuestRecord
    started_s: float
    """Monotonic seconds of its start."""
    peaks: PeakWindow
    limit_bytes: Limit | None
    reading: OverheadReading | None = None
    recreated_s: float | None = None
    pidfd: int | None = None
    watched: bool = False
    """The event loop waits for its ``pidfd``."""
    session: Session | None = None
    """Its ``run``'s connection, None where there never was one (an agent that restarted)."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    recreation: int | None = None
    """Grant bytes it is to come back with while it is being recreated."""
    stopping_s: float | None = None
    """Since when its user is ending it."""
    before_stop: GuestState | None = None
    """Its state before that."""
    held_since_s: float | None = None
    """Since when it is held, monotonic."""
    held_total_s: float = 0.0
    """How long it was held before, all times together."""
    hold_at_bytes: int | None = None
    """Overhead at which the alarm process holds it for its own cap, as it was told; None: never."""
    let_run: bool = False
    """It was let go into its wall (``on_runaway``): it is never held again."""
    brake: BrakeState = field(default_factory=BrakeState)
    """How it was slowed down, lately and altogether."""
    warned: bool = False
    """A warning stands that it is heading for its wall."""
    points: deque[Point] = field(default_factory=lambda: deque(maxlen=POINTS))
    """Its overhead lately, for its trend."""
    cache_gone_s: float = -math.inf
    """Until when its page cache was being dropped (``inf``: it still is): the kernel's peak of then counts it."""
    kernel_peak_bytes: int | None = None
    """The kernel's own peak as last read; 0: begun anew; None: never read."""
    unreadable: bool = False
    """Its last reading failed, which was told."""
    look_failed: str | None = None
    """What the last look at its cgroups failed of, which was told."""
    at_wall: bool = False
    """It was seen waiting at its limit."""
    may_be_killed: bool = False
    """Its OOM killer is on by our own hand, so that it can end."""
    family: set[int] | None = None
    """Pids of its own processes; None until it was first seen running."""
    gone: bool = False
    """Its cgroup was taken away: what is there under its name now is not its."""
    outside: bool = False
    """Somebody else moved it out of its cgroup: what it takes now is charged elsewhere."""
    strangers: set[int] = field(default_factory=set)
    """Pids in its cgroup that somebody else put there."""

    @property
    def name(self) -> str:
        """Its name."""
        return self.record.name

    @property
    def away(self) -> bool:
        """Whether no QEMU of its own runs yet, or not at this moment."""
        return self.record.state in (GuestState.QUEUED, GuestState.STARTING)

    def to_observe(self) -> tuple[str, int, int | None, tuple[int, ...]]:
        """What an observer is asked with: name, charged RAM, pid, RAM blocks."""
        record = self.record
        pid = record.identity.pid if record.identity is not None else None
        return record.name, record.ram_charged_bytes, pid, record.ram_block_bytes

    def hold(self, *, held: bool, now_s: float) -> None:
        """Note that it is held from now on, or no longer."""
        if not held and self.held_since_s is not None:
            self.held_total_s += now_s - self.held_since_s
        self.held_since_s = (self.held_since_s or now_s) if held else None
        self.record = replace(self.record, held=held)

    def held_s(self, now_s: float) -> float:
        """How long it has been held, all times together."""
        return self.held_total_s + (now_s - self.held_since_s if self.held_since_s is not None else 0.0)

    @property
    def lately_bytes(self) -> int:
        """What its overhead gained within the last few seconds."""
        if not self.points:
            return 0
        after_s = self.points[-1].at_s - LATELY_S
        return largest_rise(point for point in self.points if point.at_s >= after_s)

    def burst_bytes(self, reading: OverheadReading) -> int:
        """What its overhead gained at once by its newest reading, which is the last of ``points``; 0 for nothing new.

        The kernel's own peak tells what lies between two readings, where no page cache blurs it.
        """
        top, before = reading.overhead_bytes or 0, self.kernel_peak_bytes
        exact = reading.cache_bytes is not None and reading.cache_bytes <= BLUR_BYTES
        if reading.kernel_peak_bytes is not None:
            self.kernel_peak_bytes = reading.kernel_peak_bytes
            # Its first reading is of a peak from any time.
            if exact and before is not None and not reading.kernel_peak_is_old and reading.kernel_peak_bytes > before:
                top = max(top, reading.kernel_peak_bytes)
        low = top
        for point in reversed(self.points):
            if point.at_s < reading.at_s - LATELY_S:
                break
            low = min(low, point.overhead_bytes)
        return top - low

    @property
    def reachable(self) -> bool:
        """Whether its ``run`` listens: only then can it be recreated."""
        return self.session is not None and not self.session.gone.is_set()

    def send(self, line: Mapping[str, object]) -> None:
        """Send a line to its ``run``, if it listens."""
        if self.session is not None:
            self.session.emit(line)

    def facts(self) -> GuestFacts:
        """What decisions are made from.

        A released guest is shown with unknown use and its grant as its cap: so it is neither shrunk nor raised,
        and keeps counting.
        """
        record = self.record
        reading = self.reading
        peak = self.peaks.peak_bytes
        overhead = reading.overhead_bytes if reading is not None else self._before_it_runs()
        if peak is None:
            peak = self._before_it_runs()
        if overhead is not None:
            overhead += self.returned_bytes
        if record.released:
            overhead = peak = None
        return GuestFacts(
            name=record.name,
            state=record.state,
            ram_bytes=record.ram_bytes,
            ram_charged_bytes=record.promised_charged_bytes,
            weight=record.weight,
            need_bytes=record.need_bytes,
            boot_floor_bytes=record.boot_floor_bytes,
            cap_bytes=record.grant_bytes if record.released else record.cap_bytes,
            grant_bytes=record.grant_bytes,
            admitted_grant_bytes=record.admitted_grant_bytes,
            limit_bytes=self.limit_bytes,
            overhead_bytes=overhead,
            overhead_peak_bytes=peak,
            started_s=self.started_s,
            accounting=record.accounting,
            squeezed=record.squeezed,
            held=record.held,
            recreatable=record.recreatable and self.reachable and not record.ballooned,
            recreate_need_bytes=record.recreate_need_bytes,
            recreated_s=self.recreated_s,
            fixed_overhead=record.fixed_overhead,
            lent_ram_bytes=record.lent_ram_bytes,
        )

    @property
    def returned_bytes(self) -> int:
        """Lent RAM that the guest took back unasked: until it is promised again, it is overhead like any other."""
        record, reading = self.record, self.reading
        if record.lent_ram_bytes == 0 or reading is None or reading.ram_resident_bytes is None:
            return 0
        return max(0, reading.ram_resident_bytes - record.promised_charged_bytes)

    def _before_it_runs(self) -> int | None:
        """Until it runs its need is spoken for: its start may be filling it this very moment."""
        if self.record.state not in (GuestState.QUEUED, GuestState.STARTING):
            return None
        return min(self.record.grant_bytes, max(self.record.need_bytes, self.record.boot_floor_bytes))
