"""Facts: plain arithmetic on what was seen, where unknown stays unknown."""

from typing import Any

import pytest

from guestroom.facts import MemoryReading
from guestroom.units import MIB


def reading(**changes: Any) -> MemoryReading:
    """A reading in which every part is known."""
    parts: dict[str, Any] = {
        "path": "/c",
        "at_s": 1.0,
        "usage_bytes": 100 * MIB,
        "limit_bytes": 200 * MIB,
        "peak_bytes": 120 * MIB,
        "failcnt": 0,
        "anon_bytes": 50 * MIB,
        "anon_huge_bytes": 0,
        "file_bytes": 40 * MIB,
        "shmem_bytes": 7 * MIB,
        "kernel_bytes": 3 * MIB,
        "swap_bytes": 0,
        "locked_file_bytes": 0,
        "under_oom": False,
        "how": "test",
    }
    return MemoryReading(**(parts | changes))


def test_page_cache_is_reclaimable_and_nothing_else_is() -> None:
    """Unreclaimable is anonymous + shared + kernel memory, whatever the page cache holds."""
    assert reading().unreclaimable_bytes == 60 * MIB
    assert reading(file_bytes=900 * MIB).unreclaimable_bytes == 60 * MIB
    assert reading(file_bytes=None).unreclaimable_bytes == 60 * MIB


def test_locked_cache_and_swap_count() -> None:
    """Locked page cache can't go, and what is swapped out comes back as anonymous memory."""
    assert reading(locked_file_bytes=2 * MIB, swap_bytes=MIB).unreclaimable_bytes == 63 * MIB


@pytest.mark.parametrize("part", ["anon_bytes", "shmem_bytes", "kernel_bytes"])
def test_an_unknown_part_makes_the_sum_unknown(part: str) -> None:
    """P6: what could not be read is not taken for 0."""
    assert reading(**{part: None}).unreclaimable_bytes is None


@pytest.mark.parametrize("part", ["swap_bytes", "locked_file_bytes"])
def test_parts_a_host_may_not_have_leave_the_sum_known(part: str) -> None:
    """A kernel without swap accounting or locked figures still has an unreclaimable sum."""
    assert reading(**{part: None}).unreclaimable_bytes == 60 * MIB
