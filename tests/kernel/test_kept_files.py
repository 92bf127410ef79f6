"""Files of real cgroups that stay open: a cgroup removed and made again is never taken for the old one."""

from __future__ import annotations

import os

import pytest

from guestroom.kernelfs import KeptFiles, KernelFiles
from guestroom.observe.hierarchy import find_layout

pytestmark = pytest.mark.kernel


def test_a_cgroup_made_anew_is_read_and_a_removed_one_is_gone() -> None:
    """The kept descriptor of a removed cgroup answers ENODEV; then the path counts: ENOENT, or the new cgroup."""
    files, plain = KeptFiles(), KernelFiles()
    layout = find_layout(plain, f"keptfiles{os.getpid()}")
    folder = layout.memory
    name = "memory.limit_in_bytes" if layout.version == 1 else "memory.max"
    paths = (f"{folder}/{name}",)
    files.mkdir(folder)
    try:
        files.write(paths[0], str(1 << 20))
        assert files.read(paths[0]) == f"{1 << 20}\n" == plain.read(paths[0])
        assert files.read_all(paths) == [f"{1 << 20}\n".encode()]
        files.rmdir(folder)
        assert files.read_all(paths) == [None]
        with pytest.raises(FileNotFoundError):
            files.read(paths[0])
        files.mkdir(folder)
        files.write(paths[0], str(2 << 20))
        assert files.read_all(paths) == [f"{2 << 20}\n".encode()]
        assert files.read(paths[0]) == f"{2 << 20}\n"
    finally:
        files.rmdir(folder)
