"""Whom to look at: usage and limit of every guest, two reads of a few bytes each, compared with the last time.

A thousand idle guests are a thousand equal answers, and nothing follows from them. A charge that is the same to the
byte can hide growth only where page cache gives way to it, which reclaim makes it do at a limit: so whoever is near
its limit is looked at each time, and everybody while the host wall is nearly full.
"""

from __future__ import annotations

import os

from guestroom.facts import Moved
from guestroom.layout import Layout
from guestroom.ports import Files, ManyFiles

NEAR_BYTES = 64 * 4096 * (os.cpu_count() or 1) + (1 << 20)
"""So far from its limit reclaim may be at work: the per-CPU charge stock (64 pages a CPU, mm/memcontrol.c
``MEMCG_CHARGE_BATCH``) and the size of a large request."""
_NEVER = b"never read"
_FILES = {1: ("memory.usage_in_bytes", "memory.limit_in_bytes"), 2: ("memory.current", "memory.max")}


class Glance:
    """Remembers what each guest was charged at the last time."""

    def __init__(self, files: Files, layout: Layout) -> None:
        self._files = files
        self._layout = layout
        self._many = files if isinstance(files, ManyFiles) else None
        self._names: tuple[str, ...] | None = None
        self._paths: tuple[str, ...] = ()
        self._last: list[bytes | None] = []
        self._at: dict[str, int] = {}
        self._near: set[str] = set()

    def moved(self, names: tuple[str, ...]) -> Moved:
        """Read all of ``names`` and the host wall. Guests that were not asked for last time count as moved."""
        if names != self._names:
            self._ask_for(names)
        found = self._read()
        if found == self._last:
            changed: list[int] = []
        else:
            changed = [i for i, (now, then) in enumerate(zip(found, self._last, strict=True)) if now != then]
        self._last = found
        moved, limits = set(), set()
        for i in changed:
            # The first pair is the wall's.
            if i < 2:
                continue
            name = names[i // 2 - 1]
            moved.add(name)
            if i % 2:
                limits.add(name)
        for name in moved:
            at = self._at[name]
            if _is_near(found[at], found[at + 1]):
                self._near.add(name)
            else:
                self._near.discard(name)
        if _is_near(found[0], found[1]):
            return Moved(frozenset(names), frozenset(names))
        near = frozenset(self._near | limits)
        return Moved(near | moved, near)

    def _ask_for(self, names: tuple[str, ...]) -> None:
        """Other guests than before: what is known of those that stay is kept."""
        usage, limit = _FILES[self._layout.version]
        known = dict(zip(self._paths, self._last, strict=False))
        folders = (self._layout.memory, *(self._layout.guest(name) for name in names))
        self._paths = tuple(f"{folder}/{file}" for folder in folders for file in (usage, limit))
        self._last = [known.get(path, _NEVER) for path in self._paths]
        self._names = names
        self._at = {name: 2 * i + 2 for i, name in enumerate(names)}
        self._near &= set(names)

    def _read(self) -> list[bytes | None]:
        if self._many is not None:
            return self._many.read_all(self._paths)
        return [_try(self._files, path) for path in self._paths]


def _try(files: Files, path: str) -> bytes | None:
    try:
        return files.read(path).encode()
    except OSError:
        return None


def _is_near(usage: bytes | None, limit: bytes | None) -> bool:
    """Whether a charge is close to its limit; what can't be read may be anything."""
    if usage is None or limit is None:
        return True
    if limit.strip() == b"max":
        return False
    try:
        return int(usage) >= int(limit) - NEAR_BYTES
    except ValueError:
        return True
