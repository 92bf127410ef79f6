"""``guestroom run --lean`` beside ``guestroom run``: the same guest, the same work, turn by turn.

The plain small guest of the project's measurements as its user would write it: one vCPU, 256 MiB, one qcow2 disk, TCG
with no size of its code buffer. Its boot is timed from the command to the guest's first word, its work are random
requests, each read back and compared, as many as it can do. Overhead is read from the kernel's files at the end of it.
"""

from __future__ import annotations

import statistics
import subprocess
import time

from benchmarks.series import Row
from guestroom.lab.host import Host
from guestroom.lab.image import find_image
from guestroom.lab.vm import Vm
from guestroom.units import MIB

SETTINGS = '[host]\nreserve = "2GiB"\nheadroom = "256MiB"\n[timing]\nsettle_s = 0\n'
RAM_MIB = 256
WORK_S = 6.0
KINDS: dict[str, tuple[str, ...]] = {"stock": (), "lean": ("--lean",)}


def start(host: Host, name: str, options: tuple[str, ...]) -> tuple[Vm, float]:
    """A guest that has booted, and how long that took."""
    machine = host.machine(name, find_image(), rate=0, io="32x1", ram_mib=RAM_MIB)
    disk = host.folder / f"{name}.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(disk), "1G"], check=True)
    words = [word.replace("tcg,tb-size=32", "tcg") for word in machine.argv()]
    words = [word.replace(f"file={machine.disk},format=raw", f"file={disk},format=qcow2") for word in words]
    began_s = time.monotonic()
    vm = Vm(machine, [*host.run_words(name, *options), *words])
    host.vms.append(vm)
    while not vm.signs.booted:
        if vm.process.poll() is not None or time.monotonic() - began_s > 60:
            raise SystemExit(f"{name} did not boot: {vm.stderr()}")
        time.sleep(0.005)
    return vm, time.monotonic() - began_s


def once(host: Host, name: str, options: tuple[str, ...]) -> dict[str, float]:
    """One guest from its start to its end."""
    vm, boot_s = start(host, name, options)
    if not vm.wait_alive(60):
        raise SystemExit(f"{name} does no I/O: {vm.stderr()}")
    before, began_s = vm.signs.ops, time.monotonic()
    time.sleep(WORK_S)
    done, took_s = vm.signs.ops - before, time.monotonic() - began_s
    wrong = vm.alive()
    if wrong is not None:
        raise SystemExit(f"{name} is not alive: {wrong}")
    overhead = host.overhead(name, RAM_MIB * MIB)
    vm.stop()
    return {"overhead": overhead, "boot_s": boot_s, "iops": done / took_s}


def measure(rounds: int = 5) -> list[Row]:
    """Rows of both kinds, medians over ``rounds`` (at most 5), interleaved so that what disturbs one disturbs both."""
    seen: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    with Host(SETTINGS) as host:
        for number in range(min(rounds, 5)):
            for kind, options in KINDS.items():
                seen[kind].append(once(host, f"{kind}{number}", options))
    middle = {
        kind: {key: statistics.median(one[key] for one in runs) for key in ("overhead", "boot_s", "iops")}
        for kind, runs in seen.items()
    }
    stock = middle["stock"]
    return [
        {
            "guest": kind,
            "n": len(seen[kind]),
            "overhead MiB": round(row["overhead"] / MIB, 1),
            "of stock": round(row["overhead"] / stock["overhead"], 2),
            "boot s": round(row["boot_s"], 2),
            "boot of stock": round(row["boot_s"] / stock["boot_s"], 2),
            "IOPS": round(row["iops"]),
            "IOPS of stock": round(row["iops"] / stock["iops"], 2),
        }
        for kind, row in middle.items()
    ]
