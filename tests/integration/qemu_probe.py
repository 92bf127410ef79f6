"""Asks the real QEMU what it made of a command line."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

QEMU = "qemu-system-x86_64"
BASE = ["-S", "-display", "none", "-nodefaults", "-accel", "tcg,tb-size=8"]


def have_qemu() -> bool:
    """True where the emulator is installed."""
    return shutil.which(QEMU) is not None


def ask(arguments: Sequence[str], *commands: str) -> list[Any] | None:
    """Answers of a stopped QEMU to QMP commands; None where it refused the command line."""
    lines = [{"execute": name} for name in ("qmp_capabilities", *commands, "quit")]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    done = subprocess.run(
        [QEMU, *arguments, *BASE, "-qmp", "stdio"], input=text, capture_output=True, text=True, timeout=30, check=False
    )
    if done.returncode != 0:
        return None
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return [answer["return"] for answer in answers if "return" in answer][1:-1]


class Monitor:
    """A QMP connection, just enough of one."""

    def __init__(self, path: Path, process: subprocess.Popen[bytes]) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + 20
        while True:
            try:
                self._socket.connect(str(path))
                break
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.02)
        self._socket.settimeout(20)
        self._file = self._socket.makefile("r")
        self._file.readline()
        self.command("qmp_capabilities")

    def command(self, name: str) -> Any:
        """The answer to one command."""
        self._socket.sendall(json.dumps({"execute": name}).encode() + b"\n")
        while True:
            answer = json.loads(self._file.readline())
            if "event" not in answer:
                return answer["return"]

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self._socket.close()


@contextmanager
def running(argv: Sequence[str], monitor_path: Path) -> Iterator[tuple[int, Monitor]]:
    """A running QEMU: its pid and monitor. Ended on exit."""
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            try:
                monitor = Monitor(monitor_path, process)
            except OSError as error:
                process.kill()
                told = process.stderr.read().decode() if process.stderr else ""
                raise AssertionError(f"QEMU did not start: {told}") from error
            yield process.pid, monitor
            monitor.close()
        finally:
            process.kill()


def ram_blocks(pid: int) -> list[tuple[int, int]]:
    """Size and resident bytes of each mapping QEMU keeps out of core dumps or forks: its RAM blocks (``dc``)."""
    blocks = []
    size = rss = 0
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        key, _, rest = line.partition(":")
        if key == "Size":
            size = int(rest.split()[0]) << 10
        elif key == "Rss":
            rss = int(rest.split()[0]) << 10
        elif key == "VmFlags" and "dc" in rest.split():
            blocks.append((size, rss))
    return blocks
