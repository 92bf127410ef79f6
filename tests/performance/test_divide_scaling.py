"""``divide`` stays n log n, by counted work where that can be counted and by ratios of time where not."""

from __future__ import annotations

import math
import runpy
import sys
from pathlib import Path

import pytest

from guestroom.decide import Claim, divide

MODULE = sys.modules["guestroom.decide.divide"]
BENCHMARK = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "divide.py"))


def hinges_looked_at(reserve: int, claims: list[Claim], patch: pytest.MonkeyPatch, page: int = 1) -> int:
    """How many hinges all passes of the search went over."""
    looked = 0
    real = MODULE._Hinges.where

    def where(self: object, mask: list[bool]) -> object:
        nonlocal looked
        looked += len(mask)
        return real(self, mask)

    with patch.context() as within:
        within.setattr(MODULE._Hinges, "where", where)
        assert divide(reserve, claims, page).feasible
    return looked


def ordinary(count: int) -> tuple[int, list[Claim]]:
    """Mixed guests."""
    reserve, claims = BENCHMARK["some_claims"](count, capped=0.7)
    return reserve, claims


def equal(count: int) -> tuple[int, list[Claim]]:
    """All the same: every hinge of a kind is one."""
    return count * 15, [Claim(f"g{i}", 7, 10, 20) for i in range(count)]


def misleading(count: int) -> tuple[int, list[Claim]]:
    """Every guest a sample of the first round looks at lies; the sample says nothing about the others."""
    step = 2 * count // 512 + 1
    claims = [
        Claim(f"g{i}", 1, 0, 1)
        if i % step == 0 or (i + count) % step == 0
        else Claim(f"g{i}", 1, 1000 + i, 2000 + 3 * i)
        for i in range(count)
    ]
    low, high = sum(c.floor_bytes for c in claims), sum(c.cap_bytes or 0 for c in claims)
    return (low + high) // 2, claims


def near(count: int) -> tuple[int, list[Claim]]:
    """Hinges closer than a float can tell."""
    claims = [Claim(f"g{i}", 2**52 + i % 7, 2**36 + i % 5, 2**36 + i % 5 + i % 3) for i in range(count)]
    return sum(claim.floor_bytes for claim in claims) + count // 2, claims


@pytest.mark.parametrize("kind", [ordinary, equal, misleading, near])
def test_the_hinges_looked_at_grow_like_n_log_n(kind: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the input, all passes together look at no more than 2n x 2 log2(n) hinges; usually at a few n."""
    for count in (2_000, 16_000, 64_000):
        reserve, claims = kind(count)  # type: ignore[operator]
        assert hinges_looked_at(reserve, claims, monkeypatch) <= 4 * count * math.log2(count)
    reserve, claims = ordinary(16_000)
    assert hinges_looked_at(reserve, claims, monkeypatch) <= 8 * 16_000


def test_a_search_that_is_misled_for_ever_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: with a bracket that always says the two first hinges in order, the count is over the bound."""

    def first_two(hinges: object, top: int, bottom: int) -> tuple[int, int]:
        order = sorted(range(len(hinges.keys)), key=hinges.keys.__getitem__)[:2]  # type: ignore[attr-defined]
        return order[0], order[1]

    monkeypatch.setattr(MODULE._Hinges, "bracket", first_two)
    monkeypatch.setattr(MODULE._Hinges, "median", lambda hinges: first_two(hinges, 0, 0)[0])
    reserve, claims = ordinary(2_000)
    assert hinges_looked_at(reserve, claims, monkeypatch) > 4 * 2_000 * math.log2(2_000)


def test_the_time_per_guest_hardly_grows_with_the_guests() -> None:
    """Sixteen times the guests take at most 48 times the time (n log n: 22 times; n squared: 256 times)."""
    best = BENCHMARK["best_and_median_ms"]
    small, large = (BENCHMARK["some_claims"](count) for count in (2_000, 32_000))
    small_ms, _ = best(lambda: divide(*small), 9)
    large_ms, _ = best(lambda: divide(*large), 5)
    assert large_ms <= 48 * small_ms


def test_it_is_not_slower_than_sorting_everything() -> None:
    """At 10,000 guests the whole answer takes no longer than the textbook's bare page counts (within noise)."""
    row = BENCHMARK["measure"](10_000, 9)
    assert row["divide_best_ms"] <= 1.3 * row["textbook_best_ms"]
