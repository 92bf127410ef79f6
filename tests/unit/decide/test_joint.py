"""What is due for an adopted guest: RAM 512 MiB, limit 912 (grant 400), margin 32; host of 4 GiB."""

from __future__ import annotations

from dataclasses import replace

import pytest

from guestroom.actions import Hold, LetGo, SetLimit, SetWall
from guestroom.config import Percent, Rest
from guestroom.decide import budget
from guestroom.decide.floor import JOINT_MARGIN_BYTES
from guestroom.decide.joint import in_alarm, may_go, most_raise, raise_by, spare_bytes, take_back, tend
from guestroom.facts import Accounting, GuestFacts
from guestroom.units import UNLIMITED

from .samples import M, guest, host, settings

NOW = 1e6


def joint(use: int = 100 * M, **changes: object) -> GuestFacts:
    """An adopted guest."""
    return guest("J", accounting=Accounting.JOINT, use_bytes=use, **changes)


def due(one: GuestFacts, *others: GuestFacts, on: object = None, by: object = None):  # type: ignore[no-untyped-def]
    """What is due for it."""
    return tend(one, (one, *others), on or host(), by or settings(), NOW)


def test_the_alarm_is_one_margin_before_the_grant() -> None:
    """Up to grant - margin it is left alone, beyond it is in alarm; unknown overhead is no alarm."""
    assert JOINT_MARGIN_BYTES == 32 * M
    assert not in_alarm(joint(368 * M))
    assert in_alarm(joint(368 * M + 1))
    assert not in_alarm(joint(overhead_bytes=None))
    assert due(joint(368 * M)).actions == ()
    assert due(joint(overhead_bytes=None)).actions == ()


def test_it_is_raised_to_its_peak_and_two_margins() -> None:
    """A raise gives what its floor asks for at once, so that the next one is a margin away."""
    (action,) = due(joint(370 * M, overhead_peak_bytes=380 * M)).actions
    assert isinstance(action, SetLimit)
    assert (action.from_bytes, action.to_bytes) == (912 * M, (512 + 380 + 64) * M)
    assert (action.grant_from_bytes, action.grant_to_bytes) == (400 * M, 444 * M)
    assert action.floor_bytes == action.to_bytes


def test_it_is_not_raised_above_its_cap() -> None:
    """Where its cap allows no more, it is held instead."""
    (action,) = due(joint(370 * M, cap_bytes=400 * M)).actions
    assert isinstance(action, Hold)


def test_without_room_it_is_held_with_the_numbers() -> None:
    """Short in the budget: held before its limit, the room left below its limit and what is missing told."""
    found = due(joint(380 * M), on=host(total_bytes=912 * M + 800 * M + 4 * M))
    (action,) = found.actions
    assert isinstance(action, Hold)
    assert (action.headroom_left_bytes, action.guard_bytes, action.over_bytes) == (20 * M, 32 * M, 0)
    assert "44.0 MiB are missing" in action.reason
    assert found.short_bytes == 44 * M


def test_on_an_overcommitted_host_it_is_only_held() -> None:
    """P1: no raises, however little is asked for."""
    (action,) = due(joint(370 * M), on=host(total_bytes=1000 * M)).actions
    assert isinstance(action, Hold)
    assert "overcommitted" in action.reason


def test_a_part_of_the_raise_is_taken_and_it_is_held_for_the_rest() -> None:
    """What room there is is given; where that leaves no margin, the hold comes first."""
    found = due(joint(430 * M), on=host(total_bytes=912 * M + 800 * M + 40 * M))
    hold, raise_ = found.actions
    assert isinstance(hold, Hold)
    assert isinstance(raise_, SetLimit)
    assert raise_.to_bytes == 952 * M
    assert found.short_bytes == 54 * M


def test_a_held_guest_goes_on_when_two_margins_are_left() -> None:
    """Not at the edge of the next alarm: between one and two margins it stays held until it is raised."""
    assert may_go(joint(336 * M))
    assert not may_go(joint(336 * M + 1))
    (action,) = due(joint(336 * M, held=True)).actions
    assert isinstance(action, LetGo)
    raise_, go = due(joint(380 * M, held=True)).actions
    assert isinstance(raise_, SetLimit)
    assert isinstance(go, LetGo)
    assert due(joint(380 * M, held=True), on=host(total_bytes=1000 * M)).actions == ()
    (unknown,) = due(joint(overhead_bytes=None, held=True)).actions
    assert isinstance(unknown, LetGo)


