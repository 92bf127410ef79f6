"""The disk files of a configuration, made with QEMU's own tools."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from guestroom.errors import HostError
from guestroom.lab.study.dataset import Factor

FILLED_MIB = 256
"""Of a backing file, a full or a compressed image, that holds data."""


def make_disks(factors: Mapping[str, Factor], folder: Path) -> tuple[str, ...]:
    """Create the disks in ``folder``, those to be plugged in later too; names of the first. Raises ``HostError``."""
    kind, cluster = factors["format"], f"cluster_size={factors['cluster_kib']}k"
    size = f"{factors['virtual_gib']}G"
    names = []
    for number in range(int(factors["disks"] or 0)):
        name = f"d{number}.{kind}"
        names.append(name)
        if kind == "raw":
            _tool(folder, "qemu-img", "create", "-q", "-f", "raw", name, size)
        elif factors["backing"] or factors["compressed"] or factors["filled"]:
            _filled(factors, folder, name, cluster)
        else:
            # Without tables an empty image has nothing to be cached.
            options = f"{cluster},preallocation=metadata" if factors["allocated"] else cluster
            _tool(folder, "qemu-img", "create", "-q", "-f", "qcow2", "-o", options, name, size)
    for number in range(int(factors["hot_disks"] or 0)):
        _tool(folder, "qemu-img", "create", "-q", "-f", "qcow2", "-o", cluster, f"h{number}.qcow2", size)
    return tuple(names)


def _filled(factors: Mapping[str, Factor], folder: Path, name: str, cluster: str) -> None:
    """A file full of data: the disk itself, or the one below an empty overlay, or with every cluster compressed."""
    full = name if factors["filled"] else f"full-{name}"
    _tool(folder, "qemu-img", "create", "-q", "-f", "qcow2", "-o", cluster, full, f"{FILLED_MIB}M")
    _tool(folder, "qemu-io", "-c", f"write -q -P 90 0 {FILLED_MIB}M", full)
    if factors["compressed"]:
        _tool(folder, "qemu-img", "convert", "-c", "-O", "qcow2", "-o", cluster, full, name)
    elif factors["backing"]:
        _tool(folder, "qemu-img", "create", "-q", "-f", "qcow2", "-o", cluster, "-b", full, "-F", "qcow2", name)


def _tool(folder: Path, *argv: str) -> None:
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise HostError(
            f"{argv[0]} failed: {(done.stderr or done.stdout).strip()}",
            where=" ".join(argv),
            hint="is there room on the disk? else: make setup",
        )
