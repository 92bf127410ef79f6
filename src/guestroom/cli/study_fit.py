"""``guestroom study fit`` and ``evaluate``: a model of what guests cost, and how right it is on guests it never saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from guestroom import size
from guestroom.cli.output import Column, emit_json, emit_text, json_option, table
from guestroom.lab.study import dataset
from guestroom.lab.study.cases import cases
from guestroom.lab.study.evaluate import evaluate
from guestroom.lab.study.fit import FOLDS, fit
from guestroom.lab.study.model_file import write_model
from guestroom.size import promise
from guestroom.size.measured_cost import HEAVY, Cost, Model
from guestroom.size.measured_terms import BY_NAME
from guestroom.units import format_bytes

_RUNS = click.argument("runs", type=click.Path(path_type=Path))


@click.command(name="fit")
@_RUNS
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the model: .json, or .py (a module)."
)
@json_option
def fit_(runs: Path, out: Path | None, as_json: bool) -> None:
    """Fit what each thing costs to the RUNS of a study, and the margins for a coverage.

    Needs numpy and scipy: pip install 'guestroom[fit]'.
    """
    model = fit(dataset.latest(dataset.read(runs)))
    if out is not None:
        write_model(out, model)
    if as_json:
        emit_json(asdict(model))
        return
    emit_text(
        f"{model.configurations} configurations, {model.runs} runs of {model.study}: "
        f"QEMU {model.qemu}, {model.accelerator}, {model.host}"
    )
    table(
        (
            Column("term"),
            Column("one more is"),
            Column("costs", right=True),
            Column("up to", right=True),
            Column("seen in", right=True),
        ),
        [_row(name, cost) for name, cost in model.terms.items()],
    )
    emit_text("")
    table(
        (Column("group"), Column("coverage", right=True), Column("margin", right=True), Column("support")),
        list(_margins(model)),
    )
    if out is not None:
        emit_text(f"written: {out}")


@click.command(name="evaluate")
@_RUNS
@click.option(
    "--coverage", type=float, default=size.DEFAULT_COVERAGE, show_default=True, help="What is to be promised."
)
@json_option
def evaluate_(runs: Path, coverage: float, as_json: bool) -> None:
    """Say how right each sizing is on guests of the RUNS it has never seen, by configuration.

    measured is fitted ten times, each without a tenth of the configurations, and asked about those. Needs numpy and
    scipy: pip install 'guestroom[fit]'.
    """
    scores = [score.summary() for score in evaluate(cases(dataset.latest(dataset.read(runs))), coverage)]
    if as_json:
        emit_json({"coverage": coverage, "folds": FOLDS, "scores": scores})
        return
    table(
        (
            Column("policy"),
            *(
                Column(title, right=True)
                for title in ("promised", "covered", "95 % bounds", "said/taken", "p90", "most short")
            ),
        ),
        [_score(one) for one in scores],
    )
    emit_text("said/taken: median; most short: the largest miss")
    for one in scores[:4]:
        if one["misses"]:
            emit_text(f"missed by {one['policy']}: {', '.join(one['misses'])}")


def _score(one: Mapping[str, Any]) -> tuple[str, ...]:
    promised = "-" if one["promised"] is None else f"{one['promised']:.1%}"
    covered = f"{one['covered']}/{one['configurations']} {one['coverage']:.1%}"
    bounds = f"{one['coverage_low']:.1%}-{one['coverage_high']:.1%}"
    ratios = (f"{one['ratio_median']:.2f}", f"{one['ratio_p90']:.2f}")
    return one["policy"], promised, covered, bounds, *ratios, format_bytes(one["short_most_bytes"])


def _row(name: str, cost: Cost) -> tuple[str, ...]:
    unit = BY_NAME[name].unit
    sizes = unit.startswith("byte")
    each = ", ".join(f"{slope:.3g}" if sizes else format_bytes(round(slope)) for slope in cost.bytes_per_unit)
    most = format_bytes(int(cost.most)) if sizes else f"{cost.most:g}"
    return name, unit, each, most, str(cost.configurations)


def _margins(model: Model) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name, group in model.groups.items():
        for one in group.margins:
            size = format_bytes(round(one.size)) if name != HEAVY else f"{one.size:.0%} of what is in flight more"
            made = promise.made(one.coverage, group.samples, group.samples, one.within, "unseen configurations")
            rows.append((name, f"{one.coverage:g}", size, made.words))
    return rows
