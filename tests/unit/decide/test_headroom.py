"""Headroom and guard follow what is present."""

from __future__ import annotations

from guestroom.config import Sharing
from guestroom.decide import Burst, budget, guard_wanted, guarded, headroom_given, headroom_wanted
from guestroom.decide.headroom import HeadroomGiven, HeadroomWanted

from .samples import M, guest, host, settings


def test_the_headroom_is_the_largest_burst_described_or_seen() -> None:
    """At least 128 MiB, in steps of 16, and it says whose burst it is."""
    assert headroom_wanted([]) == HeadroomWanted(128 * M, "")
    assert headroom_wanted([Burst("A", 100 * M, 128 * M)]) == HeadroomWanted(128 * M, "")
    assert headroom_wanted([Burst("A", 512 * M), Burst("B", 16 * M, 300 * M)]) == HeadroomWanted(512 * M, "A")
    assert headroom_wanted([Burst("A", 16 * M), Burst("B", 16 * M, 300 * M)]) == HeadroomWanted(304 * M, "B")


def test_a_headroom_falls_only_when_it_is_worth_it() -> None:
    """Within three quarters of what is there it stays; a rise comes at once."""
    assert headroom_wanted([Burst("A", 240 * M)], present_bytes=320 * M).headroom_bytes == 320 * M
    assert headroom_wanted([Burst("A", 224 * M)], present_bytes=320 * M).headroom_bytes == 224 * M
    assert headroom_wanted([Burst("A", 400 * M)], present_bytes=320 * M).headroom_bytes == 400 * M


def test_the_guard_is_what_the_fastest_takes_before_the_alarm_is_answered() -> None:
    """At least 64 MiB, which is also all that is known before anything was measured."""
    assert guard_wanted(None, 0.1) == guard_wanted(1e9, None) == guard_wanted(1e9, 0.01) == 64 * M
    assert guard_wanted(1024.0 * M, 0.1) == 107374182


def test_a_measured_guard_is_at_most_half_of_the_headroom_and_never_over_what_is_set() -> None:
    """More would hold guests before they had the burst the headroom is for; what the operator set stays."""
    chosen = settings(headroom_bytes=200 * M)
    total = budget(host(), [], chosen)
    assert guarded(total, chosen, None, None).guard_bytes == 64 * M
    assert guarded(total, chosen, 1024.0 * M, 0.09).guard_bytes == round(1024 * M * 0.09)
    assert guarded(total, chosen, 1024.0 * M, 0.5).guard_bytes == 100 * M
    fixed = settings(headroom_bytes=200 * M, guard_bytes=10 * M)
    assert guarded(budget(host(), [], fixed), fixed, 1024.0 * M, 0.5).guard_bytes == 10 * M


def test_a_measured_guard_falls_only_when_it_is_worth_it() -> None:
    """Within three quarters of the one there is it stays, a rise comes at once."""
    chosen = settings(headroom_bytes=400 * M)
    total = budget(host(), [], chosen)
    assert guarded(total, chosen, 1024.0 * M, 0.1, 120 * M).guard_bytes == 120 * M
    assert guarded(total, chosen, 1024.0 * M, 0.0625, 120 * M).guard_bytes == 64 * M
    assert guarded(total, chosen, 1024.0 * M, 0.125, 120 * M).guard_bytes == 128 * M
    assert guarded(total, chosen, 1024.0 * M, 0.19, 250 * M).guard_bytes == 200 * M, "at most half, always"


def test_a_larger_headroom_is_made_of_unused_grants_only() -> None:
    """800 of reserve, 300 and 200 in use: 300 can be given in whole steps of 16, the rest is refused by number."""
    present = [guest("A", use_bytes=300 * M), guest("B", use_bytes=200 * M)]
    chosen = settings(headroom_bytes=None)
    total = budget(host(), present, chosen)
    assert headroom_given(256 * M, 128 * M, present, total, chosen, 1e6) == HeadroomGiven(256 * M, 0)
    assert headroom_given(512 * M, 128 * M, present, total, chosen, 1e6) == HeadroomGiven(288 * M, 224 * M)
    assert headroom_given(512 * M, 400 * M, present, total, chosen, 1e6) == HeadroomGiven(400 * M, 112 * M)
    assert headroom_given(128 * M, 400 * M, present, total, chosen, 1e6) == HeadroomGiven(128 * M, 0)


def test_what_a_guest_must_keep_is_not_made_headroom() -> None:
    """P6 and what the operator fixed: unknown use keeps the grant, static sharing the need."""
    unknown = [guest("A", grant_bytes=600 * M, overhead_bytes=None, overhead_peak_bytes=None)]
    chosen = settings(headroom_bytes=None)
    total = budget(host(), unknown, chosen)
    assert headroom_given(512 * M, 128 * M, unknown, total, chosen, 1e6).headroom_bytes == 192 * M
    static = settings(headroom_bytes=None, sharing=Sharing.STATIC)
    needy = [guest("A", need_bytes=400 * M, use_bytes=10 * M)]
    assert headroom_given(512 * M, 128 * M, needy, total, static, 1e6).headroom_bytes == 400 * M
