"""The report's tables, one section each: parts, costs, differences, knobs, and the checks of the study itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean, median

from guestroom.lab.study.checks import Twice, beside_alone, split_beside_joint
from guestroom.lab.study.costs import Cost, Matter, Tables
from guestroom.lab.study.document import Block, Heading, Paragraph, table
from guestroom.lab.study.knobs import Gain
from guestroom.lab.study.samples import BASE, Samples
from guestroom.lab.study.words import change, interval, times
from guestroom.units import MIB

_MOMENTS = ("idle", "steady", "peak", "after")
_ENOUGH = 0.99


def host(samples: Samples) -> Iterable[Block]:
    """What was measured where, and whether the counting can be trusted."""
    if not samples.good:
        yield Paragraph("No run of this study has figures.")
        return
    facts = ", ".join(f"{name} {value}" for name, value in sorted(samples.good[0].host.items()))
    alone = "alone" if all(run.alone for run in samples.good) else "some side by side"
    configs = len({run.config for run in samples.good})
    shares = [moment.explained_share for run in samples.good for moment in run.moments.values()]
    pages = [m.by_pages_share for run in samples.good for m in run.moments.values() if m.by_pages_share is not None]
    text = f"{configs} configurations, {len(samples.good)} runs with figures ({alone}). {facts}."
    if shares:
        text += f" Least share explained at any moment: {min(shares):.2%}."
    if pages:
        apart = max(abs(share - 1) for share in pages)
        text += f" An independent count page by page differs by at most {apart:.2%} ({len(pages)} counts)."
    yield Paragraph(text)


def base_parts(samples: Samples) -> Iterable[Block]:
    """Where the base guest's bytes are, at each moment looked at."""
    if BASE not in samples:
        return
    runs = samples.by_config[BASE]
    moments = [name for name in _MOMENTS if any(name in run.moments for run in runs)]
    sizes: dict[str, dict[str, float]] = defaultdict(dict)
    kinds: dict[str, str] = {}
    for moment in moments:
        seen = [run.moments[moment].parts for run in runs if moment in run.moments]
        for name in sorted({name for parts in seen for name in parts}):
            sizes[name][moment] = fmean(parts.get(name, ("", 0))[1] / MIB for parts in seen)
            kinds[name] = next(parts[name][0] for parts in seen if name in parts)
    order = sorted(sizes, key=lambda name: (-max(sizes[name].values()), name))
    rows = [[name, kinds[name], *(f"{sizes[name].get(one, 0.0):.1f}" for one in moments)] for name in order]
    yield Heading(2, "Parts of the base guest")
    yield from table(["part", "kind", *(f"{one}, MiB" for one in moments)], rows)
    peak = samples.peak(BASE)
    text = f"Largest overhead sampled: {peak.value:.1f} MiB ({interval(peak)}, {peak.count} runs)"
    steady = [run.figures["overhead_steady_bytes"] / MIB for run in runs if "overhead_steady_bytes" in run.figures]
    if steady:
        text += f"; median under the load: {fmean(steady):.1f} MiB"
    yield Paragraph(f"{text}. The parts are those of the last full look before the peak.")


def costs(found: Sequence[Cost], flights: Sequence[Cost], tables: Tables | None) -> Iterable[Block]:
    """Every slope with its interval."""
    yield Heading(2, "What one more costs")
    rows = [*found, *(Cost(f"request in flight: {one.unit}", one.found, one.configs) for one in flights)]
    if tables is not None:
        configs = tuple(dict.fromkeys(config for _, _, config in tables.points))
        rows.append(Cost("MiB of qcow2 L2 tables in their cache", tables.slope, configs))
    if not rows:
        yield Paragraph("Not measured: no two configurations differ in a number only.")
        return
    shown = (
        [one.unit, f"{one.found.value:+.3f}", interval(one.found, 3), f"{one.found.count}", ", ".join(one.configs)]
        for one in rows
    )
    yield from table(["one more", "MiB at the peak", "95 % interval", "runs", "measured on"], shown)
    yield Paragraph(
        "Slopes by least squares over the peaks of all runs. The interval is the wider of two: by how far the points "
        "lie from "
        "the line, and by the spread of repetitions. Where the cost is no straight line (a first VNC client, a queue "
        "that "
        "is full), the interval says so by its width."
    )


def knobs(found: Sequence[Gain]) -> Iterable[Block]:
    """Before and after, and what it does to speed."""
    yield Heading(2, "Knobs: before, after, and what they cost in speed")
    if not found:
        yield Paragraph("Not measured: no two configurations differ in knobs only.")
        return
    rows = (
        [
            one.label,
            one.before,
            one.after,
            f"{one.saved_mib.value:+.1f}",
            interval(one.saved_mib, 1),
            times(one.iops),
            times(one.boot),
        ]
        for one in found
    )
    columns = ["turned", "on", "measured as", "saved, MiB", "95 % interval", "IOPS", "boot time"]
    yield from table(columns, rows)
    yield Paragraph("Each where it saves most. Of sets of knobs only those that save more than their members do.")


