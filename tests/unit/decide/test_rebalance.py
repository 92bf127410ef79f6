"""Grants become ordered steps (P1, P2, P3)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from guestroom.actions import Grant, MakeGuest, SetLimit, SetWall, StartGuest, StopGuest
from guestroom.config import Sharing
from guestroom.decide import admit, budget, divide_again, grow, plan, steps
from guestroom.facts import Accounting
from guestroom.units import UNLIMITED

from .samples import M, guest, host, newcomer, settings


def again(guests: list, chosen: object = None, **host_changes: object) -> tuple:
    """Grants after a change, in MiB."""
    chosen = chosen or settings()
    total = budget(host(**host_changes), guests, chosen)  # type: ignore[arg-type]
    return tuple((g.name, g.grant_bytes // M) for g in divide_again(guests, total, chosen, 1e6))  # type: ignore[arg-type]


def kinds(actions: tuple) -> list[str]:
    """What each step is about."""
    return [f"{type(a).__name__} {getattr(a, 'name', '')}".strip() for a in actions]


def test_after_a_stop_the_others_share_what_came_back() -> None:
    """By weight, up to their caps."""
    assert again([guest("A"), guest("B", cap_bytes=300 * M)]) == (("A", 500), ("B", 300))


def test_a_squeezed_guest_grows_when_room_comes_back() -> None:
    """The squeezed one gets its share of the whole reserve again."""
    assert again([guest("B", grant_bytes=300 * M, squeezed=True)]) == (("B", 800),)


def test_static_sharing_grows_a_squeezed_guest_to_its_need_and_moves_nobody_else() -> None:
    """Nothing moves, except that who got less than its need gets it when it can."""
    static = settings(sharing=Sharing.STATIC)
    squeezed = guest("B", grant_bytes=300 * M, need_bytes=350 * M)
    assert again([guest("A", need_bytes=400 * M), squeezed], static) == (("A", 400), ("B", 350))


def test_where_the_floors_do_not_fit_nobody_is_raised() -> None:
    """A reserve made smaller than the floors: everybody goes to its floor, and not above what it has."""
    guests = [guest("A", use_bytes=300 * M), guest("B", grant_bytes=200 * M, use_bytes=250 * M)]
    assert again(guests, settings(reserve=400 * M)) == (("A", 300), ("B", 200))


def test_on_an_overcommitted_host_nobody_is_raised() -> None:
    """Promised RAM over the budget: shares may fall, none rises."""
    guests = [guest("A", ram_bytes=3500 * M, grant_bytes=300 * M), guest("B", ram_bytes=1 * M, grant_bytes=500 * M)]
    shares = dict(again(guests))
    assert (shares["A"], shares["B"] <= 500) == (300, True)


def test_the_order_is_shrink_wall_grow_make_start() -> None:
    """What gives room comes first, the start last."""
    present = [guest("A", grant_bytes=700 * M), guest("C", grant_bytes=50 * M, use_bytes=20 * M)]
    one = newcomer()
    chosen = settings()
    verdict = admit(one, present, host(), chosen, 1e6)
    total = budget(host(wall_limit_bytes=1824 * M), present, chosen, newcomer=one)
    actions = steps(verdict.grants, present, total, chosen, newcomer=one, verdict=verdict, now_s=1e6)
    assert kinds(actions) == ["SetLimit A", "SetWall", "SetLimit C", "MakeGuest B", "StartGuest B"]
    shrink, wall, grow, make, start = actions
    assert (shrink.grant_from_bytes, shrink.grant_to_bytes < 700 * M) == (700 * M, True)
    assert (wall.from_bytes, wall.to_bytes) == (1824 * M, (3 * 512 + 800) * M)
    assert grow.grant_to_bytes > 50 * M
    assert (make.grant_bytes, make.limit_bytes) == (start.grant_bytes, start.limit_bytes)


def test_a_victim_stops_after_the_shrinks_and_before_the_wall() -> None:
    """Its own limit is not written: it comes back under its new grant."""
    one = newcomer(on_short="recreate", need_bytes=400 * M)
    present = [
        guest("A", grant_bytes=600 * M, use_bytes=500 * M, need_bytes=300 * M, recreatable=True),
        guest("C", grant_bytes=150 * M, use_bytes=50 * M),
    ]
    actions = plan(one, present, host(), settings(), 1e6).actions
    assert kinds(actions) == ["SetLimit C", "StopGuest A", "SetWall", "MakeGuest B", "StartGuest B"]
    assert next(a for a in actions if isinstance(a, StopGuest)).grant_bytes < 500 * M


def test_a_falling_wall_comes_before_the_raises() -> None:
    """After a stop the wall gives back the RAM, then the others grow."""
    present = [guest("A")]
    total = budget(host(wall_limit_bytes=1824 * M), present, settings())
    actions = steps(divide_again(present, total, settings(), 1e6), present, total, settings(), now_s=1e6)
    assert kinds(actions) == ["SetWall", "SetLimit A"]


def test_the_limit_is_ram_and_grant_and_headroom_within_the_cap() -> None:
    """Each guest's wall overlaps the others' by the headroom, but never passes its cap."""
    chosen = settings(headroom_bytes=200 * M)
    present = [guest("A", limit_bytes=1), guest("B", limit_bytes=1, cap_bytes=350 * M)]
    total = budget(host(), present, chosen)
    limits = {
        a.name: a.to_bytes
        for a in steps(
            [Grant("A", 300 * M, None), Grant("B", 300 * M, None)],  # type: ignore[arg-type]
            present,
            total,
            chosen,
            now_s=1e6,
        )
        if isinstance(a, SetLimit)
    }
    assert limits == {"A": (512 + 500) * M, "B": (512 + 350) * M}


@pytest.mark.parametrize(("change", "written"), [(1 * M - 4096, False), (1 * M, True), (-1 * M + 4096, False)])
def test_small_changes_are_left_out(change: int, written: bool) -> None:
    """Below 1 MiB no write, from 1 MiB on one (the grant is 50 MiB, so 1 % is less)."""
    present = [guest(grant_bytes=50 * M, use_bytes=10 * M, limit_bytes=562 * M)]
    total = budget(host(wall_limit_bytes=1312 * M), present, settings())
    actions = steps([Grant("A", 50 * M + change, None)], present, total, settings(), now_s=1e6)  # type: ignore[arg-type]
    assert bool(actions) is written


def test_a_change_under_a_hundredth_of_a_large_grant_is_left_out() -> None:
    """1 % of 700 MiB is 7 MiB: 6 are not worth a write, 7 are."""
    present = [guest(grant_bytes=700 * M, limit_bytes=1212 * M)]
    total = budget(host(wall_limit_bytes=1312 * M), present, settings())
    for change, count in ((6, 0), (7, 1)):
        grants = [Grant("A", (700 + change) * M, None)]  # type: ignore[arg-type]
        assert len(steps(grants, present, total, settings(), now_s=1e6)) == count


def test_a_small_shrink_that_anothers_room_depends_on_is_done() -> None:
    """Half a MiB of shrink is written when the newcomer could not have its grant otherwise."""
    present = [guest("A", grant_bytes=600 * M, use_bytes=0, need_bytes=0)]
    one = newcomer(need_bytes=200 * M + M // 2)
    capped = [replace(present[0], overhead_peak_bytes=600 * M - M // 2)]
    actions = plan(one, capped, host(), settings(), 1e6).actions
    assert kinds(actions)[0] == "SetLimit A"


def test_a_held_guest_keeps_grant_and_limit() -> None:
    """Standing still it could not answer a shrink."""
    held = guest("A", grant_bytes=700 * M, limit_bytes=1212 * M, held=True)
    total = budget(host(), [held, guest("B", grant_bytes=100 * M)], settings())
    grants = dict(again([held, guest("B", grant_bytes=100 * M)]))
    assert grants == {"A": 700, "B": 100}
    assert all(
        not isinstance(a, SetLimit) for a in steps([Grant("A", 700 * M, None)], [held], total, settings(), now_s=1e6)
    )  # type: ignore[arg-type]


def test_a_limit_is_never_below_ram_and_floor() -> None:
    """P2: what a guest uses above its grant stays inside its wall even when the headroom is taken away."""
    borrowing = guest("A", grant_bytes=400 * M, use_bytes=450 * M, limit_bytes=1012 * M)
    total = budget(host(), [borrowing], settings())
    (step, *_) = [
        a
        for a in steps([Grant("A", 400 * M, None)], [borrowing], total, settings(), now_s=1e6)  # type: ignore[arg-type]
        if isinstance(a, SetLimit)
    ]
    assert (step.to_bytes, step.floor_bytes) == ((512 + 450) * M, (512 + 450) * M)


@pytest.mark.parametrize("limit", [None, UNLIMITED])
def test_a_limit_that_is_none_or_unknown_is_set(limit: object) -> None:
    """A guest without a known limit gets one even where its grant does not change."""
    open_guest = guest("A", limit_bytes=limit)
    total = budget(host(), [open_guest], settings())
    steps_now = steps([Grant("A", 400 * M, None)], [open_guest], total, settings(), now_s=1e6)  # type: ignore[arg-type]
    assert [a.to_bytes for a in steps_now if isinstance(a, SetLimit)] == [912 * M]


def test_a_wall_that_is_right_is_not_written() -> None:
    """No step where nothing changes; ``wall_bytes`` goes before what the host facts said."""
    present = [guest(grant_bytes=800 * M, limit_bytes=1312 * M)]
    total = budget(host(), present, settings())
    grants = divide_again(present, total, settings(), 1e6)
    assert steps(grants, present, total, settings(), now_s=1e6, wall_bytes=1312 * M) == ()
    assert kinds(steps(grants, present, total, settings(), now_s=1e6)) == ["SetWall"]


def test_on_an_overcommitted_host_the_wall_is_not_raised() -> None:
    """The wall is never set above the budget by our own hand; where it is lower already it stays."""
    present = [guest(ram_bytes=3500 * M, grant_bytes=100 * M, use_bytes=100 * M)]
    total = budget(host(wall_limit_bytes=None), present, settings())
    (wall,) = (a for a in steps((), present, total, settings(), now_s=1e6) if isinstance(a, SetWall))
    assert wall.to_bytes == 4096 * M
    lower = steps((), present, total, settings(), now_s=1e6, wall_bytes=4000 * M)
    assert [a for a in lower if isinstance(a, SetWall)] == []


def test_adopted_guests_are_left_alone() -> None:
    """A guest outside the host wall has no part in the reserve and no step."""
    joint = guest("J", accounting=Accounting.JOINT, limit_bytes=700 * M)
    assert again([guest("A"), joint]) == (("A", 800),)


def test_a_refusal_has_no_steps() -> None:
    """Nothing is shrunk for a guest that does not start."""
    refused = plan(newcomer(need_bytes=900 * M), [guest()], host(), settings(), 1e6)
    assert refused.actions == ()
    assert not any(isinstance(a, MakeGuest | StartGuest) for a in refused.actions)


def test_of_small_shrinks_the_largest_are_done_and_no_more_than_needed() -> None:
    """Three guests could give a little; the newcomer lacks one page's worth more than the largest gives."""
    total = budget(host(wall_limit_bytes=None), [], settings(reserve=(300 * 3 + 50) * M))
    present = [guest(name, grant_bytes=300 * M, use_bytes=10 * M, limit_bytes=812 * M) for name in "ABC"]
    small = {"A": 300 * M - 8 * 4096, "B": 300 * M - 16 * 4096, "C": 300 * M - 4 * 4096}
    for lacks, shrunk in ((0, []), (1, ["B"]), (16, ["B"]), (17, ["A", "B"]), (25, ["A", "B", "C"])):
        grants = [Grant(name, size, None) for name, size in small.items()]  # type: ignore[arg-type]
        grants.append(Grant("N", 50 * M + lacks * 4096, None))  # type: ignore[arg-type]
        actions = steps(grants, present, total, settings(), now_s=1e6)
        assert [a.name for a in actions if isinstance(a, SetLimit)] == shrunk


