"""The study's statistics give planted effects back and never claim to know a spread they have not seen."""

from __future__ import annotations

import random

import pytest

from guestroom.lab.study.stats import Spread, difference, mean, pooled, slope, t95


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
    """One value of x gives no slope, two points give one without an interval, and one with it if repetitions tell."""
    assert slope([(1, 2), (1, 3)]) is None
    found = slope([(1, 2), (2, 5)])
    assert found is not None
    assert (found.value, found.half_width, found.may_be_zero) == (3, None, None)
    told = slope([(1, 2), (2, 5)], Spread(0.5, 2))
    assert told is not None
    assert told.half_width == pytest.approx(4.303 * 0.5 / 0.5**0.5)


def test_a_line_that_happens_to_fit_is_not_trusted_more_than_repetitions() -> None:
    """Points on one line by luck get the interval that the spread of repetitions gives them."""
    found = slope([(1, 2), (2, 3), (3, 4)], Spread(1.0, 4))
    assert found is not None
    assert found.half_width == pytest.approx(2.776 / 2**0.5)


def test_difference_uses_the_pooled_spread() -> None:
    """A configuration with one repetition gets its interval from the repetitions of the others."""
    spread = pooled([[10.0, 12.0], [20.0]])
    assert spread == Spread(2**0.5, 1)
    found = difference([20.0], [10.0, 12.0], spread, spread)
    assert found.value == 9
    assert found.half_width == pytest.approx(12.706 * 2**0.5 * 1.5**0.5)
    assert found.count == 3


def test_spreads_of_two_kinds_are_not_mixed() -> None:
    """A guest that varies much, beside one that hardly does, has an interval of its own spread's width."""
    found = difference([20.0], [10.0] * 4, Spread(5.0, 3, "heavy"), Spread(0.1, 30, "calm"))
    assert found.half_width == pytest.approx(3.182 * 5.0, rel=0.01)


def test_one_repetition_everywhere_gives_no_interval() -> None:
    """Without any repetition the interval is unknown, not zero."""
    assert pooled([[10.0], [20.0]]) is None
    assert difference([10.0], [20.0], None, None).may_be_zero is None
    assert mean([10.0], None).half_width is None


def test_equivalence_is_shown_and_not_assumed() -> None:
    """A difference within the bound counts as small only where its interval is too."""
    narrow, wide = Spread(0.2, 20), Spread(3.0, 20)
    assert difference([10.3] * 3, [10.0] * 3, narrow, narrow).within(2) is True
    assert difference([10.3] * 3, [10.0] * 3, wide, wide).within(2) is False
    assert difference([15.0] * 3, [10.0] * 3, narrow, narrow).within(2) is False
    assert difference([10.0], [10.0], None, None).within(2) is None


def test_t_quantiles() -> None:
    """Student's t agrees with the tables beyond the stored ones."""
    assert t95(20) == pytest.approx(2.086, rel=1e-3)
    assert t95(11) == pytest.approx(2.201, rel=1e-3)


def test_intervals_hold_as_often_as_they_say() -> None:
    """Over made-up studies of one unrepeated guest and a repeated base, 95 % of the intervals hold the difference."""
    chance = random.Random(5)
    held = 0
    for _ in range(2000):
        base, other = [chance.gauss(20, 0.5) for _ in range(5)], [chance.gauss(23, 0.5)]
        spread = pooled([base, other])
        found = difference(other, base, spread, spread)
        held += abs(found.value - 3) <= (found.half_width or 0)
    assert 0.93 < held / 2000 < 0.97


def test_equivalence_is_wrong_as_seldom_as_it_says() -> None:
    """A guest that really costs as much as the bound is called negligible in no more than 5 % of made-up studies."""
    chance = random.Random(6)
    wrong = 0
    for _ in range(2000):
        base, other = [chance.gauss(20, 0.3) for _ in range(5)], [chance.gauss(22, 0.3)]
        spread = pooled([base, other])
        wrong += bool(difference(other, base, spread, spread).within(2))
    assert 0.02 < wrong / 2000 < 0.065
