"""What an amount costs by a model, on a model made up for it."""

import pytest

from guestroom.size.measured_cost import WIDENED, Cost, cost_bytes, stretches
from guestroom.size.measured_terms import Term

PLAIN = Term("x", "thing")
BENT = Term("y", "byte", knots=(10.0, 100.0))


def test_an_amount_is_cut_at_the_knots() -> None:
    """Each stretch holds what lies in it, and the stretches sum to the amount."""
    assert stretches(PLAIN, 7.0) == (7.0,)
    assert stretches(BENT, 5.0) == (5.0, 0.0, 0.0)
    assert stretches(BENT, 130.0) == (10.0, 90.0, 30.0)


def test_each_stretch_has_its_slope() -> None:
    """A term that gets cheaper costs the sum over its stretches."""
    assert cost_bytes(BENT, Cost((3.0, 2.0, 1.0), (3.0, 2.0, 1.0), 1000.0, 5), 130.0) == 3 * 10 + 2 * 90 + 30


@pytest.mark.parametrize(("highest", "raised"), [(2.0, 2.0 * WIDENED), (2.1, 2.0 * WIDENED), (5.0, 3.0)])
def test_beyond_the_most_measured_the_slope_is_raised(highest: float, raised: float) -> None:
    """Beyond what was measured each unit costs the highest slope of the fits, at least a quarter more."""
    cost = Cost((2.0,), (highest,), 10.0, 5)
    assert cost_bytes(PLAIN, cost, 10.0) == 20.0
    assert cost_bytes(PLAIN, cost, 14.0) == pytest.approx(28.0 + 4 * raised)
