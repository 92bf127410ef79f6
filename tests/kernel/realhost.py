"""A real cgroup tree and real small processes with the verbs of ``SimHost``: the other half of the differential test.

Everything is made under this process's own v1 cgroups in folders named after its pid, and taken away again.
Nothing here knows what the simulator believes.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from guestroom.kernelfs import KernelFiles
from guestroom.units import MIB


def own_cgroup(controller: str) -> str | None:
    """Absolute path of this process's v1 cgroup of ``controller``; None where it is not mounted or not writable."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            folder = Path(f"/sys/fs/cgroup/{controller}{path}")
            return str(folder) if os.access(folder, os.W_OK) else None
    return None


class Helper:
    """One helper process, the commands it was given and the answers it gave."""

    def __init__(self, binary: Path) -> None:
        self.process = subprocess.Popen(
            [str(binary)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, close_fds=True
        )
        self.unanswered = 0
        self.answers: list[str] = []
        self.dead = False
        self._buffer = b""
        while b"\n" not in self._buffer:
            assert self.listen(5.0), "the helper did not start"
        self._buffer = b""

    def send(self, command: str) -> None:
        """Give it one command; a dead one takes none."""
        assert self.process.stdin is not None
        self.unanswered += 1
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(command.encode() + b"\n")

    def listen(self, wait_s: float) -> bool:
        """Take in what it says within ``wait_s``; False when it said nothing."""
        assert self.process.stdout is not None
        if self.dead or not select.select([self.process.stdout], [], [], wait_s)[0]:
            return False
        chunk = os.read(self.process.stdout.fileno(), 4096)
        if chunk:
            self._buffer += chunk
            return True
        self.process.wait()
        self.dead = True
        return False

    def collect(self) -> None:
        """Turn what it said into answers: ``ok`` or an errno's number each."""
        while b"\n" in self._buffer and self.unanswered:
            line, self._buffer = self._buffer.split(b"\n", 1)
            self.answers.append(line.decode())
            self.unanswered -= 1

    @property
    def waiting(self) -> bool:
        """True while it lives and owes an answer."""
        return not self.dead and self.unanswered > 0

    def kill(self) -> None:
        """SIGKILL; harmless when it is gone."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()


class RealHost:
    """``memory`` and ``freezer``, folders of our own in the two hierarchies, with helpers inside."""

    def __init__(self, binary: Path, page_files: Iterator[Path]) -> None:
        memory, freezer = own_cgroup("memory"), own_cgroup("freezer")
        assert memory is not None
        assert freezer is not None
        name = f"guestroom-test-{os.getpid()}-{time.monotonic_ns() & 0xFFFFFFFF:x}"
        self.memory, self.freezer = f"{memory}/{name}", f"{freezer}/{name}"
        self.files = KernelFiles()
        self._binary = binary
        self._page_files = page_files
        self.helpers: dict[int, Helper] = {}
        for path in (self.memory, self.freezer):
            self.files.mkdir(path)

    def spawn(self, *cgroups: str) -> int:
        """A new helper in each of ``cgroups`` (folders); its pid."""
        helper = Helper(self._binary)
        pid = helper.process.pid
        self.helpers[pid] = helper
        for path in cgroups:
            self.files.write(f"{path}/cgroup.procs", str(pid))
        return pid

    def order(self, pid: int, command: str) -> None:
        """Send a command to a helper."""
        self.helpers[pid].send(command)

    def settle(self, limit_s: float = 5.0) -> None:
        """Wait until every helper has answered, died, or is seen to sleep at a limit or in the freezer."""
        deadline = time.monotonic() + limit_s
        quiet = 0
        while quiet < 3 and time.monotonic() < deadline:
            # One that has just been let go may still look stopped, so a stop counts when it is seen three times.
            heard = False
            for pid, helper in self.helpers.items():
                while helper.listen(0.0):
                    heard = True
                helper.collect()
                if helper.waiting and not self._stopped(pid):
                    heard = True
            if not any(helper.waiting for helper in self.helpers.values()):
                return
            quiet = 0 if heard else quiet + 1
            time.sleep(0.0005 if heard else 0.002)

    @staticmethod
    def _stopped(pid: int) -> bool:
        """True when the kernel lets it sleep: in the freezer or at a memory limit."""
        try:
            where = Path(f"/proc/{pid}/wchan").read_text()
        except OSError:
            return False
        return "refrigerator" in where or "oom" in where

    def waiting(self, pid: int) -> bool:
        """True while the helper owes an answer."""
        return self.helpers[pid].waiting

    def next_file(self) -> Path:
        """A file nobody has in the page cache."""
        return next(path for path in self._page_files if forget(path))

    def exit(self, pid: int) -> None:
        """Kill the helper; a frozen one stays until it is thawed."""
        self.helpers[pid].kill()
        if self._stopped(pid):
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.helpers[pid].process.wait(timeout=0.3)
        self.helpers[pid].listen(0.0)

    def close(self) -> None:
        """Thaw, kill, and remove all folders, deepest first."""
        for root in (self.freezer, self.memory):
            for folder, _, names in os.walk(root):
                if "freezer.state" in names:
                    (Path(folder) / "freezer.state").write_text("THAWED")
        for helper in self.helpers.values():
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
        os.close(fd)
        made.append(path)
    return made


def forget(path: Path, tries: int = 20) -> bool:
    """Drop a file from the page cache; False if parts of it stayed (another CPU still holds a reference)."""
    fd = os.open(path, os.O_RDONLY)
    try:
        for _ in range(tries):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            if not cached_pages(fd):
                return True
            time.sleep(0.005)
    finally:
        os.close(fd)
    return False


def cached_pages(fd: int) -> int:
    """Pages of a file in the page cache, by mincore(2): a test read, even one that may not wait, would read ahead."""
    libc = ctypes.CDLL(None, use_errno=True)
    with mmap.mmap(fd, 0, access=mmap.ACCESS_COPY) as mapping:
        size = len(mapping)
        start = (ctypes.c_char * size).from_buffer(mapping)
        pages = ctypes.create_string_buffer(-(-size // mmap.PAGESIZE))
        failed = libc.mincore(ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(size), pages)
        del start
    if failed:
        raise OSError(ctypes.get_errno(), "mincore")
    return sum(byte & 1 for byte in pages.raw)
