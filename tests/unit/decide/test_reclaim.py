"""Whom to ask for memory before anybody is turned away or held: each means only against the shortage it helps with."""

from __future__ import annotations

import dataclasses

import pytest
from tests.unit.decide.samples import guest

from guestroom.actions import VerdictKind
from guestroom.config import Reclaim, Rest, Settings
from guestroom.decide.admit import returned
from guestroom.decide.reclaim import Means, Short, Source, given_back, lending, reclaim, shortage
from guestroom.units import GIB, MIB, UNLIMITED

REST = Settings(reserve=Rest.REST)


def source(name: str = "a", **changes: object) -> Source:
    """A guest that is full of cache and may be ballooned."""
    base = Source(
        name,
        weight=1,
        cache_bytes=500 * MIB,
        swappable_bytes=100 * MIB,
        ram_bytes=GIB,
        balloon_min_bytes=512 * MIB,
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def asked(
    short: Short, size: int, *sources: Source, settings: Settings = REST, **more: object
) -> list[tuple[str, str, int]]:
    """The asks as plain tuples."""
    options: dict[str, object] = {"cache_in_use": True, "swap_free_bytes": GIB} | more
    found = reclaim(short, size, sources, settings, **options)  # type: ignore[arg-type]
    return [(ask.means.value, ask.name, ask.want_bytes) for ask in found]


def test_page_cache_frees_charge_the_fullest_guest_first_and_no_more_than_is_short() -> None:
    """A wall full of page cache is emptied from the fullest guest on, until that is enough."""
    sources = source("a", cache_bytes=100 * MIB), source("b", cache_bytes=300 * MIB), source("c", cache_bytes=200 * MIB)
    assert asked(Short.CHARGE, 350 * MIB, *sources) == [("cache", "b", 300 * MIB), ("cache", "c", 200 * MIB)]


def test_page_cache_is_no_ram_and_no_host_memory() -> None:
    """Nobody's cache is dropped for RAM that is promised, nor for bytes the host counts as available already."""
    one = source(balloon_min_bytes=None)
    assert asked(Short.RAM, GIB, one) == []
    assert asked(Short.MEMORY_NOW, GIB, one) == []


def test_page_cache_is_overhead_only_where_its_records_count() -> None:
    """v1 counts the records of cached pages as kernel memory; on v2 dropping the cache would gain nothing."""
    one = source(balloon_min_bytes=None)
    assert asked(Short.OVERHEAD, MIB, one, cache_in_use=True) == [("cache", "a", 500 * MIB)]
    assert asked(Short.OVERHEAD, MIB, one, cache_in_use=False) == []


def test_ram_is_asked_of_those_who_have_most_by_weight_never_below_what_is_allowed() -> None:
    """One with twice the RAM gives first; together they never go below their allowances, whatever is short."""
    small, large = source("small", balloon_min_bytes=256 * MIB), source("large", ram_bytes=2 * GIB)
    assert asked(Short.RAM, 508 * MIB, small, large) == [("balloon", "large", 512 * MIB)]
    assert asked(Short.RAM, 1532 * MIB, small, large) == [
        ("balloon", "large", 1280 * MIB),
        ("balloon", "small", 256 * MIB),
    ]
    assert asked(Short.RAM, 64 * GIB, small, large) == [
        ("balloon", "large", 1536 * MIB),
        ("balloon", "small", 768 * MIB),
    ]


def test_no_balloon_without_the_operators_word() -> None:
    """A guest whose operator set no least RAM is never asked for any."""
    assert asked(Short.RAM, GIB, source(balloon_min_bytes=None)) == []


def test_ram_serves_overhead_only_where_the_reserve_is_what_ram_leaves() -> None:
    """A reserve that was set as a size stays what it is: RAM that came back would not make it larger."""
    one = source(cache_bytes=None)
    assert asked(Short.OVERHEAD, 100 * MIB, one) == [("balloon", "a", 104 * MIB)]
    assert asked(Short.OVERHEAD, 100 * MIB, one, settings=Settings()) == []


def test_swap_serves_only_a_host_short_of_memory_where_it_is_allowed_and_free() -> None:
    """What is swapped stays overhead, so it is used for nothing but bytes that are missing now."""
    swap = dataclasses.replace(REST, reclaim=Reclaim.SWAP)
    one = source(balloon_min_bytes=None)
    assert asked(Short.MEMORY_NOW, 60 * MIB, one, settings=swap) == [("swap", "a", 60 * MIB)]
    assert asked(Short.MEMORY_NOW, 60 * MIB, one, settings=swap, swap_free_bytes=10 * MIB) == [("swap", "a", 10 * MIB)]
    for free in (0, None):
        assert asked(Short.MEMORY_NOW, 60 * MIB, one, settings=swap, swap_free_bytes=free) == []
    assert asked(Short.MEMORY_NOW, 60 * MIB, one) == []
    assert [ask[0] for ask in asked(Short.OVERHEAD, 60 * MIB, one, settings=swap)] == ["cache"]


@pytest.mark.parametrize("short", list(Short))
def test_off_is_off_and_the_held_and_unknown_are_left_alone(short: Short) -> None:
    """Nothing is asked where it is switched off, of a guest that stands still, or of one that can't be read."""
    every = Settings(reserve=Rest.REST, reclaim=Reclaim.SWAP)
    assert asked(short, GIB, source(), settings=Settings(reclaim=Reclaim.OFF)) == []
    assert asked(short, GIB, source(active=False), settings=every) == []
    unknown = source(cache_bytes=None, swappable_bytes=None, balloon_min_bytes=None)
    assert asked(short, GIB, unknown, settings=every) == []
    assert asked(short, 0, source(), settings=every) == []


def test_what_a_verdict_is_short_of() -> None:
    """A squeezed newcomer is short as well as a refused one; an admitted one of nothing."""
    from tests.unit.decide.samples import newcomer

    verdict = returned(newcomer(), MIB, MIB, "")
    assert shortage(verdict) is None
    for kind in (VerdictKind.REFUSE, VerdictKind.SQUEEZE, VerdictKind.RECREATE, VerdictKind.WAIT):
        short = dataclasses.replace(verdict, kind=kind, short_bytes=7, short_of="overhead")
        assert shortage(short) == (Short.OVERHEAD, 7)


def test_lending_takes_the_limit_down_and_leaves_the_grant() -> None:
    """The guest's own limit falls by what came back: from then on the kernel keeps it to its smaller promise."""
    one = guest("a", ram_bytes=GIB, grant_bytes=200 * MIB, overhead_bytes=100 * MIB, limit_bytes=GIB + 300 * MIB)
    step = lending(one, 256 * MIB, REST, 1000.0, 4096)
    assert step is not None
    assert (step.from_bytes, step.to_bytes) == (GIB + 300 * MIB, GIB + 44 * MIB)
    assert step.grant_from_bytes == step.grant_to_bytes == 200 * MIB
    assert step.floor_bytes <= step.to_bytes


def test_nothing_is_lent_by_a_guest_whose_use_limit_or_freedom_is_not_known() -> None:
    """Unknown use, no limit or a hold: then its promise stays as it is (P6)."""
    one = guest("a", ram_bytes=GIB, grant_bytes=200 * MIB, overhead_bytes=100 * MIB, limit_bytes=GIB + 300 * MIB)
    for other in (
        dataclasses.replace(one, overhead_bytes=None),
        dataclasses.replace(one, limit_bytes=UNLIMITED),
        dataclasses.replace(one, held=True),
    ):
        assert lending(other, 256 * MIB, REST, 1000.0, 4096) is None
    assert lending(one, 0, REST, 1000.0, 4096) is None


def test_ram_goes_back_to_all_lenders_by_weight_within_what_is_spare() -> None:
    """What nobody needs goes to whoever lent, equal by weight, and never more than was lent or is there."""
    a = dataclasses.replace(guest("a"), weight=1, lent_ram_bytes=100 * MIB)
    b = dataclasses.replace(guest("b"), weight=1, lent_ram_bytes=400 * MIB)
    assert given_back((a, b), 300 * MIB, 4096) == {"a": 100 * MIB, "b": 200 * MIB}
    assert given_back((a, b), 900 * MIB, 4096) == {"a": 100 * MIB, "b": 400 * MIB}
    assert given_back((a, b), MIB, 4096) == {}
    assert given_back((dataclasses.replace(a, held=True),), GIB, 4096) == {}
    assert Means.BALLOON.value == "balloon"
