"""The real kernel behind the ``Files`` port.

Writes go out in one unbuffered ``write(2)``: a buffered write would hide EBUSY until the file is closed
(FACTS: Python's own file objects swallow it). Nothing here interprets anything.
"""

from __future__ import annotations

import os


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
