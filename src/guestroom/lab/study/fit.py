"""Fits the ``measured`` model to a study: what one unit of each term costs, and what must be added for a promise.

Costs are non-negative and minimise the pinball loss, which is a linear program (scipy's HiGHS). Margins come from
configurations that a fit had not seen: ten fits that each leave out a tenth of the configurations, never of the
repetitions. scipy and numpy are needed here only, not where the model is used (``pip install 'guestroom[fit]'``).
"""

from __future__ import annotations

import importlib
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from guestroom.errors import InputError
from guestroom.lab.study.cases import KERNEL_PART, Case, cases
from guestroom.lab.study.conformal import upper
from guestroom.lab.study.dataset import Run
from guestroom.size.measured_cost import (
    HEAVY,
    PLAIN,
    WORKED_ON,
    Cost,
    Group,
    Margin,
    Model,
    Predicted,
    predict,
    stretches,
)
from guestroom.size.measured_terms import BY_NAME, amounts
from guestroom.units import MIB

COVERAGES = (0.95, 0.99, 0.999)
FOLDS = 10
QUANTILE = 0.5
"""Of the pinball loss: costs in the middle of what was seen; what is over them is the margin's."""
_TINY = 1e-4
"""Weight of the costs themselves: of several equally good fits the cheapest is taken."""


def fit(runs: Sequence[Run]) -> Model:
    """The model of a study. Raises ``InputError`` for a study without figures, or with too few configurations."""
    found = cases(runs)
    good = [run for run in runs if run.error is None]
    host = good[0].host
    model = fit_cases(found)
    return replace(
        model,
        study=max(run.started for run in good)[:10],
        host=f"kernel {host['kernel']}, {host['cpus']} CPUs, {host['memory_mib']} MiB, cgroup {host['cgroup']}",
        qemu=host["qemu"].removeprefix("QEMU emulator version ").partition(" ")[0],
        accelerator=host["accelerator"],
        runs=sum(case.runs for case in found),
    )


def fit_cases(found: Sequence[Case]) -> Model:
    """The model of these cases, without where they come from. Raises ``InputError`` for fewer than two a fold."""
    if len(found) < 2 * FOLDS:
        raise InputError(
            f"{len(found)} configurations are too few to fit a model",
            numbers={"configurations": len(found), "needed": 2 * FOLDS},
            hint="guestroom study run --matrix full",
        )
    whole = solve(found)
    parts = []
    misses: list[tuple[Case, Predicted]] = []
    for train, held in folds(found):
        part = solve(train)
        parts.append(part)
        misses += [(case, predict(part, case.guest, case.ram_bytes, case.load)) for case in held]
    return replace(whole, terms=_highest(whole.terms, [part.terms for part in parts]), groups=_groups(misses))


def folds(found: Sequence[Case]) -> Iterator[tuple[list[Case], list[Case]]]:
    """Ten times the configurations to learn from, and those left out: each is left out once."""
    order = sorted(found, key=lambda case: case.config)
    random.Random(len(order)).shuffle(order)  # noqa: S311 - a fixed order, no secret
    for number in range(FOLDS):
        held = order[number::FOLDS]
        yield [case for case in order if case not in held], held


def solve(found: Sequence[Case]) -> Model:
    """The non-negative costs with the least pinball loss over the cases; no margins yet."""
    touched = float(_touched_bytes(found))
    kernel = float(max(case.kernel_bytes for case in found))
    rows = [amounts(case.guest, case.ram_bytes, case.load, touched) for case in found]
    columns = [(name, part) for name in BY_NAME for part in _parts(name, rows) if name != KERNEL_PART]
    table = [[stretches(BY_NAME[name], row.get(name, 0.0))[part] for name, part in columns] for row in rows]
    # Not every attribution tells the copy of the kernel image from the heap beside it; every such guest has it.
    wanted = [case.peak_bytes - kernel * row.get(KERNEL_PART, 0.0) for case, row in zip(found, rows, strict=True)]
    solved = _program(table, wanted)
    slopes = dict(zip(columns, solved, strict=True)) | {(KERNEL_PART, 0): kernel}
    terms = {}
    for name, term in BY_NAME.items():
        seen = [row[name] for row in rows if name in row]
        if seen:
            steps = tuple(slopes.get((name, part), 0.0) for part in range(len(term.knots) + 1))
            terms[name] = Cost(steps, steps, max(seen), len(seen))
    return Model("", "", "", "", len(found), sum(case.runs for case in found), touched, terms, {})


