"""The division by numbers, and what it refuses."""

from __future__ import annotations

import pytest

from guestroom.actions import Bound, Grant
from guestroom.decide import Claim, Division, divide
from guestroom.errors import ClaimsError
from guestroom.units import MIB

from .samples import M

PAGE = 4096


def test_equal_guests_share_equally() -> None:
    """Two guests of equal weight between loose bounds get half each."""
    division = divide(800 * M, [Claim("A", 1, 0, None), Claim("B", 1, 0, None)])
    assert division.grants == (Grant("A", 400 * M, Bound.SHARE), Grant("B", 400 * M, Bound.SHARE))
    assert (division.feasible, division.short_bytes, division.unused_bytes) == (True, 0, 0)


def test_a_floor_takes_from_the_shares_of_the_others() -> None:
    """The seed's story: A can't go below 500 of 800, so B gets 300."""
    division = divide(800 * M, [Claim("A", 1, 500 * M, 600 * M), Claim("B", 1, 0, 600 * M)])
    assert [(g.grant_bytes // M, g.bound) for g in division.grants] == [(500, Bound.FLOOR), (300, Bound.SHARE)]


def test_a_cap_gives_to_the_shares_of_the_others() -> None:
    """What a capped guest can't use goes to the others by weight."""
    division = divide(700 * M, [Claim("A", 5, 0, 100 * M), Claim("B", 2, 0, None), Claim("C", 1, 0, None)])
    assert [(g.grant_bytes // M, g.bound) for g in division.grants] == [
        (100, Bound.CAP),
        (400, Bound.SHARE),
        (200, Bound.SHARE),
    ]


def test_with_all_capped_the_rest_is_unused() -> None:
    """The unused bytes are the reserve as given less the sum, here with a part of a page."""
    division = divide(100 * PAGE + 5, [Claim("A", 1, 0, 10 * PAGE), Claim("B", 1, 0, 20 * PAGE + 7)])
    assert [g.grant_bytes // PAGE for g in division.grants] == [10, 20]
    assert division.unused_bytes == 70 * PAGE + 5


def test_floors_round_up_and_caps_and_reserve_down() -> None:
    """A byte over a page is a page of floor and nothing of cap or reserve."""
    division = divide(3 * PAGE + PAGE - 1, [Claim("A", 1, PAGE + 1, 3 * PAGE - 1), Claim("B", 1, 0, None)])
    assert [(g.grant_bytes, g.bound) for g in division.grants] == [(2 * PAGE, Bound.FLOOR), (PAGE, Bound.SHARE)]


def test_shares_round_down() -> None:
    """Ten pages among three equals leave one."""
    division = divide(10 * PAGE, [Claim(name, 1, 0, None) for name in "ABC"])
    assert [g.grant_bytes // PAGE for g in division.grants] == [3, 3, 3]
    assert division.unused_bytes == PAGE


def test_a_guest_at_both_bounds_is_at_its_floor() -> None:
    """Where floor and cap are one, the bound says floor."""
    assert divide(9 * PAGE, [Claim("A", 1, PAGE, PAGE)]).grants == (Grant("A", PAGE, Bound.FLOOR),)


def test_floors_over_the_reserve_are_an_answer() -> None:
    """Infeasible: no grants, and the shortfall is the rounded floors less the rounded reserve."""
    division = divide(5 * PAGE + 1, [Claim("A", 1, 4 * PAGE + 1, None), Claim("B", 1, 2 * PAGE, None)])
    assert division == Division(False, 2 * PAGE, 5 * PAGE + 1, ())


def test_floors_that_fill_the_reserve_fit_exactly() -> None:
    """The boundary: with exactly the floors everybody is at its floor, with a page less it is infeasible."""
    claims = [Claim("A", 1, 4 * PAGE, None), Claim("B", 1, 2 * PAGE, None)]
    assert [g.bound for g in divide(6 * PAGE, claims).grants] == [Bound.FLOOR, Bound.FLOOR]
    assert divide(6 * PAGE - 1, claims).short_bytes == PAGE


def test_nobody_shares_nothing() -> None:
    """No guests is feasible and leaves everything."""
    assert divide(MIB, []) == Division(True, 0, MIB, ())


def test_claims_may_come_from_a_generator() -> None:
    """Any iterable will do."""
    assert len(divide(MIB, (Claim(name, 1, 0, None) for name in "AB")).grants) == 2


def test_grants_are_real_grants() -> None:
    """The grants, though made without calling their class, are frozen, equal, hashable and printable as any other."""
    (grant,) = divide(MIB, [Claim("A", 1, 0, None)]).grants
    assert grant == Grant("A", MIB, Bound.SHARE)
    assert hash(grant) == hash(Grant("A", MIB, Bound.SHARE))
    assert repr(grant) == repr(Grant("A", MIB, Bound.SHARE))
    with pytest.raises(AttributeError):
        grant.grant_bytes = 1  # type: ignore[misc]


def test_the_largest_numbers_divide_exactly() -> None:
    """Bytes and weights up to 2^53 - 1 lose nothing: the sum is exact to the page."""
    most = 2**53 - 1
    division = divide(most, [Claim("A", most, 0, None), Claim("B", most - 1, 0, None)], page_bytes=1)
    a, b = (g.grant_bytes for g in division.grants)
    assert a == most * most // (2 * most - 1)
    assert b == most * (most - 1) // (2 * most - 1)
    assert division.unused_bytes == most - a - b


@pytest.mark.parametrize(
    ("claim", "field"),
    [
        (Claim("A", 0, 0, None), "weight"),
        (Claim("A", -1, 0, None), "weight"),
        (Claim("A", True, 0, None), "weight"),
        (Claim("A", 1.0, 0, None), "weight"),  # type: ignore[arg-type]
        (Claim("A", 2**53, 0, None), "weight"),
        (Claim("A", 1, -1, None), "floor_bytes"),
        (Claim("A", 1, float("nan"), None), "floor_bytes"),  # type: ignore[arg-type]
        (Claim("A", 1, None, None), "floor_bytes"),  # type: ignore[arg-type]
        (Claim("A", 1, 2**53, None), "floor_bytes"),
        (Claim("A", 1, 0, -1), "cap_bytes"),
        (Claim("A", 1, 0, "9"), "cap_bytes"),  # type: ignore[arg-type]
        (Claim("A", 1, 0, 2**53), "cap_bytes"),
    ],
)
def test_anything_but_a_whole_number_in_range_is_refused(claim: Claim, field: str) -> None:
    """The error names the guest and the field, and says what to give."""
    with pytest.raises(ClaimsError, match=field) as caught:
        divide(MIB, [Claim("ok", 1, 0, None), claim])
    assert caught.value.where == "guest 'A'"
    assert caught.value.hint


@pytest.mark.parametrize("cap", [-1, 1.5, True, 2**53])
def test_caps_are_checked_also_where_all_have_one(cap: int) -> None:
    """With and without guests that have no cap the same caps are refused."""
    with pytest.raises(ClaimsError, match="cap_bytes"):
        divide(MIB, [Claim("A", 1, 0, cap)])


@pytest.mark.parametrize(("reserve", "page"), [(-1, 4096), (1.5, 4096), (2**53, 4096), (1, 0), (1, -4096), (1, True)])
def test_a_reserve_or_page_size_that_is_none_is_refused(reserve: int, page: int) -> None:
    """Negative, fractional and over-large reserves and impossible page sizes are input errors."""
    with pytest.raises(ClaimsError):
        divide(reserve, [], page)


def test_a_name_twice_is_refused() -> None:
    """Two claims of one guest are an input error that names it."""
    with pytest.raises(ClaimsError, match="'A' is given twice"):
        divide(MIB, [Claim("B", 1, 0, None), Claim("A", 1, 0, None), Claim("A", 2, 0, None)])


def test_a_cap_below_its_floor_after_rounding_is_refused() -> None:
    """Floor 1 and cap 4095 are fine as bytes and impossible as pages; the error has the rounded numbers."""
    assert divide(PAGE, [Claim("A", 1, 1, PAGE)]).feasible
    with pytest.raises(ClaimsError, match="cap_bytes is below floor_bytes") as caught:
        divide(PAGE, [Claim("A", 1, 1, PAGE - 1)])
    assert caught.value.numbers == {"floor_bytes": PAGE, "cap_bytes": 0, "page_bytes": PAGE}