def undecided(found: Sequence[Matter]) -> Iterable[Block]:
    """What the study is too small for."""
    if found:
        rows = ([one.label, f"{one.farthest_mib:.1f}"] for one in found)
        yield Heading(2, "Neither told apart from nothing nor shown to be small")
        yield from table(["varied", "at most, MiB (90 %)"], rows)


def differences(samples: Samples) -> Iterable[Block]:
    """Every configuration beside the one it is compared with."""
    yield Heading(2, "Peak overhead of every configuration")
    if BASE not in samples:
        yield Paragraph(
            "This study has no jointly charged run of `base` with figures: there is nothing to compare with."
        )
        return
    rows = []
    for one in sorted(samples.contrasts, key=lambda one: (samples.first(one.config).family, one.config)):
        found = one.overhead_mib
        over = samples.difference(one.config, BASE)
        cells = [samples.first(one.config).family, one.config, f"{fmean(samples.peaks(one.config)):.1f}"]
        cells.append(f"{over.value:+.2f} ({interval(over)})")
        rows.append(
            [*cells, f"{found.value:+.2f}", interval(found), one.against, change(one.changed), f"{found.count}"]
        )
    columns = [
        "family",
        "configuration",
        "peak, MiB",
        "over the base, MiB",
        "difference, MiB",
        "95 % interval",
        "against",
        "what differs",
        "runs",
    ]
    yield from table(columns, rows, folded=True)
    words = []
    for kind, says in (
        ("calm", "guests whose load adds little"),
        ("filling", "guests that grow under their load"),
        ("copying", "guests that copy or decompress clusters"),
    ):
        spread, known = samples.spreads[kind], "unknown"
        if spread is not None:
            size = f"{spread.deviation:.2f} MiB" if kind == "calm" else f"{spread.deviation:.1%} of what they grow by"
            known = f"{size} ({spread.degrees} degrees of freedom)"
        words.append(f"{says} {known}")
    yield Paragraph(
        "Compared with the configuration that differs least and has the base's values where it differs. Runs are "
        "those of "
        "both. Of so many intervals one in twenty misses by chance. They use the spread of repetitions, pooled over "
        "all that were repeated of a kind: " + "; ".join(words) + "."
    )


def split(samples: Samples) -> Iterable[Block]:
    """Split and joint accounting of the same guest."""
    yield Heading(2, "Split and joint accounting side by side")
    found = split_beside_joint(samples)
    if not found:
        yield Paragraph("Not measured.")
        return
    rows = ([*_both(one), f"{one.apart.count}"] for one in found)
    yield from table(["guest", "joint, MiB", "split, MiB", "difference, MiB", "95 % interval", "runs"], rows)


def side_by_side(samples: Samples) -> Iterable[Block]:
    """Whether guests that ran beside others differ from the same ones measured again alone."""
    yield Heading(2, "Do runs side by side distort each other?")
    found = beside_alone(samples)
    if not found:
        all_alone = bool(samples.good) and all(run.alone for run in samples.good)
        yield Paragraph("Nothing ran side by side." if all_alone else "Not checked: nothing was measured again alone.")
        return
    told = {True: "no", False: "yes", None: "unknown"}
    rows = ([*_both(one), told[one.apart.may_be_zero]] for one in found)
    columns = ["guest", "in the study, MiB", "again, alone, MiB", "difference, MiB", "95 % interval", "told apart"]
    yield from table(columns, rows)


def _both(one: Twice) -> list[str]:
    cells = [one.config, f"{one.first_mib:.1f}", f"{one.second_mib:.1f}"]
    return [*cells, f"{one.apart.value:+.2f}", interval(one.apart)]


def shares(samples: Samples) -> Iterable[Block]:
    """How much of each configuration's charge is explained, and whether the pages agree."""
    yield Heading(2, "Explained share")
    seen: dict[str, list[float]] = defaultdict(list)
    pages: dict[str, list[float]] = defaultdict(list)
    for run in samples.all:
        seen[run.config] += [moment.explained_share for moment in run.moments.values()]
        pages[run.config] += [m.by_pages_share for m in run.moments.values() if m.by_pages_share is not None]
    rows = []
    for config, found in sorted(seen.items()):
        if found:
            counted = f"{max(abs(share - 1) for share in pages[config]):.2%}" if pages[config] else "-"
            flags = [f"below {_ENOUGH:.0%}"] if min(found) < _ENOUGH else []
            flags += ["pages disagree"] if any(abs(share - 1) > 1 - _ENOUGH for share in pages[config]) else []
            rows.append(
                [config, f"{len(found)}", f"{min(found):.2%}", f"{median(found):.2%}", counted, ", ".join(flags)]
            )
    wrong = sum(bool(row[-1]) for row in rows)
    yield Paragraph(
        f"{wrong} of {len(rows)} configurations have a moment with less than {_ENOUGH:.0%} explained, or a count by "
        f"pages "
        f"that differs by more than {1 - _ENOUGH:.0%}."
    )
    columns = ["configuration", "moments", "least", "median", "count by pages differs by", ""]
    yield from table(columns, rows, folded=True)


def failed(samples: Samples) -> Iterable[Block]:
    """Runs without figures."""
    rows = ([run.run_id, run.error] for run in samples.all if run.error is not None)
    found = table(["run", "why it has no figures"], rows)
    if found:
        yield Heading(2, "Runs without figures")
        yield from found
