"""P4: what was shrunk for a plan that failed is raised again if the room is there."""

from __future__ import annotations

from dataclasses import replace

from guestroom.actions import Action, Outcome, OutcomeKind, SetLimit, SetWall, StopGuest
from guestroom.config import Rest
from guestroom.decide import budget, plan, stays, undo

from .samples import M, guest, host, newcomer, settings

A = guest("A", grant_bytes=500 * M, limit_bytes=1012 * M)
C = guest("C", grant_bytes=300 * M, limit_bytes=812 * M)


def outcomes(actions: tuple[Action, ...], failed: int, kind: OutcomeKind = OutcomeKind.BUSY) -> list[Outcome]:
    """The first ``failed`` steps held, the next did not, the others were not tried."""
    done = [Outcome(action, OutcomeKind.DONE, "") for action in actions[:failed]]
    rest = [Outcome(action, OutcomeKind.SKIPPED, "") for action in actions[failed + 1 :]]
    return [*done, Outcome(actions[failed], kind, "EBUSY"), *rest]


def limit(name: str, from_mib: int, to_mib: int, ram_mib: int = 512) -> SetLimit:
    """A step of a guest without headroom."""
    return SetLimit(
        name, (ram_mib + from_mib) * M, (ram_mib + to_mib) * M, from_mib * M, to_mib * M, ram_mib * M, "test"
    )


def test_nothing_is_put_back_where_everything_held() -> None:
    """A plan carried out needs no undo."""
    assert (
        undo([Outcome(limit("A", 500, 400), OutcomeKind.DONE, "")], [A], budget(host(), [A], settings()), settings())
        == ()
    )


def test_what_was_shrunk_is_raised_again() -> None:
    """B's plan shrinks A and C; C answers EBUSY; A gets its old grant and its old limit."""
    plan_b = (limit("A", 500, 400), limit("C", 300, 200))
    total = budget(host(), [A, C], settings(), newcomer=newcomer())
    (step,) = undo(outcomes(plan_b, 1), [A, C], total, settings(), now_s=1e6)
    assert isinstance(step, SetLimit)
    assert (step.from_bytes, step.to_bytes) == (912 * M, 1012 * M)
    assert (step.grant_from_bytes, step.grant_to_bytes) == (400 * M, 500 * M)


def test_facts_from_after_the_steps_serve_as_well() -> None:
    """The grants come from the outcomes, so it does not matter when the facts were taken."""
    plan_b = (limit("A", 500, 400), limit("C", 300, 200))
    total = budget(host(), [A, C], settings())
    after = replace(A, grant_bytes=400 * M, limit_bytes=912 * M)
    assert undo(outcomes(plan_b, 1), [after, C], total, settings(), now_s=1e6) == undo(
        outcomes(plan_b, 1), [A, C], total, settings(), now_s=1e6
    )


def test_only_as_far_as_there_is_room() -> None:
    """The reserve shrank meanwhile: A gets what is left, not what it had."""
    smaller = settings(reserve=750 * M)
    plan_b = (limit("A", 500, 400), limit("C", 300, 200))
    (step,) = undo(outcomes(plan_b, 1), [A, C], budget(host(), [A, C], smaller), smaller, now_s=1e6)
    assert isinstance(step, SetLimit)
    assert step.grant_to_bytes == 450 * M


def test_a_vanished_guest_gets_nothing_back() -> None:
    """The one that is gone has no step; the other is raised."""
    plan_b = (limit("A", 500, 400), limit("C", 300, 200))
    back = undo(outcomes(plan_b, 1, OutcomeKind.VANISHED), [C], budget(host(), [C], settings()), settings(), now_s=1e6)
    assert back == ()