def test_one_without_a_limit_is_left_alone() -> None:
    """Nothing bounds it, so nothing can be raised and nobody need be held."""
    assert due(joint(500 * M, limit_bytes=UNLIMITED)).actions == ()


def test_others_give_room_first() -> None:
    """With the reserve in percent the wall falls before the limit rises, so that no step is above the budget."""
    neighbour = guest("S", ram_bytes=256 * M, grant_bytes=300 * M, use_bytes=50 * M)
    by = settings(reserve=Percent(2500))
    one = joint(390 * M)
    machine = host(total_bytes=912 * M + 680 * M)
    # Budget 680: reserve 170, wall 256 + 170; it stands higher since before.
    wall = 256 * M + 424 * M
    found = due(one, neighbour, on=replace(machine, wall_limit_bytes=wall), by=by)
    kinds = [type(action) for action in found.actions]
    assert kinds[-1] is SetLimit
    assert SetWall in kinds
    falls = next(action for action in found.actions if isinstance(action, SetWall))
    assert found.actions.index(falls) < len(kinds) - 1
    assert falls.to_bytes + found.actions[-1].to_bytes <= machine.total_bytes


@pytest.mark.parametrize(
    ("reserve", "most"),
    [
        (800 * M, 4096 * M - 912 * M - 512 * M - 800 * M),
        (Rest.REST, 4096 * M - 912 * M - 512 * M - 104 * M),
        (Percent(2500), 4096 * M - 912 * M - -(-512 * M * 10_000 // 7_500)),
    ],
)
def test_the_most_a_limit_may_rise(reserve: object, most: int) -> None:
    """RAM, the reserve and in it the others' least grants must fit what is left of the budget."""
    one, neighbour = joint(390 * M), guest("S", use_bytes=104 * M)
    by = settings(reserve=reserve)
    total = budget(host(), (one, neighbour), by)
    assert most_raise(total, (one, neighbour), by, NOW) == most


def test_more_than_the_most_would_be_overcommitted() -> None:
    """The bound is exact to the byte for a reserve in bytes: one page more and the host is overcommitted."""
    one, neighbour, by = joint(390 * M), guest("S"), settings()
    most = most_raise(budget(host(), (one, neighbour), by), (one, neighbour), by, NOW)
    for more, over in ((0, 0), (4096, 4096)):
        raised = replace(one, limit_bytes=912 * M + most + more)
        assert budget(host(), (raised, neighbour), by).overcommitted_bytes == over


def test_a_raise_that_was_asked_for_keeps_the_floor() -> None:
    """``raise_by`` never says a floor above the limit it sets."""
    one = joint(390 * M)
    action = raise_by(one, 8 * M, "asked for", (one,), host(), settings(), NOW)[-1]
    assert isinstance(action, SetLimit)
    assert action.floor_bytes <= action.to_bytes == 920 * M


def test_only_room_that_was_given_is_taken_back() -> None:
    """Never below the limit it came with, nor below its floor and what it keeps; small change is not worth it."""
    by = settings(giveback_keep_bytes=32 * M)
    one = joint(100 * M)
    assert spare_bytes(one, by, NOW, 912 * M) == 0
    assert spare_bytes(one, by, NOW, 800 * M) == 112 * M
    assert spare_bytes(one, by, NOW, 512 * M) == 912 * M - (512 + 100 + 64 + 32) * M
    assert spare_bytes(one, by, NOW, 897 * M) == 0
    assert spare_bytes(replace(one, held=True), by, NOW, 512 * M) == 0
    assert spare_bytes(replace(one, overhead_bytes=None), by, NOW, 512 * M) == 0
    assert spare_bytes(replace(one, limit_bytes=UNLIMITED), by, NOW, 512 * M) == 0
    (action,) = take_back(one, by, NOW, 112 * M).actions
    assert isinstance(action, SetLimit)
    assert (action.from_bytes, action.to_bytes, action.floor_bytes) == (912 * M, 800 * M, (512 + 164) * M)
