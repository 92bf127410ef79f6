"""What a study says: every number computed from its runs, as Markdown with pictures beside it and as one HTML page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from guestroom.lab.study import (
    answers,
    checks,
    costs,
    document,
    foretold,
    knobs,
    page,
    plots,
    rule,
    sections,
    undefined,
)
from guestroom.lab.study.dataset import Run
from guestroom.lab.study.document import Block, Heading, Paragraph, Picture, table
from guestroom.lab.study.samples import BASE, Contrast, Samples, factor
from guestroom.lab.study.words import signed

TITLE = "Where the memory goes"
_FOREMOST = 5
_DRAWN = 9


def build(runs: Iterable[Run]) -> tuple[Block, ...]:
    """The report on these runs; what a study lacks is said where it would stand."""
    samples = Samples(runs)
    gains = knobs.gains(samples)
    known = rule.points(samples)
    found = answers.Found(
        costs=costs.costs(samples),
        flights=costs.in_flight(samples),
        tables=costs.tables(samples),
        first_viewer=_first_viewer(samples),
        knobs=knobs.foremost(gains, _FOREMOST),
        negligible=costs.negligible(samples),
        shares=undefined.shares(samples),
        rule=rule.fit(known),
        judged=rule.judge(known),
        heaviest=max(((one, samples.peak(one).value) for one in samples.by_config), key=lambda it: it[1], default=None),
        split=checks.split_beside_joint(samples),
        again=checks.beside_alone(samples),
        disturbed=not all(run.alone for run in samples.good),
    )
    return (
        Heading(1, TITLE),
        *sections.host(samples),
        *answers.summary(found),
        *foretold.section(found.rule, found.judged),
        *_qcow2(samples, found),
        *sections.costs(found.costs, found.flights, found.tables),
        *_drawn(_costs_chart(found)),
        *sections.base_parts(samples),
        *_drawn(plots.stacked(samples, _telling(samples))),
        *sections.knobs(knobs.listed(gains)),
        *_drawn(_gains_chart(found)),
        *_undefined(found),
        *sections.undecided(costs.undecided(samples)),
        *sections.split(samples),
        *sections.side_by_side(samples),
        *sections.differences(samples),
        *sections.shares(samples),
        *sections.failed(samples),
    )


def markdown(runs: Iterable[Run]) -> str:
    """The report as Markdown, its pictures as files beside it."""
    return document.markdown(build(runs))


def html(blocks: Sequence[Block]) -> str:
    """The report as one page."""
    return page.html(blocks, TITLE)


def _drawn(picture: Picture | None) -> tuple[Block, ...]:
    return () if picture is None else (picture,)


def _first_viewer(samples: Samples) -> Contrast | None:
    for one in samples.contrasts:
        if [(name, there, here) for name, there, here in one.changed] == [("vnc_clients", 0, 1)]:
            return one
    return None


def _telling(samples: Samples) -> tuple[str, ...]:
    """The base, and the heaviest configuration of each of the heaviest families."""
    if BASE not in samples:
        return ()
    best: dict[str, str] = {}
    for config in sorted(samples.by_config, key=lambda one: (-samples.peak(one).value, one)):
        best.setdefault(samples.first(config).family, config)
    lightest = min(sorted(samples.by_config), key=lambda one: samples.peak(one).value)
    heavy = [config for config in best.values() if config not in (BASE, lightest)]
    return tuple(dict.fromkeys((BASE, lightest, *heavy[: _DRAWN - 2])))


def _qcow2(samples: Samples, found: answers.Found) -> Iterable[Block]:
    """The cost of an image's size, as that of its tables."""
    yield Heading(2, "qcow2: the size of the image")
    if found.tables is None:
        yield Paragraph("Not measured: no two images of different size were read all over.")
        return
    slope = found.tables.slope
    told = "" if slope.may_be_zero is None else f", {'not ' if slope.may_be_zero else ''}told apart from 0"
    yield Paragraph(
        "An image costs its L2 tables, 8 bytes for each cluster, as far as they were read and fit their cache: "
        "min(virtual size / cluster size x 8 bytes, `l2-cache-size`, by default at most 32 MiB). For each MiB of that: "
        f"{signed(slope, digits=2)}{told}; {found.tables.intercept_mib:.1f} MiB without."
    )
    series: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for point in found.tables.points:
        limit = factor(samples.first(point[2]), "l2_cache_mib")
        series["l2-cache-size set" if limit else "l2-cache-size left to QEMU"].append(point)
    yield from _drawn(plots.tables_chart(series, (found.tables.intercept_mib, slope.value)))


def _costs_chart(found: answers.Found) -> Picture | None:
    rows = [plots.Bar(one.unit.replace("`", ""), one.found) for one in found.costs if one.found.half_width is not None]
    rows.sort(key=lambda one: -one.found.value)
    return plots.bars("costs", "What one more costs, MiB at the peak, with 95 % intervals", rows, "Cost of one more")


def _gains_chart(found: answers.Found) -> Picture | None:
    rows = [plots.Bar(one.label.replace("`", ""), one.saved_mib, f"on {one.before}") for one in found.knobs]
    return plots.bars("knobs", "What the five foremost knobs save, MiB, with 95 % intervals", rows, "Gain of each knob")


def _undefined(found: answers.Found) -> Iterable[Block]:
    """The parts that EVE's figure can consist of, added up."""
    yield Heading(2, f'What EVE\'s "undefined" {undefined.EVE_MIB:.0f} MiB can consist of')
    if not found.shares:
        yield Paragraph("Not measured: this study has no base.")
        return
    total, rows = 0.0, []
    for one in found.shares:
        total += one.size_mib
        reached = "reached" if total >= undefined.EVE_MIB > total - one.size_mib else ""
        rows.append([one.what, f"{one.size_mib:.1f}", f"{total:.0f}", one.config, reached])
    yield from table(["part", "MiB", "together, MiB", "measured on", ""], rows)
    yield Paragraph(
        "EVE gives a guest of 1 GiB and 2 vCPUs 402 MiB: these 350, 20 for QEMU's binary, 2.5 % of its RAM and 3 MiB "
        "a vCPU. What "
        "those other terms stand for is left out here, and so are TCG's code buffer (EVE's guests run under KVM) and "
        "the copy "
        "of a kernel given on the command line. The sum is of parts measured apart; no guest of the study had them all."
    )
