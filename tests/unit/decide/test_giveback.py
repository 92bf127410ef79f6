"""Room that is not used goes back in steps, and nothing flutters."""

from __future__ import annotations

from typing import Any

import pytest

from guestroom.config import Percent, Sharing
from guestroom.decide import GivingBack, budget, give_back
from guestroom.facts import GuestFacts, GuestState

from .samples import M, guest, host, settings

NOW = 1e6


def back(guests: list[GuestFacts], since: dict[str, float] | None = None, now: float = NOW, **to: Any) -> GivingBack:
    """What is decided when A has had room to spare for long enough, unless ``since`` says otherwise."""
    chosen = settings(**to)
    total = budget(host(), guests, chosen)
    return give_back(guests, total, chosen, now, {"A": NOW - 60} if since is None else since)


def told(found: GivingBack) -> list[tuple[str, int]]:
    """Each step's guest and new grant in MiB."""
    return [(action.name, action.grant_to_bytes // M) for action in found.actions]  # type: ignore[union-attr]


GROWN = [guest("A", grant_bytes=600 * M), guest("B", grant_bytes=200 * M, use_bytes=190 * M)]
"""A was given room above its share of 400 and uses 100 now."""


def test_a_quarter_goes_back_at_a_time_and_to_the_one_below_its_share() -> None:
    """150 of 600 MiB: A's share is 400, so two steps; B gets what A gave."""
    found = back(GROWN)
    assert told(found) == [("A", 450), ("B", 350)]
    (spare,) = found.spare
    assert (spare.keep_bytes, spare.share_bytes, spare.to_bytes) == (132 * M, 400 * M, 450 * M)
    assert (found.given_bytes, found.since_s) == (150 * M, {"A": NOW})
    assert "at most 100.0 MiB were used in the last 600 s" in found.actions[0].reason


def test_nothing_goes_back_before_its_time() -> None:
    """First seen it only starts the clock; one second early nothing, then a step, and the clock starts anew."""
    first = back(GROWN, {})
    assert (first.actions, first.since_s, first.given_bytes) == ((), {"A": NOW}, 0)
    assert back(GROWN, {"A": NOW - 59}).actions == ()
    assert back(GROWN, {"A": NOW}, NOW + 60).since_s == {"A": NOW + 60}


def test_a_clock_from_the_future_starts_now() -> None:
    """A restart gives the monotonic clock another beginning; it must not stop giving back for ever."""
    assert back(GROWN, {"A": NOW + 1000}).since_s == {"A": NOW}


def test_use_that_comes_back_resets_the_clock() -> None:
    """With nothing to spare at one look the time begins again."""
    busy = [guest("A", grant_bytes=600 * M, use_bytes=580 * M), GROWN[1]]
    assert back(busy).since_s == {}


def test_it_never_goes_below_its_floor_and_what_its_load_may_swing_by() -> None:
    """A's peak is 500: it keeps 532 although its share is 400."""
    found = back([guest("A", grant_bytes=600 * M, overhead_peak_bytes=500 * M), GROWN[1]])
    assert told(found) == [("A", 532), ("B", 268)]
    within = back([guest("A", grant_bytes=600 * M, overhead_peak_bytes=568 * M), GROWN[1]])
    assert (within.actions, within.spare) == ((), ())


def test_the_last_step_goes_all_the_way() -> None:
    """A step that would leave less than is worth a write takes it along."""
    assert told(back(GROWN, giveback_step=Percent(3200)))[0] == ("A", 408)
    assert told(back(GROWN, giveback_step=Percent(3300)))[0] == ("A", 400)


def test_a_small_grant_gives_16_mib_at_least() -> None:
    """A percentage of little would take for ever."""
    guests = [guest("A", grant_bytes=100 * M, use_bytes=10 * M), guest("B", grant_bytes=5 * M, use_bytes=1 * M)]
    assert told(back(guests, reserve=105 * M, giveback_step=Percent(100))) == [("A", 84), ("B", 21)]


def test_who_borrows_is_refilled_before_others_get_their_share() -> None:
    """B has 20 MiB from the headroom, C only less than its share: of 50 MiB that come back B gets its 20 first."""
    guests = [guest("A", grant_bytes=400 * M, use_bytes=10 * M)]
    guests += [guest("B", ram_bytes=1 * M, grant_bytes=200 * M, use_bytes=220 * M), guest("C", grant_bytes=200 * M)]
    found = back(guests, giveback_step=Percent(1250))
    assert told(found) == [("A", 350), ("B", 220), ("C", 230)]


@pytest.mark.parametrize(
    "state",
    [
        {"overhead_bytes": None},
        {"overhead_peak_bytes": None},
        {"held": True},
        {"state": GuestState.STARTING},
        {"started_s": NOW - 100},
    ],
    ids=str,
)
def test_nobody_gives_who_is_unknown_held_unsettled_or_not_running(state: dict[str, Any]) -> None:
    """P6 and P2: what it needs is not known, or not yet."""
    found = back([guest("A", grant_bytes=600 * M, **state), GROWN[1]], settle_s=120.0)
    assert (found.actions, found.spare) == ((), ())


def test_under_static_sharing_what_is_above_the_need_goes_back_to_nobody() -> None:
    """A grown grant falls to the need; the room is free for the next that grows."""
    guests = [guest("A", grant_bytes=300 * M, need_bytes=250 * M), guest("B", grant_bytes=200 * M)]
    assert told(back(guests, sharing=Sharing.STATIC)) == [("A", 250)]
    assert back([guest("A", grant_bytes=250 * M, need_bytes=250 * M)], sharing=Sharing.STATIC).spare == ()


def test_equal_shares_are_at_rest() -> None:
    """Under reserve sharing everything is always divided: unused room is no reason to move."""
    assert back([guest("A"), guest("B")]).spare == ()


def test_on_an_overcommitted_host_room_goes_back_and_nobody_is_raised() -> None:
    """P1: promised RAM over the budget."""
    big = [guest("A", ram_bytes=2000 * M, grant_bytes=600 * M), guest("B", ram_bytes=2000 * M, grant_bytes=200 * M)]
    assert told(back(big)) == [("A", 450)]


def test_free_room_goes_to_those_below_their_share() -> None:
    """Room that a failed division left over is handed out without a giver."""
    assert told(back([guest("A", grant_bytes=300 * M), guest("B", grant_bytes=300 * M)])) == [("A", 400), ("B", 400)]
