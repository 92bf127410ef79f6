"""What ``guestroom size`` costs from start to output, beside an interpreter that does nothing."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.series import Row, interleaved, least, median

GOAL_MS = 250
"""Issue 3's goal for ``guestroom size``."""
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import click": ["-c", "import click"],
    "size --ram --vcpus": ["-m", "guestroom", "size", "--ram", "1GiB", "--vcpus", "2", "--json"],
    "size -- QEMU ARGV": ["-m", "guestroom", "size", "--json", "--", "qemu-system-x86_64", "-m", "1G", "-smp", "2"],
    "divide (empty)": ["-m", "guestroom", "divide", "--json"],
    "run (no agent)": ["-m", "guestroom", "run", "--name", "a", "--socket", "/nowhere", "--", "true", "-m", "1"],
}


def measure(rounds: int) -> list[Row]:
    """Milliseconds of each command."""

    def started(words: list[str]) -> None:
        subprocess.run([sys.executable, *words], input=b'{"reserve_bytes": 0, "guests": []}', capture_output=True)

    took = interleaved({name: lambda words=words: started(words) for name, words in COMMANDS.items()}, rounds)  # type: ignore[misc]
    base = median(took["python -c pass"])
    return [
        {
            "command": name,
            "least_ms": least(values),
            "median_ms": median(values),
            "over_pass_ms": round(median(values) - base, 2),
            "ratio": round(median(values) / base, 2),
        }
        for name, values in took.items()
    ]
