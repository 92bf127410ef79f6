"""From a growing guest's alarm to its raised limit, with a hundred guests under care and the agent at work.

A real QEMU's own memory grows by preallocated backends of 20 MiB; its usage crosses a threshold, and the alarm process
raises its limit from free room. The stamp of the crossing is another process's (``observer``), the end is the return of
the write of the limit. Meanwhile the agent reads the smaps of adopted guests and commits every reading to
SQLite, and in half of the runs four hogs want both CPUs.

Raises that the agent made, because room was being decided about at that moment, count as well, by the time of their
event. Those that a sweep made have no crossing: the guest stood between two thresholds.
"""

from __future__ import annotations

import bisect
import json
import os
import subprocess
import sys
import time
from typing import Any

from benchmarks.crowd import Crowd, available_bytes, hogs, say, wake_ups_us
from benchmarks.series import Row, percentile
from guestroom.lab.host import Host
from guestroom.lab.image import find_image
from guestroom.lab.vm import Vm
from guestroom.units import MIB

GOAL_MS = 1.0
STEP = 16 * MIB
GROW = 20 * MIB
ROUND = 50
"""Steps up before the guest gives all back."""
SWEEP_S = 0.1


def settings(guests: int) -> str:
    """Grants are needs (static), so that what nobody needs is free; all timings short, so that rounds can follow."""
    reserve = min(guests * 80 * MIB + 4096 * MIB, available_bytes() - 5 * 1024 * MIB)
    return f"""
[host]
reserve = "{reserve // MIB}MiB"
headroom = "256MiB"
guard = "64MiB"
sharing = "static"
giveback_step = "100%"
[sizing]
policy = "ovirt"
[timing]
settle_s = 0
sweep_s = {SWEEP_S}
peak_window_s = 1
giveback_after_s = 1
reading_keep_s = 0
"""


class Observer:
    """The process that stamps crossings."""

    def __init__(self, host: Host, name: str, top_bytes: int) -> None:
        self._host = host
        self._dummy = f"{host.layout.memory}-dummy"
        host.files.mkdir(self._dummy)
        words = [host.layout.vmm(name), str(STEP), str(top_bytes), self._dummy]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.observer", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def stamps(self) -> list[tuple[float, float]]:
        """End it: when it woke and when its own write had returned, monotonic seconds."""
        out, _ = self._process.communicate()
        self._host.files.rmdir(self._dummy)
        return [(woke_s, wrote_s) for woke_s, wrote_s in json.loads(out)]


def grow_and_give_back(host: Host, vm: Vm, samples: int) -> None:
    """Steps of 20 MiB, a round at a time; between rounds all is given back and the grants follow."""
    done = 0
    while done < samples:
        names = [f"g{done + i}" for i in range(min(ROUND, samples - done))]
        for name in names:
            vm.grow(GROW, name)
            time.sleep(0.03)
        done += len(names)
        for name in names:
            vm.shrink(name)
        say(f"{done} of {samples} steps")
        end_s = time.monotonic() + 20
        while host.ps()["M"]["grant_bytes"] > 250 * MIB and time.monotonic() < end_s:
            time.sleep(0.2)


def raises(host: Host, after: int) -> list[dict[str, Any]]:
    """Events of raises of M since."""
    found = host.client.get(f"/v1/events?limit=10000&after={after}")
    return [event for event in found if event["kind"] == "grown" and event["guest"] == "M"]


def last_event(host: Host) -> int:
    """Number of the newest event."""
    return max((event["number"] for event in host.events()), default=0)


