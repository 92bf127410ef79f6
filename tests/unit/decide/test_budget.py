"""What there is to share, and that every byte of it can be traced (P1, P10)."""

from __future__ import annotations

import pytest

from guestroom.config import Percent, Rest, Settings
from guestroom.decide import budget
from guestroom.facts import Accounting, AncestorFacts, OutsiderFacts
from guestroom.units import UNLIMITED

from .samples import M, guest, host, newcomer, settings


def test_the_budget_is_host_memory_less_what_is_taken_off_it() -> None:
    """Huge page pools, the system reserve and QEMUs not under care are taken off, each as a term."""
    outsiders = (OutsiderFacts(7, 512 * M, 100 * M, 300 * M), OutsiderFacts(8, None, None, 200 * M))
    total = budget(host(hugetlb_bytes=1024 * M, outsiders=outsiders), [], settings(system_reserve_bytes=256 * M))
    assert total.terms == (
        ("host memory", 4096 * M),
        ("hugetlb pools", -1024 * M),
        ("system reserve", -256 * M),
        ("QEMU 7, not under care", -612 * M),
        ("QEMU 8, not under care", -200 * M),
    )
    assert total.budget_bytes == (4096 - 1024 - 256 - 612 - 200) * M


def test_the_default_system_reserve_is_the_larger_of_512_mib_and_5_percent() -> None:
    """Small hosts keep 512 MiB, large ones 5 %."""
    assert budget(host(), [], Settings()).terms[2] == ("system reserve", -512 * M)
    assert budget(host(total_bytes=102400 * M), [], Settings()).terms[2] == ("system reserve", -5120 * M)


@pytest.mark.parametrize(
    ("outsider", "counted"),
    [
        (OutsiderFacts(7, 512 * M, 100 * M, 700 * M), 700),
        (OutsiderFacts(7, 512 * M, None, 300 * M), 512),
        (OutsiderFacts(7, None, 100 * M, None), 0),
        (OutsiderFacts(7, 512 * M, 100 * M, None), 612),
    ],
)
def test_an_outsider_counts_with_the_larger_of_use_and_promise(outsider: OutsiderFacts, counted: int) -> None:
    """What is known of it is used; what is not known is not made up."""
    assert budget(host(outsiders=(outsider,)), [], settings()).budget_bytes == (4096 - counted) * M


def test_the_tightest_ancestor_decides() -> None:
    """A cgroup above that allows less than the host makes the budget, and the terms still sum to it."""
    ancestors = (
        AncestorFacts("/a", UNLIMITED, 0),
        AncestorFacts("/a/b", 2048 * M, 48 * M),
        AncestorFacts("/a/b/c", 3000 * M, 0),
    )
    total = budget(host(ancestors=ancestors), [], settings())
    assert total.budget_bytes == 2000 * M
    assert total.terms[-1] == ("cgroup /a/b allows less", -2096 * M)
    assert sum(size for _, size in total.terms) == total.budget_bytes


@pytest.mark.parametrize("ancestor", [AncestorFacts("/a", None, 0), AncestorFacts("/a", 9000 * M, None)])
def test_an_unknown_ancestor_allows_what_is_promised_and_nothing_new(ancestor: AncestorFacts) -> None:
    """Unknown is not zero and not unlimited: the present wall stays, there is no more."""
    assert budget(host(ancestors=(ancestor,), wall_limit_bytes=1500 * M), [], settings()).budget_bytes == 1500 * M
    assert budget(host(ancestors=(ancestor,)), [], settings()).budget_bytes == 0


def test_a_budget_is_never_negative() -> None:
    """A host that owes more than it has leaves nothing, and a term says so."""
    total = budget(host(hugetlb_bytes=5000 * M), [], settings())
    assert (total.budget_bytes, total.terms[-1]) == (0, ("nothing is left", 904 * M))


def test_the_three_forms_of_the_reserve() -> None:
    """Percent of the budget, bytes, or what promised RAM leaves."""
    guests = [guest()]
    assert budget(host(), guests, settings(reserve=Percent(2500))).reserve_bytes == 1024 * M
    assert budget(host(), guests, settings(reserve=700 * M)).reserve_bytes == 700 * M
    assert budget(host(), guests, settings(reserve=Rest.REST)).reserve_bytes == 3584 * M
    assert budget(host(), guests, settings(reserve=Rest.REST), newcomer=newcomer()).reserve_bytes == 3072 * M


