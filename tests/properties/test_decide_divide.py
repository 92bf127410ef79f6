"""P7: grants are weighted max-min between floors and caps, the same for the same inputs in any order."""

from __future__ import annotations

import random
import sys

import pytest
from divide_reference import reference
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import guestroom.decide
from guestroom.decide import Claim, Division, divide
from guestroom.testing.invariants import Share, fair

MODULE = sys.modules["guestroom.decide.divide"]
BIG = 2**53 - 1
MANY = settings(max_examples=150, deadline=None)


@st.composite
def claim_lists(draw: st.DrawFn, most: int = 12) -> list[Claim]:
    """Claims in pages of one byte, small, large, equal, or so close that floats can't tell them apart."""
    kind = draw(st.sampled_from(["small", "mixed", "equal", "near"]))
    size = draw(st.integers(0, most))
    if kind == "near":
        base_weight, base_floor = draw(st.integers(2**51, 2**52)), draw(st.integers(2**40, 2**48))
    claims = []
    for i in range(size):
        if kind == "small":
            weight, floor, extra = draw(st.integers(1, 9)), draw(st.integers(0, 20)), draw(st.integers(0, 20))
        elif kind == "mixed":
            weight, floor = draw(st.integers(1, BIG)), draw(st.integers(0, BIG // 64))
            extra = draw(st.integers(0, BIG // 64))
        elif kind == "equal":
            weight, floor, extra = 4, 8, draw(st.sampled_from([0, 4]))
        else:
            weight = base_weight + draw(st.integers(0, 2))
            floor, extra = base_floor + draw(st.integers(0, 2)), draw(st.integers(0, 3))
        claims.append(Claim(f"g{i}", weight, floor, draw(st.sampled_from([floor + extra, None]))))
    return claims


@st.composite
def cases(draw: st.DrawFn, most: int = 12) -> tuple[int, list[Claim]]:
    """A reserve about as large as what is claimed, and the claims."""
    claims = draw(claim_lists(most))
    low = sum(claim.floor_bytes for claim in claims)
    high = sum(claim.floor_bytes + 40 if claim.cap_bytes is None else claim.cap_bytes for claim in claims)
    return draw(st.integers(max(0, low - 2), max(low, high) + 2)), claims


def granted(reserve: int, claims: list[Claim], page: int = 1) -> dict[str, int] | None:
    """Grants by name, None where infeasible."""
    division = divide(reserve, claims, page)
    return {grant.name: grant.grant_bytes for grant in division.grants} if division.feasible else None


@pytest.mark.parametrize("sample", [512, 5])
@MANY
@given(case=cases(most=24))
@example(case=(10, [Claim("a", BIG, BIG // 4, None), Claim("b", BIG - 1, 0, None)]))
def test_equals_the_slow_reference(sample: int, case: tuple[int, list[Claim]]) -> None:
    """The fast division gives to the page what the definition gives when computed with fractions."""
    reserve, claims = case
    expected = reference(reserve, [(claim.weight, claim.floor_bytes, claim.cap_bytes) for claim in claims])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MODULE, "_SAMPLE", sample)
        grants = granted(reserve, claims)
    assert (None if grants is None else list(grants.values())) == expected


def many_claims(seed: int, kind: str) -> tuple[int, list[Claim]]:
    """30 to 90 claims and a reserve between floors and caps: more than Hypothesis draws one by one."""
    pick = random.Random(seed)
    base_weight, base_floor = pick.randrange(2**51, 2**52), pick.randrange(2**40, 2**46)
    claims = []
    for i in range(pick.randrange(30, 90)):
        if kind == "near":
            weight, floor, extra = base_weight + pick.randrange(3), base_floor + pick.randrange(3), pick.randrange(4)
        elif kind == "few":
            weight, floor, extra = pick.choice([1, 2, 4]), pick.choice([0, 8]), pick.choice([0, 4, 16])
        else:
            weight, floor, extra = pick.randrange(1, 2**40), pick.randrange(2**40), pick.randrange(2**40)
        claims.append(Claim(f"g{i}", weight, floor, floor + extra if pick.random() < 0.8 else None))
    low = sum(claim.floor_bytes for claim in claims)
    high = sum(claim.floor_bytes + 20 if claim.cap_bytes is None else claim.cap_bytes for claim in claims)
    return pick.randrange(low, max(low, high) + 2), claims


@pytest.mark.parametrize("sample", [16, 33, 64])
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), kind=st.sampled_from(["near", "few", "mixed", "mixed"]))
def test_the_bracketed_search_equals_the_slow_reference(sample: int, seed: int, kind: str) -> None:
    """With many guests, where whole groups of hinges are decided at once, it is the same division."""
    reserve, claims = many_claims(seed, kind)
    expected = reference(reserve, [(claim.weight, claim.floor_bytes, claim.cap_bytes) for claim in claims])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MODULE, "_SAMPLE", sample)
        grants = granted(reserve, claims)
    assert grants is not None
    assert list(grants.values()) == expected


def hair(seed: int) -> tuple[int, list[Claim], int]:
    """Claims whose hinges lie within a few floats of each other, a reserve in between, and a sample size."""
    pick = random.Random(seed)
    count = pick.randrange(2, 7) if pick.random() < 0.5 else pick.randrange(20, 45)
    bits = pick.randrange(30, 48)
    base_weight, base_floor = pick.randrange(2**51, 2**53 - 9), pick.randrange(2 ** (bits - 1), 2**bits)
    claims = []
    for i in range(count):
        weight, floor = base_weight + pick.randrange(6), base_floor + pick.randrange(4)
        if pick.random() < 0.2:
            weight, floor = weight // 2, floor // 2
        claims.append(Claim(f"g{i}", weight, floor, floor + pick.randrange(4) if pick.random() < 0.8 else None))
    reserve = sum(claim.floor_bytes for claim in claims) + pick.randrange(1, 3 * count)
    return reserve, claims, pick.choice([3, 16, 40])


HARD = (3151, 5337, 6052, 52236)
"""Seeds at which a search that checks less than it must gives a wrong page (found by leaving each check out once)."""


@pytest.mark.parametrize("seed", [*HARD, *range(60)])
def test_hinges_a_hair_apart_divide_exactly(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where floats can't tell hinges apart the result is still the reference's, to the page."""
    reserve, claims, sample = hair(seed)
    monkeypatch.setattr(MODULE, "_SAMPLE", sample)
    grants = granted(reserve, claims)
    assert grants is not None
    assert list(grants.values()) == reference(
        reserve, [(claim.weight, claim.floor_bytes, claim.cap_bytes) for claim in claims]
    )


@MANY
@given(case=cases(), page=st.sampled_from([1, 7, 4096]))
def test_is_fair_by_its_certificate(case: tuple[int, list[Claim]], page: int) -> None:
    """Bounds hold, the sum fits, at most n - 1 pages are left, nobody has less by weight than it should."""
    reserve, claims = case
    assume(all(c.cap_bytes is None or c.cap_bytes // page >= -(-c.floor_bytes // page) for c in claims))
    division = divide(reserve, claims, page)
    if division.feasible:
        shares = [Share(c.name, c.weight, c.floor_bytes, c.cap_bytes) for c in claims]
        assert fair(reserve, shares, division.grants, page) == ()
        assert division.unused_bytes == reserve - sum(grant.grant_bytes for grant in division.grants)
    else:
        floors = sum(-(-claim.floor_bytes // page) for claim in claims)
        assert (division.grants, division.short_bytes) == ((), (floors - reserve // page) * page)


@MANY
@given(case=cases(), data=st.data())
def test_the_order_of_the_claims_changes_nothing(case: tuple[int, list[Claim]], data: st.DataObject) -> None:
    """The same guests in any order get the same grants."""
    reserve, claims = case
    assert granted(reserve, data.draw(st.permutations(claims))) == granted(reserve, claims)


@MANY
@given(case=cases(), more=st.integers(1, 50))
def test_a_larger_reserve_takes_from_nobody(case: tuple[int, list[Claim]], more: int) -> None:
    """With more to share nobody gets less."""
    reserve, claims = case
    before, after = granted(reserve, claims), granted(reserve + more, claims)
    assume(before is not None)
    assert after is not None
    assert all(after[name] >= grant for name, grant in before.items())


@MANY
@given(case=cases(), which=st.integers(0, 11))
def test_a_departure_takes_from_nobody(case: tuple[int, list[Claim]], which: int) -> None:
    """When a guest stops, no other gets less."""
    reserve, claims = case
    before = granted(reserve, claims)
    assume(before is not None and claims)
    gone = claims[which % len(claims)]
    after = granted(reserve, [claim for claim in claims if claim is not gone])
    assert after is not None
    assert all(after[name] >= before[name] for name in after)


@MANY
@given(case=cases(), which=st.integers(0, 11), more=st.integers(1, 30), side=st.sampled_from(["floor", "cap"]))
def test_raising_ones_own_bound_helps_only_oneself(
    case: tuple[int, list[Claim]], which: int, more: int, side: str
) -> None:
    """Raising one's own floor or cap never lowers one's own grant nor raises another's."""
    reserve, claims = case
    before = granted(reserve, claims)
    assume(before is not None and claims)
    old = claims[which % len(claims)]
    assume(old.cap_bytes is not None or side == "floor")
    if side == "floor":
        cap = None if old.cap_bytes is None else max(old.cap_bytes, old.floor_bytes + more)
        new = Claim(old.name, old.weight, old.floor_bytes + more, cap)
    else:
        new = Claim(old.name, old.weight, old.floor_bytes, (old.cap_bytes or 0) + more)
    after = granted(reserve, [new if claim is old else claim for claim in claims])
    assume(after is not None)
    assert after[old.name] >= before[old.name]
    assert all(after[name] <= before[name] for name in after if name != old.name)


@MANY
@given(case=cases())
def test_dividing_what_was_granted_gives_it_again(case: tuple[int, list[Claim]]) -> None:
    """Shares of the sum of the shares are the shares: nothing drifts when it is done again."""
    reserve, claims = case
    before = granted(reserve, claims)
    assume(before is not None)
    again = [Claim(c.name, c.weight, c.floor_bytes, before[c.name]) for c in claims]
    assert granted(sum(before.values()), again) == before


def test_handing_out_the_last_pages_would_break_monotonicity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: with the largest remainder rounded up instead, a larger reserve takes from somebody."""
    real = MODULE._rounded_shares

    def largest_remainder(top: int, bottom: int, weights: list[int], *bounds: list[int]) -> list[int]:
        pages = real(top, bottom, weights, *bounds)
        left = top * sum(weights) // bottom - sum(pages)
        by_rest = sorted(range(len(pages)), key=lambda i: -(top * weights[i] % bottom))
        for i in by_rest[: max(0, left)]:
            pages[i] += 1
        return pages

    monkeypatch.setattr(MODULE, "_rounded_shares", largest_remainder)
    # The Alabama paradox: three states of 6, 6 and 2 share 10 seats as 4, 4, 2 and 11 as 5, 5, 1.
    claims = [Claim("a", 6, 0, None), Claim("b", 6, 0, None), Claim("c", 2, 0, None)]
    fewer, more = granted(10, claims), granted(11, claims)
    assert fewer is not None
    assert more is not None
    assert more["c"] < fewer["c"]


def test_the_exact_search_is_used_where_floats_hide_an_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hinges that are one float but two fractions are told apart by exact keys, and only such are searched twice."""
    asked: list[bool] = []
    real = MODULE._search

    def watched(rise: int, hinges: object, *, exact: bool) -> object:
        asked.append(exact)
        return real(rise, hinges, exact=exact)

    monkeypatch.setattr(MODULE, "_search", watched)
    floor, weight = 1059115788220051, 2269968752938269
    triples = [(weight, floor, floor + 2), (weight, floor + 1, floor + 2), (weight - 2, floor, floor + 2)]
    claims = [Claim(name, *triple) for name, triple in zip("abc", triples, strict=True)]
    assert list((granted(3 * floor + 2, claims) or {}).values()) == reference(3 * floor + 2, triples)
    assert asked == [False, True]
    asked.clear()
    assert granted(100, [Claim("a", 1, 10, None), Claim("b", 2, 10, 90)]) == {"a": 33, "b": 66}
    assert asked == [False]


def test_division_is_exported() -> None:
    """The public name is the function, whatever the module is called."""
    assert guestroom.decide.divide is divide
    assert isinstance(divide(0, []), Division)
