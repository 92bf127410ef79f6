"""What a study says, as Markdown: shares explained and costs against the base, every number computed from the runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from statistics import median

from guestroom.lab.study.dataset import Run
from guestroom.lab.study.stats import Estimate, difference

_MIB = 1 << 20
_PEAK = "overhead_peak_bytes"


def markdown(runs: Iterable[Run]) -> str:
    """The report on these runs; a study without a base, or without figures, says so instead of a section."""
    kept = sorted(runs, key=lambda run: run.run_id)
    return "\n".join(("# Where the memory goes", "", *_shares(kept), *_differences(kept), *_failed(kept)))


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
            groups[run.config].append(run.figures[_PEAK] / _MIB)
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
    yield from ("", "Runs count those of the base too; the spread is pooled over all configurations.", "")


def _interval(found: Estimate) -> str:
    return "unknown: no repetitions" if found.half_width is None else f"± {found.half_width:.2f}"


def _failed(runs: list[Run]) -> Iterable[str]:
    failed = [run for run in runs if run.error is not None]
    if failed:
        yield from ("## Runs without figures", "")
        yield from (f"- `{run.run_id}`: {run.error}" for run in failed)
        yield ""
