"""What ``guestroom run`` adds to QEMU's own start: from the command to the guest's first instruction.

The baseline is the very argv the agent has QEMU execute (stopped, with preallocated RAM and the same monitors),
started bare by fork and exec and continued as soon as it answers. Both ends are seen on the user's own monitor: its
greeting (QEMU is built and has its RAM) and its RESUME event (the vCPUs run). The goal is at most 50 ms over it.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.series import Row, least, median
from guestroom.describe import prepare
from guestroom.lab.host import Host

GOAL_MS = 50
SETTINGS = '[host]\nreserve = "4GiB"\nheadroom = "128MiB"\n[timing]\nsettle_s = 0\n'
SIZES_MIB = (64, 256, 1024)
Marks = dict[str, float]
"""Milliseconds from the start of the command to each mark."""


def user_argv(ram_mib: int, monitor: str) -> list[str]:
    """A small guest without a kernel, with a monitor of its user's."""
    return [
        *("qemu-system-x86_64", "-M", "q35", "-m", str(ram_mib), "-accel", "tcg,tb-size=8", "-nodefaults"),
        *("-display", "none", "-monitor", "none", "-qmp", f"unix:{monitor},server=on,wait=off"),
    ]


class Monitor:
    """The user's monitor, spoken just enough to see a start."""

    def __init__(self, path: str, deadline_s: float) -> None:
        while True:
            self._socket = socket.socket(socket.AF_UNIX)
            try:
                self._socket.connect(path)
                break
            except OSError:
                self._socket.close()
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.001)
        self._file = self._socket.makefile("rwb")
        self._file.readline()
        self.greeted_s = time.perf_counter()
        self.say("qmp_capabilities")

    def say(self, command: str) -> None:
        """Send a command."""
        self._file.write(json.dumps({"execute": command}).encode() + b"\n")
        self._file.flush()

    def wait_running(self) -> None:
        """Return when the vCPUs run: at RESUME, or when they did already."""
        self.say("query-status")
        while True:
            line = json.loads(self._file.readline())
            if line.get("event") == "RESUME" or line.get("return", {}).get("running"):
                return

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self._socket.close()


def watched(path: str, spawn: Callable[[], int], *, cont: bool) -> tuple[Marks, int]:
    """Start something and note when QEMU greets and when it runs."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108
    began_s = time.perf_counter()
    pid = spawn()
    monitor = Monitor(path, time.monotonic() + 30)
    if cont:
        monitor.say("cont")
    monitor.wait_running()
    running_s = time.perf_counter()
    monitor.close()
    return {"greeted": (monitor.greeted_s - began_s) * 1e3, "running": (running_s - began_s) * 1e3}, pid


def bare(argv: tuple[str, ...], path: str) -> Marks:
    """Fork, exec, greet, continue."""
    null = os.open(os.devnull, os.O_RDWR)

    streams = [(os.POSIX_SPAWN_DUP2, null, fd) for fd in (0, 1, 2)]

    def spawn() -> int:
        return os.posix_spawnp(argv[0], argv, os.environ, file_actions=streams)

    marks, pid = watched(path, spawn, cont=True)
    os.close(null)
    os.kill(pid, signal.SIGTERM)
    os.waitpid(pid, 0)
    return marks


def kept(host: Host, argv: Sequence[str], path: str) -> Marks:
    """The same through ``guestroom run``; ``verdict`` is when the agent has said yes."""
    reader, writer = os.pipe()
    told: list[float] = []
    running: list[subprocess.Popen[bytes]] = []

    def spawn() -> int:
        words = [*host.run_words("bench", "--verdict-fd", str(writer)), *argv]
        null = subprocess.DEVNULL
        running.append(subprocess.Popen(words, stdin=null, stdout=null, stderr=null, pass_fds=(writer,)))
        os.close(writer)
        os.read(reader, 1 << 16)
        told.append(time.perf_counter())
        return running[0].pid

    began_s = time.perf_counter()
    marks, _ = watched(path, spawn, cont=False)
    os.close(reader)
    running[0].terminate()
    running[0].wait(30)
    while host.ps():
        time.sleep(0.02)
    return marks | {"verdict": (told[0] - began_s) * 1e3}


def warm(size_bytes: int) -> None:
    """Touch and free as much memory as the guest will have.

    On a virtual machine the first touch of memory its own host has taken back is several times slower; without this
    whoever starts first in a round pays for the other.
    """
    with mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_HUGEPAGE)
        for at in range(0, size_bytes, mmap.PAGESIZE):
            memory[at] = 1


def fork_and_exec() -> Marks:
    """A program that does nothing."""
    began_s = time.perf_counter()
    os.waitpid(os.posix_spawnp("true", ["true"], os.environ), 0)
    return {"running": (time.perf_counter() - began_s) * 1e3}


def measure(rounds: int) -> list[Row]:
    """One row for each size of guest."""
    rows: list[Row] = []
    with Host(SETTINGS) as host:
        folder = Path(host.folder)
        for ram_mib in SIZES_MIB:
            path = str(folder / "user.qmp")
            argv = user_argv(ram_mib, path)
            ready = prepare(argv, monitor_path=str(folder / "own.qmp"), readconfig={}).argv
            series: dict[str, list[Marks]] = {"bare": [], "run": [], "true": []}
            for _ in range(rounds):
                warm(ram_mib << 20)
                series["bare"].append(bare(ready, path))
                warm(ram_mib << 20)
                series["run"].append(kept(host, argv, path))
                series["true"].append(fork_and_exec())
            rows.append(_row(ram_mib, series))
    return rows


def _row(ram_mib: int, series: dict[str, list[Marks]]) -> Row:
    def of(kind: str, mark: str, since: str | None = None) -> float:
        return median([marks[mark] - (marks[since] if since else 0.0) for marks in series[kind]])

    least_over = least([run["running"] for run in series["run"]]) - least([base["running"] for base in series["bare"]])
    over = [run["running"] - base["running"] for run, base in zip(series["run"], series["bare"], strict=True)]
    return {
        "ram_mib": ram_mib,
        "fork_exec_ms": of("true", "running"),
        "bare_ms": of("bare", "running"),
        "run_ms": of("run", "running"),
        "over_bare_ms": median(over),
        "least_over_ms": round(least_over, 2),
        "ratio": round(of("run", "running") / of("bare", "running"), 2),
        "to_verdict_ms": of("run", "verdict"),
        "qemu_ms": of("run", "greeted", "verdict"),
        "qemu_bare_ms": of("bare", "greeted"),
        "to_running_ms": of("run", "running", "greeted"),
        "to_running_bare_ms": of("bare", "running", "greeted"),
    }
