"""A ``Files`` without a kernel: a dictionary of texts, and errors on demand."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field

from guestroom.layout import Layout

LAYOUT = Layout("/mem/guestroom", "/frz/guestroom")
NO_LIMIT = "9223372036854771712\n"


def kernel_error(number: int, path: str = "") -> OSError:
    """An ``OSError`` as the kernel gives it."""
    return OSError(number, os.strerror(number), path)


@dataclass
class ScriptedFiles:
    """Folders and files by path. A new memory cgroup gets the files the applier uses.

    ``fail``: errnos to raise by path, one for each write, rmdir or mkdir, in order. ``after_write``: what a file reads
    as after a write, where that is not the value.
    """

    folders: dict[str, int] = field(default_factory=lambda: {"/mem": 1, "/frz": 2})
    texts: dict[str, str] = field(default_factory=dict)
    fail: dict[str, list[int]] = field(default_factory=dict)
    after_write: dict[str, list[str]] = field(default_factory=dict)
    done: list[tuple[str, str]] = field(default_factory=list)
    """What was written and made, in order: (path, value), ``mkdir`` and ``rmdir`` as values."""

    def _maybe_fail(self, path: str) -> None:
        if self.fail.get(path):
            raise kernel_error(self.fail[path].pop(0), path)

    def read(self, path: str) -> str:
        """Text of a file; each read takes the next of what ``after_write`` has, the last one stays."""
        if path not in self.texts:
            raise kernel_error(errno.ENOENT, path)
        later = self.after_write.get(path)
        if later:
            return later.pop(0) if len(later) > 1 else later[0]
        return self.texts[path]

    def write(self, path: str, value: str) -> None:
        """Write; freezer and limit files then read as the kernel would print them."""
        self._maybe_fail(path)
        if path not in self.texts:
            raise kernel_error(errno.ENOENT, path)
        self.done.append((path, value))
        name = path.rpartition("/")[2]
        if name == "memory.limit_in_bytes":
            self.texts[path] = f"{int(value) // 4096 * 4096}\n"
        elif name == "memory.oom_control":
            self.texts[path] = f"oom_kill_disable {value}\nunder_oom 0\noom_kill 0\n"
        else:
            self.texts[path] = f"{value}\n"

    def mkdir(self, path: str) -> None:
        """Make a cgroup with its files."""
        self._maybe_fail(path)
        if path in self.folders:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        if path.rpartition("/")[0] not in self.folders:
            raise kernel_error(errno.ENOENT, path)
        self.folders[path] = len(self.folders) + 10
        self.texts[f"{path}/cgroup.procs"] = ""
        if path.startswith("/mem"):
            self.texts[f"{path}/memory.limit_in_bytes"] = NO_LIMIT
            self.texts[f"{path}/memory.oom_control"] = "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n"
        else:
            self.texts[f"{path}/freezer.state"] = "THAWED\n"
        self.done.append((path, "mkdir"))

    def rmdir(self, path: str) -> None:
        """Remove a cgroup with its files; EBUSY while it has children, as the kernel says."""
        self._maybe_fail(path)
        if path not in self.folders:
            raise kernel_error(errno.ENOENT, path)
        if self.list_dirs(path):
            raise kernel_error(errno.EBUSY, path)
        del self.folders[path]
        self.texts = {file: text for file, text in self.texts.items() if not file.startswith(f"{path}/")}
        self.done.append((path, "rmdir"))

    def list_dirs(self, path: str) -> list[str]:
        """Names of the folders inside."""
        return sorted(f.rpartition("/")[2] for f in self.folders if f.rpartition("/")[0] == path)

    def inode(self, path: str) -> int:
        """Number of a folder."""
        if path not in self.folders:
            raise kernel_error(errno.ENOENT, path)
        return self.folders[path]
