"""What one look at a guest costs the agent, beside a bare read of the same kernel files.

The files are those the agent's own observer reads, found by listening to it; the baseline opens them once and reads
each with one ``pread``, or opens, reads and closes each anew. The agent's own processor time is from /proc.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from benchmarks.run import user_argv
from benchmarks.series import Row
from guestroom.kernelfs import KernelFiles
from guestroom.lab.host import Host
from guestroom.observe.snapshot import KernelObserver

SETTINGS = '[host]\nreserve = "8GiB"\nheadroom = "128MiB"\n[timing]\nsweep_s = 0.2\nsettle_s = 0\n'
COUNTS = (1, 4, 16)
IDLE_S = 5.0


class _Listening(KernelFiles):
    """Notes which files are read."""

    def __init__(self) -> None:
        self.read_paths: list[str] = []

    def read(self, path: str) -> str:
        """Read it, and note it."""
        self.read_paths.append(path)
        return super().read(path)


class _Clock:
    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def best_us(work: Callable[[], object], rounds: int) -> float:
    """The least time of ``work`` in microseconds."""
    took = []
    for _ in range(rounds):
        began_ns = time.perf_counter_ns()
        work()
        took.append(time.perf_counter_ns() - began_ns)
    return min(took) / 1e3


def cpu_s(pid: int) -> float:
    """Processor time of a process."""
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(rounds: int) -> list[Row]:
    """One row for each number of guests."""
    rows: list[Row] = []
    with Host(SETTINGS) as host:
        started: list[object] = []
        for count in COUNTS:
            while len(started) < count:
                started.append(_start(host, f"g{len(started):02d}"))
            time.sleep(1.0)
            rows.append(_row(host, count, rounds * 20))
    return rows


def _start(host: Host, name: str) -> object:
    import subprocess

    words = [*host.run_words(name), *user_argv(64, str(host.folder / f"{name}.qmp"))]
    null = subprocess.DEVNULL
    process = subprocess.Popen(words, stdin=null, stdout=null, stderr=null)
    host.wait_for("started", name)
    return process


def _row(host: Host, count: int, rounds: int) -> Row:
    guests = list(host.ps().values())
    files = _Listening()
    observer = KernelObserver(files, host.layout, _Clock(), outsider_need=lambda argv: (None, None))

    def look() -> None:
        for guest in guests:
            observer.overhead(guest["name"], guest["ram_bytes"], guest["pid"], (guest["ram_bytes"],))

    look()
    files.read_paths.clear()
    look()
    paths = list(files.read_paths)
    descriptors = [os.open(path, os.O_RDONLY) for path in paths]

    def pread() -> None:
        for fd in descriptors:
            os.pread(fd, 1 << 16, 0)

    def reopen() -> None:
        for path in paths:
            fd = os.open(path, os.O_RDONLY)
            os.read(fd, 1 << 18)
            os.close(fd)

    look_us, bare_us = best_us(look, rounds) / count, best_us(pread, rounds) / count
    reopen_us = best_us(reopen, rounds) / count
    for fd in descriptors:
        os.close(fd)
    assert host.process is not None
    before_s = cpu_s(host.process.pid)
    time.sleep(IDLE_S)
    return {
        "guests": count,
        "files_per_guest": round(len(paths) / count, 1),
        "look_us": round(look_us, 1),
        "bare_pread_us": round(bare_us, 1),
        "bare_open_read_us": round(reopen_us, 1),
        "ratio_to_pread": round(look_us / bare_us, 2),
        "ratio_to_open": round(look_us / reopen_us, 2),
        "agent_cpu_ms_per_guest_sweep": round((cpu_s(host.process.pid) - before_s) / IDLE_S * 0.2 / count * 1e3, 3),
    }
