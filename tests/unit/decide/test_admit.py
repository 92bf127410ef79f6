"""Admit, squeeze, refuse, recreate: the seed's story by numbers, and the edges around it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from guestroom.actions import VerdictKind
from guestroom.config import Rest, Sharing
from guestroom.decide import admit
from guestroom.facts import GuestState

from .samples import M, guest, host, newcomer, settings

STORY = settings(cap_bytes=600 * M)
A = guest("A", cap_bytes=600 * M, grant_bytes=600 * M, use_bytes=500 * M, need_bytes=400 * M)
B = newcomer("B", cap_bytes=600 * M, need_bytes=400 * M)


def in_mib(verdict_grants: tuple) -> dict[str, float]:
    """Grants by name in MiB."""
    return {grant.name: grant.grant_bytes / M for grant in verdict_grants}


def test_alone_a_guest_gets_up_to_its_cap() -> None:
    """Of 800 MiB the first guest gets its 600, though it asked for 400."""
    verdict = admit(replace(B, name="A"), [], host(), STORY, 0.0)
    assert (verdict.kind, in_mib(verdict.grants)) == (VerdictKind.ADMIT, {"A": 600})
    assert verdict.limit_bytes == (512 + 600) * M


def test_a_need_that_fits_beside_the_floor_is_admitted() -> None:
    """A can't go below the 500 it uses; B's 300 fit exactly, and it gets them."""
    verdict = admit(replace(B, need_bytes=300 * M), [A], host(), STORY, 1.0)
    assert (verdict.kind, in_mib(verdict.grants)) == (VerdictKind.ADMIT, {"A": 500, "B": 300})
    assert (verdict.left_bytes, verdict.short_bytes, verdict.short_of) == (300 * M, 0, "")


def test_a_page_more_than_fits_is_short() -> None:
    """The boundary: 300 MiB fit, a byte more does not, and a page of it is short."""
    verdict = admit(replace(B, need_bytes=300 * M + 1), [A], host(), STORY, 1.0)
    assert (verdict.kind, verdict.short_bytes, verdict.short_of) == (VerdictKind.REFUSE, 4096, "overhead")


def test_sizes_that_are_no_whole_pages_round_against_the_newcomer() -> None:
    """Floors round up and the reserve down: what is left is whole pages that really are there."""
    odd = replace(A, overhead_bytes=500 * M + 1, overhead_peak_bytes=500 * M + 1)
    reserve = settings(reserve=800 * M + 4095, cap_bytes=600 * M)
    verdict = admit(replace(B, on_short="squeeze"), [odd], host(), reserve, 1.0)
    assert (verdict.left_bytes, verdict.grant_bytes) == (300 * M - 4096, 300 * M - 4096)
    refused = admit(replace(B, need_bytes=300 * M - 4095), [odd], host(), reserve, 1.0)
    assert (refused.kind, refused.short_bytes) == (VerdictKind.REFUSE, 4096)


def test_the_messages_have_the_numbers() -> None:
    """What was left is in the message of those that start as well."""
    admitted = admit(replace(B, need_bytes=300 * M), [A], host(), STORY, 1.0)
    assert admitted.message == "guest B gets 300.0 MiB of overhead (asked 300.0 MiB, 300.0 MiB left)"
    recreated = admit(replace(B, on_short="recreate"), [replace(A, recreatable=True)], host(), STORY, 1.0)
    assert recreated.message == (
        "guest B gets 400.0 MiB of overhead (asked 400.0 MiB, 300.0 MiB left) once A is recreated with less"
    )


def test_the_limit_of_a_newcomer_has_its_share_of_the_headroom() -> None:
    """RAM + grant + headroom, within the cap."""
    verdict = admit(replace(B, cap_bytes=None), [], host(), settings(headroom_bytes=100 * M), 1.0)
    assert (verdict.grant_bytes, verdict.limit_bytes) == (700 * M, (512 + 800) * M)
    capped = admit(replace(B, cap_bytes=450 * M), [], host(), settings(headroom_bytes=100 * M), 1.0)
    assert (capped.grant_bytes, capped.limit_bytes) == (450 * M, (512 + 450) * M)


def test_squeeze_gives_what_is_left() -> None:
    """B starts with 300 of its 400, A keeps its 500, and the verdict says what was short."""
    verdict = admit(replace(B, on_short="squeeze"), [A], host(), STORY, 1.0)
    assert (verdict.kind, in_mib(verdict.grants)) == (VerdictKind.SQUEEZE, {"A": 500, "B": 300})
    assert (verdict.grant_bytes, verdict.short_bytes, verdict.short_of) == (300 * M, 100 * M, "overhead")
    assert "at risk" in verdict.message


def test_squeeze_stops_at_the_boot_floor() -> None:
    """With exactly its boot floor left a guest is squeezed, with less it is refused."""
    squeezed = replace(B, on_short="squeeze", boot_floor_bytes=300 * M)
    assert admit(squeezed, [A], host(), STORY, 1.0).kind is VerdictKind.SQUEEZE
    assert admit(replace(squeezed, boot_floor_bytes=300 * M + 1), [A], host(), STORY, 1.0).kind is VerdictKind.REFUSE


def test_refuse_says_who_holds_what_and_what_would_make_room() -> None:
    """The message has the numbers, the advice names acts that are enough."""
    verdict = admit(B, [A], host(), STORY, 1.0)
    assert (verdict.kind, verdict.grants, verdict.grant_bytes) == (VerdictKind.REFUSE, (), 0)
    assert [(h.name, h.grant_bytes, h.floor_bytes) for h in verdict.holders] == [("A", 600 * M, 500 * M)]
    for number in ("400.0 MiB", "300.0 MiB", "100.0 MiB", "A holds 600.0 MiB and keeps 500.0 MiB"):
        assert number in verdict.message
    assert verdict.advice == (
        "stop guest A: 500.0 MiB comes back",
        'set on_short = "squeeze": 300.0 MiB is left and its boot floor is 64.0 MiB',
        "lower its need to 300.0 MiB or less",
        'mark guest A recreatable and set on_short = "recreate": started again with 400.0 MiB it gives 100.0 MiB',
    )


def test_recreate_gives_both_their_share() -> None:
    """A is started again under 400, which is what it needs, and B gets its 400."""
    verdict = admit(replace(B, on_short="recreate"), [replace(A, recreatable=True)], host(), STORY, 1.0)
    assert (verdict.kind, verdict.recreate) == (VerdictKind.RECREATE, ("A",))
    assert in_mib(verdict.grants) == {"A": 400, "B": 400}


@pytest.mark.parametrize(
    "changes",
    [
        {"recreatable": False},
        {"need_bytes": 401 * M},
        {"recreate_need_bytes": 401 * M},
        {"recreated_s": 10_000.0 - 3599.0},
        {"state": GuestState.STOPPING},
        {"state": GuestState.STARTING},
    ],
)
def test_recreate_only_who_may_be(changes: dict) -> None:
    """Not marked, needing more than fits, recreated within the hour, or not alive: refused instead."""
    holder = replace(replace(A, recreatable=True), **changes)
    assert admit(replace(B, on_short="recreate"), [holder], host(), STORY, 10_000.0).kind is VerdictKind.REFUSE


def test_recreate_again_after_an_hour() -> None:
    """Exactly an hour after the last time it may be recreated again; ``recreate_need_bytes`` goes before the need."""
    holder = replace(
        A, recreatable=True, recreated_s=10_000.0 - 3600.0, need_bytes=700 * M, recreate_need_bytes=350 * M
    )
    verdict = admit(replace(B, on_short="recreate"), [holder], host(), STORY, 10_000.0)
    assert verdict.kind is VerdictKind.RECREATE


def test_a_guest_coming_back_does_not_stand_in_its_own_way() -> None:
    """A recreated guest is still in the list with its place; asking again it takes that place."""
    place = guest("B", grant_bytes=300 * M, overhead_bytes=None, overhead_peak_bytes=None, state=GuestState.QUEUED)
    verdict = admit(replace(B, need_bytes=300 * M), [A, place], host(), STORY, 1.0)
    assert (verdict.kind, in_mib(verdict.grants)) == (VerdictKind.ADMIT, {"A": 500, "B": 300})


def test_short_of_ram_is_said_as_such() -> None:
    """RAM promised, the newcomer's and the reserve must fit the budget; the boundary is exact."""
    fits = newcomer(ram_bytes=(4096 - 800 - 512) * M)
    assert admit(fits, [guest()], host(available_bytes=None), settings(), 1.0).kind is VerdictKind.ADMIT
    verdict = admit(newcomer(ram_bytes=(4096 - 800 - 512) * M + 4096), [guest()], host(), settings(), 1.0)
    assert (verdict.kind, verdict.short_of, verdict.short_bytes) == (VerdictKind.REFUSE, "ram", 4096)
    assert "lower its RAM to 2.7 GiB or less" in verdict.advice
    assert "stop guest A: 512.0 MiB of RAM comes back" in verdict.advice


