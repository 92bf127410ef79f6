"""Series of timings and how they are shown."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

Row = dict[str, float | int | str]
"""One line of a table, by column; what is written as JSON."""


def interleaved(works: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each piece of work, one after the other in each round, so that other load hits all alike."""
    took: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            began_s = time.perf_counter()
            work()
            took[name].append((time.perf_counter() - began_s) * 1e3)
    return took


def median(values: Sequence[float]) -> float:
    """Median, to a hundredth."""
    return round(statistics.median(values), 2)


def least(values: Sequence[float]) -> float:
    """The least, to a hundredth: what is left when nothing else disturbs."""
    return round(min(values), 2)


def table(rows: Sequence[Row]) -> str:
    """Rows as aligned text under their columns."""
    if not rows:
        return "(nothing measured)"
    columns = list(dict.fromkeys(column for row in rows for column in row))
    cells = [columns, *([f"{row.get(column, '')}" for column in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join("  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)) for line in cells)


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that so many per cent of the values do not exceed (nearest rank); 0 for none."""
    if not values:
        return 0.0
    ranked = sorted(values)
    return ranked[max(0, -(-len(ranked) * int(percent * 100) // 10_000) - 1)]