def test_the_default_headroom_is_the_largest_burst_and_at_least_128_mib() -> None:
    """And it is never more than the reserve it is part of."""
    assert budget(host(), [], settings(headroom_bytes=None)).headroom_bytes == 128 * M
    assert budget(host(), [], settings(headroom_bytes=None), burst_bytes=300 * M).headroom_bytes == 300 * M
    assert budget(host(), [], settings(headroom_bytes=None, reserve=50 * M)).headroom_bytes == 50 * M
    assert budget(host(), [], settings(headroom_bytes=900 * M)).headroom_bytes == 800 * M


def test_the_default_guard_is_64_mib_and_at_most_half_the_headroom() -> None:
    """Without headroom there is no guard."""
    assert budget(host(), [], settings(headroom_bytes=200 * M)).guard_bytes == 64 * M
    assert budget(host(), [], settings(headroom_bytes=100 * M)).guard_bytes == 50 * M
    assert budget(host(), [], settings(headroom_bytes=0)).guard_bytes == 0
    assert budget(host(), [], settings(headroom_bytes=100 * M, guard_bytes=80 * M)).guard_bytes == 80 * M
    assert budget(host(), [], settings(headroom_bytes=100 * M, guard_bytes=180 * M)).guard_bytes == 100 * M


def test_only_charged_ram_is_promised() -> None:
    """RAM in huge pages is off the budget already with its pool."""
    total = budget(host(), [guest(ram_charged_bytes=0), guest("B")], settings(), newcomer=newcomer())
    assert total.promised_ram_bytes == 1024 * M


def test_a_guest_outside_the_host_wall_counts_with_its_full_limit() -> None:
    """An adopted guest is a term of the budget, not part of what is shared."""
    joint = guest("J", accounting=Accounting.JOINT, limit_bytes=900 * M)
    endless = guest("K", accounting=Accounting.JOINT, limit_bytes=UNLIMITED, need_bytes=200 * M)
    total = budget(host(), [joint, endless], settings())
    assert total.promised_ram_bytes == 0
    assert total.terms[-2:] == (("guest J, adopted", -900 * M), ("guest K, adopted", -712 * M))


@pytest.mark.parametrize(
    ("changes", "counted"),
    [
        ({"overhead_bytes": 300 * M, "overhead_peak_bytes": None}, 812),
        ({"overhead_bytes": None, "overhead_peak_bytes": 310 * M}, 822),
        ({"overhead_bytes": 300 * M, "overhead_peak_bytes": 310 * M}, 822),
    ],
)
def test_an_adopted_guest_without_a_limit_counts_with_what_it_was_seen_to_use(changes: dict, counted: int) -> None:
    """The largest of need, use and peak, as far as known."""
    joint = guest("K", accounting=Accounting.JOINT, limit_bytes=UNLIMITED, **changes)
    assert budget(host(), [joint], settings()).terms[-1] == ("guest K, adopted", -counted * M)


def test_an_ancestor_that_allows_as_much_is_no_term() -> None:
    """Only one that allows less than the host says anything."""
    same = (AncestorFacts("/a", 4096 * M, 0),)
    assert budget(host(ancestors=same), [], settings()).terms[-1] == ("system reserve", 0)
    assert budget(host(total_bytes=0), [], settings()).terms[-1] == ("system reserve", 0)


def test_overcommitted_is_about_those_present() -> None:
    """Over the budget with those present is overcommitted; over it only with the newcomer is not."""
    assert budget(host(), [guest(ram_bytes=3500 * M)], settings()).overcommitted_bytes == 204 * M
    assert budget(host(), [guest()], settings(), newcomer=newcomer(ram_bytes=9000 * M)).overcommitted_bytes == 0
    assert budget(host(), [guest(ram_bytes=5000 * M)], settings(reserve=Rest.REST)).overcommitted_bytes == 904 * M


def test_room_and_wall_follow_from_the_budget() -> None:
    """Grants share the reserve less the headroom; the wall is promised RAM + reserve in whole pages."""
    total = budget(host(), [guest()], settings(headroom_bytes=100 * M, reserve=800 * M + 5))
    assert total.room_bytes == 700 * M + 5
    assert total.wall_bytes == 1312 * M