def _touched_bytes(found: Sequence[Case]) -> int:
    """TCG code buffer that the study's guest touches where it is large enough.

    Where all of them were filled nobody knows: twice the largest.
    """
    enough = [case.code_bytes for case in found if case.code_bytes < 0.9 * (case.guest.tb_bytes or math.inf)]
    return max(enough) if any(enough) else 2 * max(case.code_bytes for case in found)


def _parts(name: str, rows: Sequence[Mapping[str, float]]) -> range:
    """The stretches of a term that some case reaches."""
    most = max((row.get(name, 0.0) for row in rows), default=0.0)
    return range(sum(length > 0 for length in stretches(BY_NAME[name], most)))


def _program(table: Sequence[Sequence[float]], wanted: Sequence[float]) -> list[float]:
    """Costs c >= 0 that minimise the pinball loss of ``wanted - table c``, the cheapest of equals.

    Raises ``InputError`` without scipy.
    """
    numpy, optimize = _scipy()
    matrix = numpy.array(table, dtype=float)
    count, width = matrix.shape
    scale = matrix.max(axis=0)
    scaled = matrix / scale
    costs = numpy.concatenate([numpy.full(width, _TINY), numpy.full(count, QUANTILE), numpy.full(count, 1 - QUANTILE)])
    equal = numpy.hstack([scaled, numpy.eye(count), -numpy.eye(count)])
    found = optimize.linprog(costs, A_eq=equal, b_eq=numpy.array(wanted) / MIB, bounds=(0, None), method="highs")
    if found.status != 0:
        raise InputError(f"the study can't be fitted: {found.message}")
    return [rounded(float(value) * MIB / float(size)) for value, size in zip(found.x[:width], scale, strict=True)]


def rounded(value: float) -> float:
    """Five digits: more would be read, and none of them known."""
    return float(f"{value:.5g}")


def _scipy() -> tuple[Any, Any]:
    """numpy and scipy's optimisers, which only a fit needs. Raises ``InputError`` where they are not installed."""
    try:
        return importlib.import_module("numpy"), importlib.import_module("scipy.optimize")
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is not installed", hint="pip install 'guestroom[fit]'") from error


def _highest(whole: Mapping[str, Cost], parts: Sequence[Mapping[str, Cost]]) -> dict[str, Cost]:
    """The highest slope that any of the fits has for what the whole fit has."""
    return {
        name: replace(
            cost,
            highest=tuple(
                max(slope, *(part[name].bytes_per_unit[step] for part in parts if name in part))
                for step, slope in enumerate(cost.bytes_per_unit)
            ),
        )
        for name, cost in whole.items()
    }


def _groups(misses: Sequence[tuple[Case, Predicted]]) -> dict[str, Group]:
    """Margins for each coverage: bytes, and of those with much in flight the share of it beyond the plain ones' bytes.

    A group nobody is of has the margins of ``plain``.
    """
    over = {
        name: [
            (float(case.peak_bytes - seen.bytes), seen.in_flight_bytes) for case, seen in misses if seen.group == name
        ]
        for name in (PLAIN, HEAVY, WORKED_ON)
    }
    margins: dict[str, list[Margin]] = {name: [] for name in over}
    for coverage in COVERAGES:
        plain, _ = upper([size for size, _ in over[PLAIN]], coverage)
        samples = {
            PLAIN: [size for size, _ in over[PLAIN]],
            HEAVY: [(size - plain) / max(1, part) for size, part in over[HEAVY]] or [0.0],
            WORKED_ON: [size for size, _ in over[WORKED_ON] or over[PLAIN]],
        }
        for name, each in samples.items():
            size, within = upper(each, coverage)
            margins[name].append(Margin(coverage, rounded(size), within))
    return {name: Group(len(over[name]), tuple(each)) for name, each in margins.items()}