def test_a_newcomer_needs_both_its_facts_and_its_verdict() -> None:
    """Without a verdict nothing is made, whatever the grants say."""
    actions = steps((), [guest()], budget(host(), [guest()], settings()), settings(), newcomer=newcomer(), now_s=1e6)
    assert kinds(actions) == ["SetWall"]


def test_a_held_guests_limit_does_not_fall_with_the_headroom() -> None:
    """Its wall was RAM + grant + 200 MiB of headroom; with none left it still is. So is an unseen guest's."""
    total = budget(host(), [guest()], settings(headroom_bytes=0))
    grants = [Grant("A", 400 * M, None)]  # type: ignore[arg-type]
    for changes in ({"held": True}, {"overhead_bytes": None}):
        one = guest("A", limit_bytes=1112 * M, **changes)
        assert not [a for a in steps(grants, [one], total, settings(), now_s=1e6) if isinstance(a, SetLimit)]
    (falls, *_) = steps(grants, [guest("A", limit_bytes=1112 * M)], total, settings(), now_s=1e6)
    assert isinstance(falls, SetLimit)
    assert falls.to_bytes == 912 * M


@pytest.mark.parametrize(
    ("limit_now", "written"),
    [(912 * M, False), (912 * M + 4 * M - 4096, False), (916 * M, True), (908 * M, True), (908 * M + 4096, False)],
)
def test_a_limit_off_by_the_dead_band_is_put_right(limit_now: int, written: bool) -> None:
    """With the grant unchanged (400 MiB, of which 1 % is 4) the limit is rewritten from 4 MiB on."""
    one = guest("A", limit_bytes=limit_now)
    total = budget(host(), [one], settings())
    actions = steps([Grant("A", 400 * M, None)], [one], total, settings(), now_s=1e6)  # type: ignore[arg-type]
    assert bool([a for a in actions if isinstance(a, SetLimit)]) is written