def test_a_raise_is_taken_back_only_where_its_room_is_needed() -> None:
    """A fell by 100, C rose by 100, the start failed: C falls again, then A rises."""
    done = (limit("A", 500, 400), limit("C", 300, 400), limit("D", 1, 2))
    total = budget(host(), [A, C], settings())
    back = undo(outcomes(done, 2), [A, C], total, settings(), now_s=1e6)
    assert [(s.name, s.grant_to_bytes // M) for s in back if isinstance(s, SetLimit)] == [("C", 300), ("A", 500)]
    assert stays(outcomes(done, 2), back) == ()
    roomy = settings(reserve=2000 * M)
    back = undo(outcomes(done, 2), [A, C], budget(host(), [A, C], roomy), roomy, now_s=1e6)
    assert [s.name for s in back if isinstance(s, SetLimit)] == ["A"]
    assert [s.name for s in stays(outcomes(done, 2), back)] == ["C"]


def test_a_raise_is_not_taken_back_below_the_floor() -> None:
    """P2: C has grown into its raise; it stays and is reported, A gets only what is left."""
    done = (limit("A", 500, 400), limit("C", 300, 400), limit("D", 1, 2))
    grown = replace(C, overhead_bytes=380 * M, overhead_peak_bytes=380 * M)
    back = undo(outcomes(done, 2), [A, grown], budget(host(), [A, C], settings()), settings(), now_s=1e6)
    assert [(s.name, s.grant_to_bytes // M) for s in back if isinstance(s, SetLimit)] == [("C", 380), ("A", 420)]
    assert [s.name for s in stays(outcomes(done, 2), back)] == ["C"]
    held = replace(C, held=True)
    back = undo(outcomes(done, 2), [A, held], budget(host(), [A, C], settings()), settings(), now_s=1e6)
    assert [s.name for s in back] == []


def test_the_wall_goes_back_to_what_is_promised() -> None:
    """Raised for a newcomer that never ran, the wall falls again by its RAM."""
    one = newcomer()
    shown = plan(one, [A], host(wall_limit_bytes=1312 * M), settings(), 1e6)
    failed = next(i for i, action in enumerate(shown.actions) if type(action).__name__ == "MakeGuest")
    back = undo(outcomes(shown.actions, failed, OutcomeKind.FAILED), [A], shown.budget, settings(), now_s=1e6)
    assert [(a.from_bytes, a.to_bytes) for a in back if isinstance(a, SetWall)] == [(1824 * M, 1312 * M)]


def test_with_the_rest_as_reserve_the_newcomers_ram_is_room_again() -> None:
    """The budget of the failed plan had less reserve; without the newcomer what was shrunk fits again."""
    rest = settings(reserve=Rest.REST)
    only = guest("A", grant_bytes=3584 * M, limit_bytes=4096 * M)
    shown = plan(newcomer(), [only], host(wall_limit_bytes=4096 * M), rest, 1e6)
    failed = next(i for i, action in enumerate(shown.actions) if type(action).__name__ == "MakeGuest")
    (step,) = undo(outcomes(shown.actions, failed), [only], shown.budget, rest, now_s=1e6)
    assert isinstance(step, SetLimit)
    assert step.grant_to_bytes == 3584 * M


def test_a_limit_found_elsewhere_is_put_back() -> None:
    """Written but read back otherwise: the old limit is written again, the grant never changed."""
    plan_b = (limit("A", 500, 400),)
    wrong = [Outcome(plan_b[0], OutcomeKind.READ_BACK, "", found_bytes=950 * M)]
    (step,) = undo(wrong, [A], budget(host(), [A], settings()), settings(), now_s=1e6)
    assert isinstance(step, SetLimit)
    assert (step.to_bytes, step.grant_from_bytes, step.grant_to_bytes) == (1012 * M, 500 * M, 500 * M)


def test_a_stopped_victim_is_not_undone() -> None:
    """A guest that was stopped comes back by its own ``run``; its place is not touched."""
    stop = StopGuest("A", 400 * M, "test")
    done = (limit("C", 300, 200), stop, limit("D", 1, 2))
    place = replace(A, grant_bytes=400 * M, overhead_bytes=None, overhead_peak_bytes=None)
    back = undo(outcomes(done, 2), [place, C], budget(host(), [A, C], settings()), settings(), now_s=1e6)
    assert [(s.name, s.grant_to_bytes // M) for s in back if isinstance(s, SetLimit)] == [("C", 300)]


def test_a_raise_is_taken_back_only_as_far_as_needed() -> None:
    """A lacks 50 and 30 are left: C gives 20 of its 100 back; with 50 left it gives none."""
    done = (limit("A", 500, 450), limit("C", 300, 400), limit("D", 1, 2))
    for reserve, taken in ((880, [("C", 380), ("A", 500)]), (900, [("A", 500)]), (899, [("C", 399), ("A", 500)])):
        chosen = settings(reserve=reserve * M)
        back = undo(outcomes(done, 2), [A, C], budget(host(), [A, C], chosen), chosen, now_s=1e6)
        assert [(s.name, s.grant_to_bytes // M) for s in back if isinstance(s, SetLimit)] == taken
    chosen = settings(reserve=899 * M + 5)
    back = undo(outcomes(done, 2), [A, C], budget(host(), [A, C], chosen), chosen, now_s=1e6)
    assert isinstance(back[0], SetLimit)
    assert back[0].grant_to_bytes == 399 * M


def test_a_raise_of_an_unseen_guest_stays() -> None:
    """P6: it may have grown into it."""
    done = (limit("A", 500, 400), limit("C", 300, 400), limit("D", 1, 2))
    unseen = replace(C, overhead_bytes=None)
    assert undo(outcomes(done, 2), [A, unseen], budget(host(), [A, C], settings()), settings(), now_s=1e6) == ()


def test_sizes_that_are_no_whole_pages_come_back_to_the_byte() -> None:
    """What was had is had again exactly; a part of it is whole pages; a floor rounds up."""
    step = SetLimit("A", 1012 * M, 912 * M, 500 * M + 7, 400 * M, 0, "test")
    failed = limit("C", 300, 200)
    for reserve, back_to in ((800 * M + 7, 500 * M + 7), (800 * M + 6, 500 * M)):
        chosen = settings(reserve=reserve)
        (back,) = undo(outcomes((step, failed), 1), [A, C], budget(host(), [A, C], chosen), chosen, now_s=1e6)
        assert isinstance(back, SetLimit)
        assert back.grant_to_bytes == back_to
    done = (limit("A", 500, 400), limit("C", 300, 400), limit("D", 1, 2))
    grown = replace(C, overhead_bytes=380 * M + 1, overhead_peak_bytes=0)
    back, *_ = undo(outcomes(done, 2), [A, grown], budget(host(), [A, C], settings()), settings(), now_s=1e6)
    assert isinstance(back, SetLimit)
    assert back.grant_to_bytes == 380 * M + 4096


def test_a_limit_comes_back_as_it_was_and_never_below_ram_and_floor() -> None:
    """The very limit it had, though a plan of today would set another; where it has grown since, what it uses (P2)."""
    step = SetLimit("A", 1015 * M, 912 * M, 500 * M, 400 * M, 0, "test")
    failed = limit("C", 300, 200)
    total = budget(host(), [A, C], settings())
    (back,) = undo(outcomes((step, failed), 1), [A, C], total, settings(), now_s=1e6)
    assert isinstance(back, SetLimit)
    assert back.to_bytes == 1015 * M
    grown = replace(A, overhead_bytes=520 * M, overhead_peak_bytes=520 * M)
    (back,) = undo(outcomes((step, failed), 1), [grown, C], total, settings(), now_s=1e6)
    assert isinstance(back, SetLimit)
    assert (back.to_bytes, back.floor_bytes) == (1032 * M, 1032 * M)
    partly = settings(reserve=750 * M)
    (back,) = undo(outcomes((step, failed), 1), [A, C], budget(host(), [A, C], partly), partly, now_s=1e6)
    assert isinstance(back, SetLimit)
    assert back.to_bytes == (512 + 450) * M


def test_the_wall_of_an_overcommitted_host_is_not_raised_by_putting_back() -> None:
    """It goes back to where it was at most, in whole pages."""
    present = guest("A", ram_bytes=3500 * M, grant_bytes=100 * M, use_bytes=100 * M)
    total = budget(host(), [present], settings())
    done = (SetWall(4000 * M, 3990 * M, "test"), limit("D", 1, 2))
    (wall,) = undo(outcomes(done, 1), [present], total, settings(), now_s=1e6)
    assert isinstance(wall, SetWall)
    assert (wall.from_bytes, wall.to_bytes) == (3990 * M, 4000 * M)
    odd = settings(reserve=800 * M + 5)
    done = (SetWall(1000 * M, 900 * M, "test"), limit("D", 1, 2))
    (wall,) = undo(outcomes(done, 1), [A], budget(host(), [A], odd), odd, now_s=1e6)
    assert isinstance(wall, SetWall)
    assert wall.to_bytes == 1312 * M


def test_nothing_is_raised_again_into_what_the_host_wall_does_not_hold() -> None:
    """P1: the wall stands 60 below what is promised, so A gets back only what fits under it."""
    plan_b = (limit("A", 500, 400), limit("C", 300, 200))
    total = budget(host(wall_limit_bytes=(1024 + 740) * M), [A, C], settings())
    (step,) = undo(outcomes(plan_b, 1), [A, C], total, settings(), now_s=1e6)
    assert isinstance(step, SetLimit)
    assert step.grant_to_bytes == 440 * M


def test_what_a_stopped_victim_gave_is_room_though_the_facts_are_older() -> None:
    """A was stopped and keeps 300 of its 500: by facts from before that, C gets its 300 back all the same."""
    done = (limit("C", 300, 200), StopGuest("A", 300 * M, "test"), limit("D", 1, 2))
    tight = settings(reserve=600 * M)
    back = undo(outcomes(done, 2), [A, C], budget(host(), [A, C], tight), tight, now_s=1e6)
    assert [(s.name, s.grant_to_bytes // M) for s in back if isinstance(s, SetLimit)] == [("C", 300)]
