"""The report's section on the rule: what it is, what it foretells, and how often it was wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from guestroom.lab.study import plots
from guestroom.lab.study.answers import HEAVY_MIB, first_above, flying
from guestroom.lab.study.document import Block, Heading, Paragraph, bullets, table
from guestroom.lab.study.rule import (
    QUEUE,
    TERMS,
    Judged,
    Rule,
    flying_mib,
    mean_error,
    requests,
    sureness,
    tables_mib,
    verdicts,
)
from guestroom.lab.study.words import interval

_WALLS_MIB = (75.0, 100.0, 150.0, HEAVY_MIB)
_DEPTHS = (1, 16, 32, 64, 128, 256)
_CLUSTERS_KIB = (64, 256, 512, 1024, 2048)
_LOOSE = 1.3


def section(found: Rule | None, judged: Sequence[Judged]) -> Iterable[Block]:
    """The rule, its map, and its record on configurations it had not seen."""
    yield Heading(2, "The rule that foretells it")
    if found is None:
        yield Paragraph("Not measured: too few configurations differ from the base in image, queue and load only.")
        return
    yield Paragraph(
        "A request that copies a cluster from a backing file holds a buffer of a whole cluster, and requests for one "
        "and "
        "the same cluster wait for the first. So what counts is **distinct clusters in flight x cluster size**: with "
        "q = min(jobs x depth, queues x queue size) random requests on an image of N clusters, N x (1 - (1 - 1/N)^q), "
        "which is q on a large image and never more than N. That is where the depth saturates: a small image has few "
        "clusters to copy, a queue holds few requests, and a slow host has fewer of them under way at once than asked "
        "for. Decompressing holds a whole cluster for each request, and nobody waits. Fitted, none negative:"
    )
    sure = sureness(found, judged)
    rows = ([says, f"{one.value:.3g}", interval(one, 3)] for (_, says), one in zip(TERMS, sure, strict=True))
    yield from table(["term", "MiB", "95 % interval"], rows)
    yield Paragraph(
        f"The bound adds {found.spare_mib:.1f} MiB, takes what copies add {found.copied_times:.2f} times and "
        f"clusters being "
        f"decompressed {found.decompressed_times:.2f} times: as far as the worst configuration went."
    )
    yield Heading(3, "Where copy-on-write passes it")
    yield from _map(found)
    yield Heading(3, "Its record on configurations it was not fitted on")
    yield from _record(judged)
    picture = plots.rule_chart(judged, HEAVY_MIB)
    if picture is not None:
        yield picture
    yield from _each(judged)


def _map(found: Rule) -> Iterable[Block]:
    rows = []
    for kib in _CLUSTERS_KIB:
        cells = [_cell(found, kib, depth) for depth in _DEPTHS]
        first = first_above(found, kib, at_most=True)
        rows.append([f"{kib}", *cells, f"{first}" if first is not None else "-"])
    columns = ["cluster, KiB", *(f"{depth} in flight" for depth in _DEPTHS), f"first that may pass {HEAVY_MIB:.0f} MiB"]
    yield from table(columns, rows)
    yield Paragraph(
        "Expected peak and bound of the base guest with a large image over a backing file, MiB, by requests in flight; "
        f"**strong** where the bound passes {HEAVY_MIB:.0f}. A virtio-blk queue holds {QUEUE} unless `queue-size` "
        f"says less. "
        "Each further disk under the same load adds the same growth. Block jobs, snapshots and migrations are not in "
        "the "
        "rule: they are among the differences."
    )


def _cell(found: Rule, kib: int, depth: int) -> str:
    factors = flying(kib, depth)
    expected, most = found.expected_mib(factors), found.at_most_mib(factors)
    text = f"{expected:.0f} .. {most:.0f}"
    return f"**{text}**" if most > HEAVY_MIB else text


def _record(judged: Sequence[Judged]) -> Iterable[Block]:
    if not judged:
        yield Paragraph("Not judged: leaving one out leaves too few to fit.")
        return
    rows = []
    for wall in _WALLS_MIB:
        found = verdicts(judged, wall)
        fits, exceeds = (", ".join(names) or "-" for names in (found.false_fits, found.false_exceeds))
        rows.append(
            [
                f"{wall:.0f}",
                f"{found.really_above}",
                f"{len(found.false_fits)}",
                fits,
                f"{len(found.false_exceeds)}",
                exceeds,
            ]
        )
    columns = ["wall, MiB", "really above", "false fits", "which", "false exceeds", "which"]
    yield from table(columns, rows)
    ratios = [one.at_most_mib / one.point.peak_mib for one in judged]
    missed = sorted(
        (one for one in judged if one.point.peak_mib > one.at_most_mib),
        key=lambda one: one.at_most_mib - one.point.peak_mib,
    )
    yield Paragraph(
        f"Bound over measured: median {median(ratios):.2f}, at most {max(ratios):.2f}. Expected peaks are off by "
        f"{mean_error(judged):.1f} MiB on average. Passed the bound: {len(missed)} of {len(judged)}."
    )
    yield from bullets(
        f"`{one.point.config}`: {one.point.peak_mib:.1f} MiB, bound {one.at_most_mib:.1f}" for one in missed
    )
    loose = [one for one in judged if one.at_most_mib > _LOOSE * one.point.peak_mib]
    if loose:
        named = ", ".join(f"`{one.point.config}`" for one in loose)
        yield Paragraph(
            f"It is loose (bound more than {_LOOSE:g} times the peak) for {named}. What a deep queue really has "
            f"under way "
            "depends on the host's speed, and of decompressed clusters the C library keeps all or next to nothing."
        )


def _each(judged: Sequence[Judged]) -> Iterable[Block]:
    rows = (
        [
            one.point.config,
            f"{requests(one.point.factors)}",
            f"{flying_mib(one.point.factors):.1f}",
            f"{tables_mib(one.point.factors):.1f}",
            f"{one.expected_mib:.0f}",
            f"{one.at_most_mib:.0f}",
            f"{one.point.peak_mib:.0f}",
        ]
        for one in sorted(judged, key=lambda one: (one.point.peak_mib, one.point.config))
    )
    columns = [
        "configuration",
        "in flight",
        "clusters, MiB",
        "tables, MiB",
        "expected, MiB",
        "at most, MiB",
        "measured, MiB",
    ]
    yield from table(columns, rows, folded=True)
