"""Reclaim and the host's swap: kept apart where page cache is meant, used where swap is meant.

``memory.force_empty`` (v1) and ``memory.reclaim`` (v2) take anonymous memory as gladly as page cache once the host has
swap: 40 MiB of a process's own memory went out in one ``force_empty``, which took 550 ms (measured on 6.18, zram).
For a guest that would be QEMU's heap, or its RAM. So whoever wants page cache closes the way to swap first.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from guestroom.apply.applier import read_text, write_text
from guestroom.apply.cgroup2 import RECLAIM_FILE
from guestroom.apply.writes2 import SWAP_FILE
from guestroom.errors import ReadError, VanishedError, from_write
from guestroom.layout import Version

if TYPE_CHECKING:
    from guestroom.ports import Files

SWAPPINESS_FILE = "memory.swappiness"
SWAP_USE_FILE = "memory.swap.current"
EMPTY_FILE = "memory.force_empty"


@contextmanager
def without_swap(files: Files, path: str, version: Version) -> Iterator[None]:
    """Inside, reclaim of the cgroup at ``path`` takes no anonymous memory; afterwards all is as before.

    v1: ``memory.swappiness`` 0, at which a cgroup's own reclaim never looks at anonymous pages (mm/vmscan.c
    ``get_scan_count``; measured: rss unchanged). v2: ``memory.swap.max`` at what is swapped already. Raises
    ``HostError`` where that can't be written: then nothing is reclaimed. A kernel without swap has no such file.
    """
    name = SWAPPINESS_FILE if version == 1 else SWAP_FILE
    try:
        before = read_text(files, f"{path}/{name}").strip()
        closed = "0" if version == 1 else read_text(files, f"{path}/{SWAP_USE_FILE}").strip()
    except (VanishedError, ReadError):
        yield
        return
    if before in ("0", closed):
        yield
        return
    write_text(files, f"{path}/{name}", closed)
    try:
        yield
    finally:
        with suppress(VanishedError):
            write_text(files, f"{path}/{name}", before)


def swap_out(files: Files, path: str, size_bytes: int, version: Version) -> None:
    """Ask the kernel to take ``size_bytes`` of the cgroup at ``path``, anonymous memory included, into swap.

    v2 takes about as much as asked; v1 knows only all or nothing (``memory.force_empty``). Falling short is fine: what
    was gained is looked at afterwards. Raises ``HostError`` otherwise. Blocks while pages are written.
    """
    name, value = (EMPTY_FILE, "0") if version == 1 else (RECLAIM_FILE, str(size_bytes))
    try:
        files.write(f"{path}/{name}", value)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EBUSY, errno.EINTR):
            raise from_write(error, f"{path}/{name}", value) from error
