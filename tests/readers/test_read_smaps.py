"""``smaps`` of a real QEMU."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recordedfiles import recorded

from guestroom.attribute.smaps import (
    anonymous_bytes,
    guest_ram,
    guest_ram_blocks,
    hugetlb_bytes,
    parse_smaps,
    ram_blocks,
)
from guestroom.errors import ReadError
from guestroom.units import KIB, MIB

PATH = "/proc/1/smaps"
TEXT = recorded("proc/qemu/smaps")
RAM = 256 * MIB


def test_recorded_file_gives_every_mapping() -> None:
    """Every mapping of the recorded file is there, with the sums that awk gives."""
    vmas = parse_smaps(PATH, TEXT)
    assert len(vmas) == len(re.findall(r"(?m)^VmFlags:", TEXT)) == 31
    for name, got in (("Rss", sum(v.rss_bytes for v in vmas)), ("Anonymous", anonymous_bytes(vmas))):
        assert got == sum(int(kb) for kb in re.findall(rf"(?m)^{name}: +(\d+) kB", TEXT)) * KIB
    assert hugetlb_bytes(vmas) == 0


def test_guest_ram_is_told_from_the_other_ram_blocks() -> None:
    """Of the RAM blocks that a bare q35 has, the one of the machine's memory is found, in full."""
    vmas = parse_smaps(PATH, TEXT)
    sizes = [sum(vma.size_bytes for vma in run) for run in ram_blocks(vmas)]
    assert sorted(sizes) == [4 * KIB, 64 * KIB, 128 * KIB, 256 * KIB, 2 * MIB, RAM]
    ram = guest_ram(vmas, (RAM,))
    assert ram is not None
    assert (ram.resident_bytes, ram.anonymous_bytes, ram.swap_bytes, ram.ksm_bytes) == (RAM, RAM, 0, 0)


def test_marks_of_other_mappings() -> None:
    """Code buffer, heap and guard pages keep the marks by which they are told."""
    vmas = parse_smaps(PATH, TEXT)
    code = [vma for vma in vmas if vma.executable and not vma.name]
    assert [vma.size_bytes for vma in code] == [32 * MIB - 4 * KIB]
    heap = next(vma for vma in vmas if vma.name == "[heap]")
    assert not heap.shared
    assert not heap.ram_block
    assert heap.perms == "rw-p"


def test_ended_process_has_no_mappings() -> None:
    """A process that has ended reads as empty text, which is no mappings and no guest RAM, not an error."""
    assert parse_smaps(PATH, "") == ()
    assert guest_ram((), (RAM,)) is None


def test_missing_ksm_figure_is_unknown() -> None:
    """Kernels before 6.8 print no KSM line: how much was merged is then None, not 0."""
    old = re.sub(r"(?m)^KSM:.*\n", "", TEXT)
    ram = guest_ram(parse_smaps(PATH, old), (RAM,))
    assert ram is not None
    assert ram.ksm_bytes is None


def test_unknown_figures_are_passed_over() -> None:
    """A figure of a newer kernel changes nothing."""
    newer = TEXT.replace("THPeligible:", "Shiny_New:             12 kB\nTHPeligible:")
    assert parse_smaps(PATH, newer) == parse_smaps(PATH, TEXT)


@pytest.mark.parametrize(
    ("pattern", "replacement", "why"),
    [
        (r"^Rss: +\d+ kB", "Rss:  12 MB", "N kB"),
        (r"^Rss: +\d+ kB", "Rss:  -1 kB", "N kB"),
        (r"^Rss: .*\n", "", "lacks Size, Rss or Anonymous"),
        (r"^Anonymous: .*\n", "", "lacks Size, Rss or Anonymous"),
        (r"^VmFlags: .*\n", "", "neither a mapping nor a figure"),
        (r"^VmFlags: .*", "VmFlags: rd\x00 wr", "not words"),
        (r"^Size: +\d+ kB", "Size:  4 kB", "says its size is"),
        (r"^55a390294000-", "55a390294zzz-", "neither a mapping nor a figure"),
        (r"\A", "Rss:  12 kB\n", "N kB"),
        (r"\A", "VmFlags: rd\n", "no mapping"),
        (r"\A", "hello\n", "neither a mapping nor a figure"),
        (r"^VmFlags: .*\n\Z", "", "has no VmFlags"),
    ],
)
def test_malformed_text_is_named(pattern: str, replacement: str, why: str) -> None:
    """A malformed line is an error with its place; nothing is guessed."""
    with pytest.raises(ReadError, match=why) as caught:
        parse_smaps(PATH, re.sub(f"(?m){pattern}", replacement, TEXT, count=1))
    assert re.fullmatch(rf"{PATH}:\d+", caught.value.where or "")


def test_cut_off_text_is_an_error() -> None:
    """A read that ended in the middle is never taken for a smaller process."""
    whole = [found.end() for found in re.finditer(r"(?m)^VmFlags:.*\n", TEXT)]
    inside_flags = [end - 8 for end in whole]
    for cut in {*range(1, len(TEXT), 1500), *inside_flags} - set(whole):
        with pytest.raises(ReadError):
            parse_smaps(PATH, TEXT[:cut])


def test_split_block_is_still_one_block() -> None:
    """A block that madvise split into three mappings is found as one, with the sum of what they hold."""
    start = 0x7F2D61E00000
    block = next(b for b in re.split(r"(?m)(?=^[0-9a-f]+-[0-9a-f]+ )", TEXT) if b.startswith(f"{start:x}"))
    pieces = ""
    at = start
    for size in (64 * MIB, 2 * MIB, 190 * MIB):
        piece = re.sub(r"^\S+", f"{at:x}-{at + size:x}", block, count=1)
        for name in ("Size", "Rss", "Anonymous"):
            piece = re.sub(rf"(?m)^{name}: +\d+ kB", f"{name}: {size // KIB} kB", piece)
        pieces += piece
        at += size
    vmas = parse_smaps(PATH, TEXT.replace(block, pieces))
    runs = guest_ram_blocks(vmas, (RAM,))
    assert runs is not None
    assert [len(run) for run in runs] == [3]
    ram = guest_ram(vmas, (RAM,))
    assert ram is not None
    assert ram.resident_bytes == RAM


def test_three_hundred_mappings_are_parsed_fast() -> None:
    """A QEMU's 300 mappings take a few milliseconds, so that counting a guest's RAM costs less than the kernel's part.

    The bound is ten times what was measured, as other work may share the machine.
    """
    big = TEXT * 10
    best = min(_seconds(big) for _ in range(5))
    assert best < 0.03


def _seconds(text: str) -> float:
    started = time.perf_counter()
    parse_smaps(PATH, text)
    return time.perf_counter() - started


_LINES = TEXT.split("\n")


@given(
    st.text(max_size=300)
    | st.lists(st.sampled_from(_LINES[:60]) | st.text(max_size=30), max_size=60).map("\n".join)
    | st.tuples(st.integers(0, 70), st.text(max_size=40)).map(
        lambda at: "\n".join([*_LINES[: at[0]], at[1], *_LINES[at[0] : 75]])
    )
)
@settings(max_examples=300)
def test_any_text_gives_mappings_or_a_read_error(text: str) -> None:
    """Whatever the file says, the answer is mappings or this package's own error."""
    try:
        vmas = parse_smaps(PATH, text)
    except ReadError:
        return
    assert all(vma.size_bytes >= 0 and vma.rss_bytes >= 0 for vma in vmas)