def test_short_of_memory_now_is_said_as_such() -> None:
    """What the host has available must hold RAM and boot floor; an unknown figure keeps nobody out."""
    verdict = admit(newcomer(), [], host(available_bytes=575 * M), settings(), 1.0)
    assert (verdict.kind, verdict.short_of, verdict.short_bytes) == (VerdictKind.REFUSE, "memory now", 1 * M)
    assert admit(newcomer(), [], host(available_bytes=576 * M), settings(), 1.0).kind is VerdictKind.ADMIT
    assert admit(newcomer(), [], host(available_bytes=None), settings(), 1.0).kind is VerdictKind.ADMIT


def test_nobody_is_admitted_on_an_overcommitted_host() -> None:
    """Over the budget with those present: refused, with the figure, however small the newcomer."""
    verdict = admit(newcomer(ram_bytes=1 * M), [guest(ram_bytes=3500 * M)], host(), settings(), 1.0)
    assert (verdict.kind, verdict.short_of) == (VerdictKind.REFUSE, "ram")
    assert "overcommitted by 204.0 MiB" in verdict.message


def test_the_headroom_is_not_for_admission() -> None:
    """With 100 of the 800 kept as headroom, 700 less A's 500 leaves 200."""
    verdict = admit(replace(B, need_bytes=201 * M), [A], host(), settings(headroom_bytes=100 * M), 1.0)
    assert (verdict.kind, verdict.left_bytes) == (VerdictKind.REFUSE, 200 * M)


