"""The rule that foretells a guest's peak from its image and its queue, and how far it can be trusted.

A request for a cluster that is to be copied from a backing file holds a buffer of a whole cluster (QEMU 7.2,
``perform_cow``, block/qcow2-cluster.c); a second request for the same cluster waits for the first
(``handle_dependencies`` there). So what is in flight is not requests x cluster but *distinct* clusters x cluster: of an
image of N clusters, q random requests meet N (1 - (1 - 1/N)^q) (balls into bins). Decompressing holds a whole cluster
too (``qcow2_co_preadv_compressed``, block/qcow2.c), and nobody waits. To that come caches of tables (one entry is one
cluster), what each request takes beside its cluster, and the cache of the L2 tables, which holds 8 bytes for each
cluster up to its limit.

The coefficients are fitted, none may be negative, and all of it is judged on configurations it was not fitted on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from guestroom.lab.study.dataset import Factor
from guestroom.lab.study.disks import FILLED_MIB
from guestroom.lab.study.matrix import DEFAULTS
from guestroom.lab.study.samples import BASE, Samples
from guestroom.lab.study.stats import Estimate, t95

QUEUE = 256
"""Requests a virtio-blk queue holds where nobody says (``virtio_blk_properties``, hw/block/virtio-blk.c)."""
L2_CACHE_MIB = 32.0
"""Most an image's L2 tables take in memory where nobody says (``DEFAULT_L2_CACHE_MAX_SIZE``, block/qcow2.h)."""
ENTRY_BYTES = 8
"""Of an L2 table for each cluster (docs/interop/qcow2.txt)."""
STORAGE = frozenset(
    {
        "allocated",
        "aio",
        "backing",
        "block_kib",
        "cluster_kib",
        "compressed",
        "depth",
        "filled",
        "format",
        "jobs",
        "l2_cache_mib",
        "load",
        "load_s",
        "queue_size",
        "queues",
        "virtual_gib",
    }
)
"""Factors the rule may see differ; a guest that differs from the base in others is no guest of the rule."""
_LOADS = frozenset({"randread", "randwrite", "randrw", "idle"})
_STEADY_MIB, _SHARE = 2.0, 0.2
"""Errors are weighed by this and this share of the growth: a heavy guest's peak varies as it is high."""
_ROUNDS, _ENOUGH = 4000, 1e-10

TERMS: tuple[tuple[str, str], ...] = (
    ("guest", "the guest without any I/O"),
    ("cluster", "for each MiB of cluster size: tables and one request"),
    ("copied", "for each MiB of distinct clusters being copied"),
    ("decompressed", "for each MiB of clusters being decompressed"),
    ("request", "for each request in flight"),
    ("fetching", "for each request in flight that copies or decompresses, beside its cluster"),
    ("tables", "for each MiB of L2 tables that fit their cache"),
)
"""Name of each term and what its coefficient is, in MiB."""
COPIED, _DECOMPRESSED, _FETCHING = 2, 3, 5


def requests(factors: Mapping[str, Factor]) -> int:
    """Requests that can be in flight at once: what the load asks for, at most what the queues hold; 0 when idle."""
    if _get(factors, "load") == "idle":
        return 0
    asked = _count(factors, "jobs", 1) * _count(factors, "depth", 1)
    return min(asked, _count(factors, "queues", 1) * _count(factors, "queue_size", QUEUE))


def distinct(flying: int, clusters: float) -> float:
    """Different clusters that so many random requests meet, on average."""
    return clusters * (1 - (1 - 1 / clusters) ** flying) if clusters > 1 else float(min(flying, 1))


def tables_mib(factors: Mapping[str, Factor]) -> float:
    """MiB of L2 tables that random I/O all over the image brings into their cache."""
    if _get(factors, "format") != "qcow2":
        return 0.0
    entries = image_mib(factors) * 1024 / _count(factors, "cluster_kib", 64)
    return min(entries * ENTRY_BYTES / 2**20, float(_get(factors, "l2_cache_mib") or L2_CACHE_MIB))


def image_mib(factors: Mapping[str, Factor]) -> float:
    """Virtual size: an image of a study that has data, in itself or below it, is as large as the data.

    ``image_mib`` says another, of a guest that is no guest of the study.
    """
    if "image_mib" in factors:
        return float(factors["image_mib"] or 0)
    if any(_get(factors, name) for name in ("backing", "compressed", "filled")):
        return float(FILLED_MIB)
    return 1024.0 * float(_get(factors, "virtual_gib") or 0)


