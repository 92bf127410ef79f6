"""Real v1 cgroups with small real processes in them, for the tests of what writes to them.

Every name carries this process's pid, so test runs on one machine do not meet; everything made is removed.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from guestroom.apply import KernelApplier, SystemClock, move, remove_guest, set_up_wall
from guestroom.kernelfs import KernelFiles
from guestroom.layout import Layout

MIB = 1 << 20
_COUNT = itertools.count()

_HELPER = """
import mmap, os, sys
held, pipes = [], []
for line in sys.stdin:
    command, *arguments = line.split()
    if command == "grow":
        total, chunk = int(arguments[0]), int(arguments[1])
        block = b"x" * chunk
        for _ in range(total // chunk):
            region = mmap.mmap(-1, chunk, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            region.write(block)
            held.append(region)
    elif command == "shrink":
        for region in held:
            region.close()
        held.clear()
    elif command == "cache":
        block = b"x" * (1 << 20)
        with open(arguments[0], "wb", buffering=0) as file:
            for _ in range(int(arguments[1]) // len(block)):
                file.write(block)
            os.fsync(file.fileno())
    print("ok", flush=True)
"""


def own(hierarchy: str) -> Path:
    """Folder of this process's own cgroup in a v1 hierarchy; skips the test where there is none to write in."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if hierarchy in controllers.split(","):
            folder = Path(f"/sys/fs/cgroup/{hierarchy}{path}".rstrip("/"))
            if os.access(folder, os.W_OK):
                return folder
    pytest.skip(f"no writable v1 {hierarchy} cgroup here")


class Helper:
    """A process in a cgroup that grows, shrinks and fills the page cache when told."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-c", _HELPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.tell("start")
        self.hear()

    @property
    def pid(self) -> int:
        """Its pid."""
        return self.process.pid

    def tell(self, command: str) -> None:
        """Send a command without waiting."""
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def hear(self) -> None:
        """Wait until the last command is done."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ok\n"

    def do(self, command: str) -> None:
        """Send a command and wait until it is done."""
        self.tell(command)
        self.hear()

    def end(self) -> None:
        """Kill it; call only when it is not frozen."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


class Lab:
    """A host wall of its own with the helpers in it."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.files = KernelFiles()
        self.clock = SystemClock()
        self.helpers: list[Helper] = []
        self.names: list[str] = []

    def wall(self, limit_bytes: int) -> None:
        """Make the host wall."""
        report = set_up_wall(self.files, self.layout, limit_bytes)
        assert report.ok, report

    def helper(self, name: str, part: str = "vmm") -> Helper:
        """Start a helper and move it into a guest's cgroup and freezer."""
        helper = Helper()
        self.helpers.append(helper)
        move(self.files, f"{self.layout.guest(name)}/{part}", helper.pid)
        freezer = self.layout.freezer_of(name)
        assert freezer is not None
        move(self.files, freezer, helper.pid)
        return helper

    def read(self, name: str, file: str) -> str:
        """Text of one of a guest's control files (or ``""`` as name: the wall's)."""
        folder = self.layout.guest(name) if name else self.layout.memory
        return self.files.read(f"{folder}/{file}").strip()

    def frozen(self, name: str) -> str:
        """State of a guest's freezer."""
        return self.files.read(f"{self.layout.freezer_of(name)}/freezer.state").strip()

    @property
    def applier(self) -> KernelApplier:
        """The applier of this version."""
        return KernelApplier(self.files, self.layout, self.clock)

    def usage(self, name: str) -> int:
        """Everything charged to a guest."""
        return int(self.read(name, "memory.usage_in_bytes"))

    def stands_still(self, name: str) -> bool:
        """Whether all of a guest is frozen."""
        return self.frozen(name) == "FROZEN"

    def times_at_limit(self, name: str) -> int:
        """How often a guest (or ``""``: the wall) met its limit."""
        return int(self.read(name, "memory.failcnt"))

    def lost(self, name: str) -> bool:
        """Whether a guest sleeps at its limit."""
        return "under_oom 0" not in self.read(name, "memory.oom_control")

    def left_alone(self, name: str) -> bool:
        """Whether its OOM killer is on, as without an agent."""
        return "oom_kill_disable 0" in self.read(name, "memory.oom_control")

    def thaw_foreign(self, name: str) -> None:
        """Thaw a guest behind the alarm's back."""
        self.files.write(f"{self.layout.freezer_of(name)}/freezer.state", "THAWED")

    def clean(self) -> None:
        """End the helpers and remove every cgroup."""
        names = set(self.files.list_dirs(self.layout.memory)) if Path(self.layout.memory).exists() else set()
        for name in names:
            freezer = self.layout.freezer_of(name)
            if freezer is not None and Path(freezer).exists():
                # A frozen process does not die: whatever a test left frozen must go on first.
                self.files.write(f"{freezer}/freezer.state", "THAWED")
        for helper in self.helpers:
            helper.end()
        for name in names:
            remove_guest(self.files, self.layout, name)
        for folder in (self.layout.memory, self.layout.freezer):
            if folder is not None and Path(folder).exists():
                self.files.rmdir(folder)


@contextlib.contextmanager
def made_lab() -> Iterator[Lab]:
    """A lab that is cleaned up whatever happens."""
    name = f"guestroom-test-{os.getpid()}-{next(_COUNT)}"
    lab = Lab(Layout(str(own("memory") / name), str(own("freezer") / name)))
    try:
        yield lab
    finally:
        lab.clean()


def until(condition: Callable[[], object], timeout_s: float = 5.0) -> bool:
    """Wait until ``condition`` is true; False if it never was."""
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s:
        if condition():
            return True
        time.sleep(0.005)
    return bool(condition())
