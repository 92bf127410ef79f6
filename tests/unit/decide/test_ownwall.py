"""Where a guest with a hard cap is held for it."""

from __future__ import annotations

from guestroom.decide import hold_at_bytes

from .samples import M


def test_a_cap_beyond_grant_and_headroom_binds_nothing() -> None:
    """Neither does none: there the headroom's guard comes first. Without a headroom the grant is the wall."""
    assert hold_at_bytes(None, 100 * M, 128 * M) is None
    assert hold_at_bytes(228 * M, 100 * M, 128 * M) is None
    assert hold_at_bytes(100 * M, 100 * M, 0) is None
    assert hold_at_bytes(227 * M, 100 * M, 128 * M) == 211 * M


def test_its_own_guard_is_what_it_takes_before_an_alarm_is_answered() -> None:
    """At least 16 MiB, more by its own measured growth, at most an eighth of the cap."""
    assert hold_at_bytes(600 * M, 600 * M, 128 * M) == 584 * M
    assert hold_at_bytes(600 * M, 600 * M, 128 * M, speed_bytes_per_s=4096.0 * M, reaction_s=None) == 584 * M
    assert hold_at_bytes(600 * M, 600 * M, 128 * M, speed_bytes_per_s=4096.0 * M, reaction_s=0.01) == 600 * M - 42949673
    assert hold_at_bytes(600 * M, 600 * M, 128 * M, speed_bytes_per_s=4096.0 * M, reaction_s=1.0) == 525 * M
    assert hold_at_bytes(96 * M, 96 * M, 128 * M) == 84 * M
