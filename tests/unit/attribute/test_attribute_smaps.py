"""Telling guest RAM from the other RAM blocks."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from guestroom.attribute.smaps import Vma, anonymous_bytes, guest_ram, hugetlb_bytes, ram_blocks
from guestroom.units import KIB, MIB

PAGE = 4 * KIB


def vma(start: int, size: int, *, rss: int | None = None, flags: str = "rd wr dc", perms: str = "rw-p") -> Vma:
    """An anonymous mapping, resident in full unless said."""
    resident = size if rss is None else rss
    return Vma(
        start=start,
        size_bytes=size,
        perms=perms,
        name="",
        rss_bytes=resident,
        anonymous_bytes=resident,
        swap_bytes=0,
        ksm_bytes=0,
        private_hugetlb_bytes=0,
        shared_hugetlb_bytes=0,
        flags=frozenset(flags.split()),
    )


RAM = vma(1 << 32, 64 * MIB)
VGA = vma(2 << 32, 16 * MIB, rss=8 * MIB)
HEAP = vma(1 << 20, 64 * MIB, flags="rd wr")


def test_block_of_the_right_size_is_ram() -> None:
    """The RAM block counts; a video block of another size and a heap of the same size do not."""
    found = guest_ram([HEAP, RAM, VGA], (64 * MIB,))
    assert found is not None
    assert found.resident_bytes == 64 * MIB


def test_several_blocks_add_up() -> None:
    """A machine with two memory backends has the sum of both."""
    found = guest_ram([RAM, vma(3 << 32, 32 * MIB, rss=PAGE), VGA], (64 * MIB, 32 * MIB))
    assert found is not None
    assert found.resident_bytes == 64 * MIB + PAGE


def test_two_blocks_of_one_size_both_count() -> None:
    """Two backends of the same size are both found, whatever each holds."""
    other = vma(3 << 32, 64 * MIB, rss=PAGE)
    found = guest_ram([RAM, other, VGA], (64 * MIB, 64 * MIB))
    assert found is not None
    assert found.resident_bytes == 64 * MIB + PAGE


def test_video_block_of_the_same_size_is_ambiguous() -> None:
    """A 16 MiB guest can't be told from its 16 MiB video memory: unknown, not a guess."""
    ram = vma(3 << 32, 16 * MIB)
    assert guest_ram([ram, VGA], (16 * MIB,)) is None


def test_ambiguity_that_changes_nothing_is_none() -> None:
    """Where all candidates hold exactly the same, any of them gives the right figure."""
    twin = replace(VGA, start=5 << 32)
    found = guest_ram([twin, VGA], (16 * MIB,))
    assert found is not None
    assert found.resident_bytes == 8 * MIB


def test_block_that_is_not_there_is_unknown() -> None:
    """A missing block, or no sizes to look for, is unknown and not 0."""
    assert guest_ram([RAM], (64 * MIB, 32 * MIB)) is None
    assert guest_ram([RAM], ()) is None
    assert guest_ram([HEAP], (64 * MIB,)) is None


def test_pieces_that_touch_are_one_block() -> None:
    """madvise splits a block into mappings that touch; what is kept apart by a gap is not joined."""
    pieces = [vma(1 << 32, 32 * MIB, rss=0), vma((1 << 32) + 32 * MIB, 32 * MIB)]
    assert [len(run) for run in ram_blocks(reversed(pieces))] == [2]
    found = guest_ram(pieces, (64 * MIB,))
    assert found is not None
    assert found.resident_bytes == 32 * MIB
    gap = [pieces[0], replace(pieces[1], start=pieces[1].start + PAGE)]
    assert guest_ram(gap, (64 * MIB,)) is None


def test_hugetlb_is_counted_apart() -> None:
    """RAM in hugetlb pages is no resident memory of a memory cgroup."""
    huge = replace(RAM, rss_bytes=0, anonymous_bytes=0, private_hugetlb_bytes=64 * MIB)
    found = guest_ram([huge], (64 * MIB,))
    assert found is not None
    assert (found.resident_bytes, found.hugetlb_bytes) == (0, 64 * MIB)
    assert hugetlb_bytes([huge, VGA]) == 64 * MIB


def test_merged_and_swapped_pages_are_said() -> None:
    """KSM and swap of the RAM are summed over its pieces; one piece without a KSM figure makes it unknown."""
    pieces = [
        replace(vma(1 << 32, 32 * MIB, rss=16 * MIB), ksm_bytes=PAGE, swap_bytes=16 * MIB),
        replace(vma((1 << 32) + 32 * MIB, 32 * MIB), ksm_bytes=2 * PAGE),
    ]
    found = guest_ram(pieces, (64 * MIB,))
    assert found is not None
    assert (found.ksm_bytes, found.swap_bytes) == (3 * PAGE, 16 * MIB)
    unknown = guest_ram([pieces[0], replace(pieces[1], ksm_bytes=None)], (64 * MIB,))
    assert unknown is not None
    assert unknown.ksm_bytes is None


@given(
    cuts=st.sets(st.integers(1, 63), max_size=8),
    resident=st.lists(st.integers(0, 256), min_size=9, max_size=9),
    order=st.randoms(use_true_random=False),
)
def test_however_a_block_is_cut_its_ram_is_the_sum(cuts: set[int], resident: list[int], order: object) -> None:
    """Any way of cutting a block into mappings, listed in any order, gives the same block and the sum of its pages."""
    edges = [0, *sorted(cuts), 64]
    pieces = [
        vma((1 << 32) + at * MIB, (to - at) * MIB, rss=pages * PAGE)
        for at, to, pages in zip(edges, edges[1:], resident, strict=False)
    ]
    shuffled = [*pieces, HEAP, VGA]
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    found = guest_ram(shuffled, (64 * MIB,))
    assert found is not None
    assert found.resident_bytes == sum(piece.rss_bytes for piece in pieces)
    assert anonymous_bytes(shuffled) == found.anonymous_bytes + HEAP.anonymous_bytes + VGA.anonymous_bytes
