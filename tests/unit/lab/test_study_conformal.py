"""Margins from samples, and the bounds of a share."""

import pytest

from guestroom.lab.study.conformal import exact_bounds, upper


@pytest.mark.parametrize(("count", "within"), [(59, 59), (92, 92), (93, 92), (299, 291)])
def test_enough_samples_give_the_order_statistic_that_is_sure(count: int, within: int) -> None:
    """With 95 % confidence 95 % are covered by the largest of 59, from 93 on by the second largest, by 291 of 299."""
    size, inside = upper([float(number) for number in range(1, count + 1)], 0.95)
    assert inside == within
    assert size == float(within)


def test_fewer_samples_give_the_mean_and_still_fewer_a_tail() -> None:
    """19 samples cover 95 % in the mean by their largest; 18 do not, so the margin goes on beyond it."""
    assert upper([float(number) for number in range(19)], 0.95) == (18.0, 19)
    size, inside = upper([float(number) for number in range(18)], 0.95)
    assert size > 17.0
    assert inside == 18


def test_a_higher_promise_from_the_same_few_samples_needs_more() -> None:
    """Beyond the samples the margin grows with the promise, however few they are."""
    samples = [1.0, 2.0, 3.0, 8.0]
    sizes = [upper(samples, coverage)[0] for coverage in (0.95, 0.99, 0.999)]
    assert sizes == sorted(set(sizes))
    assert upper([5.0], 0.99) == (5.0, 1)


def test_a_margin_is_never_negative() -> None:
    """Where all guests took less than predicted nothing is taken away."""
    assert upper([-3.0] * 60, 0.95)[0] == 0.0


def test_bounds_are_clopper_and_pearsons() -> None:
    """Figures of any statistics package: 10 of 10, 0 of 10, 89 of 91 and 95 of 100."""
    assert exact_bounds(10, 10) == pytest.approx((0.6915, 1.0), abs=1e-4)
    assert exact_bounds(0, 10) == pytest.approx((0.0, 0.3085), abs=1e-4)
    assert exact_bounds(95, 100) == pytest.approx((0.8872, 0.9836), abs=1e-4)
    assert exact_bounds(89, 91) == pytest.approx((0.9229, 0.9973), abs=1e-4)
