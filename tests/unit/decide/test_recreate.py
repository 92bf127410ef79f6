"""Which guests are recreated: as few as possible, the smallest that is enough, always the same ones."""

from __future__ import annotations

from dataclasses import replace

from guestroom.decide.recreate import victims

from .samples import M, guest, settings

PAGE = 4096


def candidate(name: str, use: int, ram: int = 512, back: int = 100) -> object:
    """A recreatable guest that gives ``use - back`` MiB."""
    return guest(
        name,
        ram_bytes=ram * M,
        grant_bytes=use * M,
        use_bytes=use * M,
        recreatable=True,
        recreate_need_bytes=back * M,
    )


def chosen(short: int, *guests: object) -> list[str]:
    """Names of the victims for ``short`` MiB."""
    return [claim.name for claim in victims(guests, short * M, settings(), 1e6, PAGE)]  # type: ignore[arg-type]


def test_one_that_is_enough_is_taken_alone() -> None:
    """One guest that gives enough is better than two that together do."""
    assert chosen(200, candidate("A", 250), candidate("B", 250), candidate("C", 300)) == ["C"]


def test_of_several_that_are_enough_the_smallest_guest_is_taken() -> None:
    """A small guest's reset harms least; between equals the name decides."""
    assert chosen(100, candidate("A", 300, ram=1024), candidate("B", 250, ram=256)) == ["B"]
    assert chosen(100, candidate("B", 300), candidate("A", 300)) == ["A"]


def test_as_few_as_possible_are_taken() -> None:
    """Those that give most come first, the last is the smallest that completes the sum."""
    guests = [candidate("A", 200), candidate("B", 300), candidate("C", 250, ram=256), candidate("D", 250)]
    assert chosen(350, *guests) == ["B", "C"]


def test_if_all_together_are_not_enough_nobody_is_stopped() -> None:
    """No guest is reset for nothing."""
    assert chosen(500, candidate("A", 200), candidate("B", 300)) == []


def test_one_that_would_give_nothing_is_no_victim() -> None:
    """A guest that comes back with what it has now is left alone."""
    assert chosen(1, candidate("A", 100, back=100)) == []


def test_the_claim_is_what_it_comes_back_with() -> None:
    """A victim's floor in the division is its recreate need in whole pages, its use is gone with it."""
    (claim,) = victims([candidate("A", 300, back=100)], 100 * M, settings(), 1e6, PAGE)  # type: ignore[list-item]
    assert (claim.floor_bytes, claim.cap_bytes) == (100 * M, None)


def test_exactly_enough_is_enough() -> None:
    """The boundary: 200 MiB short and 200 given takes one guest, a page more takes two."""
    guests = [candidate("A", 300), candidate("B", 150)]
    assert chosen(200, *guests) == ["A"]
    assert [c.name for c in victims(guests, 200 * M + 1, settings(), 1e6, PAGE)] == ["A", "B"]  # type: ignore[arg-type]


def test_a_victim_comes_back_under_its_cap() -> None:
    """Its cap stays, and what it needs within the cap is its floor."""
    capped = replace(candidate("A", 300, back=400), cap_bytes=250 * M)  # type: ignore[type-var]
    (claim,) = victims([capped], 50 * M, settings(), 1e6, PAGE)  # type: ignore[list-item]
    assert (claim.floor_bytes, claim.cap_bytes) == (250 * M, 250 * M)
    roomy = replace(candidate("A", 300, back=100), cap_bytes=500 * M)  # type: ignore[type-var]
    (claim,) = victims([roomy], 50 * M, settings(), 1e6, PAGE)  # type: ignore[list-item]
    assert (claim.floor_bytes, claim.cap_bytes) == (100 * M, 500 * M)
