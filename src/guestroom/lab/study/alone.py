"""Do guests measured side by side say what they say alone? A few are measured both ways, and their peaks compared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from guestroom.lab.study.dataset import Run
from guestroom.units import MIB

ALONE = "alone"
"""Begins the last word of the ``run_id`` of a run that was made again, alone."""
_PEAK = "overhead_peak_bytes"


@dataclass(frozen=True, slots=True)
class Apart:
    """Peaks of one configuration, beside others and alone."""

    config: str
    beside_bytes: float
    """Mean over its runs beside others."""
    alone_bytes: float

    @property
    def apart_bytes(self) -> float:
        """How much more it was beside others."""
        return self.beside_bytes - self.alone_bytes

    def text(self) -> str:
        """For people."""
        sizes = f"{self.beside_bytes / MIB:.1f} MiB side by side, {self.alone_bytes / MIB:.1f} alone"
        return f"{self.config}: peak {sizes} ({self.apart_bytes / MIB:+.1f})"


def _good(runs: Iterable[Run]) -> list[Run]:
    return [run for run in runs if run.error is None and run.accounting == "joint" and _PEAK in run.figures]


def choose(runs: Iterable[Run], count: int = 3) -> tuple[str, ...]:
    """Configurations to be measured again: the base, that of the largest peak, and that of the middle one.

    Only ones that were measured beside others, and at most ``count``; the base is the one of that family.
    """
    peaks = {run.config: (run.figures[_PEAK], run.family) for run in _good(runs) if not run.alone}
    ordered = sorted(peaks, key=lambda name: (peaks[name][0], name))
    if not ordered:
        return ()
    bases = [name for name in ordered if peaks[name][1] == "base"]
    return tuple(dict.fromkeys([*bases[:1], ordered[-1], ordered[len(ordered) // 2], *ordered]))[:count]


def apart(runs: Iterable[Run]) -> tuple[Apart, ...]:
    """Each configuration that was measured both ways, by name."""
    found: dict[bool, dict[str, list[float]]] = {True: defaultdict(list), False: defaultdict(list)}
    for run in _good(runs):
        found[run.alone][run.config].append(run.figures[_PEAK])
    both = sorted(set(found[True]) & set(found[False]))
    return tuple(Apart(name, fmean(found[False][name]), fmean(found[True][name])) for name in both)
