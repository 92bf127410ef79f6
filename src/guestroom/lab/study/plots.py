"""The report's pictures: where the bytes are, what one more costs, what the rule says, what the knobs save."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from guestroom.lab.study.document import Picture
from guestroom.lab.study.drawing import COLOURS, WIDTH, Chart, Scale
from guestroom.lab.study.rule import Judged, flying_mib, tables_mib
from guestroom.lab.study.samples import Samples
from guestroom.lab.study.stats import Estimate
from guestroom.units import MIB

_LABELS = 230
"""Pixels for the names of bars."""
_ROW = 30
_PARTS = 7
_TABLES_MIB = 1.0
"""Guests with more L2 tables than this owe their peak to them: they are in a picture of their own."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A value to be drawn as a bar or a mark, with its interval."""

    label: str
    found: Estimate
    note: str = ""


def parts_of(samples: Samples, config: str, moment: str = "peak") -> dict[str, float]:
    """Mean MiB of each part of overhead at a moment of a configuration's runs; nothing where none has it."""
    seen = [run.moments[moment] for run in samples.by_config[config] if moment in run.moments]
    names = {name for one in seen for name, (kind, _) in one.parts.items() if kind in ("overhead", "unknown")}
    return {name: fmean(one.parts.get(name, ("", 0))[1] / MIB for one in seen) for name in names}


