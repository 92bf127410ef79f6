"""An independent count of what a cgroup holds: page by page, over all of the machine's memory.

``/proc/kpagecgroup`` says for each physical page which memory cgroup it is charged to (kernel
Documentation/admin-guide/mm/pagemap.rst). It shares nothing with ``memory.stat`` or smaps, so it is what ``explain`` is
checked against. Root only, and half a second for 24 GiB: never part of the agent's loop.

Older kernels name the owner of a huge page at its first page only (measured on Linux 6.1: 511 of 512 pages say 0; on
6.18 all say it), so pages without an owner behind one with are looked up in ``/proc/kpageflags``.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Collection, Iterator
from pathlib import Path

from guestroom.errors import ReadError, from_read
from guestroom.units import PAGE_BYTES

_FILE = "/proc/kpagecgroup"
_FLAGS = "/proc/kpageflags"
_CHUNK_BYTES = 1 << 23
_ENTRY_BYTES = 8
_TAIL = 1 << 16
"""``KPF_COMPOUND_TAIL`` (include/uapi/linux/kernel-page-flags.h)."""
_AT_ONCE = 512
"""Flags read at once: the pages of a huge page on x86-64."""


def charged_bytes(cgroup_inodes: Collection[int]) -> int:
    """Bytes in pages charged to the cgroups with these inodes: anonymous, page cache, shmem and page tables.

    Slab is charged by the object and does not show. Raises ``ReadError`` where the kernel has no such file or it may
    not be read.
    """
    pages = 0
    first = 0
    try:
        with Path(_FILE).open("rb", buffering=0) as file, Path(_FLAGS).open("rb", buffering=0) as flags:
            while chunk := file.read(_CHUNK_BYTES):
                owners = array("Q")
                owners.frombytes(chunk[: len(chunk) // _ENTRY_BYTES * _ENTRY_BYTES])
                for inode in cgroup_inodes:
                    pages += owners.count(inode)
                    pages += sum(_tails(flags.fileno(), first + last + 1) for last in _last_owned(chunk, inode))
                first += len(owners)
    except FileNotFoundError as error:
        raise ReadError(error.filename, "this kernel has no such file (CONFIG_PROC_PAGE_MONITOR)") from error
    except OSError as error:
        raise from_read(error, error.filename or _FILE) from error
    return pages * PAGE_BYTES


def _last_owned(chunk: bytes, inode: int) -> Iterator[int]:
    """Indexes in ``chunk`` of pages of ``inode`` with a page of nobody behind them."""
    pattern = array("Q", (inode, 0)).tobytes()
    at = chunk.find(pattern)
    while at >= 0:
        if at % _ENTRY_BYTES == 0:
            yield at // _ENTRY_BYTES
        at = chunk.find(pattern, at + 1)


def _tails(flags_fd: int, index: int) -> int:
    """How many pages from ``index`` on belong to the compound page before it."""
    count, wanted = 0, 1
    while True:
        found = array("Q")
        read = os.pread(flags_fd, wanted * _ENTRY_BYTES, (index + count) * _ENTRY_BYTES)
        found.frombytes(read[: len(read) // _ENTRY_BYTES * _ENTRY_BYTES])
        for value in found:
            if not value & _TAIL:
                return count
            count += 1
        if not found:
            return count
        wanted = _AT_ONCE


def inodes(folder: str) -> tuple[int, ...]:
    """Inodes of a cgroup and of those below it. Raises ``ReadError``."""
    try:
        top = Path(folder)
        return tuple(path.stat().st_ino for path in (top, *(p for p in top.rglob("*") if p.is_dir())))
    except OSError as error:
        raise from_read(error, folder) from error