def flying_mib(factors: Mapping[str, Factor]) -> float:
    """MiB of whole clusters that random requests hold at once: each its own where they are read, distinct ones else."""
    cluster_kib, flying = _count(factors, "cluster_kib", 64), requests(factors)
    held = flying if _get(factors, "compressed") else distinct(flying, image_mib(factors) * 1024 / cluster_kib)
    return held * cluster_kib / 1024


def features(factors: Mapping[str, Factor]) -> tuple[float, ...]:
    """What multiplies each coefficient, in the order of ``TERMS``."""
    flying, qcow2 = requests(factors), _get(factors, "format") == "qcow2"
    whole = flying_mib(factors) if qcow2 else 0.0
    zipped = bool(_get(factors, "compressed"))
    copied = bool(_get(factors, "backing")) and _get(factors, "load") in ("randwrite", "randrw")
    cluster = _count(factors, "cluster_kib", 64) / 1024 if qcow2 else 0.0
    fetching = float(flying * (copied or zipped))
    return 1.0, cluster, whole * copied, whole * zipped, float(flying), fetching, tables_mib(factors)


def _get(factors: Mapping[str, Factor], name: str) -> Factor:
    return factors.get(name, DEFAULTS[name])


def _count(factors: Mapping[str, Factor], name: str, silent: int) -> int:
    return int(_get(factors, name) or silent)


@dataclass(frozen=True, slots=True)
class Rule:
    """A fitted rule: what to expect, and a bound that no configuration it was fitted on passes."""

    coefficients: tuple[float, ...]
    spare_mib: float
    """Farthest a peak without clusters in flight lies above the one expected."""
    copied_times: float
    """How many times the expected growth by copies in flight the worst of them took."""
    decompressed_times: float
    """The same of decompression, over whole clusters: what malloc keeps of them is all or next to nothing."""

    def expected_mib(self, factors: Mapping[str, Factor]) -> float:
        """The peak to be expected."""
        return sum(a * x for a, x in zip(self.coefficients, features(factors), strict=True))

    def copied_mib(self, factors: Mapping[str, Factor]) -> float:
        """What of it are copies in flight."""
        copied = features(factors)[COPIED]
        return self.coefficients[COPIED] * copied + self.coefficients[_FETCHING] * features(factors)[_FETCHING] * (
            copied > 0
        )

    def whole_mib(self, factors: Mapping[str, Factor]) -> float:
        """Clusters being decompressed, counted in full."""
        return features(factors)[_DECOMPRESSED]

    def at_most_mib(self, factors: Mapping[str, Factor]) -> float:
        """The peak not to be passed."""
        copied, whole = self.copied_mib(factors), self.whole_mib(factors)
        most = self.expected_mib(factors) + self.spare_mib + (self.copied_times - 1) * copied
        return most + max(0.0, self.decompressed_times - self.coefficients[_DECOMPRESSED]) * whole


@dataclass(frozen=True, slots=True)
class Point:
    """One configuration: its factors and its measured peak, the largest of its repetitions: what a bound must hold."""

    config: str
    factors: Mapping[str, Factor]
    peak_mib: float
    mean_mib: float
    """Mean of the peaks of its repetitions."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A configuration, and what a rule says of it that was fitted on all the others."""

    point: Point
    expected_mib: float
    at_most_mib: float
    coefficients: tuple[float, ...]
    """Of that rule."""


def points(samples: Samples) -> tuple[Point, ...]:
    """The configurations that differ from the base in image, queue and load only."""
    if BASE not in samples:
        return ()
    found = []
    for config in sorted(samples.by_config):
        run = samples.first(config)
        others = {name for name, _, _ in samples.changed(config, BASE)} - STORAGE
        if not others and _get(run.factors, "load") in _LOADS:
            found.append(Point(config, run.factors, max(samples.peaks(config)), fmean(samples.peaks(config))))
    return tuple(found)


def fit(known: Sequence[Point]) -> Rule | None:
    """The rule with the least weighed squares of errors; None for fewer points than it has coefficients."""
    if len(known) <= len(TERMS):
        return None
    rows = [features(point.factors) for point in known]
    least = min(point.mean_mib for point in known)
    weights = [1 / (_STEADY_MIB + _SHARE * (point.mean_mib - least)) ** 2 for point in known]
    found = _non_negative(rows, [point.mean_mib for point in known], weights)
    return _with_margins(found, known)