def stacked(samples: Samples, configs: Sequence[str]) -> Picture | None:
    """The overhead of some configurations by part, at the last full look before the peak."""
    whole = {config: parts for config in configs if (parts := parts_of(samples, config))}
    if not whole:
        return None
    largest: dict[str, float] = {}
    for parts in whole.values():
        for name, size in parts.items():
            largest[name] = max(largest.get(name, 0.0), size)
    shown = sorted(largest, key=lambda name: (-largest[name], name))[:_PARTS]
    colours = dict(zip(shown, COLOURS, strict=False))
    rows = (len(shown) + 2) // 2
    bottom = 40 + _ROW * len(whole)
    chart = Chart("Overhead by part, MiB", bottom + 50 + 20 * rows)
    scale = Scale(0, 1.05 * max(sum(parts.values()) for parts in whole.values()), _LABELS, WIDTH - 60)
    chart.across(scale, 36, bottom, "MiB (at the last full look before the peak)")
    for number, (config, parts) in enumerate(whole.items()):
        y, at = 40.0 + _ROW * number, 0.0
        chart.text(_LABELS - 8, y + 15, config, anchor="end")
        others = sum(size for name, size in parts.items() if name not in colours)
        for name, size in [*((name, parts.get(name, 0.0)) for name in shown), ("others", others)]:
            if size > 0:
                tip = f"{config}: {name} {size:.1f} MiB"
                colour = colours.get(name, COLOURS[-1])
                chart.bar(scale.at(at), y, scale.at(at + size) - scale.at(at), _ROW - 9, colour, tip)
                at += size
        chart.text(scale.at(at) + 6, y + 15, f"{at:.0f}", kind="soft")
    for number, name in enumerate([*shown, "others"]):
        x, y = 30 + (number % 2) * 400, bottom + 56.0 + 20 * (number // 2)
        chart.bar(x, y - 10, 12, 12, colours.get(name, COLOURS[-1]))
        chart.text(x + 20, y, name)
    return Picture("parts", f"Overhead by part of {', '.join(whole)}", chart.svg())


def rule_chart(judged: Sequence[Judged], wall_mib: float) -> Picture | None:
    """Measured peaks over bytes in flight; lines from what the rule expects up to the bound."""
    told = [one for one in judged if flying_mib(one.point.factors) > 0 and tables_mib(one.point.factors) < _TABLES_MIB]
    if not told:
        return None
    clusters = sorted({int(one.point.factors.get("cluster_kib") or 64) for one in told})
    highest = max(max(one.point.peak_mib, one.at_most_mib) for one in told)
    chart = Chart("Peak overhead over clusters in flight; bars: the rule, fitted without that guest", 500)
    x = Scale(min(0.05, *(flying_mib(one.point.factors) for one in told)), 1000, 60, WIDTH - 150, log=True)
    y = Scale(0, 1.05 * highest, 440, 60)
    chart.across(x, 60, 440, "distinct clusters in flight (each request's own where it only reads), MiB")
    chart.upward(y, 60, WIDTH - 150, "MiB")
    chart.line(60, y.at(wall_mib), WIDTH - 150, y.at(wall_mib), "wall")
    chart.text(WIDTH - 144, y.at(wall_mib) + 4, f"{wall_mib:g} MiB")
    for one in sorted(told, key=lambda one: one.point.config):
        at = x.at(flying_mib(one.point.factors))
        chart.line(at, y.at(one.expected_mib), at, y.at(one.at_most_mib), "whisker")
        chart.line(at - 5, y.at(one.expected_mib), at + 5, y.at(one.expected_mib), "whisker")
        said = f"expected {one.expected_mib:.0f}, at most {one.at_most_mib:.0f}"
        series = clusters.index(int(one.point.factors.get("cluster_kib") or 64))
        chart.mark(at, y.at(one.point.peak_mib), series, f"{one.point.config}: {one.point.peak_mib:.0f} MiB, {said}")
    for number, kib in enumerate(clusters):
        chart.mark(WIDTH - 130, 90 + 22 * number, number)
        chart.text(WIDTH - 118, 94 + 22.0 * number, f"{kib} KiB clusters")
    return Picture("rule", "Measured peak overhead over MiB of clusters in flight, with the rule", chart.svg())


def tables_chart(series: Mapping[str, Sequence[tuple[float, float, str]]], line: tuple[float, float]) -> Picture | None:
    """Peak over MiB of L2 tables that are cached; ``line`` is the fitted intercept and slope."""
    points = [point for found in series.values() for point in found]
    if not points:
        return None
    chart = Chart("qcow2: peak overhead over L2 tables in their cache", 420)
    x = Scale(0, 1.1 * max(point[0] for point in points), 60, WIDTH - 60)
    y = Scale(0, 1.15 * max(point[1] for point in points), 350, 60)
    chart.across(x, 60, 350, "min(virtual size / cluster size x 8 bytes, l2-cache-size), MiB")
    chart.upward(y, 60, WIDTH - 60, "MiB")
    chart.curve([(x.at(at), y.at(line[0] + line[1] * at)) for at in (0.0, x.high / 1.05)], COLOURS[7])
    for number, (name, found) in enumerate(sorted(series.items())):
        for tables, peak, config in found:
            chart.mark(x.at(tables), y.at(peak), number, f"{config}: {tables:g} MiB of tables, {peak:.1f} MiB")
        chart.mark(84, 80 + 22 * number, number)
        chart.text(98, 84 + 22.0 * number, name)
    return Picture("qcow2", "Peak overhead over MiB of qcow2 L2 tables that fit their cache", chart.svg())


def bars(name: str, title: str, rows: Sequence[Bar], says: str) -> Picture | None:
    """Values with their intervals, one under the other."""
    if not rows:
        return None
    ends = [one.found.value + side * (one.found.half_width or 0) for one in rows for side in (-1, 1)]
    low, high = min(0.0, *ends), max(0.0, *ends)
    room = 0.05 * (high - low or 1.0)
    bottom = 44 + _ROW * len(rows)
    chart = Chart(title, bottom + 50)
    scale = Scale(low - room, high + room, _LABELS + 40, WIDTH - 190)
    chart.across(scale, 40, bottom, "MiB")
    chart.line(scale.at(0), 40, scale.at(0), bottom, "axis")
    for number, one in enumerate(rows):
        y = 48.0 + _ROW * number
        chart.text(_LABELS + 32, y + 13, one.label, anchor="end")
        left, right = sorted((scale.at(0), scale.at(one.found.value)))
        chart.bar(left, y, right - left, _ROW - 12, COLOURS[0], f"{one.label}: {one.found.value:.2f} MiB")
        spread = one.found.half_width
        if spread is not None:
            start, end = scale.at(one.found.value - spread), scale.at(one.found.value + spread)
            chart.line(start, y + 9, end, y + 9, "whisker")
            for at in (start, end):
                chart.line(at, y + 5, at, y + 13, "whisker")
        said = f"{one.found.value:+.2f}" + ("" if spread is None else f" ± {spread:.2f}")
        chart.text(WIDTH - 182, y + 13, f"{said}{'; ' if one.note else ''}{one.note}", kind="soft")
    return Picture(name, says, chart.svg())
