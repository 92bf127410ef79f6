"""Which reader of cgroups a layout needs: version 1 or its twin."""

from __future__ import annotations

from typing import Protocol, assert_never

from guestroom.attribute.leaf import LeafReading
from guestroom.facts import MemoryReading
from guestroom.layout import Layout, Version
from guestroom.observe import cgroup1, cgroup2
from guestroom.ports import Files
from guestroom.units import Limit


class Cgroups(Protocol):
    """What both modules have."""

    PEAK_CAN_BE_RESET: bool
    """Whether ``Machine.reset_peak`` begins a new window of the kernel's own peak."""

    def read_memory(self, files: Files, path: str, at_s: float) -> MemoryReading:
        """One memory cgroup."""
        ...

    def read_leaf(self, files: Files, path: str) -> LeafReading | None:
        """What changes in a cgroup without children; ``None`` where only ``read_memory`` tells."""
        ...

    def read_usage(self, files: Files, path: str) -> int:
        """Bytes charged now."""
        ...

    def read_limit(self, files: Files, path: str) -> Limit:
        """Its own limit."""
        ...

    def hidden_limit(self, files: Files, root: str) -> Limit | None:
        """The smallest limit above what can be seen."""
        ...

    def read_oom_kills(self, files: Files, path: str) -> int | None:
        """Processes the OOM killer took here."""
        ...

    def read_frozen(self, files: Files, path: str) -> bool:
        """Whether all in it stands still; ``path`` is ``Layout.freezer_of`` a guest."""
        ...

    def read_procs(self, files: Files, path: str) -> list[int]:
        """Processes in the cgroup itself."""
        ...

    def read_all_procs(self, files: Files, path: str) -> list[int]:
        """Processes in it and below."""
        ...

    def populated(self, files: Files, layout: Layout, name: str) -> bool:
        """Whether any process lives in a guest's cgroups."""
        ...


def cgroups(version: Version) -> Cgroups:
    """The reader for this version."""
    match version:
        case 1:
            return cgroup1
        case 2:
            return cgroup2
    assert_never(version)
