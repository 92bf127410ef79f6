"""The simulated memory controller: charging, reclaim, limits, removal.

What it believes is the behaviour of cgroup v1 on kernel 6.18, each point measured by ``tests/kernel``:

- a charge is asked of every limit from the cgroup upwards; where one is short, reclaim runs below it first;
- a limit write reclaims page cache until it fits; if it can't, ``EBUSY``: all or nothing, what was evicted stays so;
- charges stay where they were made when a process moves; a removed cgroup's anonymous memory, shmem and cache stay
  counted in those above it (``total_`` lines and usage), its kernel memory becomes its parent's own.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from guestroom.testing.simcgroup import Kind, MemCgroup, uncharge
from guestroom.units import PAGE_BYTES, UNLIMITED, Limit, round_down, round_up

RECLAIM_BATCH_BYTES = 32 * PAGE_BYTES
"""The kernel never evicts less at a time (``SWAP_CLUSTER_MAX``, mm/vmscan.c)."""

FOLDER_BYTES = 3 * PAGE_BYTES
"""Kernel memory of one memory cgroup on two CPUs (measured: 8 to 16 KiB), charged to the cgroup above."""


def kernel_error(number: int, path: str) -> OSError:
    """The ``OSError`` the kernel would have given: Python picks the subclass by the number."""
    return OSError(number, os.strerror(number), path)


class MemoryController:
    """The tree of memory cgroups of one host with ``total_bytes`` of memory."""

    def __init__(self, root: MemCgroup, total_bytes: int) -> None:
        self.root = root
        self.total_bytes = total_bytes
        self.base_use_bytes = 0
        """Memory in use that no cgroup shows: the host's kernel."""
        self.evicted_bytes = 0
        """Page cache evicted since the beginning."""
        self.crossed: list[Callable[[MemCgroup, int, int], None]] = []
        """Called with (cgroup, usage before, usage after) for it and all above: what thresholds look at."""

    @property
    def free_bytes(self) -> int:
        """Host memory nobody uses."""
        return self.total_bytes - self.base_use_bytes - self.root.usage_bytes

    def charge(self, group: MemCgroup, kind: Kind, size_bytes: int, *, whole: bool = False) -> tuple[int, MemCgroup]:
        """Charge up to ``size_bytes`` to ``group``; return the bytes granted and the cgroup that was short.

        ``whole``: all or nothing (a huge page). Nothing short: the second value is ``group`` itself.
        """
        wanted = round_up(size_bytes)
        granted, short = wanted, group
        for above in group.lineage():
            room = self._room(above, wanted)
            if room < granted:
                granted, short = max(0, round_down(room)), above
        if whole and granted < wanted:
            return 0, short
        if granted:
            before = [(above, above.usage_bytes) for above in group.lineage()]
            group.add(kind, granted)
            for above, use in before:
                for callback in self.crossed:
                    callback(above, use, above.usage_bytes)
        return granted, short

    def _room(self, group: MemCgroup, wanted: int) -> int:
        """Room under ``group``'s limit after reclaim, counted as a failure of the counter when it was short."""
        room = group.room_bytes()
        if room is None:
            room = self.free_bytes if group.parent is None else wanted
        if room >= wanted:
            return room
        if group.parent is not None:
            group.failcnt += 1
        self.reclaim(group, wanted - room)
        after = group.room_bytes()
        return self.free_bytes if after is None else after

    def reclaim(self, group: MemCgroup, want_bytes: int) -> int:
        """Evict at least ``want_bytes`` below ``group`` where it can be had; return the bytes evicted."""
        want = max(want_bytes, RECLAIM_BATCH_BYTES)
        done = 0
        for kind in (Kind.STOCK, Kind.CACHE, Kind.STRANDED):
            # The stock is drained as a whole before anything is evicted.
            for below in list(group.everything()):
                if done >= want and kind is not Kind.STOCK:
                    return done
                done += self._take(below, kind, want - done)
        return done

    def _take(self, group: MemCgroup, kind: Kind, want: int) -> int:
        if kind is Kind.STRANDED:
            taken = group.charged[kind]
            for folio in group.folios:
                folio.stranded_bytes = 0
            group.folios.clear()
        elif kind is Kind.STOCK:
            taken = group.charged[kind]
        else:
            taken = min(group.charged[kind], round_up(want))
            self.evicted_bytes += taken
        if taken:
            group.add(kind, -taken)
        return taken

    def set_limit(self, group: MemCgroup, text: str, path: str, *, memsw: bool = False) -> bool:
        """Write ``memory.limit_in_bytes`` (or ``memsw``); return True when it was raised.

        Raises EINVAL for what is no number, for the root and where memory would exceed memsw; EBUSY when what can't
        be reclaimed is more than the new limit (``mem_cgroup_resize_max``, mm/memcontrol-v1.c).
        """
        new = parse_limit(text, path)
        if group.parent is None:
            raise kernel_error(errno.EINVAL, path)
        smaller, larger = (group.limit_bytes, new) if memsw else (new, group.memsw_limit_bytes)
        if _as_number(smaller) > _as_number(larger):
            raise kernel_error(errno.EINVAL, path)
        raised = _as_number(new) > _as_number(group.memsw_limit_bytes if memsw else group.limit_bytes)
        if isinstance(new, int):
            while group.usage_bytes > new:
                if not self.reclaim(group, group.usage_bytes - new):
                    raise kernel_error(errno.EBUSY, path)
        if memsw:
            group.memsw_limit_bytes = new
        else:
            group.limit_bytes = new
        return raised

    def force_empty(self, group: MemCgroup) -> None:
        """``memory.force_empty``: evict all that can be evicted at and below ``group``."""
        self.reclaim(group, self.total_bytes)

    def make(self, parent: MemCgroup, name: str, inode: int, path: str) -> None:
        """``mkdir``: the kernel's own memory for the child is charged to the parent; ENOMEM where it has no room."""
        granted, _ = self.charge(parent, Kind.KERNEL, FOLDER_BYTES)
        if granted < FOLDER_BYTES:
            uncharge(parent, Kind.KERNEL, granted)
            raise kernel_error(errno.ENOMEM, path)
        parent.children[name] = MemCgroup(name, parent, inode)

    def remove(self, group: MemCgroup) -> None:
        """``rmdir`` of an empty one: kernel memory goes to the parent, the rest stays as a ghost's charge."""
        parent = group.parent
        assert parent is not None
        del parent.children[group.name]
        stock, kernel = group.charged[Kind.STOCK], group.charged[Kind.KERNEL]
        if stock:
            group.add(Kind.STOCK, -stock)
        if kernel:
            group.add(Kind.KERNEL, -kernel)
            parent.add(Kind.KERNEL, kernel)
        group.dead = True
        uncharge(parent, Kind.KERNEL, FOLDER_BYTES)
        if any(ghost.charged[kind] for ghost in group.everything() for kind in Kind):
            parent.ghosts.append(group)


