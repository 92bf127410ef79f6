"""``guestroom study fit`` and ``evaluate``: a model of what guests cost, and how right it is on guests it never saw."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from guestroom.cli.output import Column, emit_json, emit_text, json_option, table
from guestroom.lab.study import dataset
from guestroom.lab.study.fit import fit
from guestroom.lab.study.model_file import write_model
from guestroom.size import promise
from guestroom.size.measured_cost import Cost, Model
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
            size = format_bytes(round(one.size)) if name == "plain" else f"{one.size:.0%} of what is in flight more"
            made = promise.made(one.coverage, group.samples, group.samples, one.within, "unseen configurations")
            rows.append((name, f"{one.coverage:g}", size, made.words))
    return rows
