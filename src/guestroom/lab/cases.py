"""A trace replayed under several policies and settings, beside what an oracle would admit.

The oracle knows each guest's peak before it starts and gives it exactly that, keeps no headroom and never moves
anything: the best that a fixed grant can do. A policy with a shared headroom may do better, because guests seldom peak
together: its ratio is then above 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from guestroom import decide, size
from guestroom.config import Percent, Reserve, Rest, Settings, Sharing
from guestroom.errors import InputError
from guestroom.facts import GuestFacts, HostFacts
from guestroom.lab.newcomers import newcomer_of, started
from guestroom.lab.pupil import Pupil
from guestroom.lab.replay import PIECE_BYTES, Replay, Totals
from guestroom.lab.traces import Shape, Trace
from guestroom.size.learned import NAME as LEARNED
from guestroom.units import format_bytes

RECORDED = "recorded"
"""In place of a policy: the need that each guest had when it was recorded."""


@dataclass(frozen=True, slots=True)
class Case:
    """One way of running a host."""

    policy: str
    settings: Settings


@dataclass(frozen=True, slots=True)
class Result:
    """What a case came to."""

    case: Case
    offered: int
    totals: Totals
    oracle: int
    """How many the oracle admits under the same reserve."""

    @property
    def oracle_ratio(self) -> float | None:
        """Admitted / what the oracle admits; None where that is nobody."""
        return self.totals.admitted / self.oracle if self.oracle else None

    def row(self) -> dict[str, object]:
        """All of it under the names that ``--json`` has."""
        totals, settings = self.totals, self.case.settings
        return {
            "policy": self.case.policy,
            "sharing": settings.sharing.value,
            "reserve": reserve_text(settings.reserve),
            "headroom_bytes": settings.headroom_bytes,
            "guests": self.offered,
            "admitted": totals.admitted,
            "squeezed": totals.squeezed,
            "refused": totals.refused,
            "oracle_admitted": self.oracle,
            "oracle_ratio": None if self.oracle_ratio is None else round(self.oracle_ratio, 4),
            "idle_mean_bytes": totals.idle_mean_bytes,
            "lent_peak_bytes": totals.lent_peak_bytes,
            "grown": totals.raises,
            "given_back": totals.given_back,
            "limits_written": totals.changes,
            "held": totals.held,
            "held_s": round(totals.held_s, 3),
            "walls_hit": totals.walls_hit,
        }


def reserve_text(reserve: Reserve) -> str:
    """A reserve as the settings file writes it."""
    match reserve:
        case Percent():
            return f"{reserve.hundredths / 100:g}%"
        case Rest():
            return "rest"
        case _:
            return format_bytes(reserve)


def play(
    case: Case, trace: Trace, host: HostFacts, *, step_s: float, progress: Callable[[float], None] = lambda done: None
) -> Result:
    """Replay ``trace`` by ``case``. Raises ``InputError`` for a policy that can't size its guests."""
    sized = Trace({name: sized_by(case, name, shape) for name, shape in trace.shapes.items()}, trace.samples)
    pupil = Pupil(replace(case.settings, policy=LEARNED)) if case.policy == LEARNED else None
    replay = Replay(sized, case.settings, host, step_s=step_s, piece_bytes=PIECE_BYTES, pupil=pupil, progress=progress)
    totals = replay.run()
    return Result(case, len(trace.shapes), totals, oracle(trace, case.settings, host))


def sized_by(case: Case, name: str, shape: Shape) -> Shape:
    """The guest with the need that the case's policy gives it, as the agent works it out (``agent.request``)."""
    settings = case.settings
    own = settings.guest(shape.own_name or name)
    cap = own.cap_bytes if own.cap_bytes is not None else settings.cap_bytes
    if case.policy == RECORDED:
        need, fixed = shape.need_bytes, shape.fixed_overhead
    else:
        found = size.need(
            shape.described(),
            case.policy,
            host_overhead_bytes=settings.overhead_bytes,
            guest_overhead_bytes=own.overhead_bytes,
        )
        need, fixed = found.overhead_bytes, found.is_set
    if need <= 0:
        raise InputError(f"what guest {name!r} needs is not known", hint="name a policy with --policy")
    need = min(need, cap) if cap is not None and not fixed else need
    return replace(shape, need_bytes=need, boot_floor_bytes=min(shape.boot_floor_bytes, need), fixed_overhead=fixed)


def oracle(trace: Trace, settings: Settings, host: HostFacts) -> int:
    """How many guests one admits who knows each one's peak, in the order of their starts, under the same reserve."""
    bare = replace(settings, headroom_bytes=0, sharing=Sharing.STATIC)
    present: dict[str, tuple[float, GuestFacts]] = {}
    admitted = 0
    for name, points in sorted(trace.samples.items(), key=lambda item: (item[1][0][0], item[0])):
        now_s, peak = points[0][0], max(used for _, used in points)
        present = {one: entry for one, entry in present.items() if entry[0] > now_s}
        known = replace(trace.shapes[name], need_bytes=peak, boot_floor_bytes=peak)
        newcomer = newcomer_of(name, known, bare)
        guests = [facts for _, facts in present.values()]
        total = decide.budget(host, guests, bare, newcomer=newcomer)
        peaks = peak + sum(facts.need_bytes for facts in guests)
        if total.promised_ram_bytes + total.reserve_bytes > total.budget_bytes or peaks > total.reserve_bytes:
            continue
        admitted += 1
        present[name] = (points[-1][0], started(newcomer, peak, newcomer.ram_charged_bytes + peak, now_s))
    return admitted
