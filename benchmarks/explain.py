"""What it costs to know where a guest's bytes are, beside what the usual tools take for less.

The guests' RAM is resident in pages of 4 KiB, the dearest case: the kernel walks each of them for ``smaps``. ``ps_mem``
(PyPI) is run as its users run it, and reads ``smaps_rollup`` where the kernel has it; ``smaps`` alone is read and
thrown away as the baseline that no tool which names mappings can beat. A heartbeat tells whether a look stops it.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.series import Row, interleaved, least, median, percentile
from guestroom.apply.upkeep import SystemClock
from guestroom.cli.explain import look
from guestroom.kernelfs import KeptFiles, KernelFiles
from guestroom.lab.host import Host
from guestroom.lab.image import find_image
from guestroom.lab.vm import Vm
from guestroom.observe.charges import find_cgroup, read_charge
from guestroom.observe.glance import Glance
from guestroom.observe.snapshot import KernelObserver

RAM_MIB = (256, 4096)
SETTINGS = '[host]\nreserve = "2GiB"\nheadroom = "256MiB"\n[timing]\nsettle_s = 0\n'
BACKGROUND = 100
"""Looks that stand for a hundred guests: what a minute of them takes of a core."""
_PR_SET_THP_DISABLE = 41
"""include/uapi/linux/prctl.h; inherited over exec."""


@contextmanager
def small_pages() -> Iterator[None]:
    """Children started meanwhile get no huge pages."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_THP_DISABLE, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_THP_DISABLE)")
    try:
        yield
    finally:
        libc.prctl(_PR_SET_THP_DISABLE, 0, 0, 0, 0)


def start(host: Host, ram_mib: int) -> Vm:
    """A guest with all of its RAM resident."""
    name = f"ram{ram_mib}"
    backend = f"memory-backend-ram,id=ram0,size={ram_mib}M,prealloc=on"
    extra = ("-object", backend, "-machine", "memory-backend=ram0")
    with small_pages():
        vm = host.run(host.machine(name, find_image(), ram_mib=ram_mib, extra=extra))
    if not vm.wait_alive(120):
        raise SystemExit(f"{name} is not alive: {vm.stderr()}")
    return vm


def ps_mem() -> list[str] | None:
    """How to run ``ps_mem`` here, None where it is not installed (``pip install ps_mem``)."""
    found = Path(sys.executable).with_name("ps_mem")
    return [sys.executable, str(found)] if found.exists() else None


def whole_smaps(pid: int) -> bytes:
    """The baseline."""
    return Path(f"/proc/{pid}/smaps").read_bytes()


def run(words: list[str]) -> Callable[[], object]:
    """A command, whole, its output thrown away."""
    return lambda: subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)


def beats(vm: Vm, work: Callable[[], object], seconds: float) -> float:
    """Largest gap between two heartbeats in milliseconds while ``work`` is done over and over."""
    vm.forget_gaps()
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        work()
    return vm.gap_s() * 1e3


def row(host: Host, vm: Vm, rounds: int) -> Row:
    """One guest."""
    pid = host.ps()[vm.machine.name]["pid"]
    found = look(pid)
    charged = found.explanation.charged_bytes
    works: dict[str, Callable[[], object]] = {"look": lambda: look(pid), "smaps": lambda: whole_smaps(pid)}
    took = interleaved(works, rounds)
    cli = str(Path(sys.executable).with_name("guestroom"))
    commands = {"explain": run([cli, "explain", "--pid", str(pid)])}
    if (words := ps_mem()) is not None:
        commands["ps_mem"] = run([*words, "-p", str(pid)])
    whole = interleaved(commands, max(3, rounds // 3))
    calm = beats(vm, lambda: time.sleep(0.05), 3.0)
    watched = beats(vm, lambda: (look(pid), time.sleep(0.05)), 3.0)
    # As in the background: the processor's time of this process, whatever else the machine does.
    began_s = time.process_time()
    for _ in range(rounds):
        look(pid)
    per_look_s = (time.process_time() - began_s) / rounds
    return {
        "RAM MiB": vm.machine.ram_mib,
        "explained %": round(100 * found.explanation.explained_bytes / charged, 2),
        "look ms": least(took["look"]),
        "median": median(took["look"]),
        "smaps ms": least(took["smaps"]),
        "look/smaps": round(least(took["look"]) / least(took["smaps"]), 2),
        "explain ms": least(whole["explain"]),
        "ps_mem ms": least(whole["ps_mem"]) if "ps_mem" in whole else "not installed",
        "gap calm ms": round(calm),
        "gap watched ms": round(watched),
        "CPU ms": round(per_look_s * 1e3, 1),
        "s a round of 100 at 1 %": round(BACKGROUND * per_look_s / 0.01),
    }


def cheap(host: Host, names: tuple[str, ...], rounds: int) -> Row:
    """The agent's loop: counters only, microseconds a guest, beside reading the same files bare."""
    files = KeptFiles()
    glance = Glance(files, host.layout)
    paths = [f"{host.layout.guest(name)}/{file}" for name in names for file in ("memory.usage_in_bytes", "memory.stat")]

    def bare() -> None:
        for path in paths:
            fd = os.open(path, os.O_RDONLY)
            os.read(fd, 1 << 16)
            os.close(fd)

    glance.moved(names)
    guests = list(host.ps().values())
    folder, version = find_cgroup(KernelFiles(), guests[0]["pid"])
    observer = KernelObserver(files, host.layout, SystemClock(), outsider_need=lambda argv: (None, None))

    def reading() -> None:
        for guest in guests:
            observer.overhead(guest["name"], guest["ram_bytes"], guest["pid"], (guest["ram_bytes"],))

    took = interleaved(
        {
            "glance": lambda: glance.moved(names),
            "reading": reading,
            "charge": lambda: read_charge(files, folder, version),
            "bare": bare,
        },
        rounds * 20,
    )
    us = {name: 1e3 * least(values) / (1 if name == "charge" else len(names)) for name, values in took.items()}
    return {
        "guests": len(names),
        "glance us a guest": round(us["glance"], 1),
        "p99": round(1e3 * percentile(took["glance"], 99) / len(names), 1),
        "one reading us": round(us["reading"], 1),
        "counters for explain us": round(us["charge"], 1),
        "bare open, read, close us": round(us["bare"], 1),
        "glance/bare": round(us["glance"] / us["bare"], 2),
    }


def measure(rounds: int) -> list[Row]:
    """One row for each size of guest."""
    with Host(SETTINGS) as host:
        vms = [start(host, ram_mib) for ram_mib in RAM_MIB]
        rows = [row(host, vm, rounds) for vm in vms]
        rows.append(cheap(host, tuple(vm.machine.name for vm in vms), rounds))
        return rows
