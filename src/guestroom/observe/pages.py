"""An independent count of what a cgroup holds: page by page, over all of the machine's memory.

``/proc/kpagecgroup`` says for each physical page which memory cgroup it is charged to (kernel
Documentation/admin-guide/mm/pagemap.rst). It shares nothing with ``memory.stat`` or smaps, so it is what ``explain`` is
checked against. Root only, and half a second for 24 GiB: never part of the agent's loop.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection
from pathlib import Path

from guestroom.errors import from_read
from guestroom.units import PAGE_BYTES

_FILE = "/proc/kpagecgroup"
_CHUNK_BYTES = 1 << 23


def charged_bytes(cgroup_inodes: Collection[int]) -> int:
    """Bytes in pages charged to the cgroups with these inodes: anonymous, page cache, shmem and page tables.

    Slab is charged by the object and does not show. Raises ``ReadError`` where the kernel has no such file or it may
    not be read.
    """
    pages = 0
    try:
        with Path(_FILE).open("rb", buffering=0) as file:
            while chunk := file.read(_CHUNK_BYTES):
                owners = array("Q")
                owners.frombytes(chunk[: len(chunk) // 8 * 8])
                pages += sum(owners.count(inode) for inode in cgroup_inodes)
    except OSError as error:
        raise from_read(error, _FILE) from error
    return pages * PAGE_BYTES


def inodes(folder: str) -> tuple[int, ...]:
    """Inodes of a cgroup and of those below it. Raises ``ReadError``."""
    try:
        top = Path(folder)
        return tuple(path.stat().st_ino for path in (top, *(p for p in top.rglob("*") if p.is_dir())))
    except OSError as error:
        raise from_read(error, folder) from error
