"""Why the defaults of giving back are what they are: recorded traces replayed under other settings.

``python -m benchmarks.giveback record FILE`` runs three real guests for four minutes and writes down their overhead
twice a second; ``python -m benchmarks.giveback`` replays the recorded trace, and made-up ones, through the rules of the
agent and prints what each setting costs (room that lies idle) and buys (limits that don't flutter).
"""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.series import Row, table
from guestroom.config import Percent, Settings, Sharing
from guestroom.facts import HostFacts
from guestroom.lab.host import Host
from guestroom.lab.image import GuestImage, find_image
from guestroom.lab.replay import Replay, Totals
from guestroom.lab.traces import Shape, Trace, bursts, merge, read_trace, write_trace
from guestroom.lab.vm import Vm
from guestroom.units import GIB, MIB

TRACE = Path(__file__).parent / "traces" / "three-guests.jsonl"
HOST_SETTINGS = '[host]\nreserve = "1536MiB"\nheadroom = "384MiB"\n[timing]\nsettle_s = 0\nsweep_s = 0.2\n'
RECORD_S, SAMPLE_S = 240.0, 0.5
SHAPE = Shape(ram_bytes=256 * MIB, need_bytes=100 * MIB, boot_floor_bytes=96 * MIB, burst_bytes=256 * MIB)


