"""The simulated trees of control groups: memory counters and freezer states, without processes or text.

Modelled after the cgroup v1 controllers of kernel 6.18 (Documentation/admin-guide/cgroup-v1/memory.rst and
freezer-subsystem.rst), and held against a real kernel by ``tests/kernel``.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Self

from guestroom.units import UNLIMITED, Limit


class Kind(StrEnum):
    """What a charged byte is."""

    ANON = "anon"
    """Anonymous memory in small pages."""
    ANON_HUGE = "anon_huge"
    """Anonymous memory in huge pages."""
    CACHE = "cache"
    """Page cache that reclaim can take."""
    LOCKED = "locked"
    """Page cache that is locked (mlock): reclaim can't take it."""
    SHMEM = "shmem"
    KERNEL = "kernel"
    """Pipe buffers, page tables, slab."""
    STRANDED = "stranded"
    """Part of a huge page that was unmapped: charged until the rest is unmapped too or reclaim splits the page.
    In no line of ``memory.stat`` (measured on 6.18: usage stays, rss falls)."""
    STOCK = "stock"
    """Per-CPU charge ahead of use: in ``usage_in_bytes`` only, drained under pressure (at most 64 pages a CPU)."""


class Cgroup:
    """A folder of one hierarchy: its place, its inode, its children."""

    def __init__(self, name: str, parent: Self | None, inode: int) -> None:
        self.name = name
        self.parent = parent
        self.inode = inode
        self.children: dict[str, Self] = {}
        self.dead = False
        """True once removed; charges that are left keep it in memory, as in the kernel."""

    @property
    def path(self) -> str:
        """Path inside the hierarchy: ``/`` or ``/a/b``."""
        if self.parent is None:
            return "/"
        return f"{self.parent.path.rstrip('/')}/{self.name}"

    def lineage(self) -> Iterator[Self]:
        """This one and all above it, upwards."""
        at: Self | None = self
        while at is not None:
            yield at
            at = at.parent

    def below(self) -> Iterator[Self]:
        """This one and all living ones below it."""
        yield self
        for child in self.children.values():
            yield from child.below()

    def find(self, path: str) -> Self | None:
        """The cgroup at ``path`` (relative, slashes between); None where there is none."""
        at: Self | None = self
        for part in path.split("/"):
            if part and at is not None:
                at = at.children.get(part)
        return at


class MemCgroup(Cgroup):
    """A memory cgroup: counters of its own and one that includes everything below."""

    def __init__(self, name: str, parent: MemCgroup | None, inode: int) -> None:
        super().__init__(name, parent, inode)
        self.charged: dict[Kind, int] = dict.fromkeys(Kind, 0)
        """Local bytes by kind."""
        self.usage_bytes = 0
        """Hierarchical: the page counter. Includes removed children whose charges are left."""
        self.peak_bytes = 0
        self.failcnt = 0
        self.limit_bytes: Limit = UNLIMITED
        self.memsw_limit_bytes: Limit = UNLIMITED
        # A new child starts with its parent's setting; later changes above do not reach it (measured).
        self.oom_kill_disable: bool = parent.oom_kill_disable if parent is not None else False
        self.oom_kills = 0
        self.swappiness = 60
        self.ghosts: list[MemCgroup] = []
        """Removed children that still hold charges: in usage and in the ``total_`` lines, in no folder."""
        self.folios: list[Folio] = []
        """Huge pages charged here of which a part was unmapped."""

    def everything(self) -> Iterator[MemCgroup]:
        """This one, all below it, and removed ones whose charges are left."""
        yield self
        for children in (self.children.values(), self.ghosts):
            for child in children:
                yield from child.everything()

    def total(self, *kinds: Kind) -> int:
        """Bytes of ``kinds`` here and below."""
        return sum(group.charged[kind] for group in self.everything() for kind in kinds)

    def room_bytes(self) -> int | None:
        """Bytes left to its own limit; None where it has none."""
        return self.limit_bytes - self.usage_bytes if isinstance(self.limit_bytes, int) else None

    def add(self, kind: Kind, size_bytes: int) -> None:
        """Charge (or with a negative size uncharge) without asking any limit."""
        self.charged[kind] += size_bytes
        if self.charged[kind] < 0:
            raise AssertionError(f"{self.path}: {kind} below zero: the simulator uncharged twice")
        for group in self.lineage():
            group.usage_bytes += size_bytes
            group.peak_bytes = max(group.peak_bytes, group.usage_bytes)
        if self.dead and size_bytes < 0 and not any(self.charged.values()) and self.parent is not None:
            self.parent.ghosts = [ghost for ghost in self.parent.ghosts if ghost is not self or ghost.ghosts]


class Folio:
    """A huge page of which a part was unmapped: its charge outlives the mapping."""

    def __init__(self, owner: MemCgroup, mapped_bytes: int, stranded_bytes: int) -> None:
        self.owner = owner
        self.mapped_bytes = mapped_bytes
        self.stranded_bytes = stranded_bytes


class FreezerCgroup(Cgroup):
    """A freezer cgroup."""

    def __init__(self, name: str, parent: FreezerCgroup | None, inode: int) -> None:
        super().__init__(name, parent, inode)
        self.self_freezing = False

    @property
    def freezing(self) -> bool:
        """Frozen or asked to freeze, itself or by one above it."""
        return any(group.self_freezing for group in self.lineage())


def uncharge(owner: MemCgroup, kind: Kind, size_bytes: int) -> None:
    """Give back; kernel memory of a removed cgroup belongs to the next living one above (measured on 6.18)."""
    while kind is Kind.KERNEL and owner.dead and owner.parent is not None:
        owner = owner.parent
    owner.add(kind, -size_bytes)