def latencies_ms(
    events: list[dict[str, Any]], stamps: list[tuple[float, float]]
) -> tuple[list[float], list[float], int, int]:
    """From crossing to written limit, the alarm's own share of that; how many the agent raised, how many a sweep."""
    woke = [stamp for stamp, _ in stamps]
    offset_s = time.time() - time.monotonic()
    whole, own, slow, swept = [], [], 0, 0
    answered: set[int] = set()
    for event in events:
        numbers = event["numbers"]
        if "woken" in numbers and not numbers["woken"]:
            swept += 1
            continue
        if "written_s" in numbers:
            written_s, woke_s = float(numbers["written_s"]), float(numbers["woke_s"])
            own.append((written_s - woke_s) * 1e3)
        else:
            written_s = woke_s = float(event["at_wall_s"]) - offset_s
        at = bisect.bisect_right(woke, written_s) - 1
        if "written_s" not in numbers:
            if at in answered:
                # The alarm had answered that crossing; this raise came of a sweep's look.
                swept += 1
                continue
            slow += 1
        if at < 0:
            continue
        answered.add(at)
        crossed_s = min(woke[at], woke_s)
        if written_s - crossed_s < 0.5:
            whole.append((written_s - crossed_s) * 1e3)
    return whole, own, slow, swept


def cpu_s(pid: int) -> float:
    """Processor time of a process."""
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(samples: int = 300, guests: int = 99, adopted: int = 10) -> list[Row]:
    """A row for a calm machine and one with four hogs."""
    rows: list[Row] = []
    with Host(settings(guests)) as host:
        crowd = Crowd(host)
        try:
            say(f"starting {guests} small QEMUs")
            crowd.start(guests)
            say(f"adopting {adopted} more")
            crowd.adopt(adopted)
            vm = host.run(host.machine("M", find_image(), rate=20))
            if not vm.wait_alive(90):
                raise SystemExit(f"the measured guest did not come alive: {vm.stderr()}")
            time.sleep(5.0)
            for count in (0, 4):
                say(f"{count} hogs")
                with hogs(count):
                    rows.append(_row(host, vm, samples, count, guests, adopted))
                say(str(rows[-1]))
            if (why := vm.alive(20)) is not None:
                raise SystemExit(f"the measured guest is not alive: {why}")
        finally:
            crowd.end()
    return rows


def _row(host: Host, vm: Vm, samples: int, hog_count: int, guests: int, adopted: int) -> Row:
    assert host.process is not None
    kernel_us = wake_ups_us(200)
    observer, after = Observer(host, "M", ROUND * GROW + 512 * MIB), last_event(host)
    before_s, began_s = cpu_s(host.process.pid), time.monotonic()
    grow_and_give_back(host, vm, samples)
    took_s = time.monotonic() - began_s
    time.sleep(1.0)
    stamps = observer.stamps()
    whole, own, slow, swept = latencies_ms(raises(host, after), stamps)
    base = [(wrote_s - woke_s) * 1e3 for woke_s, wrote_s in stamps]
    held = len([event for event in host.events("held") if event["number"] > after])
    walls = int(host.client.get("/v1/host")["walls_hit"])
    wake_p99 = percentile(kernel_us, 99) / 1e3
    p99 = percentile(whole, 99)
    return {
        "hogs": hog_count,
        "guests_split": guests + 1,
        "guests_adopted": adopted,
        "smaps_per_s": round(adopted / SWEEP_S),
        "raises": len(whole),
        "by_agent": slow,
        "by_sweep": swept,
        "p50_ms": round(percentile(whole, 50), 3),
        "p99_ms": round(p99, 3),
        "max_ms": round(max(whole), 3),
        "own_p50_ms": round(percentile(own, 50), 3),
        "own_p99_ms": round(percentile(own, 99), 3),
        "bare_write_p50_ms": round(percentile(base, 50), 4),
        "kernel_wake_p50_ms": round(percentile(kernel_us, 50) / 1e3, 4),
        "kernel_wake_p99_ms": round(wake_p99, 4),
        "p99_with_wake_ms": round(p99 + wake_p99, 3),
        "agent_cpu_share": round((cpu_s(host.process.pid) - before_s) / took_s, 2),
        "held": held,
        "walls_hit": walls,
        "goal_ms": GOAL_MS,
        "samples_ms": json.dumps([round(value, 3) for value in sorted(whole)]),
    }
