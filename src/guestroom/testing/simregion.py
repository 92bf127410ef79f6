"""A process's memory area page range by page range: who is charged for what, and what is a hole.

A page's charge belongs to the cgroup its process was in when the page was touched, whatever the process does
later; only collapse into a huge page and a new touch charge anew (measured on 6.18, FACTS: RAM charged apart).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from guestroom.testing.simcgroup import Folio, Kind, MemCgroup, uncharge
from guestroom.units import MIB, PAGE_BYTES

HUGE_BYTES = 2 * MIB


@dataclass(slots=True)
class Run:
    """Neighbouring pages that are alike. ``owner`` None: merged by KSM, mapped but charged to somebody else."""

    start: int
    end: int
    owner: MemCgroup | None
    kind: Kind
    folio: Folio | None = None

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.start


class Region:
    """One mapping that grows at its end. Offsets in bytes, multiples of a page."""

    def __init__(self, kind: Kind, *, huge: bool = False) -> None:
        self.kind = kind
        self.huge = huge
        """Faults take huge pages where a whole one is free (``MADV_HUGEPAGE``)."""
        self.end = 0
        self.runs: list[Run] = []
        self.tables: dict[int, MemCgroup] = {}
        """Page table per 2 MiB: which cgroup was charged for it."""

    @property
    def resident_bytes(self) -> int:
        """Mapped bytes."""
        return sum(run.size for run in self.runs)

    def size_of(self, kind: Kind) -> int:
        """Mapped and charged bytes of ``kind``."""
        return sum(run.size for run in self.runs if run.kind is kind and run.owner is not None)

    def holes(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Ranges within [start, end) that a write would have to be charged for."""
        at = start
        for run in self.runs:
            if run.end <= at or run.owner is None:
                continue
            if run.start >= end:
                break
            if run.start > at:
                yield at, run.start
            at = run.end
        if at < end:
            yield at, end

    def fill(self, run: Run) -> None:
        """Put ``run`` where a hole is; a merged page there is replaced."""
        self._cut(run.start, run.end)
        self.runs.append(run)
        self.runs.sort(key=lambda other: other.start)
        self._join()

    def drop(self, start: int, end: int) -> None:
        """Unmap [start, end) and give back what nothing else holds."""
        for run in self._cut(start, end):
            if run.owner is not None:
                self._release(run, run.owner)
        for chunk in [c for c in self.tables if not self._mapped(c * HUGE_BYTES, (c + 1) * HUGE_BYTES)]:
            uncharge(self.tables.pop(chunk), Kind.KERNEL, PAGE_BYTES)

    def merge(self, start: int, end: int) -> None:
        """KSM: [start, end) stays mapped, its charge goes."""
        for run in self._cut(start, end):
            if run.owner is not None:
                self._release(run, run.owner)
            self.runs.append(Run(run.start, run.end, None, Kind.ANON))
        self.runs.sort(key=lambda other: other.start)
        self._join()

    def _mapped(self, start: int, end: int) -> bool:
        return any(run.start < end and run.end > start for run in self.runs)

    def _release(self, run: Run, owner: MemCgroup) -> None:
        """Uncharge one run; the last mapped part of a torn huge page takes the rest of its charge along."""
        uncharge(owner, run.kind, run.size)
        folio = run.folio
        if folio is None:
            return
        folio.mapped_bytes -= run.size
        if folio.stranded_bytes or folio in owner.folios:
            owner.add(Kind.STRANDED, run.size)
            folio.stranded_bytes += run.size
        if folio.mapped_bytes == 0:
            owner.add(Kind.STRANDED, -folio.stranded_bytes)
            folio.stranded_bytes = 0
            if folio in owner.folios:
                owner.folios.remove(folio)

    def _cut(self, start: int, end: int) -> list[Run]:
        """Take [start, end) out of the runs and return it; a huge page cut in two is torn."""
        taken: list[Run] = []
        kept: list[Run] = []
        for run in self.runs:
            if run.end <= start or run.start >= end:
                kept.append(run)
                continue
            for piece in self._tear(run, start, end):
                inside = piece.start >= start and piece.end <= end
                (taken if inside else kept).append(piece)
        self.runs = kept
        return taken

    def _tear(self, run: Run, start: int, end: int) -> Iterator[Run]:
        """``run`` split at start and end, whole huge pages apart from torn ones."""
        if run.kind is not Kind.ANON_HUGE:
            yield from _split(run, start, end)
            return
        for at in range(run.start, run.end, HUGE_BYTES):
            page = Run(at, at + HUGE_BYTES, run.owner, Kind.ANON_HUGE)
            if (start <= at and at + HUGE_BYTES <= end) or at >= end or at + HUGE_BYTES <= start:
                yield page
                continue
            owner = page.owner
            assert owner is not None
            owner.add(Kind.ANON_HUGE, -HUGE_BYTES)
            owner.add(Kind.ANON, HUGE_BYTES)
            folio = Folio(owner, HUGE_BYTES, 0)
            owner.folios.append(folio)
            yield from _split(Run(page.start, page.end, owner, Kind.ANON, folio), start, end)

    def _join(self) -> None:
        """Join neighbours that are alike, so that the list stays short."""
        joined: list[Run] = []
        for run in self.runs:
            last = joined[-1] if joined else None
            if (
                last is not None
                and last.end == run.start
                and last.owner is run.owner
                and last.kind is run.kind
                and last.folio is run.folio
            ):
                last.end = run.end
            else:
                joined.append(run)
        self.runs = joined


def _split(run: Run, start: int, end: int) -> Iterator[Run]:
    """``run`` in up to three pieces: before, within and after [start, end)."""
    cuts = sorted({run.start, run.end, min(max(start, run.start), run.end), min(max(end, run.start), run.end)})
    for low, high in pairwise(cuts):
        yield Run(low, high, run.owner, run.kind, run.folio)
