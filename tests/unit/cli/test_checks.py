"""What ``doctor`` says of memory cgroups: which version, and what a v2 kernel lacks."""

from __future__ import annotations

import errno
import os

import pytest

from guestroom.cli.checks import Level, check_memory_cgroup

MOUNTINFO = "30 23 0:26 / /cg rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V2_FILES = ("memory.max", "memory.reclaim", "memory.peak", "memory.pressure", "cgroup.type")


class Tree:
    """``ports.Files`` of a v2 tree at /cg with this process in /cg/unit/agent, or in the root."""

    def __init__(self, *files: str, own: str = "/unit/agent", wall: bool = False) -> None:
        folder = "/cg" + own.rpartition("/")[0]
        self.texts = {
            "/proc/self/mountinfo": MOUNTINFO,
            "/proc/self/cgroup": f"0::{own}\n",
            f"{folder}/cgroup.controllers": "cpu memory\n",
        }
        at = f"{folder}/guestroom" if wall else folder
        self.texts |= {f"{at}/{file}": "domain\n" for file in files}

    def read(self, path: str) -> str:
        """Text of a file, or ENOENT."""
        if path not in self.texts:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return self.texts[path]

    def write(self, path: str, value: str) -> None:
        """Doctor writes nothing."""
        raise AssertionError(path)

    def mkdir(self, path: str) -> None:
        """The probe."""

    def rmdir(self, path: str) -> None:
        """Its end."""

    def list_dirs(self, path: str) -> list[str]:
        """None."""
        return []

    def inode(self, path: str) -> int:
        """Of a folder that is there."""
        return 1


def test_whole_v2_is_fit() -> None:
    """A kernel with all files is fine, whether the host wall is there or not."""
    for tree in (Tree(*V2_FILES), Tree(*V2_FILES, wall=True)):
        check = check_memory_cgroup(tree, "guestroom")
        assert (check.level, check.detail) == (Level.OK, "v2, writable; guests go to /cg/unit/guestroom")


@pytest.mark.parametrize(
    ("file", "says", "hint"),
    [
        ("memory.reclaim", "page cache can't be shrunk", "5.19"),
        ("memory.peak", "the largest sample", "5.19"),
        ("memory.pressure", "seen by the sweep only", "CONFIG_PSI"),
    ],
)
def test_each_missing_file_is_said(file: str, says: str, hint: str) -> None:
    """A file the kernel lacks is named with what is so without it and where there is one; nothing else is."""
    check = check_memory_cgroup(Tree(*(name for name in V2_FILES if name != file)), "guestroom")
    assert check.level is Level.WARN
    assert f"no {file}: " in check.detail
    assert says in check.detail
    assert check.detail.count("no memory.") == 1
    assert hint in (check.hint or "")


def test_root_has_no_peak_of_its_own() -> None:
    """In the root of the tree only what the root has on every kernel is looked for."""
    check = check_memory_cgroup(Tree("memory.reclaim", "memory.pressure", own="/"), "guestroom")
    assert check.level is Level.OK
    check = check_memory_cgroup(Tree(own="/"), "guestroom")
    assert "memory.reclaim" in check.detail
    assert "memory.pressure" in check.detail
    assert "memory.peak" not in check.detail
