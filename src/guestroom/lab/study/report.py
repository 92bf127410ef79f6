"""What a study says, as Markdown: shares explained and costs against the base, every number computed from the runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import median

from guestroom.lab.study.dataset import Run
from guestroom.lab.study.stats import Estimate, difference, slope
from guestroom.units import MIB

_PEAK = "overhead_peak_bytes"
_QUEUE = 256
"""Requests a virtio-blk queue holds where nobody says (``virtio_blk_properties``, hw/block/virtio-blk.c)."""
_COPIES, _READY = 2, 8
"""Copies of a cluster for each request in flight, and clusters beside them: found on the runs of docs/study."""
_HEAVY_MIB = 200
_UNITS: tuple[tuple[str, str, float, str], ...] = (
    ("vcpus", "vcpus", 1, "vCPU"),
    ("disks", "disks", 1, "disk"),
    ("ram", "ram_mib", 1024, "GiB of anonymous RAM"),
    ("memfd", "ram_mib", 1024, "GiB of memfd RAM"),
    ("virtual", "virtual_gib", 1024, "TiB of qcow2 (allocated, random reads)"),
    ("nic", "nics", 1, "network device (user back end, idle)"),
    ("vnc", "vnc_clients", 1, "VNC client"),
)
"""Family, its factor, how many of the factor are one unit, and the unit's name."""


def markdown(runs: Iterable[Run]) -> str:
    """The report on these runs; a study without a base, or without figures, says so instead of a section."""
    kept = sorted(runs, key=lambda run: run.run_id)
    sections = (_host, _base_parts, _units, _rule, _heavy, _speed, _differences, _shares, _failed)
    return "\n".join(("# Where the memory goes", "", *(line for section in sections for line in section(kept))))


def _host(runs: list[Run]) -> Iterable[str]:
    good = [run for run in runs if run.error is None]
    if not good:
        yield from ("No run of this study has figures.", "")
        return
    facts = ", ".join(f"{name} {value}" for name, value in sorted(good[0].host.items()))
    least = min(moment.explained_share for run in good for moment in run.moments.values())
    pages = [one.by_pages_share for run in good for one in run.moments.values() if one.by_pages_share is not None]
    beside = (
        "alone" if all(run.alone for run in good) else "some side by side: their speeds are those of a busy machine"
    )
    yield f"{len({run.config for run in good})} configurations, {len(good)} runs with figures ({beside}). {facts}."
    yield f"Least share explained at any moment: {least:.2%}."
    if pages:
        apart = max(abs(share - 1) for share in pages)
        yield f"An independent count page by page differs by at most {apart:.2%} ({len(pages)} counts)."
    yield ""


def _of(runs: list[Run], config: str) -> list[Run]:
    return [run for run in runs if run.config == config and run.error is None and _PEAK in run.figures]


def _peak_mib(run: Run) -> float:
    return run.figures[_PEAK] / MIB


def _base_parts(runs: list[Run]) -> Iterable[str]:
    base = _of(runs, "base")
    if not base or not {"idle", "peak"} <= set(base[0].moments):
        return
    idle, peak = base[0].moments["idle"].parts, base[0].moments["peak"].parts
    yield from (
        "## Parts of the base guest",
        "",
        "| part | kind | idle, MiB | peak, MiB |",
        "| --- | --- | --- | --- |",
    )
    for name in sorted({*idle, *peak}, key=lambda name: -max(idle.get(name, ("", 0))[1], peak.get(name, ("", 0))[1])):
        kind = (idle.get(name) or peak[name])[0]
        yield f"| {name} | {kind} | {_part_mib(idle, name):.1f} | {_part_mib(peak, name):.1f} |"
    yield ""


def _part_mib(parts: Mapping[str, tuple[str, int]], name: str) -> float:
    return parts.get(name, ("", 0))[1] / MIB


def _units(runs: list[Run]) -> Iterable[str]:
    yield from ("## What one more costs", "", "| one more | MiB at the peak | 95 % interval | runs |")
    yield "| --- | --- | --- | --- |"
    found = {name: slope(_points(runs, family, factor, per)) for family, factor, per, name in _UNITS}
    flights = [(_flight_mib(run), _peak_mib(run)) for run in _family(runs, "copy-on-write")]
    found["MiB of copy-on-write in flight (requests x cluster)"] = slope(flights)
    for name, one in found.items():
        shown = "not in this study | |" if one is None else f"{one.value:+.2f} | {_interval(one)} | {one.count}"
        yield f"| {name} | {shown} |"
    yield from (
        "",
        "Slopes by least squares over the family's runs; an interval that includes 0 means: not told apart.",
        "",
    )


def _family(runs: list[Run], family: str) -> list[Run]:
    return [run for run in runs if run.family == family and run.error is None and _PEAK in run.figures]


def _points(runs: list[Run], family: str, factor: str, per: float) -> list[tuple[float, float]]:
    """Units and MiB of a family's runs, and of the base where it differs from them in nothing else."""
    ours = _family(runs, family)
    alike = [run for run in _of(runs, "base") if ours and _others(run, factor) == _others(ours[0], factor)]
    return [(float(run.factors.get(factor) or 0) / per, _peak_mib(run)) for run in [*ours, *alike]]


def _others(run: Run, factor: str) -> dict[str, object]:
    return {name: value for name, value in run.factors.items() if name != factor}