def record(target: Path) -> None:
    """Three real guests: one writes at random into an overlay, one grows and shrinks each minute, one is calm."""
    image = find_image()
    samples: dict[str, list[tuple[float, int]]] = {"wild": [], "phases": [], "calm": []}
    with Host(HOST_SETTINGS) as host:
        vms = {"wild": _overlay(host, image)}
        vms |= {name: host.run(host.machine(name, image, rate=50)) for name in ("phases", "calm")}
        for vm in vms.values():
            assert vm.wait_alive(120), vm.stderr()
        began_s, grown = time.monotonic(), False
        while (now_s := time.monotonic() - began_s) < RECORD_S:
            if (wanted := now_s % 60 < 20) != grown:
                grown = wanted
                vms["phases"].grow(120 * MIB, "load", threads=2) if grown else vms["phases"].shrink("load")
            for name, highest in _highest(host, SAMPLE_S).items():
                samples[name].append((round(time.monotonic() - began_s, 1), highest))
            print(f"\r{now_s:5.0f} of {RECORD_S:g} s", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    trace = Trace(dict.fromkeys(samples, SHAPE), {name: tuple(points) for name, points in samples.items()})
    target.parent.mkdir(exist_ok=True)
    target.write_text(write_trace(trace))


def _overlay(host: Host, image: GuestImage) -> Vm:
    """The guest that breaks formulas: an overlay with 2 MiB clusters under random 4 KiB writes."""
    base, top = host.folder / "wild.base", host.folder / "wild.qcow2"
    make = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=2M"]
    subprocess.run([*make, str(base), "4G"], check=True)
    for part in range(4):
        fill = ["qemu-io", "-f", "qcow2", "-c", f"write -P 90 {part}G 1G", str(base)]
        subprocess.run(fill, check=True, capture_output=True)
    subprocess.run([*make, "-b", str(base), "-F", "qcow2", str(top)], check=True)
    machine = host.machine("wild", image, io="64x4", rate=0)
    argv = [word.replace(f"file={machine.disk},format=raw", f"file={top},format=qcow2") for word in machine.argv()]
    argv = [word.replace("guestroom.rate=0", f"guestroom.rate=0 guestroom.span={4 * GIB}") for word in argv]
    vm = Vm(machine, [*host.run_words("wild"), *argv])
    host.vms.append(vm)
    return vm


def _highest(host: Host, seconds: float) -> dict[str, int]:
    """The highest overhead of each guest within a while, from the kernel's files at 20 Hz."""
    found: dict[str, int] = {}
    deadline_s = time.monotonic() + seconds
    while time.monotonic() < deadline_s:
        for name in ("wild", "phases", "calm"):
            found[name] = max(found.get(name, 0), _overhead(host, name))
        time.sleep(0.05)
    return found


def _overhead(host: Host, name: str) -> int:
    """Unreclaimable bytes of both cgroups beyond guest RAM (v1)."""
    total = -SHAPE.ram_bytes
    for path in (host.layout.ram(name), host.layout.vmm(name)):
        stat = dict(line.split() for line in host.files.read(f"{path}/memory.stat").splitlines())
        total += int(stat["rss"]) + int(stat["shmem"]) + host.figure(path, "memory.kmem.usage_in_bytes")
    return max(0, total)


def made_up(length_s: float = 7200.0) -> Trace:
    """One that bursts every 130 seconds, one that works five minutes in twenty, one that swings by 40 MiB."""
    samples = merge(
        [
            bursts("bursts", base_mib=70, burst_mib=250, every_s=130, last_s=3, length_s=length_s),
            bursts("works", base_mib=70, burst_mib=150, every_s=1200, last_s=300, length_s=length_s),
            bursts("swings", base_mib=80, burst_mib=40, every_s=90, last_s=30, length_s=length_s),
        ]
    )
    return Trace(dict.fromkeys(samples, SHAPE), samples)


SHORT: Mapping[str, object] = {"peak_window_s": 60.0}
VARIANTS: Mapping[str, Mapping[str, object]] = {
    "as shipped": {},
    "peak_window = 3600 s": {"peak_window_s": 3600.0},
    "peak_window = 60 s": SHORT,
    "60 s, giveback_after = 5 s": {**SHORT, "giveback_after_s": 5.0},
    "60 s, giveback_after = 300 s": {**SHORT, "giveback_after_s": 300.0},
    "60 s, giveback_keep = 0": {**SHORT, "giveback_keep_bytes": 0},
    "60 s, giveback_keep = 128 MiB": {**SHORT, "giveback_keep_bytes": 128 * MIB},
    "60 s, giveback_step = 5 %": {**SHORT, "giveback_step": Percent(500)},
    "60 s, giveback_step = 100 %": {**SHORT, "giveback_step": Percent(10_000)},
    "all eager": {
        "giveback_after_s": 5.0,
        "giveback_keep_bytes": 0,
        "giveback_step": Percent(10_000),
        "peak_window_s": 10.0,
    },
}


def rows(trace: Trace, reserve_bytes: int) -> Iterator[Row]:
    """One row for each variant of the settings; grants begin at the need, so that room is moved by growth alone."""
    plain = Settings(reserve=reserve_bytes, headroom_bytes=256 * MIB, settle_s=0.0, sharing=Sharing.STATIC)
    host = HostFacts(total_bytes=16 * GIB, available_bytes=16 * GIB, hugetlb_bytes=0, swap_total_bytes=0)
    for name, changes in VARIANTS.items():
        totals = Replay(trace, dataclasses.replace(plain, **changes), host).run()  # type: ignore[arg-type]
        yield _row(name, totals)


def _row(name: str, totals: Totals) -> Row:
    return {
        "setting": name,
        "admitted": totals.admitted,
        "limits written": totals.changes,
        "given back": totals.given_back,
        "taken again": totals.regrown,
        "lent at most MiB": totals.lent_peak_bytes >> 20,
        "held s": round(totals.held_s, 1),
        "walls hit": totals.walls_hit,
        "idle mean MiB": totals.idle_mean_bytes >> 20,
    }


def main() -> int:
    """Record, or replay and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.giveback", description=__doc__)
    parser.add_argument("action", nargs="?", choices=["replay", "record"], default="replay")
    parser.add_argument("trace", nargs="?", type=Path, default=TRACE)
    options = parser.parse_args()
    if options.action == "record":
        record(options.trace)
        return 0
    recorded = read_trace(options.trace.read_text(), options.trace.name)
    for title, trace, reserve in (
        ("recorded: three real guests, four minutes", recorded, 800 * MIB),
        ("made up: two hours", made_up(), 800 * MIB),
    ):
        print(f"\n{title}\n{table(list(rows(trace, reserve)))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
