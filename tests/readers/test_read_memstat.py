"""``memory.stat`` as a real kernel prints it."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recordedfiles import recorded

from guestroom.attribute.memstat import MemStatFigures, locked_file_bytes, parse_memory_stat
from guestroom.errors import ReadError

PATH = "/cg/memory.stat"
FIELD_OF = {
    "rss": "anon_bytes",
    "rss_huge": "anon_huge_bytes",
    "cache": "cache_bytes",
    "shmem": "shmem_bytes",
    "swap": "swap_bytes",
    "swapcached": "swapcached_bytes",
    "active_file": "active_file_bytes",
    "inactive_file": "inactive_file_bytes",
    "unevictable": "unevictable_bytes",
}


def test_recorded_file_gives_every_figure() -> None:
    """Every figure of a recorded file is the one that grep finds in it."""
    stat = parse_memory_stat(PATH, recorded("guest/vmm/memory.stat"))
    assert stat.total == MemStatFigures(
        anon_bytes=12484608,
        anon_huge_bytes=0,
        cache_bytes=21987328,
        shmem_bytes=5242880,
        swap_bytes=0,
        swapcached_bytes=0,
        active_file_bytes=1327104,
        inactive_file_bytes=13320192,
        unevictable_bytes=2097152,
    )
    assert stat.hierarchical_limit_bytes == 700 << 20


def test_totals_and_own_figures_are_kept_apart() -> None:
    """A folder that only has children holds nothing itself, and its totals are the sum of theirs."""
    guest, ram, vmm = (parse_memory_stat(PATH, recorded(f"guest{child}/memory.stat")) for child in ("", "/ram", "/vmm"))
    assert guest.own.anon_bytes == 0
    assert ram.total.anon_bytes is not None
    assert vmm.total.anon_bytes is not None
    assert guest.total.anon_bytes == ram.total.anon_bytes + vmm.total.anon_bytes


@pytest.mark.parametrize(("line", "field"), FIELD_OF.items())
def test_missing_line_is_unknown(line: str, field: str) -> None:
    """A line this kernel does not print makes exactly that figure None, never 0."""
    text = "".join(
        kept for kept in recorded("guest/vmm/memory.stat").splitlines(True) if not kept.startswith(f"total_{line} ")
    )
    total = parse_memory_stat(PATH, text).total
    assert {f.name for f in fields(total) if getattr(total, f.name) is None} == {field}


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("total_rss", "name bytes"),
        ("total_rss -1", "name bytes"),
        ("total_rss 12kB", "name bytes"),
        ("total_rss  12", "name bytes"),
        ("total_rss ٣", "name bytes"),
        (" 12", "name bytes"),
        ("total_rss " + "9" * 5000, "name bytes"),
        ("total_cache 1\ntotal_cache 2", "twice"),
    ],
)
def test_malformed_line_is_named(bad: str, why: str) -> None:
    """A malformed line is an error that says which line and what was found there."""
    with pytest.raises(ReadError, match=why) as caught:
        parse_memory_stat(PATH, f"cache 1\n{bad}\n")
    last = 1 + len(bad.split("\n"))
    assert caught.value.where == f"{PATH}:{last}"
    assert bad.split("\n")[-1][:20].strip() in caught.value.message


def test_locked_page_cache_is_found() -> None:
    """The kernel's own count of locked file pages is what is off the file lists (2 MiB of the 3 it was told to lock:
    one large folio was mapped only in part)."""
    total = parse_memory_stat(PATH, recorded("guest/vmm/memory.stat")).total
    assert locked_file_bytes(total) == 2 << 20


def test_locked_page_cache_is_never_negative_nor_more_than_locked() -> None:
    """Pages still in per-CPU batches make the lists and the cache differ by a little either way."""
    base = {f.name: 0 for f in fields(MemStatFigures)}
    ahead = MemStatFigures(**(base | {"cache_bytes": 100, "active_file_bytes": 130, "unevictable_bytes": 50}))
    behind = MemStatFigures(**(base | {"cache_bytes": 130, "active_file_bytes": 100, "unevictable_bytes": 0}))
    anonymous = MemStatFigures(**(base | {"cache_bytes": 100, "active_file_bytes": 90, "unevictable_bytes": 5000}))
    swapped = MemStatFigures(**(base | {"cache_bytes": 90, "swapcached_bytes": 90, "unevictable_bytes": 5000}))
    assert [locked_file_bytes(figures) for figures in (ahead, behind, anonymous, swapped)] == [0, 0, 10, 0]


@given(st.text(max_size=200) | st.from_regex(r"([a-z_]{1,8} [0-9]{0,25}\n){0,5}.{0,3}", fullmatch=True))
@settings(max_examples=200)
def test_any_text_gives_figures_or_a_read_error(text: str) -> None:
    """Whatever the file says, the answer is figures or this package's own error."""
    try:
        stat = parse_memory_stat(PATH, text)
    except ReadError:
        return
    assert all((getattr(stat.total, f.name) or 0) >= 0 for f in fields(stat.total))
