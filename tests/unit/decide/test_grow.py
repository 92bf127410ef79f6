"""A guest that grows gets room before its wall (P5): from whom, how much, and in which order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from guestroom.actions import SetLimit
from guestroom.config import Sharing
from guestroom.decide import Growth, budget, grow, still_good
from guestroom.facts import Accounting, GuestFacts, GuestState
from guestroom.units import UNLIMITED

from .samples import M, guest, host, settings

NOW = 1e6


def growth(
    guests: list[GuestFacts], *, grown: dict[str, int] | None = None, wall: int | None = None, **to: Any
) -> Growth:
    """What is decided for ``guests``, all above the seed's reserve unless ``to`` says otherwise."""
    chosen = settings(**to)
    total = budget(host(wall_limit_bytes=wall), guests, chosen)
    return grow(guests, total, chosen, NOW, grown=grown or {})


def told(actions: tuple) -> list[tuple[str, int]]:
    """Each step's guest and new grant in MiB."""
    return [(action.name, action.grant_to_bytes // M) for action in actions]


def test_room_nobody_has_is_given_at_once() -> None:
    """300 of 800 MiB are free: the guest gets its use and 16 MiB, nobody else moves."""
    found = growth([guest("A", use_bytes=440 * M), guest("B", grant_bytes=100 * M, use_bytes=50 * M)])
    assert (told(found.now), found.then, found.giving) == ([("A", 456)], (), ())
    (step,) = found.now
    assert isinstance(step, SetLimit)
    assert (step.from_bytes, step.to_bytes) == (912 * M, 968 * M)
    assert "it uses 440.0 MiB of its grant of 400.0 MiB" in step.reason
    assert found.free_bytes == 300 * M
    assert "A uses 440.0 MiB of 400.0 MiB and gets 456.0 MiB" in found.message


def test_within_its_grant_nobody_is_raised() -> None:
    """4 MiB under the grant is not growth yet, one byte nearer is."""
    assert growth([guest("A", use_bytes=396 * M)]).now == ()
    assert told(growth([guest("A", use_bytes=396 * M + 1)]).now) == [("A", 412)]


def test_a_neighbour_gives_what_is_missing_and_not_more() -> None:
    """60 MiB are free, 56 more than that are wanted: the raise within the free room comes first and alone."""
    found = growth([guest("A", use_bytes=500 * M), guest("B", grant_bytes=340 * M, use_bytes=50 * M)])
    assert told(found.now) == [("A", 460)]
    assert told(found.then) == [("B", 284), ("A", 516)]
    (give,), (want,) = found.giving, found.wanting
    assert (give.grant_bytes, give.to_bytes, give.least_bytes) == (340 * M, 284 * M, 50 * M)
    assert (want.now_bytes, want.then_bytes, want.short_bytes, want.lent_bytes) == (460 * M, 516 * M, 0, 0)
    second = found.then[1]
    assert isinstance(second, SetLimit)
    assert (second.grant_from_bytes, second.from_bytes) == (460 * M, found.now[0].to_bytes)  # type: ignore[union-attr]


def test_who_has_most_by_weight_gives_first() -> None:
    """Of two neighbours of equal weight the larger grant is brought down to the smaller one before both give."""
    guests = [guest("A", grant_bytes=300 * M, use_bytes=334 * M)]
    guests += [guest("B", grant_bytes=300 * M, use_bytes=10 * M), guest("C", grant_bytes=200 * M, use_bytes=10 * M)]
    assert told(growth(guests).then) == [("B", 250), ("A", 350)]


def test_what_a_neighbour_uses_and_a_step_stay_its_own_while_others_have_more() -> None:
    """B uses all but 20 MiB of its grant, so it gives 4; C gives the rest although B has the larger grant."""
    guests = [guest("A", grant_bytes=200 * M, use_bytes=220 * M)]
    guests += [guest("B", grant_bytes=400 * M, use_bytes=380 * M), guest("C", grant_bytes=200 * M, use_bytes=10 * M)]
    assert told(growth(guests).then) == [("B", 396), ("C", 168), ("A", 236)]


def test_when_it_is_tight_all_go_down_to_their_floors_and_the_rest_stays_lent() -> None:
    """Floors sum to the room less 10 MiB: 10 of the 50 MiB above the grant are refilled, 40 stay lent."""
    guests = [guest("A", use_bytes=450 * M), guest("B", use_bytes=390 * M)]
    found = growth(guests, headroom_bytes=0)
    assert told(found.then) == [("B", 390), ("A", 410)]
    assert found.lent_bytes == 40 * M
    assert "40.0 MiB stay lent by the headroom" in found.message


def test_with_nothing_to_take_nothing_is_done_but_the_numbers_are_told() -> None:
    """Everybody is at its floor: no step, and what is missing is in the answer."""
    found = growth([guest("A", use_bytes=450 * M), guest("B", use_bytes=400 * M)])
    assert (found.now, found.then) == ((), ())
    assert (found.wanting[0].short_bytes, found.lent_bytes) == (66 * M, 50 * M)


def test_two_that_grow_share_by_weight_what_there_is() -> None:
    """60 MiB are free for two that wish 66 each: the headroom is refilled first, the rest goes by weight."""
    guests = [guest("A", grant_bytes=370 * M, use_bytes=390 * M), guest("B", grant_bytes=370 * M, use_bytes=390 * M)]
    assert told(growth(guests).now) == [("A", 400), ("B", 400)]


def test_the_step_is_what_it_grew_lately_up_to_the_headroom() -> None:
    """16 MiB at least; a burst of 100 asks for 100 more, one larger than the headroom for the headroom."""
    guests = [guest("A", grant_bytes=100 * M, use_bytes=110 * M)]
    for grown, wish in ((0, 126), (100 * M, 210), (900 * M, 260)):
        assert told(growth(guests, grown={"A": grown}, headroom_bytes=150 * M).now) == [("A", wish)]


def test_a_cap_is_never_passed() -> None:
    """The wish ends at the cap, and a guest at its cap wishes nothing."""
    assert told(growth([guest("A", use_bytes=405 * M, cap_bytes=410 * M)]).now) == [("A", 410)]
    assert growth([guest("A", use_bytes=405 * M, cap_bytes=400 * M)]).wanting == ()


def test_unknown_use_is_no_reason_to_raise_and_no_room_to_take() -> None:
    """P6: the one that can't be read is not raised, and the one that grows takes nothing from it."""
    blind = guest("B", overhead_bytes=None, overhead_peak_bytes=None)
    found = growth([guest("A", use_bytes=450 * M), blind])
    assert (found.now, found.then, [want.name for want in found.wanting]) == ((), (), ["A"])


def test_a_held_guest_is_raised_so_that_it_can_go_on() -> None:
    """Standing still it grows no more, but what it borrowed is refilled; as a neighbour it gives nothing."""
    assert told(growth([guest("A", use_bytes=440 * M, held=True)]).now) == [("A", 456)]
    assert growth([guest("A", use_bytes=450 * M), guest("B", held=True)]).then == ()


def test_one_that_does_not_run_is_not_raised() -> None:
    """A start fills its grant, that is no growth."""
    assert growth([guest("A", use_bytes=400 * M, state=GuestState.STARTING)]).wanting == ()


def test_on_an_overcommitted_host_nobody_is_raised() -> None:
    """P1: promised RAM over the budget; the numbers are told all the same."""
    found = growth([guest("A", ram_bytes=3500 * M, use_bytes=440 * M)])
    assert (found.now, found.then, found.lent_bytes) == ((), (), 40 * M)
    assert "overcommitted by 204.0 MiB" in found.message


def test_a_wall_that_is_too_low_takes_from_the_free_room() -> None:
    """The host wall lacks 270 of the 300 MiB that no grant has: only 30 are given at once."""
    guests = [guest("A", use_bytes=440 * M), guest("B", grant_bytes=100 * M, use_bytes=100 * M)]
    assert told(growth(guests, wall=(1024 + 530) * M).now) == [("A", 430)]


def test_a_raise_never_lowers_the_limit() -> None:
    """A limit above RAM + grant + headroom stays: lowering it could be refused, and the raise with it."""
    (step,) = growth([guest("A", use_bytes=440 * M, limit_bytes=2000 * M)]).now
    assert isinstance(step, SetLimit)
    assert (step.to_bytes, step.is_shrink) == (2000 * M, False)


def test_without_a_known_limit_the_raise_is_no_matter_of_now() -> None:
    """Its write would be its first limit, a shrink in the kernel's eyes: it belongs to the plan that may fail."""
    for limit in (None, UNLIMITED):
        found = growth([guest("A", use_bytes=440 * M, limit_bytes=limit)])
        assert (told(found.now), told(found.then)) == ([], [("A", 456)])


def test_under_static_sharing_needs_stay_and_grown_grants_give() -> None:
    """B keeps its need of 200 MiB though it uses 50; what C once grew above its need it gives."""
    guests = [guest("A", grant_bytes=200 * M, use_bytes=260 * M, need_bytes=200 * M)]
    guests += [guest("B", grant_bytes=200 * M, use_bytes=50 * M), guest("C", grant_bytes=400 * M, use_bytes=100 * M)]
    assert told(growth(guests, sharing=Sharing.STATIC).then) == [("C", 324), ("A", 276)]


def test_grants_over_the_reserve_are_cut_before_anything_is_raised() -> None:
    """A reserve made smaller by 100 MiB: nothing is raised now, and B gives both what is over and what is wanted."""
    found = growth([guest("A", use_bytes=420 * M), guest("B", use_bytes=10 * M)], reserve=700 * M)
    assert (told(found.now), told(found.then)) == ([], [("B", 264), ("A", 436)])


def test_small_cuts_are_made_worth_a_write() -> None:
    """Of 20 neighbours that would give 820 KiB each, only as many write as 1 MiB each takes."""
    many = [guest(f"N{i:02}", ram_bytes=4 * M, grant_bytes=32 * M, use_bytes=1 * M) for i in range(20)]
    found = growth([guest("A", ram_bytes=4 * M, grant_bytes=160 * M, use_bytes=160 * M), *many])
    assert [give.grant_bytes - give.to_bytes for give in found.giving] == [1 * M] * 16
    assert told(found.then)[-1] == ("A", 176)


def test_joint_guests_are_not_looked_at() -> None:
    """They stand outside the host wall and have a margin of their own."""
    assert growth([guest("A", use_bytes=900 * M, accounting=Accounting.JOINT)]).wanting == ()


def test_asked_again_after_both_plans_nothing_is_left_to_do() -> None:
    """The same use seen twice moves nobody twice, also where all share too little."""
    guests = [guest("A", use_bytes=450 * M), guest("B", grant_bytes=380 * M, use_bytes=330 * M)]
    found = growth(guests)
    last = {name: size * M for name, size in told((*found.now, *found.then))}
    assert last != {}
    after = [replace(one, grant_bytes=last.get(one.name, one.grant_bytes)) for one in guests]
    assert (growth(after).now, growth(after).then) == ((), ())


def test_an_unfinished_plan_keeps_only_what_still_holds() -> None:
    """C took the free room meanwhile, so the raise that counted on B's cut alone stays, the larger one goes."""
    chosen = settings()
    guests = [guest("A", use_bytes=500 * M), guest("B", grant_bytes=340 * M, use_bytes=50 * M)]
    found = growth(guests)
    now = [guest("A", grant_bytes=460 * M, use_bytes=500 * M), guests[1]]
    total = budget(host(), now, chosen)
    assert still_good(found.then, now, total, chosen, NOW) == found.then
    late = replace(now[1], overhead_bytes=300 * M, overhead_peak_bytes=300 * M)
    assert still_good(found.then, [now[0], late], total, chosen, NOW) == ()
    for gone in ({"held": True}, {"overhead_bytes": None}, {"grant_bytes": 341 * M}):
        assert still_good(found.then, [now[0], replace(now[1], **gone)], total, chosen, NOW) == ()
    assert still_good(found.then, now[:1], total, chosen, NOW) == found.then[1:]
    other = guest("C", grant_bytes=40 * M)
    assert still_good(found.then, [*now, other], total, chosen, NOW) == found.then[:1]
