"""``ports.Files`` over texts kept in a dict, and the recorded files of ``v1/`` and ``v2/``.

``v1/`` was recorded on Linux 6.18 from QEMU 7.2 (TCG, 256 MiB preallocated in ``guest/ram``, then moved to
``guest/vmm``), with a helper in ``guest/vmm`` that holds written page cache, 3 MiB of locked file and 5 MiB of memfd.
The smaps is cut down to 31 of its mappings; the path of the recording process's own cgroup is replaced by
``/machine/agent``.

``v2/`` was recorded in a booted Linux 6.1 with cgroup v2 only (Debian's cloud kernel, ``tools/inguest.py``), from the
same QEMU in ``guest/ram`` and ``guest/vmm``, with a helper in ``guest/vmm`` that holds written page cache, 3 MiB of
locked file, 5 MiB of memfd and 6 MiB of shared anonymous memory. ``frozen/`` is the same guest while it was frozen.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

V1 = Path(__file__).parent / "v1"
V2 = Path(__file__).parent / "v2"


def recorded(name: str, version: Path = V1) -> str:
    """Text of a recorded file."""
    return (version / name).read_text()


class DictFiles:
    """Files as a dict says; a value that is an ``OSError`` number is raised. Folders are what the paths imply."""

    def __init__(self, texts: Mapping[str, str | int] | None = None) -> None:
        self.texts: dict[str, str | int] = dict(texts or {})
        self.reads: list[str] = []
        self.made: list[str] = []
        self.mkdir_error: int = 0

    @classmethod
    def of_recorded(cls, folder: str, at: str, version: Path = V1) -> DictFiles:
        """All files of a recorded folder as if they lay in ``at``."""
        return cls({f"{at}/{file.name}": file.read_text() for file in (version / folder).iterdir() if file.is_file()})

    def with_recorded(self, folder: str, at: str, version: Path = V1) -> DictFiles:
        """These and those of another recorded folder."""
        return DictFiles(self.texts | DictFiles.of_recorded(folder, at, version).texts)

    def read(self, path: str) -> str:
        """Text of a file, or the error put there, or ENOENT."""
        self.reads.append(path)
        found = self.texts.get(path, errno.ENOENT)
        if isinstance(found, int):
            raise OSError(found, os.strerror(found), path)
        return found

    def write(self, path: str, value: str) -> None:
        """Readers write nothing."""
        raise AssertionError(f"a reader wrote {value!r} to {path}")

    def mkdir(self, path: str) -> None:
        """Remember the folder, or raise ``mkdir_error``."""
        if self.mkdir_error:
            raise OSError(self.mkdir_error, os.strerror(self.mkdir_error), path)
        self.made.append(path)

    def rmdir(self, path: str) -> None:
        """Forget the folder."""
        self.made.remove(path)

    def list_dirs(self, path: str) -> list[str]:
        """Folders that some path goes through."""
        inside = [name[len(path) + 1 :] for name in self.texts if name.startswith(f"{path}/")]
        if not inside:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return sorted({name.partition("/")[0] for name in inside if "/" in name})

    def inode(self, path: str) -> int:
        """The same number for the same path."""
        self.list_dirs(path)
        return sum(path.encode())
