"""Guests as claims and grants as limits, with sizes that are no whole pages."""

from __future__ import annotations

import pytest

from guestroom.config import Sharing
from guestroom.decide import Budget, Claim
from guestroom.decide.claims import claim_of, claim_of_newcomer, divide_room, least_bytes, limit_bytes, need_bytes

from .samples import M, guest, newcomer, settings

PAGE = 4096
STATIC = settings(sharing=Sharing.STATIC)


def total(reserve: int = 100 * PAGE, headroom: int = 0) -> Budget:
    """A budget with only what a limit depends on."""
    return Budget(1000 * PAGE, reserve, headroom, 0, 0, 0, ())


def test_a_limit_rounds_ram_up_and_the_rest_down() -> None:
    """A part of a page of RAM is a page, of headroom or cap it is none."""
    assert limit_bytes(10 * PAGE + 1, 5 * PAGE, None, 0, total(headroom=2 * PAGE + 4095)) == (11 + 5 + 2) * PAGE
    assert limit_bytes(10 * PAGE, 5 * PAGE, 6 * PAGE + 4095, 0, total(headroom=9 * PAGE)) == 16 * PAGE


def test_a_limit_is_never_below_ram_and_floor() -> None:
    """A part of a page of floor is a page; neither the cap nor a small grant goes below it (P2)."""
    assert limit_bytes(10 * PAGE, 5 * PAGE, None, 7 * PAGE + 1, total()) == 18 * PAGE
    assert limit_bytes(10 * PAGE, 5 * PAGE, 6 * PAGE, 7 * PAGE, total(headroom=PAGE)) == 17 * PAGE


def test_a_cap_below_the_grant_does_not_cut_it() -> None:
    """What is granted is inside the wall, also when the cap was lowered since."""
    assert limit_bytes(10 * PAGE, 5 * PAGE, 3 * PAGE, 0, total(headroom=4 * PAGE)) == 15 * PAGE


def test_a_claim_is_floor_cap_and_weight() -> None:
    """A cap below what is used already is raised to it, in whole pages."""
    plain = claim_of(guest(cap_bytes=300 * M), settings(), 1e6, PAGE, lent=False)
    assert plain == Claim("A", 512 * M, 100 * M, 300 * M)
    over = claim_of(guest(cap_bytes=50 * M, use_bytes=100 * M + 1), settings(), 1e6, PAGE, lent=False)
    assert (over.floor_bytes, over.cap_bytes) == (100 * M + 1, 100 * M + PAGE)


@pytest.mark.parametrize(
    ("changes", "full", "lent"),
    [
        ({}, 100, 100),
        ({"use_bytes": 450 * M}, 450, 400),
        ({"held": True}, 400, 400),
        ({"held": True, "use_bytes": 450 * M}, 450, 400),
        ({"overhead_bytes": None}, 400, 400),
    ],
)
def test_the_least_a_guest_may_get(changes: dict, full: int, lent: int) -> None:
    """Its floor; its grant where it is held or unknown; lent, never more than its grant."""
    one = guest(**changes)
    assert least_bytes(one, settings(), 1e6, lent=False) == full * M
    assert least_bytes(one, settings(), 1e6, lent=True) == lent * M


@pytest.mark.parametrize(
    ("changes", "floor", "cap"),
    [
        ({"need_bytes": 400 * M}, 400, 400),
        ({"need_bytes": 200 * M}, 200, 200),
        ({"need_bytes": 500 * M}, 400, 500),
        ({"need_bytes": 500 * M, "cap_bytes": 450 * M}, 400, 450),
        ({"need_bytes": 200 * M, "cap_bytes": 900 * M}, 200, 200),
        ({"need_bytes": 200 * M, "use_bytes": 300 * M}, 300, 300),
    ],
)
def test_a_static_claim_is_the_need(changes: dict, floor: int, cap: int) -> None:
    """Nothing moves but a squeezed guest up to its need, and nobody goes below its floor."""
    claim = claim_of(guest(**changes), STATIC, 1e6, PAGE, lent=False)
    assert (claim.floor_bytes, claim.cap_bytes) == (floor * M, cap * M)


def test_a_newcomers_claim() -> None:
    """At least what it must get, at most its cap, or what it was squeezed to; static: exactly that."""
    one = newcomer(cap_bytes=300 * M)
    assert claim_of_newcomer(one, settings(), 200 * M, PAGE) == Claim("B", 512 * M, 200 * M, 300 * M)
    assert claim_of_newcomer(one, settings(), 100 * M, PAGE, cap_bytes=200 * M).cap_bytes == 200 * M
    assert claim_of_newcomer(one, STATIC, 200 * M, PAGE).cap_bytes == 200 * M


def test_the_need_of_a_newcomer_is_within_its_cap() -> None:
    """No cap, a larger and a smaller one."""
    assert need_bytes(newcomer()) == 200 * M
    assert need_bytes(newcomer(cap_bytes=300 * M)) == 200 * M
    assert need_bytes(newcomer(cap_bytes=150 * M)) == 150 * M


def test_lent_floors_are_for_when_the_full_ones_do_not_fit() -> None:
    """The first division that fits is taken; if neither does the answer is the second's shortfall."""
    full, lent = [Claim("A", 1, 90 * PAGE, None)], [Claim("A", 1, 50 * PAGE, 60 * PAGE)]
    assert divide_room(total(), full, lent).grants[0].grant_bytes == 100 * PAGE
    assert divide_room(total(reserve=80 * PAGE), full, lent).grants[0].grant_bytes == 60 * PAGE
    assert divide_room(total(reserve=40 * PAGE), full, lent).short_bytes == 10 * PAGE
