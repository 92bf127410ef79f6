"""What n samples support: the figures of the facts, and words that never claim more."""

from __future__ import annotations

import pytest

from guestroom.size.promise import conformal_rank, made, needed, none, odds, supported, sure_rank, usual_misses


@pytest.mark.parametrize(("coverage", "n"), [(0.95, 59), (0.99, 299), (0.999, 2995)])
def test_so_many_samples_are_needed(coverage: float, n: int) -> None:
    """59, 299 and 2,995 samples support 95, 99 and 99.9 %, one less does not (FACTS section 5)."""
    assert needed(coverage) == n
    assert sure_rank(n, coverage) == n
    assert sure_rank(n - 1, coverage) is None
    assert supported(n, n) >= coverage > supported(n - 1, n - 1)


def test_conformal_prediction_needs_fewer_but_promises_less() -> None:
    """The (n + 1) correction: 19 samples for 95 % on average, which holds in far fewer than 95 of 100 histories."""
    assert [conformal_rank(n, 0.95) for n in (18, 19, 20, 39, 200)] == [None, 19, 20, 38, 191]
    assert supported(19, 19) < 0.86


def test_supported_is_the_5th_percentile_of_beta() -> None:
    """FACTS: the largest of 20 covers 86.1 % at the 5th percentile, of 99 97.0 %; known values of Beta for k < n."""
    assert round(supported(20, 20), 3) == 0.861
    assert round(supported(99, 99), 3) == 0.970
    assert round(supported(20, 19), 4) == 0.7839  # Clopper-Pearson, one-sided, 19 of 20
    assert round(supported(100, 95), 4) == 0.8977
    assert supported(10, 0) == 0.0


def test_a_sure_rank_covers_what_was_wanted_and_the_one_below_does_not() -> None:
    """The rank is the least one that is sure, also for thousands of samples."""
    for n, coverage in ((93, 0.95), (200, 0.95), (1000, 0.99), (4096, 0.95), (4096, 0.5)):
        rank = sure_rank(n, coverage)
        assert rank is not None
        assert supported(n, rank) >= coverage - 1e-9
        assert supported(n, rank - 1) < coverage


def test_odds_are_never_rounded_up() -> None:
    """19 of 20 is said of 95 %, 6 of 7 of 87 %, nothing like it of less than a half."""
    shares = (0.95, 0.99, 0.999, 0.873, 0.9499, 0.5, 0.2)
    words = ["19 of 20", "99 of 100", "999 of 1000", "6 of 7", "18 of 19", "1 of 2", "fewer than 1 of 2"]
    assert [odds(share) for share in shares] == words


def test_a_promise_is_kept_only_where_samples_support_it() -> None:
    """59 samples support 19 of 20; with 22 it says what can be promised, in a field and in words."""
    kept = made(0.95, 59.0, 59, 59.0, "guests of this shape")
    assert kept.is_kept
    assert kept.coverage == 0.95
    assert kept.words == "19 of 20 stay within it, by 59 samples of guests of this shape"
    less = made(0.95, 22.0, 22, 22.0, "guests of this kind")
    assert not less.is_kept
    assert round(less.coverage or 0, 3) == 0.873
    assert less.words.startswith("at most 6 of 7 can be promised: 22 samples of guests of this kind support no more")
    assert "19 of 20 takes 59" in less.words


def test_samples_that_went_above_it_take_from_the_promise() -> None:
    """With 50 of 80 within it, 2 of 3 at most, and the words blame the figure and not the number of samples."""
    low = made(0.95, 80.0, 80, 50.0, "x")
    assert round(low.coverage or 0, 2) == 0.53
    assert "too many went above it" in low.words


def test_old_samples_are_said_to_count_less() -> None:
    """70 samples that count as 40 do not support 19 of 20, and the words say why."""
    old = made(0.95, 40.2, 70, 40.2, "x")
    assert not old.is_kept
    assert "old ones, or many of one, count less (40 in all)" in old.words


def test_nothing_is_promised_from_nothing() -> None:
    """Without a sample there is no share at all: unknown is not zero."""
    one = none(0.99)
    assert (one.coverage, one.level, one.samples, one.needed) == (None, None, 0, 299)
    assert "nothing is promised" in one.words
    assert not one.is_kept


def test_some_misses_are_usual() -> None:
    """Of 20 guests promised 19 of 20 three may miss without anything being wrong; of 20 promised 999 of 1000 none."""
    assert [usual_misses(20, coverage) for coverage in (0.5, 0.95, 0.99, 0.999)] == [14, 3, 1, 0]
    assert usual_misses(0, 0.95) == 0
    assert usual_misses(1, 0.5) == 1
