"""Reclaim and swap: dropping page cache never swaps, whatever happens the settings are as before."""

from __future__ import annotations

import errno

import pytest

from guestroom.apply.swap import swap_out, without_swap
from guestroom.apply.upkeep import drop_cache
from guestroom.errors import HostError


class FakeFiles:
    """Control files as a dict; ``fails`` gives the error number of a write."""

    def __init__(self, files: dict[str, str], fails: dict[str, int] | None = None) -> None:
        self.files = files
        self.fails = fails or {}
        self.writes: list[tuple[str, str]] = []

    def read(self, path: str) -> str:
        """Its text."""
        if path not in self.files:
            raise OSError(errno.ENOENT, "no such file", path)
        return self.files[path]

    def write(self, path: str, value: str) -> None:
        """Keep it, or fail."""
        if number := self.fails.get(path):
            raise OSError(number, "refused", path)
        self.writes.append((path, value))
        self.files[path] = value

    mkdir = rmdir = list_dirs = inode = None


def test_v1_cache_is_dropped_with_the_way_to_swap_closed() -> None:
    """``force_empty`` runs at swappiness 0 and the former value is back afterwards."""
    files = FakeFiles({"/g/memory.swappiness": "60\n"})
    assert drop_cache(files, "/g", 1).ok  # type: ignore[arg-type]
    assert files.writes == [
        ("/g/memory.swappiness", "0"),
        ("/g/memory.force_empty", "0"),
        ("/g/memory.swappiness", "60"),
    ]


def test_v2_cache_is_dropped_with_no_more_swap_than_there_is() -> None:
    """``memory.reclaim`` runs with ``memory.swap.max`` at what is swapped already."""
    files = FakeFiles(
        {
            "/g/memory.swap.max": "max\n",
            "/g/memory.swap.current": "4096\n",
            "/g/memory.stat": "active_file 8192\ninactive_file 0\nslab_reclaimable 0\n",
        }
    )
    assert drop_cache(files, "/g", 2).ok  # type: ignore[arg-type]
    assert files.writes == [
        ("/g/memory.swap.max", "4096"),
        ("/g/memory.reclaim", "8192"),
        ("/g/memory.swap.max", "max"),
    ]


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EIO])
def test_the_way_to_swap_is_open_again_when_reclaim_fails(number: int) -> None:
    """An error in between leaves nothing closed."""
    files = FakeFiles({"/g/memory.swappiness": "60\n"}, {"/g/memory.force_empty": number})
    drop_cache(files, "/g", 1)  # type: ignore[arg-type]
    assert files.writes[-1] == ("/g/memory.swappiness", "60")


def test_nothing_is_reclaimed_where_swap_can_not_be_closed() -> None:
    """A refused write ends it before any memory is taken."""
    files = FakeFiles({"/g/memory.swappiness": "60\n"}, {"/g/memory.swappiness": errno.EACCES})
    assert not drop_cache(files, "/g", 1).ok  # type: ignore[arg-type]
    assert files.writes == []


@pytest.mark.parametrize("present", [{}, {"/g/memory.swappiness": "0\n"}])
def test_no_write_where_nothing_could_be_swapped(present: dict[str, str]) -> None:
    """A kernel without swap accounting, and a cgroup that never swaps, are left as they are."""
    files = FakeFiles(dict(present))
    with without_swap(files, "/g", 1):  # type: ignore[arg-type]
        pass
    assert files.writes == []


def test_swapping_out_asks_for_so_much_where_the_kernel_can_be_asked() -> None:
    """v2 is asked for bytes, v1 knows only all; falling short is no error, anything else is."""
    files = FakeFiles({})
    swap_out(files, "/g", 1 << 20, 2)  # type: ignore[arg-type]
    swap_out(files, "/g", 1 << 20, 1)  # type: ignore[arg-type]
    assert files.writes == [("/g/memory.reclaim", "1048576"), ("/g/memory.force_empty", "0")]
    swap_out(FakeFiles({}, {"/g/memory.reclaim": errno.EAGAIN}), "/g", 1, 2)  # type: ignore[arg-type]
    with pytest.raises(HostError):
        swap_out(FakeFiles({}, {"/g/memory.reclaim": errno.EACCES}), "/g", 1, 2)  # type: ignore[arg-type]
