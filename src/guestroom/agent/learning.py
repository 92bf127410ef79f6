"""What guests came to, written down with what was promised for them, and given to whoever sizes the next one.

A life is reported when it misses its promise (at once: the next start of its kind is to get more), when its peak has
risen, every hour, and at its end. Each report replaces the one before, so that a crash loses at most the rise of the
last minute. The history is the ledger's and is only ever touched on the event loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from guestroom import size
from guestroom.agent.care import Care
from guestroom.agent.deps import Deps
from guestroom.agent.sizer import Sizer
from guestroom.agent.views import missed
from guestroom.errors import QmpError
from guestroom.facts import GuestState
from guestroom.lives import Life
from guestroom.ports import Monitor
from guestroom.size.history import Level
from guestroom.size.learned import NAME, PRIOR
from guestroom.size.registry import can_promise
from guestroom.units import MIB, format_bytes

REPORT_S = 3600.0
"""A life is reported at least so often: its sample stays as recent as it is."""
RISEN_S = 60.0
"""And at most so often for a peak that has risen."""
RISEN_BYTES = MIB
_RUNS = (GuestState.RUNNING, GuestState.PAUSED, GuestState.STOPPING)


@dataclass(slots=True)
class _Told:
    """The last report of a life."""

    at_s: float
    peak_bytes: int
    missed: bool


class Learning:
    """The history of this host's guests, and what is still to be told of those that run."""

    def __init__(self, deps: Deps) -> None:
        self.deps = deps
        self.history = size.History()
        self._told: dict[tuple[str, float], _Told] = {}
        self._kept: tuple[int, tuple[size.Kept, ...]] = (-1, ())
        self._changes = 0

    async def load(self) -> None:
        """Begin with what the ledger has."""
        deps = self.deps
        self.history = await deps.book(lambda: size.History(deps.ledger.lives()))

    def sizer(self) -> Sizer:
        """What sizes a newcomer now."""
        return Sizer(self.deps.settings, self.history, self.deps.clock.wall())

    async def runs_on(self, care: Care, monitor: Monitor) -> None:
        """Ask a guest's QEMU for its version; a promise that was made for another one is none."""
        promised = care.record.promised
        if promised is None:
            return
        try:
            answer = await self.deps.kernel(lambda: monitor.execute("query-version"))
        except QmpError:
            return
        version = version_of(answer)
        like = promised.likeness
        if version is None or version == like.qemu:
            return
        if promised.level in set(Level):
            # By samples of another QEMU than the one that runs.
            promised = replace(promised, coverage=None, level=None, samples=0)
        promised = replace(promised, likeness=replace(like, qemu=version))
        care.record = replace(care.record, promised=promised)

    def tend(self, cares: Iterable[Care]) -> None:
        """Report whose peak has risen, who missed its promise, and who was not reported for long."""
        now_s = self.deps.clock.monotonic()
        for care in cares:
            record = care.record
            if record.promised is None or record.life_peak_bytes is None or record.state not in _RUNS:
                continue
            told = self._told.get((record.name, record.started_wall_s)) or self._of_last_agent(care)
            if told is None:
                if now_s - care.started_s < RISEN_S and not missed(record):
                    continue
            else:
                risen = record.life_peak_bytes > told.peak_bytes + RISEN_BYTES and now_s - told.at_s >= RISEN_S
                if not (risen or now_s - told.at_s >= REPORT_S or (missed(record) and not told.missed)):
                    continue
            self._report(care, ended=False)

    def report(self, cares: Iterable[Care]) -> None:
        """Report all that run: the agent is about to stop."""
        for care in cares:
            if care.record.state in _RUNS:
                self._report(care, ended=False)

    def ended(self, care: Care) -> None:
        """Report a life that is over; one that never ran was none, and one nobody looked at says nothing new."""
        record = care.record
        if record.state in _RUNS and (care.reading is not None or (record.name, record.started_wall_s) in self._told):
            self._report(care, ended=True)
        self._told.pop((record.name, record.started_wall_s), None)

    async def row(self) -> dict[str, object]:
        """What was promised and kept, by policy, QEMU and accelerator."""
        changes, lives = self._changes, self.history.lives()
        if self._kept[0] != changes:
            self._kept = changes, await self.deps.kernel(size.kept, lives)
        settings = self.deps.settings
        return {
            "policy": settings.policy,
            "prior": PRIOR if settings.policy == NAME else None,
            "wanted_coverage": settings.coverage if can_promise(settings.policy) else None,
            "lives": len(self.history),
            "groups": [asdict(one) for one in self._kept[1]],
        }

    def _of_last_agent(self, care: Care) -> _Told | None:
        """What an agent before this one reported of a life that goes on."""
        life = self.history.get((care.record.name, care.record.started_wall_s))
        if life is None:
            return None
        age_s = max(0.0, self.deps.clock.wall() - life.at_wall_s)
        return _Told(self.deps.clock.monotonic() - age_s, life.peak_bytes, life.missed)

    def _report(self, care: Care, *, ended: bool) -> None:
        record, clock = care.record, self.deps.clock
        if record.promised is None or record.life_peak_bytes is None or care.gone or care.outside:
            return  # elsewhere it needed more than was seen
        key = record.name, record.started_wall_s
        known = self.history.get(key)
        life = Life(
            guest=record.name,
            started_wall_s=record.started_wall_s,
            # Never before what was told already: a clock set back must not make news look old.
            at_wall_s=max(clock.wall(), known.at_wall_s if known is not None else 0.0),
            ran_s=max(0.0, clock.monotonic() - care.started_s),
            ended=ended,
            peak_bytes=max(record.life_peak_bytes, known.peak_bytes if known is not None else 0),
            grant_bytes=record.grant_bytes,
            promised=record.promised,
        )
        told = self._told.get(key) or self._of_last_agent(care)
        self._told[key] = _Told(clock.monotonic(), life.peak_bytes, life.missed)
        self._changes += 1
        self.history.add(life)
        self.deps.late.put_life(life)
        if life.missed and not (told is not None and told.missed):
            self._tell_miss(life)

    def _tell_miss(self, life: Life) -> None:
        promised, peak = life.promised, life.peak_bytes
        sure = f" for {size.promise.odds(promised.coverage)}" if promised.coverage is not None else ""
        message = (
            f"{life.guest} needed {format_bytes(peak)}, more than the {format_bytes(promised.overhead_bytes)} that "
            f"{promised.policy} promised{sure}; the next guest like it is promised more by learned"
        )
        numbers = {
            "peak_bytes": peak,
            "promised_bytes": promised.overhead_bytes,
            "promised_coverage": promised.coverage,
        }
        self.deps.event("promise_missed", life.guest, message, numbers)


def version_of(answer: Any) -> str | None:
    """``7.2`` of what ``query-version`` answers; None for what is no such answer.

    Without the third number: stable updates mend faults and bring no devices, and a group that begins anew with each of
    them would never have the samples a promise takes.
    """
    found = answer.get("qemu") if isinstance(answer, Mapping) else None
    if not isinstance(found, Mapping):
        return None
    major, minor = found.get("major"), found.get("minor")
    return f"{major}.{minor}" if isinstance(major, int) and isinstance(minor, int) else None