def test_a_limit_below_ram_and_floor_is_put_right_however_little_it_is() -> None:
    """P2 knows no dead-band; a limit at exactly RAM + floor is one."""
    use = 400 * M
    for limit_now, written in ((912 * M, False), (912 * M - 4096, True)):
        one = guest("A", use_bytes=use, limit_bytes=limit_now)
        total = budget(host(), [one], settings())
        actions = steps([Grant("A", 400 * M, None)], [one], total, settings(), now_s=1e6)  # type: ignore[arg-type]
        assert bool([a for a in actions if isinstance(a, SetLimit)]) is written


def test_sizes_that_are_no_whole_pages() -> None:
    """RAM and floor of a step round up."""
    one = guest("A", ram_bytes=512 * M + 1, use_bytes=100 * M + 1, limit_bytes=None)
    total = budget(host(), [one], settings())
    (step,) = (a for a in steps((), [one], total, settings(), now_s=1e6) if isinstance(a, SetLimit))
    assert step.floor_bytes == 612 * M + 2 * 4096
    short = settings(reserve=50 * M)
    assert divide_again([one], budget(host(), [one], short), short, 1e6)[0].grant_bytes == 100 * M + 4096


def test_an_overcommitted_wall_is_not_set_into_what_the_guests_must_keep() -> None:
    """P2 for the host wall: RAM in full and what is granted or used, the larger, of everybody."""
    present = [
        guest("A", ram_bytes=2000 * M + 1, grant_bytes=100 * M, use_bytes=150 * M),
        guest("B", ram_bytes=2000 * M, grant_bytes=200 * M, use_bytes=10 * M),
    ]
    total = budget(host(), present, settings())
    (wall,) = (a for a in steps((), present, total, settings(), now_s=1e6) if isinstance(a, SetWall))
    assert wall.to_bytes == 4350 * M + 4096


