"""Runs the benchmarks, prints a table each, writes JSON where asked."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import divide, run, start, sweep
from benchmarks.series import Row, table


def _divide(rounds: int) -> list[Row]:
    counts = (100, 1000, 10_000, 100_000, 1_000_000)
    return [{**divide.measure(count, rounds if count <= 100_000 else 3)} for count in counts]


SERIES: dict[str, tuple[str, Callable[[int], list[Row]]]] = {
    "size": ("commands from start to output, beside a bare interpreter (goal for size: 250 ms)", start.measure),
    "run": ("guestroom run beside a bare start of the same argv (goal: at most 50 ms over it)", run.measure),
    "sweep": ("one look at a guest, beside a bare read of the same files", sweep.measure),
    "divide": ("divide beside the textbook way (goal: 10,000 guests in 10 ms)", _divide),
}


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


def main() -> int:
    """Everything, or what ``--only`` names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Benchmarks with their baselines.")
    parser.add_argument("--only", nargs="+", choices=SERIES, default=list(SERIES))
    parser.add_argument("--rounds", type=int, default=15, help="how often each is measured [15]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all series there")
    options = parser.parse_args()
    result: dict[str, object] = {"machine": machine()}
    print(json.dumps(result["machine"]))
    for name in options.only:
        title, measure = SERIES[name]
        print(f"\n{name}: {title}", flush=True)
        rows = measure(options.rounds)
        print(table(rows), flush=True)
        result[name] = rows
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
