"""What one more of a thing costs, and what costs nothing worth mentioning."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from guestroom.lab.study.rule import tables_mib
from guestroom.lab.study.samples import BASE, Contrast, Samples, factor, number, peak_mib
from guestroom.lab.study.stats import Estimate, slope
from guestroom.lab.study.words import name_of, value_of

UNITS: tuple[tuple[str, str, float], ...] = (
    ("vcpus", "vCPU", 1),
    ("disks", "disk", 1),
    ("nics", "network device", 1),
    ("vnc_clients", "VNC client", 1),
    ("usb", "USB controller with a tablet", 1),
    ("balloon", "balloon device", 1),
    ("iothreads", "I/O thread", 1),
    ("queues", "queue of a disk", 1),
    ("hot_disks", "disk plugged in under load", 1),
    ("snapshots", "external snapshot under load", 1),
    ("shares", "virtio-fs share", 1),
    ("vga_mib", "MiB of video memory", 1),
    ("ram_mib", "GiB of RAM", 1024),
    ("tb_mib", "MiB of `tb-size`", 1),
)
"""Factor, the name of a unit, and how many of the factor are one unit."""
_LEFT_TO_QEMU = frozenset({"queues", "tb_mib", "vga_mib"})
"""Of these, 0 is no number but QEMU's own choice."""
_TOLD = frozenset({"backing", "cluster_kib", "compressed", "depth", "format", "load"})
"""Factors that the name of a request in flight tells anyhow."""
BOUND_MIB = 2.0
"""What is shown to cost less than this is said not to matter."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one more costs."""

    unit: str
    found: Estimate
    configs: tuple[str, ...]
    plain: bool = True
    """Whether it is told on the first page: of requests in flight, those of random reads and writes alone."""


def costs(samples: Samples) -> tuple[Cost, ...]:
    """A slope for each unit that varies alone in some configurations, RAM once for each way it is backed."""
    found: list[Cost] = []
    for name, unit, per in UNITS:
        lines = _lines(samples, name)
        for configs in lines if name == "ram_mib" else lines[:1]:
            slope = samples.slope(configs, name, per)
            if slope is not None:
                backed = f" ({factor(samples.first(configs[0]), 'memory')})" if name == "ram_mib" else ""
                found.append(Cost(unit + backed, slope, configs))
    return tuple(found)


def in_flight(samples: Samples) -> tuple[Cost, ...]:
    """A slope over the depth of the queue, for each image and load of which several depths were measured."""
    found = []
    for configs in samples.lines("depth"):
        slope = samples.slope(configs, "depth")
        run = samples.first(configs[0])
        if slope is None:
            continue
        words = [str(factor(run, "format")), f"{number(run, 'cluster_kib'):g} KiB clusters", str(factor(run, "load"))]
        if factor(run, "format") != "qcow2":
            words.pop(1)
        words += [name_of(name) for name in ("backing", "compressed") if factor(run, name)]
        changed = samples.changed(configs[0], BASE) if BASE in samples else ()
        others = [f"{name_of(name)} {value_of(name, here)}" for name, _, here in changed if name not in _TOLD]
        plain = not others and str(factor(run, "load")).startswith("rand")
        found.append(Cost(", ".join([*words, *others]), slope, configs, plain))
    return tuple(found)


def _lines(samples: Samples, name: str) -> tuple[tuple[str, ...], ...]:
    """Configurations that differ in this factor only; the base's first, then the largest sets."""
    kept = []
    for group in samples.lines(name):
        told = tuple(one for one in group if name not in _LEFT_TO_QEMU or number(samples.first(one), name))
        if len({number(samples.first(one), name) for one in told}) > 1:
            kept.append(told)
    return tuple(sorted(kept, key=lambda group: BASE not in group))


@dataclass(frozen=True, slots=True)
class Tables:
    """How the peak grows with the L2 tables in their cache."""

    slope: Estimate
    intercept_mib: float
    points: tuple[tuple[float, float, str], ...]
    """MiB of tables, peak in MiB and configuration of each run."""


def tables(samples: Samples) -> Tables | None:
    """Over images that are read all over and hold their tables; None where these do not take two sizes."""
    points = tuple(
        (tables_mib(run.factors), peak_mib(run), config)
        for config, runs in sorted(samples.by_config.items())
        for run in runs
        if factor(run, "allocated") and factor(run, "format") == "qcow2" and factor(run, "load") != "idle"
    )
    spreads = [samples.spread(config) for _, _, config in points]
    known = [spread for spread in spreads if spread is not None]
    widest = max(known, key=lambda spread: spread.deviation, default=None)
    found = slope([(x, y) for x, y, _ in points], widest if len(known) == len(spreads) else None)
    if found is None:
        return None
    intercept = fmean(y for _, y, _ in points) - found.value * fmean(x for x, _, _ in points)
    return Tables(found, intercept, points)


@dataclass(frozen=True, slots=True)
class Matter:
    """One factor, or a few that vary together, against what they were compared with."""

    names: tuple[str, ...]
    contrasts: tuple[Contrast, ...]

    @property
    def label(self) -> str:
        """What was varied, to which values, and on which guests."""
        names = " and ".join(name_of(name) for name in self.names)
        if len(self.names) == 1:
            here = sorted({value_of(*one.changed[0][::2]) for one in self.contrasts})
            there = sorted({value_of(*one.changed[0][:2]) for one in self.contrasts})
            names += f" ({', '.join(here)} instead of {', '.join(there)})"
        return f"{names} on {', '.join(f'`{one}`' for one in sorted({one.against for one in self.contrasts}))}"

    @property
    def farthest_mib(self) -> float:
        """Farthest any of them may be from 0, at 90 %."""
        return max(abs(one.overhead_mib.value) + (one.overhead_mib.half_width_90 or 0.0) for one in self.contrasts)


def negligible(samples: Samples) -> tuple[Matter, ...]:
    """Factors all of whose values are shown to cost less than ``BOUND_MIB``, by tests of equivalence."""
    return tuple(one for one in _matters(samples) if all(each.overhead_mib.within(BOUND_MIB) for each in one.contrasts))


def undecided(samples: Samples) -> tuple[Matter, ...]:
    """Factors of which no value is told apart from 0, but not all are shown to be small either."""
    found = []
    for one in _matters(samples):
        estimates = [each.overhead_mib for each in one.contrasts]
        known = all(each.half_width is not None for each in estimates)
        if known and all(each.may_be_zero for each in estimates) and not all(e.within(BOUND_MIB) for e in estimates):
            found.append(one)
    return tuple(found)


def _matters(samples: Samples) -> Iterable[Matter]:
    groups: dict[tuple[str, ...], list[Contrast]] = defaultdict(list)
    for one in samples.contrasts:
        if 1 <= len(one.changed) <= 2:
            groups[tuple(name for name, _, _ in one.changed)].append(one)
    for names, found in sorted(groups.items()):
        yield Matter(names, tuple(found))
