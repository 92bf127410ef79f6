"""A study's runs as its report asks for them: by configuration, beside what each is to be compared with.

A configuration is compared with the one that differs from it in the fewest factors, where the other has what the base
has: the difference then is the price of what was varied, and not of everything the base happens to lack.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from guestroom.lab.study.alone import ALONE
from guestroom.lab.study.dataset import Factor, Run
from guestroom.lab.study.matrix import DEFAULTS
from guestroom.lab.study.stats import Estimate, Spread, difference, mean, pooled, slope
from guestroom.units import MIB

PEAK = "overhead_peak_bytes"
BASE = "base"
GROWS_MIB = 8.0
"""A guest whose load adds more than this to its overhead is of another kind than the rest: its repetitions lie farther
apart, and farther still where what it adds is copies of clusters, which depends on how many requests met."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """One configuration beside the one it is compared with."""

    config: str
    against: str
    changed: tuple[tuple[str, Factor, Factor], ...]
    """Factors that differ: name, value there, value here."""
    overhead_mib: Estimate


def factor(run: Run, name: str) -> Factor:
    """A factor of a run; runs from before the factor existed have its default."""
    return run.factors.get(name, DEFAULTS.get(name))


def number(run: Run, name: str) -> float:
    """A factor as a number; 0 where it is none."""
    value = factor(run, name)
    return float(value) if isinstance(value, int | float) else 0.0


def peak_mib(run: Run) -> float:
    """The largest overhead of a run, in MiB."""
    return run.figures[PEAK] / MIB


def is_again(run: Run) -> bool:
    """Whether it is a configuration measured once more, alone, to check those that ran side by side."""
    return run.run_id.rpartition("/")[2].startswith(ALONE)


class Samples:
    """All runs of a study that have figures."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self.all = tuple(sorted(runs, key=lambda run: run.run_id))
        self.good = tuple(run for run in self.all if run.error is None and PEAK in run.figures)
        self.by_config: dict[str, list[Run]] = {}
        """Jointly charged runs, without those measured once more."""
        for run in self.good:
            if run.accounting == "joint" and not is_again(run):
                self.by_config.setdefault(run.config, []).append(run)

    def __contains__(self, config: str) -> bool:
        return config in self.by_config

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Every factor that any run has, but how long the load lasts: a peak is reached long before its end."""
        found = {name for runs in self.by_config.values() for run in runs for name in run.factors}
        return tuple(sorted(found - {"load_s"}))

    def first(self, config: str) -> Run:
        """A run that stands for its configuration."""
        return self.by_config[config][0]

    def peaks(self, config: str) -> list[float]:
        """Largest overhead of each repetition, in MiB."""
        return [peak_mib(run) for run in self.by_config[config]]

    def peak(self, config: str) -> Estimate:
        """Its mean over the repetitions."""
        return mean(self.peaks(config), self.spread(config))

    def growth_mib(self, config: str) -> float:
        """What the load adds to the idle guest, on average."""
        idle = [
            peak_mib(run) - run.moments["idle"].overhead_bytes / MIB
            for run in self.by_config[config]
            if "idle" in run.moments
        ]
        return fmean(idle) if idle else 0.0

    def kind(self, config: str) -> str:
        """``calm``, ``filling`` (grows under its load, caches say) or ``copying`` (grows by copies of clusters)."""
        if self.growth_mib(config) <= GROWS_MIB:
            return "calm"
        run = self.first(config)
        return "copying" if factor(run, "backing") or factor(run, "compressed") else "filling"

    @cached_property
    def spreads(self) -> dict[str, Spread | None]:
        """Spread of the repetitions of each kind, of those that grow as a share of what they grow by.

        A kind without any repetitions takes the share of those that grow more.
        """
        groups: dict[str, list[list[float]]] = {"calm": [], "filling": [], "copying": []}
        for config in self.by_config:
            kind = self.kind(config)
            unit = 1.0 if kind == "calm" else self.growth_mib(config)
            groups[kind].append([peak / unit for peak in self.peaks(config)])
        found = {kind: pooled(peaks) for kind, peaks in groups.items()}
        found["filling"] = found["filling"] or found["copying"]
        return found

    def spread(self, config: str) -> Spread | None:
        """The spread of a configuration's repetitions in MiB, by those of its kind."""
        kind = self.kind(config)
        found = self.spreads[kind]
        if found is None:
            return None
        unit = 1.0 if kind == "calm" else self.growth_mib(config)
        return Spread(found.deviation * unit, found.degrees, kind)

    def difference(self, config: str, against: str) -> Estimate:
        """Mean peak of one less the other's, in MiB."""
        return difference(self.peaks(config), self.peaks(against), self.spread(config), self.spread(against))

    def changed(self, config: str, against: str) -> tuple[tuple[str, Factor, Factor], ...]:
        """The factors in which two configurations differ."""
        ours, theirs = self.first(config), self.first(against)
        pairs = ((name, factor(theirs, name), factor(ours, name)) for name in self.names)
        return tuple((name, there, here) for name, there, here in pairs if there != here)

    @cached_property
    def contrasts(self) -> tuple[Contrast, ...]:
        """Each configuration beside the one that tells most of it, base left out; nothing without a base."""
        if BASE not in self:
            return ()
        others = (config for config in sorted(self.by_config) if config != BASE)
        return tuple(self.contrast(config, self._reference(config)) for config in others)

    def contrast(self, config: str, against: str) -> Contrast:
        """Two configurations beside each other."""
        return Contrast(config, against, self.changed(config, against), self.difference(config, against))

    def _reference(self, config: str) -> str:
        base = self.first(BASE)

        def unlikeness(other: str) -> tuple[int, bool, str]:
            return len(self.changed(config, other)), other != BASE, other

        fit = (
            other
            for other in self.by_config
            if other != config
            and (changed := self.changed(config, other))
            and all(there == factor(base, name) for name, there, _ in changed)
        )
        return min(fit, key=unlikeness, default=BASE)

    def speed(self, config: str, against: str, figure: str) -> Estimate | None:
        """How many times another's figure one has, as its logarithm; None where either has none.

        Its spread is pooled over all repeated configurations: of speeds it is the machine's, not the guest's.
        """
        ours, theirs = self._logs(config, figure), self._logs(against, figure)
        if not ours or not theirs:
            return None
        spread = pooled(self._logs(one, figure) for one in self.by_config)
        return difference(ours, theirs, spread, spread)

    def _logs(self, config: str, figure: str) -> list[float]:
        found = (run.figures.get(figure, 0.0) for run in self.by_config[config])
        return [math.log(value) for value in found if value > 0]

    def lines(self, name: str) -> tuple[tuple[str, ...], ...]:
        """Sets of configurations that differ in one numeric factor only, largest first; those of one value are none."""
        groups: dict[tuple[object, ...], list[str]] = defaultdict(list)
        for config in sorted(self.by_config):
            run = self.first(config)
            groups[tuple(factor(run, other) for other in self.names if other != name)].append(config)
        told = [group for group in groups.values() if len({number(self.first(one), name) for one in group}) > 1]
        return tuple(tuple(group) for group in sorted(told, key=lambda group: (-len(group), group)))

    def slope(self, configs: Sequence[str], name: str, per: float = 1.0) -> Estimate | None:
        """MiB for each ``per`` of a factor over some configurations, all repetitions counted."""
        points = [(number(run, name) / per, peak_mib(run)) for one in configs for run in self.by_config[one]]
        spreads = [self.spread(one) for one in configs]
        known = [spread for spread in spreads if spread is not None]
        widest = max(known, key=lambda spread: spread.deviation, default=None)
        return slope(points, widest if len(known) == len(spreads) else None)
