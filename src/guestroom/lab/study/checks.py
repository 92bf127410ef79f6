"""Guests that a study measured in two ways: charged jointly and split, beside others and again alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from guestroom.lab.study.dataset import Factor, Run
from guestroom.lab.study.samples import Samples, factor, is_again, peak_mib
from guestroom.lab.study.stats import Estimate, difference


@dataclass(frozen=True, slots=True)
class Twice:
    """One guest, measured in two ways."""

    config: str
    first_mib: float
    """Mean peak in the study: jointly charged, maybe beside others."""
    second_mib: float
    """Mean peak the other way."""
    apart: Estimate
    """Second less first, in MiB."""


def split_beside_joint(samples: Samples) -> tuple[Twice, ...]:
    """Split and joint accounting of the same guests, by the name of the joint one."""
    joint = {_likeness(samples, samples.first(one)): one for one in samples.by_config}
    groups: dict[str, list[float]] = defaultdict(list)
    for run in samples.good:
        if run.accounting == "split":
            config = run.config if run.config in samples else joint.get(_likeness(samples, run))
            if config is not None:
                groups[config].append(peak_mib(run))
    return _twice(samples, groups)


def beside_alone(samples: Samples) -> tuple[Twice, ...]:
    """Guests of the study, and the same measured again alone."""
    groups: dict[str, list[float]] = defaultdict(list)
    for run in samples.good:
        if is_again(run) and run.config in samples:
            groups[run.config].append(peak_mib(run))
    return _twice(samples, groups)


def _twice(samples: Samples, groups: Mapping[str, Sequence[float]]) -> tuple[Twice, ...]:
    found = []
    for config, peaks in sorted(groups.items()):
        spread, first = samples.spread(config), samples.peaks(config)
        found.append(Twice(config, fmean(first), fmean(peaks), difference(peaks, first, spread, spread)))
    return tuple(found)


def _likeness(samples: Samples, run: Run) -> tuple[Factor, ...]:
    return tuple(factor(run, name) for name in samples.names)