_LARGEST = (1 << 63) // PAGE_BYTES * PAGE_BYTES - PAGE_BYTES
SUFFIXES = {"k": 10, "m": 20, "g": 30, "t": 40, "p": 50, "e": 60}


def parse_limit(text: str, path: str) -> Limit:
    """A limit as the kernel reads it (``page_counter_memparse`` and ``memparse``): rounded down to pages.

    ``-1`` is no limit; decimal, 0x and 0 prefixes and one suffix k to e are taken; all else is EINVAL.
    """
    value = text.strip()
    if value == "-1":
        return UNLIMITED
    digits, shift = value, 0
    if digits[-1:].lower() in SUFFIXES and not digits.lower().startswith("0x"):
        digits, shift = digits[:-1], SUFFIXES[digits[-1].lower()]
    if not digits.isascii() or not digits[:1].isdigit():
        raise kernel_error(errno.EINVAL, path)
    try:
        is_octal = len(digits) > 1 and digits.isdigit() and digits.startswith("0")
        number = int(digits, 8 if is_octal else 0) if "_" not in digits else -1
    except ValueError:
        number = -1
    if number < 0:
        raise kernel_error(errno.EINVAL, path)
    size = round_down((number << shift) & ((1 << 64) - 1))
    return UNLIMITED if size >= _LARGEST else size


def _as_number(limit: Limit) -> int:
    return limit if isinstance(limit, int) else 1 << 63
