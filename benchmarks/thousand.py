"""A thousand guests: what one pass over their cgroups costs beside the bare reads, and what the agent takes for them.

The pass is the agent's own (``Glance`` and the quick look); the baseline preads the same files from descriptors that
are open already, in a bare loop, in turns with it. The agent is a real one at one sweep a second; its processor time
and resident memory are the kernel's figures.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

from benchmarks.alarm import cpu_s
from benchmarks.crowd import say
from benchmarks.herd import GRANT, HEADROOM, RAM, Herd
from benchmarks.series import Row
from guestroom.apply.upkeep import SystemClock
from guestroom.kernelfs import KeptFiles, KernelFiles
from guestroom.lab.host import Host
from guestroom.observe.hierarchy import find_layout
from guestroom.observe.snapshot import KernelObserver
from guestroom.units import MIB

GOAL_RATIO, GOAL_CPU_PERCENT, GOAL_RSS_MIB = 1.5, 2.0, 64
SETTINGS = f"""
[host]
reserve = "{{reserve}}MiB"
headroom = "{HEADROOM // MIB}MiB"
guard = "64MiB"
sharing = "static"
[sizing]
policy = "ovirt"
[timing]
settle_s = 0
sweep_s = 1
"""


class _Listening(KeptFiles):
    """Notes which files are read one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.paths: list[str] = []
        self.on = False

    def read(self, path: str) -> str:
        """Read it, and note it."""
        if self.on:
            self.paths.append(path)
        return super().read(path)


class Pass:
    """The agent's pass over a herd, and the bare loop over the same files."""

    def __init__(self, herd: Herd, moving: int) -> None:
        layout, self.names = herd.layout, herd.names
        self._moving = self.names[:: len(self.names) // moving] if moving else ()
        self._herd = herd
        self._files = _Listening()
        self._observer = KernelObserver(KernelFiles(), layout, SystemClock(), kept=self._files)
        for name in self.names:
            self._observer.overhead(name, RAM, herd.pids[name], (RAM,))
        self._observer.moved(self.names)
        self._look()
        self._files.on, self._files.paths = True, []
        self._herd.move(self._moving)
        self.looked = self._look()
        self._files.on = False
        sure = [layout.memory, *(layout.guest(name) for name in self.names)]
        paths = [f"{f}/{n}" for f in sure for n in ("memory.usage_in_bytes", "memory.limit_in_bytes")]
        self.paths = paths + self._files.paths
        self._fds = [os.open(path, os.O_RDONLY) for path in self.paths]

    def _look(self) -> int:
        moved = self._observer.moved(self.names).moved
        for name in moved:
            self._observer.quick(name, RAM, self._herd.pids[name], (RAM,))
        return len(moved)

    def _bare(self) -> None:
        for fd in self._fds:
            os.pread(fd, 4096, 0)

    def measure(self, rounds: int) -> tuple[list[float], list[float]]:
        """Milliseconds of our pass and of the bare loop, in turns; the moving ones move before each."""
        ours, bare = [], []
        for _ in range(rounds):
            for took, work in ((ours, self._look), (bare, self._bare)):
                self._herd.move(self._moving)
                took.append(_ms(work))
        return ours, bare

    def close(self) -> None:
        """Close the baseline's files."""
        for fd in self._fds:
            os.close(fd)


def _ms(work: Callable[[], object]) -> float:
    began_ns = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - began_ns) / 1e6


def measure(rounds: int = 15, count: int = 1000) -> list[Row]:
    """Rows: the pass with none, 5 % and all of them moving; then the agent with none and with all of them."""
    rows: list[Row] = []
    herd = Herd(find_layout(KernelFiles(), f"guestroom-pass{os.getpid()}"), count)
    try:
        for moving in (0, count // 20, count):
            one = Pass(herd, moving)
            say(f"pass over {count}, {moving} moving: {one.looked} looked at, {len(one.paths)} reads")
            ours, bare = one.measure(rounds if moving < count else max(5, rounds // 2))
            one.close()
            rows.append(
                {
                    "what": f"pass, {moving} of {count} moving",
                    "reads": len(one.paths),
                    "ours_ms": round(statistics.median(ours), 3),
                    "bare_ms": round(statistics.median(bare), 3),
                    "ratio": round(statistics.median(ours) / statistics.median(bare), 2),
                    "least_ratio": round(min(ours) / min(bare), 2),
                    "goal": GOAL_RATIO,
                }
            )
    finally:
        herd.end()
    rows += _agent(0) + _agent(count)
    return rows


def _agent(count: int, seconds: float = 20.0) -> list[Row]:
    """CPU share and resident memory of a real agent with so many guests."""
    host = Host(SETTINGS.format(reserve=(count * GRANT + HEADROOM) // MIB + 512))
    herd = Herd(host.layout, count)
    try:
        herd.record(host.state)
        host.start(timeout_s=120)
        assert host.process is not None
        there = len(host.ps())
        if there != count:
            raise SystemExit(f"{there} of {count} guests are under care: {host.log()[-800:]}")
        agent = host.process.pid
        alarm = int(host.files.read(f"/proc/{agent}/task/{agent}/children").split()[0])
        _quiet(agent, alarm)
        before, began_s = (cpu_s(agent), cpu_s(alarm)), time.monotonic()
        time.sleep(seconds)
        took_s = time.monotonic() - began_s
        share = [(cpu_s(pid) - then) / took_s * 100 for pid, then in zip((agent, alarm), before, strict=True)]
        row: Row = {
            "what": f"agent, {count} guests",
            "cpu_percent": round(share[0], 2),
            "alarm_cpu_percent": round(share[1], 2),
            "rss_mib": round(resident_mib(agent), 1),
            "peak_mib": round(resident_mib(agent, "VmHWM"), 1),
            "alarm_rss_mib": round(resident_mib(alarm), 1),
            "open_files": len(os.listdir(f"/proc/{agent}/fd")),  # noqa: PTH208
            "goal_cpu_percent": GOAL_CPU_PERCENT,
            "goal_rss_mib": GOAL_RSS_MIB,
        }
        say(str(row))
        return [row]
    finally:
        if host.process is not None and host.process.poll() is None:
            host.stop()
        herd.end()
        host.clean_up()


def _quiet(agent: int, alarm: int, longest_s: float = 120.0) -> None:
    """Wait until alarms are armed and the start is over: the processor time of both is that of sweeps alone."""
    end_s, before = time.monotonic() + longest_s, cpu_s(agent) + cpu_s(alarm)
    while time.monotonic() < end_s:
        time.sleep(3.0)
        now = cpu_s(agent) + cpu_s(alarm)
        threads = len(os.listdir(f"/proc/{alarm}/task"))  # noqa: PTH208
        if now - before < 1.0 and threads == 1:
            return
        before = now
    say("the start is not over yet: figures are too high")


def resident_mib(pid: int, line: str = "VmRSS") -> float:
    """Resident memory of a process."""
    with open(f"/proc/{pid}/status") as file:  # noqa: PTH123
        figures = dict(line.split(":", 1) for line in file)
    return int(figures[line].split()[0]) / 1024
