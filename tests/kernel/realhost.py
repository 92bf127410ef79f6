"""A real cgroup tree and real small processes with the verbs of ``SimHost``: the other half of the differential test.

Everything is made under this process's own v1 cgroups in folders named after its pid, and taken away again.
Nothing here knows what the simulator believes.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from guestroom.kernelfs import KernelFiles
from guestroom.units import MIB

ASLEEP_AFTER_S = 0.4
"""A helper that has not answered after this long is asleep at a limit or frozen: 16 MiB take 10 ms."""


def own_cgroup(controller: str) -> str | None:
    """Absolute path of this process's v1 cgroup of ``controller``; None where it is not mounted or not writable."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            folder = Path(f"/sys/fs/cgroup/{controller}{path}")
            return str(folder) if os.access(folder, os.W_OK) else None
    return None


class Helper:
    """One helper process and the commands it has not answered yet."""

    def __init__(self, binary: Path) -> None:
        self.process = subprocess.Popen(
            [str(binary)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, close_fds=True
        )
        self.unanswered = 1
        self._buffer = b""
        assert self.answer(5.0) == "ready"

    def send(self, command: str) -> None:
        """Give it one command; a dead one takes none."""
        assert self.process.stdin is not None
        self.unanswered += 1
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(command.encode() + b"\n")

    def answer(self, wait_s: float = ASLEEP_AFTER_S) -> str | None:
        """Its next answer: ``ok``, an errno's number, ``dead``, or None while it sleeps."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + wait_s
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return None
            chunk = os.read(self.process.stdout.fileno(), 4096)
            if not chunk:
                self.process.wait()
                self.unanswered = 0
                return "dead"
            self._buffer += chunk
        line, self._buffer = self._buffer.split(b"\n", 1)
        self.unanswered -= 1
        return line.decode()

    def kill(self) -> None:
        """SIGKILL; harmless when it is gone."""
        self.process.kill()


class RealHost:
    """``root`` in the memory and in the freezer hierarchy, with helpers inside."""

    def __init__(self, binary: Path, files: list[Path]) -> None:
        memory, freezer = own_cgroup("memory"), own_cgroup("freezer")
        assert memory is not None
        assert freezer is not None
        name = f"guestroom-test-{os.getpid()}-{time.monotonic_ns() & 0xFFFFFF:x}"
        self.memory, self.freezer = f"{memory}/{name}", f"{freezer}/{name}"
        self.files = KernelFiles()
        self._binary = binary
        self._page_files: Iterator[Path] = iter(files)
        self._helpers: dict[int, Helper] = {}
        for path in (self.memory, self.freezer):
            self.files.mkdir(path)

    def spawn(self, *cgroups: str) -> int:
        """A new helper in each of ``cgroups`` (paths); its pid."""
        helper = Helper(self._binary)
        pid = helper.process.pid
        self._helpers[pid] = helper
        for path in cgroups:
            self.files.write(f"{path}/cgroup.procs", str(pid))
        return pid

    def order(self, pid: int, command: str, wait_s: float = ASLEEP_AFTER_S) -> str | None:
        """Send ``command``; its answer, or None while it sleeps or is frozen."""
        helper = self._helpers[pid]
        helper.send(command)
        return self.catch_up(pid, wait_s)

    def catch_up(self, pid: int, wait_s: float = ASLEEP_AFTER_S) -> str | None:
        """Read every answer that is due; the last, or None while one is missing."""
        helper = self._helpers[pid]
        last: str | None = "ok"
        while helper.unanswered:
            last = helper.answer(wait_s)
            if last is None:
                return None
        return last

    def next_file(self) -> Path:
        """A file nobody has in the page cache."""
        return next(self._page_files)

    def exit(self, pid: int) -> None:
        """Kill the helper and wait until its memory is given back."""
        self._helpers[pid].kill()
        self._helpers[pid].process.wait()

    def close(self) -> None:
        """Thaw, kill, and remove all folders, deepest first."""
        for root in (self.freezer, self.memory):
            for folder, _, names in os.walk(root):
                if "freezer.state" in names:
                    (Path(folder) / "freezer.state").write_text("THAWED")
        for helper in self._helpers.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(helper.process.pid, signal.SIGKILL)
            helper.process.wait()
            for pipe in (helper.process.stdin, helper.process.stdout):
                if pipe is not None:
                    pipe.close()
        for root in (self.freezer, self.memory):
            for folder, _, _ in os.walk(root, topdown=False):
                self._remove(folder)

    def _remove(self, folder: str) -> None:
        """Remove one cgroup; the kernel answers EBUSY for a moment after its last process died."""
        deadline = time.monotonic() + 5.0
        while True:
            try:
                self.files.rmdir(folder)
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)


def make_page_files(folder: Path, count: int, size_bytes: int = 4 * MIB) -> list[Path]:
    """``count`` files on disk whose pages are in nobody's cache: the first reader is charged for them."""
    made = []
    for index in range(count):
        path = folder / f"pages-{index}"
        path.write_bytes(os.urandom(4096) * (size_bytes // 4096))
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)
        made.append(path)
    return made