def _flight_mib(run: Run) -> float:
    """Requests that can be in flight, times the cluster each of them may hold a copy of."""
    factors = run.factors
    asked = int(factors["jobs"] or 1) * int(factors["depth"] or 1)
    most = int(factors["queues"] or 1) * int(factors["queue_size"] or _QUEUE)
    return min(asked, most) * int(factors["cluster_kib"] or 64) / 1024


def _bound_mib(run: Run) -> float:
    """What copies in flight add at most, by the runs of docs/study."""
    return _COPIES * _flight_mib(run) + _READY * int(run.factors["cluster_kib"] or 64) / 1024


def _rule(runs: list[Run]) -> Iterable[str]:
    """The rule that foretells the heavy guests, beside what was measured."""
    base, ours = _of(runs, "base"), [*_family(runs, "copy-on-write"), *_family(runs, "queue-size")]
    if not base or not ours:
        return
    least = median(_peak_mib(run) for run in base)
    yield from ("## Requests in flight x cluster size", "")
    yield "In flight: min(jobs x depth, queues x queue size) x cluster size."
    yield f"Rule: at most the base's {least:.0f} MiB, twice what is in flight, and 8 clusters."
    yield "The numbers 2 and 8 were found on the runs of docs/study; they are not QEMU's."
    yield from ("", "| configuration | in flight, MiB | at most, MiB | measured, MiB |", "| --- | --- | --- | --- |")
    for run in sorted(ours, key=_flight_mib):
        yield f"| {run.config} | {_flight_mib(run):.0f} | {least + _bound_mib(run):.0f} | {_peak_mib(run):.0f} |"
    over = sum(_peak_mib(run) > least + _bound_mib(run) for run in ours)
    most = max(_peak_mib(run) - least - _bound_mib(run) for run in ours)
    yield from ("", f"{over} of {len(ours)} runs are above it, the farthest by {max(0.0, most):.1f} MiB.", "")


def _heavy(runs: list[Run]) -> Iterable[str]:
    heavy = [run for run in runs if run.error is None and run.figures.get(_PEAK, 0) > _HEAVY_MIB * MIB]
    yield from (f"## Above {_HEAVY_MIB} MiB, and what it consists of", "")
    if not heavy:
        yield from ("No run of this study.", "")
    for run in sorted(heavy, key=lambda one: (-_peak_mib(one), one.run_id)):
        parts = run.moments["peak"].parts if "peak" in run.moments else {}
        largest = sorted(((size, name) for name, (kind, size) in parts.items() if kind == "overhead"), reverse=True)[:4]
        named = ", ".join(f"{name} {size / MIB:.0f}" for size, name in largest)
        yield f"- `{run.config}`: {_peak_mib(run):.0f} MiB, at the last full look: {named}"
    yield ""


def _speed(runs: list[Run]) -> Iterable[str]:
    """Overhead and speed of what can be turned, beside the base of the same load."""
    base = _of(runs, "base")
    turned = [
        run for name in ("knob", "tb-size", "aio", "format", "iothreads", "queues") for run in _family(runs, name)
    ]
    if not base or not turned:
        return
    yield from ("## Knobs: what they save and what they cost", "")
    yield from ("| configuration | overhead, MiB | IOPS | boot, s |", "| --- | --- | --- | --- |")
    for run in [*base, *turned]:
        iops, boot_s = run.figures.get("iops", 0), run.figures.get("boot_s", 0)
        yield f"| {run.config} | {_peak_mib(run):.1f} | {iops:.0f} | {boot_s:.1f} |"
    yield ""


def _shares(runs: list[Run]) -> Iterable[str]:
    yield from ("## Explained share", "")
    shares: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        shares[run.config] += [moment.explained_share for moment in run.moments.values()]
    yield from ("| configuration | moments | least | median | |", "| --- | --- | --- | --- | --- |")
    for config, seen in sorted(shares.items()):
        if seen:
            flag = "below 99 %" if min(seen) < 0.99 else ""
            yield f"| {config} | {len(seen)} | {min(seen):.2%} | {median(seen):.2%} | {flag} |"
    yield ""


def _differences(runs: list[Run]) -> Iterable[str]:
    yield from ("## Peak overhead against the base", "")
    groups: dict[str, list[float]] = defaultdict(list)
    families: dict[str, str] = {}
    for run in runs:
        if run.error is None and run.accounting == "joint" and _PEAK in run.figures:
            groups[run.config].append(run.figures[_PEAK] / MIB)
            families[run.config] = run.family
    if "base" not in groups:
        yield from (
            "This study has no jointly charged run of `base` with figures: there is nothing to compare with.",
            "",
        )
        return
    yield from (
        "| family | configuration | runs | difference, MiB | 95 % interval |",
        "| --- | --- | --- | --- | --- |",
    )
    for config in sorted(set(groups) - {"base"}, key=lambda name: (families[name], name)):
        found = difference(groups, config, "base")
        yield f"| {families[config]} | {config} | {found.count} | {found.value:+.2f} | {_interval(found)} |"
    repeated = sum(len(values) > 1 for values in groups.values())
    yield from (
        "",
        "Runs count those of the base too; the spread is pooled over all configurations that were repeated:",
    )
    yield from (f"{repeated} of {len(groups)}. Few of them, and the intervals say little of the others.", "")


def _interval(found: Estimate) -> str:
    return "unknown: no repetitions" if found.half_width is None else f"± {found.half_width:.2f}"


def _failed(runs: list[Run]) -> Iterable[str]:
    failed = [run for run in runs if run.error is not None]
    if failed:
        yield from ("## Runs without figures", "")
        yield from (f"- `{run.run_id}`: {run.error}" for run in failed)
        yield ""
