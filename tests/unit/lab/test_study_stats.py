"""The study's statistics give planted effects back and never claim to know a spread they have not seen."""

from __future__ import annotations

import pytest

from guestroom.lab.study.stats import difference, pooled, slope, t95


@pytest.mark.parametrize("planted", [3.5, -3.5])
def test_slope_comes_back_with_its_sign(planted: float) -> None:
    """A planted cost per unit, of either sign, lies in a narrow interval around the slope."""
    found = slope([(x, 20 + planted * x + noise) for x in (1, 2, 4, 8) for noise in (-0.1, 0.1)])
    assert found is not None
    assert found.value == pytest.approx(planted)
    assert found.half_width is not None
    assert 0 < found.half_width < 0.1
    assert found.may_be_zero is False


def test_slope_needs_two_places() -> None:
    """One value of x gives no slope, two points give one without an interval."""
    assert slope([(1, 2), (1, 3)]) is None
    found = slope([(1, 2), (2, 5)])
    assert found is not None
    assert (found.value, found.half_width, found.may_be_zero) == (3, None, None)


def test_difference_uses_the_pooled_spread() -> None:
    """A configuration with one repetition gets its interval from the repetitions of the others."""
    found = difference({"base": [10.0, 12.0], "other": [20.0]}, "other", "base")
    assert found.value == 9
    assert found.half_width == pytest.approx(12.706 * 2**0.5 * 1.5**0.5)
    assert found.count == 3


def test_one_repetition_everywhere_gives_no_interval() -> None:
    """Without any repetition the interval is unknown, not zero."""
    groups = {"base": [10.0], "other": [20.0]}
    assert pooled(groups) is None
    assert difference(groups, "other", "base").may_be_zero is None


def test_t_quantiles() -> None:
    """Student's t agrees with the tables beyond the stored ones."""
    assert t95(20) == pytest.approx(2.086, rel=1e-3)
    assert t95(11) == pytest.approx(2.201, rel=1e-3)
