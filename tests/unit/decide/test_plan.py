"""The dry run is what is carried out."""

from __future__ import annotations

from guestroom.actions import VerdictKind
from guestroom.decide import admit, budget, plan, plan_again, steps
from guestroom.units import MAX_JSON_INT

from .samples import M, guest, host, newcomer, settings


def test_a_plan_is_verdict_and_steps_of_one_budget() -> None:
    """What ``plan`` shows is what ``admit`` and ``steps`` give for the same facts."""
    present, one, chosen = [guest()], newcomer(), settings()
    shown = plan(one, present, host(), chosen, 1e6, burst_bytes=7)
    assert shown.verdict == admit(one, present, host(), chosen, 1e6, burst_bytes=7)
    assert shown.budget == budget(host(), present, chosen, newcomer=one, burst_bytes=7)
    assert shown.grants == shown.verdict.grants
    assert shown.actions == steps(
        shown.grants, present, shown.budget, chosen, newcomer=one, verdict=shown.verdict, now_s=1e6
    )


def test_planning_again_has_no_verdict() -> None:
    """A stop or a change only moves grants."""
    shown = plan_again([guest()], host(), settings(), 1e6)
    assert shown.verdict is None
    assert [grant.grant_bytes for grant in shown.grants] == [800 * M]


def test_a_guest_of_the_newcomers_name_is_itself() -> None:
    """A recreated guest that comes back takes its own place, in the steps as well."""
    shown = plan(newcomer("A", need_bytes=300 * M), [guest("A")], host(), settings(), 1e6)
    assert shown.verdict is not None
    assert shown.verdict.kind is VerdictKind.ADMIT
    assert {type(action).__name__ for action in shown.actions} == {"SetWall", "MakeGuest", "StartGuest"}


def test_every_number_fits_json() -> None:
    """Sizes of a plan stay below 2^53 for a host of 4 PiB."""
    large = host(total_bytes=2**52, available_bytes=2**52)
    shown = plan(newcomer(ram_bytes=2**51), [], large, settings(reserve=2**50), 1e6)
    assert shown.verdict is not None
    assert 0 < shown.verdict.limit_bytes <= MAX_JSON_INT
