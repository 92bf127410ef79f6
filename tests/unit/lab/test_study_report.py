"""The report shows planted effects with their sign and says what a study lacks."""

from __future__ import annotations

from guestroom.lab.study.dataset import Moment, Run
from guestroom.lab.study.report import markdown


def run(config: str, repetition: int, overhead_mib: float, share: float = 1.0, error: str | None = None) -> Run:
    """A run with one moment and the figure the report compares."""
    return Run(
        run_id=f"{config}/joint/{repetition}",
        config=config,
        family="base" if config == "base" else "vcpus",
        repetition=repetition,
        order=0,
        slot=0,
        alone=True,
        started="2026-11-25T07:00:00Z",
        host={},
        accounting="joint",
        argv=(),
        factors={},
        moments={} if error else {"idle": Moment(1.0, 100, 60, share, {})},
        figures={} if error else {"overhead_peak_bytes": overhead_mib * 2**20},
        error=error,
    )


def test_planted_effect_is_shown_whatever_the_order() -> None:
    """A configuration 5 MiB above the base is shown as +5, with the same text for the same runs in any order."""
    runs = [run("base", 1, 20), run("base", 2, 22), run("two", 1, 26, share=0.98)]
    text = markdown(runs)
    assert "| vcpus | two | 3 | +5.00 | ± 22.01 |" in text
    assert "| two | 1 | 98.00% | 98.00% | below 99 % |" in text
    assert markdown(reversed(runs)) == text


def test_one_repetition_has_no_interval() -> None:
    """With one repetition of everything the interval is called unknown, and the sign of a saving stays."""
    assert "| -3.00 | unknown: no repetitions |" in markdown([run("base", 1, 20), run("two", 1, 17)])


def test_what_is_missing_is_said() -> None:
    """A study without a base says so, and a failed run is listed with its reason."""
    text = markdown([run("two", 1, 17), run("base", 1, 0, error="no boot")])
    assert "nothing to compare with" in text
    assert "- `base/joint/1`: no boot" in text