def test_what_is_borrowed_from_the_headroom_is_no_floor_when_it_would_not_fit() -> None:
    """A uses 60 over its grant of 500: with room it is raised to that, without it keeps its 500 and B its need."""
    borrowing = replace(A, grant_bytes=500 * M, overhead_bytes=560 * M, overhead_peak_bytes=560 * M)
    headroom = settings(headroom_bytes=100 * M)
    tight = admit(replace(B, need_bytes=200 * M), [borrowing], host(), headroom, 1.0)
    assert (tight.kind, in_mib(tight.grants)) == (VerdictKind.ADMIT, {"A": 500, "B": 200})
    loose = admit(replace(B, need_bytes=100 * M), [borrowing], host(), headroom, 1.0)
    assert in_mib(loose.grants) == {"A": 564, "B": 136}, "its use and a little: it does not count as growing"


def test_a_need_above_the_cap_is_cut_to_it() -> None:
    """What it may never have it does not ask for."""
    verdict = admit(replace(B, need_bytes=900 * M, cap_bytes=300 * M), [A], host(), STORY, 1.0)
    assert (verdict.kind, verdict.need_bytes, verdict.grant_bytes) == (VerdictKind.ADMIT, 300 * M, 300 * M)


def test_static_sharing_grants_the_need_and_moves_nobody() -> None:
    """grant = need; what is left over stays unused, and a holder that uses less keeps its need."""
    static = settings(sharing=Sharing.STATIC)
    present = guest(grant_bytes=400 * M, need_bytes=400 * M, use_bytes=50 * M)
    verdict = admit(newcomer(need_bytes=200 * M), [present], host(), static, 1e6)
    assert in_mib(verdict.grants) == {"A": 400, "B": 200}
    assert admit(newcomer(need_bytes=401 * M), [present], host(), static, 1e6).kind is VerdictKind.REFUSE
    squeezed = admit(newcomer(need_bytes=500 * M, on_short="squeeze"), [present], host(), static, 1e6)
    assert in_mib(squeezed.grants) == {"A": 400, "B": 400}


def test_unknown_use_keeps_the_whole_grant() -> None:
    """P6: a guest whose use can't be read is not shrunk for a newcomer, and the advice says why."""
    blind = guest(grant_bytes=700 * M, overhead_bytes=None)
    verdict = admit(newcomer(), [blind], host(), settings(), 1e6)
    assert (verdict.kind, verdict.left_bytes) == (VerdictKind.REFUSE, 100 * M)
    assert any("use of guest A is unknown" in line for line in verdict.advice)


def test_a_guest_that_has_only_just_started_is_worth_waiting_for() -> None:
    """Where time alone would make room, the advice says how long."""
    fresh = guest(grant_bytes=700 * M, need_bytes=700 * M, use_bytes=50 * M, started_s=100.0)
    verdict = admit(newcomer(), [fresh], host(), settings(settle_s=120.0), 130.0)
    assert "try again in 90 s: guest A has just started and uses 50.0 MiB so far" in verdict.advice


def test_with_the_rest_as_reserve_ram_and_overhead_share_the_budget() -> None:
    """A newcomer's RAM makes the reserve smaller; the floors of the others must still fit it."""
    rest = settings(reserve=Rest.REST)
    present = guest(grant_bytes=3584 * M, use_bytes=100 * M)
    verdict = admit(newcomer(ram_bytes=3000 * M), [present], host(), rest, 1e6)
    assert (verdict.kind, verdict.left_bytes) == (VerdictKind.ADMIT, 484 * M)
    assert sum(grant.grant_bytes for grant in verdict.grants) <= 584 * M
    assert admit(newcomer(ram_bytes=3400 * M), [present], host(), rest, 1e6).kind is VerdictKind.REFUSE


def test_when_no_single_stop_is_enough_it_says_so() -> None:
    """Two holders of which neither alone would do are named together."""
    present = [guest(name, grant_bytes=400 * M, use_bytes=400 * M) for name in ("A", "C")]
    verdict = admit(newcomer(need_bytes=500 * M), present, host(), settings(), 1e6)
    assert verdict.advice[0] == "stop more than one guest: A gives 400.0 MiB, C gives 400.0 MiB"
