"""The real kernel behind the ``Files`` port.

Writes go out in one unbuffered ``write(2)``: a buffered write would hide EBUSY until the file is closed
(FACTS: Python's own file objects swallow it). Nothing here interprets anything.
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Sequence

KEPT_NAMES = frozenset(
    {
        *("memory.usage_in_bytes", "memory.limit_in_bytes", "memory.max_usage_in_bytes", "memory.failcnt"),
        *("memory.kmem.usage_in_bytes", "memory.stat", "memory.oom_control", "freezer.state"),
        *("memory.current", "memory.max", "memory.high", "memory.peak", "memory.events", "memory.events.local"),
        *("memory.swap.current", "cgroup.freeze", "cgroup.events"),
    }
)
"""Files of a cgroup that are read again and again: opening one takes five times as long as reading it (measured)."""
SHARE_OF_DESCRIPTORS = 0.6
"""What of the process's open-file limit may be spent on keeping files open."""
MOST_KEPT = 8192
"""Beside those that are read together; each costs a page in the kernel."""
IDLE_ROUNDS = 16
"""What was not read for this many rounds of ``read_all`` is closed: not every guest that moved once goes on moving."""
_WHOLE_BYTES = 1 << 14


class KernelFiles:
    """``ports.Files`` on the machine this runs on."""

    def read(self, path: str) -> str:
        """Whole text of a file; raises ``OSError``."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            chunks = []
            while chunk := os.read(fd, 1 << 18):
                chunks.append(chunk)
        finally:
            os.close(fd)
        return b"".join(chunks).decode(errors="replace")

    def write(self, path: str, value: str) -> None:
        """One ``write(2)`` of ``value``; raises ``OSError``."""
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)

    def mkdir(self, path: str) -> None:
        """Make a folder; raises ``OSError``."""
        os.mkdir(path)  # noqa: PTH102 - the port speaks plain strings

    def rmdir(self, path: str) -> None:
        """Remove an empty cgroup; raises ``OSError``."""
        os.rmdir(path)  # noqa: PTH106

    def list_dirs(self, path: str) -> list[str]:
        """Names of the folders inside, sorted; raises ``OSError``."""
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))

    def inode(self, path: str) -> int:
        """Inode of a folder; raises ``OSError``."""
        return os.stat(path).st_ino  # noqa: PTH116


class _Kept:
    """A descriptor that is closed when its last user has let go of it, so that no thread reads a number used anew."""

    __slots__ = ("fd", "used")

    def __init__(self, path: str) -> None:
        self.fd = -1
        self.used = True
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self) -> bytes:
        """Everything, from the start."""
        self.used = True
        chunk = os.pread(self.fd, _WHOLE_BYTES, 0)
        if len(chunk) < _WHOLE_BYTES:
            return chunk
        chunks, at = [chunk], len(chunk)
        while chunk := os.pread(self.fd, _WHOLE_BYTES, at):
            chunks.append(chunk)
            at += len(chunk)
        return b"".join(chunks)

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


class KeptFiles(KernelFiles):
    """``KernelFiles`` that keeps the files of ``KEPT_NAMES`` open and reads each with one ``pread(2)``.

    A descriptor of a cgroup that was removed answers ENODEV (kernfs); then the path is opened anew, so that a cgroup
    made again under the same name is read, and one that is gone is ENOENT as ever. Threads may share it.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most if most is not None else min(MOST_KEPT, int(_descriptors() * SHARE_OF_DESCRIPTORS))
        self._kept: dict[str, _Kept] = {}
        self._many: dict[str, _Kept] = {}
        self._rounds = 0
        self._together: tuple[Sequence[str], list[_Kept]] = ((), [])

    def read(self, path: str) -> str:
        """Whole text of a file; raises ``OSError``."""
        return self._raw(path).decode(errors="replace")

    def read_all(self, paths: Sequence[str]) -> list[bytes | None]:
        """The text of each file, None where it can't be read now.

        Asked again with the same ``paths`` object it is one system call a file and next to nothing else.
        """
        self._rounds += 1
        if self._rounds % IDLE_ROUNDS == 0:
            self._close_idle()
        try:
            same, opened = self._together
            if same is not paths:
                before = self._kept | self._many
                self._many = {path: before.get(path) or _Kept(path) for path in paths}
                opened = [self._many[path] for path in paths]
                self._together = paths, opened
            pread = os.pread
            return [pread(kept.fd, _WHOLE_BYTES, 0) for kept in opened]
        except OSError:
            self._together, self._many = ((), []), {}
        return [self._try(path) for path in paths]

    def forget(self, folder: str) -> None:
        """Close what is open of a folder and below: its cgroup is gone or no longer ours."""
        for path in [path for path in list(self._kept) if path.startswith(f"{folder}/")]:
            self._kept.pop(path, None)
        if any(path.startswith(f"{folder}/") for path in self._many):
            self._together, self._many = ((), []), {}

    def __len__(self) -> int:
        """Files that are open."""
        return len(self._kept) + len(self._many)

    def _raw(self, path: str) -> bytes:
        kept = self._kept.get(path)
        if kept is not None:
            try:
                return kept.read()
            except OSError:
                self._kept.pop(path, None)
        if path[path.rfind("/") + 1 :] not in KEPT_NAMES:
            return super().read(path).encode(errors="replace")
        return self._keep(path).read()

    def _keep(self, path: str) -> _Kept:
        kept = self._kept.get(path)
        if kept is None:
            if len(self._kept) >= self._most:
                self._make_room()
            try:
                kept = _Kept(path)
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE) or not self._kept:
                    raise
                self._make_room()
                kept = _Kept(path)
            self._kept[path] = kept
        return kept

    def _close_idle(self) -> None:
        """Close what was not read since the last time."""
        for path, kept in list(self._kept.items()):
            if not kept.used:
                self._kept.pop(path, None)
            kept.used = False

    def _make_room(self) -> None:
        """The oldest are closed; who still needs one of them opens it again."""
        for old in list(self._kept)[: max(1, len(self._kept) // 4)]:
            self._kept.pop(old, None)

    def _try(self, path: str) -> bytes | None:
        try:
            return self._raw(path)
        except OSError:
            return None


def _descriptors() -> int:
    """How many files this process may have open, after raising the soft limit to what it is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        # Refused for want of rights somewhere: the soft limit it is.
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            return soft
    return hard
