"""The short way through ``memory.stat`` says what the long one says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.readers.recordedfiles import recorded

from guestroom.attribute.leaf import leaf_parts
from guestroom.attribute.memstat import locked_file_bytes, parse_memory_stat
from guestroom.errors import ReadError

_LINES = ("rss", "shmem", "cache", "swap", "swapcached", "unevictable", "active_file", "inactive_file")


def the_long_way(text: str) -> tuple[int, int]:
    """By the parser that reads everything."""
    total = parse_memory_stat("f", text).total
    assert total.anon_bytes is not None
    assert total.shmem_bytes is not None
    assert total.cache_bytes is not None
    pinned = total.anon_bytes + total.shmem_bytes + (total.swap_bytes or 0) + (locked_file_bytes(total) or 0)
    return pinned, max(0, total.cache_bytes - total.shmem_bytes - (total.swapcached_bytes or 0))


@pytest.mark.parametrize("name", ["guest/memory.stat", "guest/ram/memory.stat", "guest/vmm/memory.stat"])
def test_recorded_files(name: str) -> None:
    """On real files both ways agree, locked page cache included."""
    text = recorded(name)
    assert leaf_parts("f", text) == the_long_way(text)


@given(st.lists(st.integers(0, 2**50), min_size=8, max_size=8))
def test_any_figures(values: list[int]) -> None:
    """On any figures both ways agree."""
    own = [f"{line} {7 * value + 1}" for line, value in zip(_LINES, values, strict=True)]
    total = [f"total_{line} {value}" for line, value in zip(_LINES, values, strict=True)]
    text = "\n".join([*own, *total, ""])
    assert leaf_parts("f", text) == the_long_way(text)


def test_what_is_missing_or_no_number() -> None:
    """Without one of its lines there is no answer; a line that is no number is an error with its name."""
    text = recorded("guest/vmm/memory.stat")
    assert leaf_parts("f", text.replace("total_rss ", "total_other ")) is None
    with pytest.raises(ReadError, match="total_shmem"):
        leaf_parts("f", text.replace("total_shmem ", "total_shmem x"))