def _with_margins(coefficients: tuple[float, ...], known: Sequence[Point]) -> Rule:
    bare = Rule(coefficients, 0.0, 1.0, 1.0)
    left = [(point, point.peak_mib - bare.expected_mib(point.factors)) for point in known]
    calm = [over for point, over in left if not bare.copied_mib(point.factors) and not bare.whole_mib(point.factors)]
    spare = max([0.0, *calm])
    copied = [
        1 + (over - spare) / grown for point, over in left if (grown := bare.copied_mib(point.factors)) > _STEADY_MIB
    ]
    whole = [
        coefficients[_DECOMPRESSED] + (over - spare) / grown
        for point, over in left
        if (grown := bare.whole_mib(point.factors)) > _STEADY_MIB
    ]
    return Rule(coefficients, spare, max([1.0, *copied]), max([1.0, *whole]))


def _non_negative(
    rows: Sequence[Sequence[float]], values: Sequence[float], weights: Sequence[float]
) -> tuple[float, ...]:
    """Non-negative weighed least squares by coordinate descent, which for this convex problem ends at the optimum."""
    size = len(rows[0])
    scale = [max(1e-12, sum(w * row[j] ** 2 for row, w in zip(rows, weights, strict=True)) ** 0.5) for j in range(size)]
    unit = [[row[j] / scale[j] for j in range(size)] for row in rows]
    gram = [
        [sum(w * row[i] * row[j] for row, w in zip(unit, weights, strict=True)) for j in range(size)]
        for i in range(size)
    ]
    right = [sum(w * row[i] * value for row, value, w in zip(unit, values, weights, strict=True)) for i in range(size)]
    found = [0.0] * size
    for _ in range(_ROUNDS):
        moved = 0.0
        for i in range(size):
            if gram[i][i] <= 0:
                continue
            rest = right[i] - sum(gram[i][j] * found[j] for j in range(size) if j != i)
            new = max(0.0, rest / gram[i][i])
            moved, found[i] = max(moved, abs(new - found[i])), new
        if moved < _ENOUGH * max(1.0, *found):
            break
    return tuple(value / factor for value, factor in zip(found, scale, strict=True))


def judge(known: Sequence[Point]) -> tuple[Judged, ...]:
    """Each configuration against a rule fitted on all the others; nothing for too few of them."""
    found = []
    for number, point in enumerate(known):
        rule = fit([*known[:number], *known[number + 1 :]])
        if rule is not None:
            expected, most = rule.expected_mib(point.factors), rule.at_most_mib(point.factors)
            found.append(Judged(point, expected, most, rule.coefficients))
    return tuple(found)


def sureness(rule: Rule, judged: Sequence[Judged]) -> tuple[Estimate, ...]:
    """Each coefficient with an interval by the jackknife over configurations (Tukey 1958).

    That of one at its limit of 0 is as wide as the fits without one configuration let it move.
    """
    count = len(judged)
    degrees = count - len(TERMS)
    found = []
    for number, value in enumerate(rule.coefficients):
        seen = [one.coefficients[number] for one in judged]
        half = None
        if degrees > 0:
            middle = fmean(seen)
            squares = sum((each - middle) ** 2 for each in seen)
            half = t95(degrees) * (squares * (count - 1) / count) ** 0.5
        found.append(Estimate(value, half, count))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """How often held-out configurations were called right, against one wall."""

    wall_mib: float
    really_above: int
    false_fits: tuple[str, ...]
    """Said to stay below, and did not."""
    false_exceeds: tuple[str, ...]
    """Said to pass it, and did not."""


def verdicts(judged: Iterable[Judged], wall_mib: float) -> Verdicts:
    """What the bound (``at_most_mib``) says of a wall, beside what was measured."""
    kept = tuple(judged)
    above = [one for one in kept if one.point.peak_mib > wall_mib]
    return Verdicts(
        wall_mib,
        len(above),
        tuple(one.point.config for one in above if one.at_most_mib <= wall_mib),
        tuple(one.point.config for one in kept if one.at_most_mib > wall_mib and one.point.peak_mib <= wall_mib),
    )


def mean_error(judged: Sequence[Judged]) -> float:
    """Mean distance of held-out peaks from those expected, in MiB."""
    return fmean(abs(one.point.mean_mib - one.expected_mib) for one in judged)
