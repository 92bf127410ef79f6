"""Real v2 cgroups with small real processes in them."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
from collections.abc import Iterator

from tests.integration.v1_cgroups import MIB, Helper, until

from guestroom.apply import SystemClock, make_applier, move, remove_guest, set_up_wall, take_place, thaw
from guestroom.apply.applier import BaseApplier
from guestroom.kernelfs import KernelFiles
from guestroom.layout import Layout
from guestroom.observe.hierarchy import find_layout

__all__ = ["MIB", "Helper", "Lab", "events", "made_lab", "until"]

_COUNT = itertools.count()


class Lab:
    """A host wall of its own with the helpers in it."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.files = KernelFiles()
        self.clock = SystemClock()
        self.applier: BaseApplier = make_applier(self.files, layout, self.clock)
        self.helpers: list[Helper] = []

    def wall(self, limit_bytes: int) -> None:
        """Make the host wall."""
        take_place(self.files, self.layout, os.getpid())
        report = set_up_wall(self.files, self.layout, limit_bytes)
        assert report.ok, report

    def helper(self, name: str, part: str = "vmm") -> Helper:
        """Start a helper and move it into a guest's cgroup."""
        helper = Helper()
        self.helpers.append(helper)
        move(self.files, f"{self.layout.guest(name)}/{part}", helper.pid)
        return helper

    def read(self, name: str, file: str) -> str:
        """Text of one of a guest's control files (or ``""`` as name: the wall's)."""
        folder = self.layout.guest(name) if name else self.layout.memory
        return self.files.read(f"{folder}/{file}").strip()

    def number(self, name: str, file: str) -> int:
        """The same as a number."""
        return int(self.read(name, file))

    def write(self, name: str, file: str, value: str) -> None:
        """Write past the applier: what the naive do."""
        folder = self.layout.guest(name) if name else self.layout.memory
        self.files.write(f"{folder}/{file}", value)

    def kills(self, name: str) -> int:
        """Processes the OOM killer took in a guest so far."""
        return events(self.read(name, "memory.events"))["oom_kill"]

    def usage(self, name: str) -> int:
        """Everything charged to a guest."""
        return self.number(name, "memory.current")

    def stands_still(self, name: str) -> bool:
        """Whether all of a guest is frozen."""
        return "frozen 1" in self.read(name, "cgroup.events")

    def times_at_limit(self, name: str) -> int:
        """How often a guest (or ``""``: the wall) met its own limit."""
        return events(self.read(name, "memory.events.local"))["max"]

    def lost(self, name: str) -> bool:
        """Whether anything of a guest was killed."""
        return self.kills(name) > 0

    def left_alone(self, name: str) -> bool:
        """Whether a guest (or ``""``: the wall) has no brake and no wire, as without an agent."""
        parts = ("", "vmm/") if name else ("",)
        return all(self.read(name, f"{part}memory.high") == "max" for part in parts)

    def thaw_foreign(self, name: str) -> None:
        """Thaw a guest behind the alarm's back."""
        assert thaw(self.files, self.layout, name).ok

    def clean(self) -> None:
        """End the helpers and remove every cgroup."""
        with contextlib.suppress(FileNotFoundError):
            names = self.files.list_dirs(self.layout.memory)
            self.files.write(f"{self.layout.memory}/cgroup.freeze", "0")
            for name in names:
                thaw(self.files, self.layout, name)
            for helper in self.helpers:
                helper.end()
            for name in names:
                report = remove_guest(self.files, self.layout, name)
                assert report.ok, report
            self.files.rmdir(self.layout.memory)


def events(text: str) -> dict[str, int]:
    """``memory.events`` as numbers."""
    return {name: int(value) for name, value in (line.split() for line in text.splitlines())}


@contextlib.contextmanager
def made_lab() -> Iterator[Lab]:
    """A lab that is cleaned up whatever happens."""
    lab = Lab(find_layout(KernelFiles(), f"lab{next(_COUNT)}"))
    assert lab.layout.version == 2
    try:
        yield lab
    finally:
        lab.clean()


def ended_by(helper: Helper) -> int | None:
    """The signal a helper died of, None while it lives."""
    code = helper.process.poll()
    return None if code is None else -code


KILLED = int(signal.SIGKILL)