def test_the_reasons_say_what_happens() -> None:
    """Falling, rising, put right, stopped for whom."""
    total = budget(host(), [guest()], settings())
    for grant, words in ((300, "falls to 300.0 MiB"), (500, "rises to 500.0 MiB")):
        (step, *_) = (
            a
            for a in steps([Grant("A", grant * M, None)], [guest()], total, settings(), now_s=1e6)  # type: ignore[arg-type]
            if isinstance(a, SetLimit)
        )
        assert words in step.reason
    present = [guest("A", grant_bytes=600 * M, use_bytes=500 * M, need_bytes=300 * M, recreatable=True)]
    one = newcomer(on_short="recreate", need_bytes=400 * M)
    (stop,) = (a for a in plan(one, present, host(), settings(), 1e6).actions if isinstance(a, StopGuest))
    assert "so that guest B has room" in stop.reason


def test_a_guest_bound_by_its_floor_keeps_clear_of_it_where_there_is_room() -> None:
    """4 MiB above its use it does not count as growing at the next look, and its neighbour needs nothing of it."""
    present = [guest("A", weight=1, grant_bytes=200 * M, use_bytes=300 * M), guest("B", weight=9, use_bytes=50 * M)]
    chosen = settings(headroom_bytes=100 * M)
    grants = again(present, chosen)
    assert grants == (("A", 304), ("B", 396))
    after = [replace(one, grant_bytes=grant * M) for one, (_, grant) in zip(present, grants, strict=True)]
    assert grow(after, budget(host(), after, chosen), chosen, 1e6).message == "nobody grows"


def test_without_room_for_it_nobody_is_kept_clear_of_its_floor() -> None:
    """Floors come first: where they fill the room exactly each gets exactly that; without a headroom too."""
    full = [guest("A", use_bytes=350 * M), guest("B", use_bytes=350 * M)]
    assert again(full, settings(headroom_bytes=100 * M)) == (("A", 350), ("B", 350))
    uneven = [guest("A", weight=1, use_bytes=350 * M), guest("B", weight=9, use_bytes=0)]
    assert again(uneven) == (("A", 350), ("B", 450))
    assert again([replace(uneven[0], cap_bytes=352 * M), uneven[1]], settings(headroom_bytes=M * 8))[0] == ("A", 352)
