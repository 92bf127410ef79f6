"""What a study is going to run, and how long it says the rest takes."""

from __future__ import annotations

import pytest

from guestroom.lab.study.matrix import parse_matrix
from guestroom.lab.study.runner import Wanted, time_left, wanted_runs

MATRIX = """
[[config]]
name = "base"
family = "base"
repeat = 2
split = true
[[config]]
name = "idle"
family = "load"
"""


def test_every_configuration_is_run_as_often_as_it_says() -> None:
    """A configuration's own count, both accountings where asked for, and at least the repetitions of the command."""
    found = parse_matrix(MATRIX, "m.toml")
    assert [each.run_id for each in wanted_runs(found, 1)] == [
        "base/joint/1",
        "base/joint/2",
        "base/split/1",
        "base/split/2",
        "idle/joint/1",
    ]
    assert len(wanted_runs(found, 3)) == 9


def test_a_run_that_is_repeated_alone_has_a_name_of_its_own() -> None:
    """It replaces none of the runs beside others."""
    (base, _) = parse_matrix(MATRIX, "m.toml")
    assert Wanted(base, "joint", 1, again=True).run_id == "base/joint/alone1"


@pytest.mark.parametrize(
    ("took_s", "done", "total", "text"),
    [
        (10.0, 1, 10, "; about 2 min left"),
        (10.0, 1, 9, "; about 80 s left"),
        (600.0, 100, 150, "; about 5 min left"),
        (600.0, 150, 150, ""),
    ],
)
def test_the_rest_is_foretold_at_the_pace_so_far(took_s: float, done: int, total: int, text: str) -> None:
    """Seconds below a minute and a half, minutes above, nothing at the end."""
    assert time_left(took_s, done, total) == text
