"""Which runs are repeated alone, and what both ways say."""

from __future__ import annotations

from tests.unit.lab.test_study_dataset import run

from guestroom.lab.study.alone import apart, choose
from guestroom.lab.study.dataset import Run
from guestroom.units import MIB


def peak(name: str, mib: int, *, alone: bool = False, **changes: object) -> Run:
    """A run with this peak."""
    family = "base" if name == "base" else "other"
    figures = {"overhead_peak_bytes": float(mib * MIB)}
    return run(name, family=family, alone=alone, figures=figures, **changes)


RUNS = (peak("base", 60), peak("large", 300), peak("small", 50), peak("middle", 70), peak("more", 90))


def test_the_base_the_largest_and_the_middle_are_repeated() -> None:
    """What all is compared with, what moves most, and one of the many."""
    assert choose(RUNS) == ("base", "large", "middle")


def test_only_what_ran_beside_others_is_repeated() -> None:
    """Runs that failed, that were alone, or that have split accounting say nothing of it."""
    others = (peak("x", 900, alone=True), peak("y", 900, error="no"), peak("z", 900, accounting="split"))
    assert choose((*RUNS, *others)) == ("base", "large", "middle")
    assert choose(others) == ()
    assert choose(RUNS[:2]) == ("base", "large")


def test_both_ways_are_compared() -> None:
    """Means beside others against alone, with the sign of what the neighbours did."""
    (found,) = apart((*RUNS, peak("large", 320, run_id="large/joint/2"), peak("large", 290, alone=True)))
    assert (found.beside_bytes, found.alone_bytes) == (310 * MIB, 290 * MIB)
    assert found.text() == "large: peak 310.0 MiB side by side, 290.0 alone (+20.0)"
