"""A configuration's disks and QEMU command line.

Guest RAM is always preallocated: it is then constant, so that what moves during a load is overhead, to the page.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from guestroom.errors import HostError
from guestroom.lab.image import GuestImage
from guestroom.lab.study.dataset import Factor

FILLED_MIB = 256
"""Of a backing file, or a compressed image, that holds data."""


def make_disks(factors: Mapping[str, Factor], folder: Path) -> tuple[str, ...]:
    """Create the disks in ``folder``; their names. Raises ``HostError`` with what qemu-img said."""
    kind, cluster = factors["format"], f"cluster_size={factors['cluster_kib']}k"
    size = f"{factors['virtual_gib']}G"
    names = []
    for number in range(int(factors["disks"] or 0)):
        name = f"d{number}.{kind}"
        names.append(name)
        if kind == "raw":
            _tool(folder, "qemu-img", "create", "-q", "-f", "raw", name, size)
        elif factors["backing"] or factors["compressed"]:
            _filled(folder, name, cluster, compressed=bool(factors["compressed"]))
        else:
            # Without tables an empty image has nothing to be cached.
            options = f"{cluster},preallocation=metadata" if factors["allocated"] else cluster
            _tool(folder, "qemu-img", "create", "-q", "-f", "qcow2", "-o", options, name, size)
    return tuple(names)


def _filled(folder: Path, name: str, cluster: str, *, compressed: bool) -> None:
    """An empty overlay over a backing file full of data, or such a file with every cluster compressed."""
    full = f"full-{name}"
    _tool(folder, "qemu-img", "create", "-q", "-f", "qcow2", "-o", cluster, full, f"{FILLED_MIB}M")
    _tool(folder, "qemu-io", "-c", f"write -q -P 90 0 {FILLED_MIB}M", full)
    if compressed:
        _tool(folder, "qemu-img", "convert", "-c", "-O", "qcow2", "-o", cluster, full, name)
    else:
        _tool(folder, "qemu-img", "create", "-q", "-f", "qcow2", "-o", cluster, "-b", full, "-F", "qcow2", name)


def _tool(folder: Path, *argv: str) -> None:
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise HostError(
            f"{argv[0]} failed: {(done.stderr or done.stdout).strip()}",
            where=" ".join(argv),
            hint="is there room on the disk? else: make setup",
        )


def command(factors: Mapping[str, Factor], image: GuestImage, folder: Path, disks: tuple[str, ...]) -> list[str]:
    """The command line: its guest takes orders from its serial console, its files are in ``folder``."""
    size, shared = f"{factors['ram_mib']}M", ",share=on" if factors["memory"] == "memfd" else ""
    backend = {"anon": "ram", "memfd": "memfd"}[str(factors["memory"])]
    buffer = f",tb-size={factors['tb_mib']}" if factors["tb_mib"] else ""
    argv = ["env", f"MALLOC_ARENA_MAX={factors['env_arena_max']}"] if factors["env_arena_max"] else []
    argv += ["qemu-system-x86_64", "-M", f"{factors['machine']},memory-backend=ram0", "-m", size]
    argv += ["-object", f"memory-backend-{backend},id=ram0,size={size},prealloc=on{shared}"]
    argv += ["-smp", str(factors["vcpus"]), "-accel", f"tcg{buffer}", "-nodefaults", "-no-reboot"]
    argv += ["-serial", "stdio", "-monitor", "none", "-kernel", image.kernel, "-initrd", image.initrd]
    argv += ["-append", "console=ttyS0 quiet guestroom.role=shell"]
    for number in range(int(factors["iothreads"] or 0)):
        argv += ["-object", f"iothread,id=io{number}"]
    for number, name in enumerate(disks):
        argv += _disk(factors, folder / name, number)
    return [*argv, *_devices(factors, folder)]


def _disk(factors: Mapping[str, Factor], path: Path, number: int) -> list[str]:
    drive = f"if=none,id=d{number},file={path},format={factors['format']},cache={factors['cache']},aio={factors['aio']}"
    if factors["l2_cache_mib"]:
        drive += f",l2-cache-size={factors['l2_cache_mib']}M"
    device = f"virtio-blk-pci,drive=d{number}"
    if factors["iothreads"]:
        device += f",iothread=io{number % int(factors['iothreads'])}"
    for factor, option in (("queues", "num-queues"), ("queue_size", "queue-size")):
        if factors[factor]:
            device += f",{option}={factors[factor]}"
    return ["-drive", drive, "-device", device]


def _devices(factors: Mapping[str, Factor], folder: Path) -> list[str]:
    argv = ["-display", "none"]
    if factors["video"] != "none":
        argv += ["-device", {"std": "VGA", "virtio": "virtio-vga", "qxl": "qxl-vga"}[str(factors["video"])]]
    if factors["vnc_clients"]:
        argv += ["-vnc", f"unix:{folder}/vnc"]
    if factors["usb"]:
        argv += ["-device", "qemu-xhci", "-device", "usb-tablet"]
    for number in range(int(factors["nics"] or 0)):
        argv += ["-netdev", f"user,id=n{number}", "-device", f"virtio-net-pci,netdev=n{number},romfile="]
    return [*argv, "-device", "virtio-balloon-pci"] if factors["balloon"] else argv
