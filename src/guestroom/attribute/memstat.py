"""``memory.stat`` of cgroup v1, taken apart.

The file says everything twice: for the cgroup alone and, in the ``total_`` lines, with its children. Limits
hold for the hierarchy, so decisions read ``total_``; the plain lines stay at hand because charges that sit in a
guest's own folder, beside its ``ram`` and ``vmm``, can only be seen there. Pure: text in, figures out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from guestroom.errors import ReadError

_NUMBER = re.compile(r"[0-9]{1,20}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class MemStatFigures:
    """One set of figures, in bytes; ``None`` where this kernel does not print the line.

    Meaning of the lines: kernel Documentation/admin-guide/cgroup-v1/memory.rst section 5.2, and
    mm/memcontrol-v1.c ``memcg1_stats`` for which counter each one is.
    """

    anon_bytes: int | None
    """``rss``: mapped anonymous memory, huge pages included (NR_ANON_MAPPED)."""
    anon_huge_bytes: int | None
    """``rss_huge``: the part of ``rss`` in huge pages."""
    cache_bytes: int | None
    """``cache``: page cache *with* shmem and swap cache (NR_FILE_PAGES)."""
    shmem_bytes: int | None
    """``shmem``: tmpfs, memfd and shared anonymous memory; only swap frees it."""
    swap_bytes: int | None
    """``swap``: printed only where swap is accounted to memory cgroups."""
    swapcached_bytes: int | None
    """``swapcached``: the part of ``cache`` that is a copy of swapped-out memory."""
    active_file_bytes: int | None
    inactive_file_bytes: int | None
    unevictable_bytes: int | None
    """``unevictable``: locked memory of every kind, anonymous, shmem and page cache."""


@dataclass(frozen=True, slots=True)
class MemStat:
    """A whole ``memory.stat``."""

    total: MemStatFigures
    """With children: the ``total_`` lines."""
    own: MemStatFigures
    """The cgroup alone."""
    hierarchical_limit_bytes: int | None
    """``hierarchical_memory_limit``: the smallest limit from here to the root, also where the
    root can't be seen (a container sees only its own part of the tree)."""


def parse_memory_stat(path: str, text: str) -> MemStat:
    """Take apart the text of ``path``.

    Lines this program does not know are skipped, as kernels add some; what is missing becomes ``None``.
    Raises ``ReadError`` with the line for anything that is not ``name number`` or says the same name twice.
    """
    values = stat_lines(path, text)
    return MemStat(
        total=_figures(values, "total_"),
        own=_figures(values, ""),
        hierarchical_limit_bytes=values.get("hierarchical_memory_limit"),
    )


def stat_lines(path: str, text: str) -> dict[str, int]:
    """The file's figures by name. Raises ``ReadError`` with the line."""
    values: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line:
            continue
        name, _, value = line.partition(" ")
        if not name.isidentifier() or not _NUMBER.match(value):
            raise ReadError(path, "a line is not 'name bytes'", line=number, text=line)
        if name in values:
            raise ReadError(path, f"{name!r} stands there twice", line=number, text=line)
        values[name] = int(value)
    return values


def locked_file_bytes(figures: MemStatFigures) -> int | None:
    """Page cache that reclaim can't take because it is locked: bytes, or ``None`` if a needed line is missing.

    ``unevictable`` mixes all locked memory, so the file part is what the file lists do not hold:
    cache - shmem - swap cache - active_file - inactive_file, at most ``unevictable``. The two sides are never
    exact to the page: a page just read sits in a per-CPU batch before it joins a list (mm/swap.c), at most a
    few hundred KiB a CPU, so without any locked memory the answer is 0, and with a locked guest
    (``-overcommit mem-lock=on``) it is too high by that much at worst, never negative.
    """
    unevictable, cache, shmem = figures.unevictable_bytes, figures.cache_bytes, figures.shmem_bytes
    active, inactive = figures.active_file_bytes, figures.inactive_file_bytes
    if unevictable is None or cache is None or shmem is None or active is None or inactive is None:
        return None
    off_the_lists = cache - shmem - (figures.swapcached_bytes or 0) - active - inactive
    return max(0, min(unevictable, off_the_lists))


def _figures(values: dict[str, int], prefix: str) -> MemStatFigures:
    return MemStatFigures(
        anon_bytes=values.get(f"{prefix}rss"),
        anon_huge_bytes=values.get(f"{prefix}rss_huge"),
        cache_bytes=values.get(f"{prefix}cache"),
        shmem_bytes=values.get(f"{prefix}shmem"),
        swap_bytes=values.get(f"{prefix}swap"),
        swapcached_bytes=values.get(f"{prefix}swapcached"),
        active_file_bytes=values.get(f"{prefix}active_file"),
        inactive_file_bytes=values.get(f"{prefix}inactive_file"),
        unevictable_bytes=values.get(f"{prefix}unevictable"),
    )
