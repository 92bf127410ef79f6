"""How long a guest's size takes from its command line by ``measured``, beside a peer's formula and no formula at all.

Processor time of this process, warm, for a plain guest and for one with a long command line; the ratio is to reading
the same command line without sizing anything. Goal: 1 ms. Nothing is asserted here.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

from benchmarks.series import Row
from guestroom.describe import from_qemu_argv
from guestroom.size import Estimate, estimate

_LOOPS = 50


def argv(disks: int) -> list[str]:
    """A guest with so many disks, as many networks, a display and USB."""
    words = ["qemu-system-x86_64", "-M", "q35", "-m", "4G", "-smp", "4", "-accel", "tcg,tb-size=32", "-nodefaults"]
    words += ["-device", "VGA", "-vnc", "unix:vnc", "-device", "qemu-xhci", "-device", "usb-tablet"]
    for number in range(disks):
        words += ["-drive", f"if=none,id=d{number},file=d{number}.qcow2,format=qcow2,cache=none,aio=native"]
        words += ["-device", f"virtio-blk-pci,drive=d{number}", "-netdev", f"user,id=n{number}"]
        words += ["-device", f"virtio-net-pci,netdev=n{number}"]
    return words


def measure(rounds: int) -> list[Row]:
    """Median of as many rounds, each way in turn, in milliseconds for one guest."""
    rows: list[Row] = []
    for disks in (1, 16):
        words = argv(disks)
        ways: dict[str, Callable[[], object]] = {
            "read": partial(from_qemu_argv, words),
            "eve": partial(_read_and_sized, words, "eve"),
            "measured": partial(_read_and_sized, words, "measured"),
            "measured_alone": partial(estimate, from_qemu_argv(words), "measured"),
        }
        took: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(max(rounds, 5)):
            for name, way in ways.items():
                took[name].append(_one_ms(way))
        medians = {name: statistics.median(times) for name, times in took.items()}
        row: Row = {"disks": disks, **{f"{name}_ms": round(value, 4) for name, value in medians.items()}}
        row["measured_over_read"] = round(medians["measured"] / medians["read"], 2)
        row["measured_over_eve"] = round(medians["measured"] / medians["eve"], 2)
        rows.append(row)
    return rows


def _read_and_sized(words: list[str], policy: str) -> Estimate:
    return estimate(from_qemu_argv(words), policy)


def _one_ms(way: Callable[[], object]) -> float:
    began_ns = time.process_time_ns()
    for _ in range(_LOOPS):
        way()
    return (time.process_time_ns() - began_ns) / _LOOPS / 1e6
