"""The least safe grant (P2, P6)."""

from __future__ import annotations

import pytest

from guestroom.decide import floor_bytes, lent_floor_bytes
from guestroom.decide.floor import JOINT_MARGIN_BYTES, unsettled_s
from guestroom.facts import Accounting, GuestState

from .samples import M, guest, settings

SETTLING = settings(settle_s=120.0)


def test_the_floor_is_the_larger_of_use_and_peak() -> None:
    """What it uses now and what it used within the window both count."""
    assert floor_bytes(guest(overhead_bytes=90 * M, overhead_peak_bytes=150 * M), settings(), 1e6) == 150 * M
    assert floor_bytes(guest(overhead_bytes=160 * M, overhead_peak_bytes=150 * M), settings(), 1e6) == 160 * M


@pytest.mark.parametrize("unknown", [{"overhead_bytes": None}, {"overhead_peak_bytes": None}])
def test_unknown_use_or_peak_is_an_unknown_floor(unknown: dict[str, None]) -> None:
    """Unknown is not zero: neither half of the floor may be missing."""
    assert floor_bytes(guest(**unknown), settings(), 1e6) is None
    assert lent_floor_bytes(guest(**unknown), settings(), 1e6) is None


def test_until_settled_the_need_counts() -> None:
    """Up to ``settle_s`` after the start the floor is at least the need, from that second on it is not."""
    fresh = guest(started_s=1000.0, need_bytes=300 * M, use_bytes=50 * M)
    assert floor_bytes(fresh, SETTLING, 1000.0) == 300 * M
    assert floor_bytes(fresh, SETTLING, 1119.9) == 300 * M
    assert floor_bytes(fresh, SETTLING, 1120.0) == 50 * M


def test_an_unsettled_guest_that_uses_more_than_its_need_keeps_its_use() -> None:
    """The need raises the floor, it never lowers it."""
    fresh = guest(started_s=1000.0, need_bytes=300 * M, use_bytes=350 * M)
    assert floor_bytes(fresh, SETTLING, 1001.0) == 350 * M


def test_a_squeezed_guest_keeps_what_it_was_admitted_with() -> None:
    """Its need was never granted, so until settled its floor is the grant it started with."""
    squeezed = guest(
        started_s=1000.0, need_bytes=400 * M, admitted_grant_bytes=300 * M, use_bytes=10 * M, squeezed=True
    )
    assert floor_bytes(squeezed, SETTLING, 1001.0) == 300 * M


def test_a_need_above_the_cap_counts_as_the_cap() -> None:
    """What a guest may never use is not kept for it."""
    fresh = guest(started_s=1000.0, need_bytes=400 * M, cap_bytes=350 * M, use_bytes=10 * M)
    assert floor_bytes(fresh, SETTLING, 1001.0) == 350 * M


def test_a_guest_that_has_not_run_yet_keeps_what_it_was_admitted_with() -> None:
    """Its use can't be read while it is prepared; without a bound the first of many starts would block the rest."""
    starting = guest(state=GuestState.STARTING, overhead_bytes=None, overhead_peak_bytes=None, need_bytes=300 * M)
    assert floor_bytes(starting, settings(), 1e6) == 300 * M
    small = guest(state=GuestState.STARTING, overhead_bytes=None, overhead_peak_bytes=None, need_bytes=10 * M)
    assert floor_bytes(small, settings(), 1e6) == 64 * M
    assert unsettled_s(starting, settings(), 1e6) > 0


def test_a_joint_guest_keeps_two_margins_more() -> None:
    """It is seen only at sweeps, so it may have grown since and may grow until the next."""
    joint = guest(accounting=Accounting.JOINT, use_bytes=100 * M)
    assert floor_bytes(joint, settings(), 1e6) == 100 * M + 2 * JOINT_MARGIN_BYTES


def test_what_is_borrowed_from_the_headroom_is_not_part_of_the_lent_floor() -> None:
    """The lent floor is never more than the grant, the floor is."""
    borrowing = guest(grant_bytes=200 * M, use_bytes=260 * M)
    assert floor_bytes(borrowing, settings(), 1e6) == 260 * M
    assert lent_floor_bytes(borrowing, settings(), 1e6) == 200 * M
    assert lent_floor_bytes(guest(), settings(), 1e6) == 100 * M
