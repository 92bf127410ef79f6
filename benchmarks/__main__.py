"""Runs the benchmarks, prints a table each, keeps their results, writes the report.

    python -m benchmarks                     all of them, then the report
    python -m benchmarks room [--fresh]      those of room before the wall, then the report; about 12 minutes
    python -m benchmarks report              only the report, from what was kept

What has a result already is not run again by ``room`` unless ``--fresh``. A run that was cut short goes on where it was
with ``room`` alone.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from benchmarks import (
    alarm,
    bursts,
    describe,
    divide,
    explain,
    lean,
    learned,
    limits,
    packing,
    report,
    run,
    sizing,
    start,
    sweep,
    thousand,
)
from benchmarks.series import Row, table
from guestroom.errors import GuestroomError


def _divide(rounds: int) -> list[Row]:
    counts = (100, 1000, 10_000, 100_000, 1_000_000)
    return [{**divide.measure(count, rounds if count <= 100_000 else 3)} for count in counts]


SERIES: dict[str, tuple[str, Callable[[int], list[Row]]]] = {
    "size": ("commands from start to output, beside a bare interpreter (goal for size: 250 ms)", start.measure),
    "sizing": ("a size by measured from a command line, beside a peer's formula (goal: 1 ms)", sizing.measure),
    "learned": ("one new peak for learned, and a size by all that are remembered (goal: 1 ms a peak)", learned.measure),
    "describe": (
        "10,000 domain files beside ElementTree (goal: 30 s), a guest sized from argv (1 ms)",
        describe.measure,
    ),
    "run": ("guestroom run beside a bare start of the same argv (goal: at most 50 ms over it)", run.measure),
    "lean": ("guestroom run --lean beside guestroom run (goal: half the overhead)", lean.measure),
    "explain": ("one look at every byte of a guest, beside smaps read bare and ps_mem", explain.measure),
    "sweep": ("one look at a guest, beside a bare read of the same files", sweep.measure),
    "divide": ("divide beside the textbook way (goal: 10,000 guests in 10 ms)", _divide),
    "thousand": ("a pass over 1,000 guests beside bare reads; the agent with them", lambda rounds: thousand.measure()),
    "alarm": ("alarm to raised limit, 100 guests under care (goal: p99 1 ms)", lambda rounds: alarm.measure()),
    "bursts": ("a gibibyte a second, one guest and two (goal: no wall hit)", lambda rounds: bursts.measure()),
    "limits": ("1,000 limit changes on live guests, v1 (goal: nobody killed)", lambda rounds: limits.measure()),
    "packing": (
        "real guests in 4 GiB by peers' formulas and by default (goal: 0.95 of the oracle's, nobody killed)",
        lambda rounds: packing.measure(),
    ),
    "limits-v2": ("the same on a booted v2 kernel", lambda rounds: limits.measure_v2()),
}
ROOM = ("thousand", "alarm", "bursts", "limits", "limits-v2")
"""Room before the wall."""
KEPT = (*ROOM, "packing")
"""What the report is made of."""


def machine() -> dict[str, object]:
    """What the figures were taken on."""
    version = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True, check=False).stdout
    return {
        "cpus": os.cpu_count(),
        "ram_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "qemu": version.splitlines()[0] if version else "not there",
        "load": [round(load, 2) for load in os.getloadavg()],
        "date": time.strftime("%Y-%m-%d"),
    }


def one(name: str, rounds: int) -> dict[str, object] | None:
    """Run a benchmark and keep its result; None where it failed, which does not stop the others."""
    title, measure = SERIES[name]
    print(f"\n{name}: {title}", flush=True)
    on, began_s = machine(), time.monotonic()
    try:
        rows = measure(rounds)
    except SystemExit as error:
        print(f"FAILED: {error}", flush=True)
        return None
    except (GuestroomError, OSError, subprocess.SubprocessError, AssertionError, LookupError, ValueError):
        # One that fails must not take the others' figures with it; the exit code tells.
        traceback.print_exc()
        return None
    result: dict[str, object] = {"machine": on, "took_s": round(time.monotonic() - began_s), "rows": rows}
    if name in KEPT:
        report.RESULTS.mkdir(exist_ok=True)
        (report.RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(table([{key: value for key, value in row.items() if key != "samples_ms"} for row in rows]), flush=True)
    return result


def _end(number: int, _: object) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


def main() -> int:
    """Everything, or what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Benchmarks with their baselines.")
    parser.add_argument("what", nargs="?", choices=("all", "room", "report"), default="all")
    parser.add_argument("--only", nargs="+", choices=SERIES, help="just these")
    parser.add_argument("--fresh", action="store_true", help="room: also what has a result already")
    parser.add_argument("--rounds", type=int, default=15, help="how often each short one is measured [15]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all series there")
    options = parser.parse_args()
    # Whoever ends it early finds no guests, hogs or cgroups left behind.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _end)
    names = list(options.only or (SERIES if options.what == "all" else ROOM))
    if options.fresh:
        # First, so that after an end in the middle ``room`` goes on with what is still missing.
        for name in names:
            (report.RESULTS / f"{name}.json").unlink(missing_ok=True)
    if options.what == "room" and not options.fresh and not options.only:
        names = [name for name in names if not (report.RESULTS / f"{name}.json").exists()]
    results: dict[str, object] = {"machine": machine()}
    if options.what != "report":
        print(json.dumps(results["machine"]))
        results |= {name: one(name, options.rounds) for name in names}
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
    print(f"\n{report.write()}")
    return 1 if None in results.values() else 0


if __name__ == "__main__":
    sys.exit(main())
