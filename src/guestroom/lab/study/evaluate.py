"""How right a sizing is on guests it has never seen: by configuration, never by repetition.

Ten times a model is fitted without a tenth of the configurations, margins and all (they come from fits within the other
nine tenths), and asked about that tenth. The peers' formulas have nothing to learn and are asked about the same guests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from guestroom.describe import burst_bytes
from guestroom.lab.study.cases import Case
from guestroom.lab.study.conformal import exact_bounds
from guestroom.lab.study.fit import fit_cases, folds
from guestroom.size import estimate
from guestroom.size.measured import size_by
from guestroom.size.measured_cost import Model
from guestroom.size.measured_terms import TYPICAL, Load

PEERS = ("fixed", "proportional", "eve", "kubevirt", "ovirt", "libvirt-2013")
KNOWN, SIZED, WITH_BURST = "measured, load known", "measured, as sized", "measured, with burst"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a sizing said of one configuration, and what that took."""

    config: str
    said_bytes: int
    peak_bytes: int

    @property
    def ratio(self) -> float:
        """Said over taken: below 1 is a miss."""
        return self.said_bytes / self.peak_bytes

    @property
    def covered(self) -> bool:
        """Whether it was enough."""
        return self.said_bytes >= self.peak_bytes


@dataclass(frozen=True, slots=True)
class Score:
    """One sizing on all configurations."""

    name: str
    promised: float | None
    """Share of guests it is to be enough for; None: it promises nothing."""
    answers: tuple[Answer, ...]

    def summary(self) -> dict[str, Any]:
        """Its figures, as ``guestroom study evaluate --json`` gives them."""
        hits, count = sum(one.covered for one in self.answers), len(self.answers)
        low, high = exact_bounds(hits, count)
        ratios = sorted(one.ratio for one in self.answers)
        return {
            "policy": self.name,
            "promised": self.promised,
            "covered": hits,
            "configurations": count,
            "coverage": hits / count,
            "coverage_low": low,
            "coverage_high": high,
            "ratio_median": median(ratios),
            "ratio_p90": ratios[min(count - 1, count * 9 // 10)],
            "short_most_bytes": max(0, *(one.peak_bytes - one.said_bytes for one in self.answers)),
            "unused_mean_bytes": round(fmean(max(0, one.said_bytes - one.peak_bytes) for one in self.answers)),
            "misses": [one.config for one in self.answers if not one.covered],
        }


def evaluate(found: Sequence[Case], coverage: float) -> tuple[Score, ...]:
    """Every sizing on every configuration, peers last. Raises ``InputError`` as a fit does.

    ``measured`` four times: told what the guest does; as ``guestroom size`` says it, with a typical load assumed; that
    with the guest's burst, which the shared headroom keeps; and that on the guests that do no more than is assumed.
    """
    answers: dict[str, list[Answer]] = {KNOWN: [], SIZED: [], WITH_BURST: []}
    for train, held in folds(found):
        model = fit_cases(train)
        for case in held:
            known = _said(model, case, case.load, coverage)
            sized = _said(model, case, TYPICAL, coverage)
            for name, said in ((KNOWN, known), (SIZED, sized), (WITH_BURST, sized + burst_bytes(case.guest))):
                answers[name].append(Answer(case.config, said, case.peak_bytes))
    ours = [Score(name, coverage, _sorted(each)) for name, each in answers.items()]
    typical = _only(ours[1], {case.config: case.load for case in found})
    return (*ours, typical, *(Score(name, None, _peer(name, found)) for name in PEERS))


def within(load: Load) -> bool:
    """Whether a load is no more than a sizing assumes."""
    busy = load.requests <= TYPICAL.requests and load.vnc_clients <= TYPICAL.vnc_clients
    return busy and not load.is_worked_on and not load.streams and not load.streams_written


def _said(model: Model, case: Case, load: Load, coverage: float) -> int:
    sizing = size_by(model, case.guest, case.ram_bytes, coverage, load)
    return sum(part.bytes for part in sizing.parts)


def _peer(name: str, found: Sequence[Case]) -> tuple[Answer, ...]:
    said = ((case, estimate(case.guest, name).overhead_bytes) for case in found)
    return _sorted([Answer(case.config, size_bytes, case.peak_bytes) for case, size_bytes in said])


def _sorted(answers: Sequence[Answer]) -> tuple[Answer, ...]:
    return tuple(sorted(answers, key=lambda one: one.config))


def _only(score: Score, loads: Mapping[str, Load]) -> Score:
    """The same sizing on the configurations whose load is no more than it assumes."""
    kept = tuple(one for one in score.answers if within(loads[one.config]))
    return Score(f"{score.name}, typical loads", score.promised, kept)
