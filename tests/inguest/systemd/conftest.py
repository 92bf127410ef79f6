"""The agent as the packaged units start it, on a machine whose process 1 is systemd."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from guestroom.cli.client import AgentClient

ROOT = Path(__file__).parents[3]
PROGRAM = Path("/opt/guestroom/bin/guestroom")
UNITS = Path("/etc/systemd/system")
LOG = Path("/tmp/units.log")
SETTINGS = """
[host]
reserve = "500MiB"
headroom = "128MiB"
[sizing]
policy = "ovirt"
[timing]
sweep_s = 0.5
settle_s = 0
peak_window_s = 4
giveback_after_s = 1
"""


def call(*words: str, code: int | None = 0, timeout_s: float = 120.0) -> str:
    """What a command said; it must end with ``code`` (None: any)."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=timeout_s, check=False)
    said = done.stdout + done.stderr
    assert code is None or done.returncode == code, f"{words}: {done.returncode}: {said}{status()}"
    return said


def status() -> str:
    """What systemd and the agent have to say, for a test that fails."""
    words = ["systemctl", "--no-pager", "status", "guestroom.service", "guestroom-guests.service", "guest@a.service"]
    said = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False).stdout
    kernel = subprocess.run(["dmesg"], capture_output=True, text=True, timeout=30, check=False).stdout
    log = LOG.read_text() if LOG.exists() else ""
    return "\n".join(("", said, *kernel.splitlines()[-10:], log))


def show(unit: str, name: str) -> str:
    """One property of a unit."""
    return call("systemctl", "show", f"--property={name}", "--value", "--", unit).strip()


def until(condition: Callable[[], object], timeout_s: float = 60.0) -> bool:
    """Wait until ``condition`` is true; False if it never was."""
    end_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end_s:
            return False
        time.sleep(0.1)
    return True


class Service:
    """The running agent."""

    client = AgentClient("/run/guestroom/agent.sock")

    def ps(self) -> dict[str, dict[str, Any]]:
        """The agent's rows by guest."""
        return {row["name"]: row for row in self.client.get("/v1/guests")}

    def guestroom(self, *words: str, code: int | None = 0) -> str:
        """A command of the packaged program."""
        return call(str(PROGRAM), *words, code=code)


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """``guestroom.service``, started from its unit file."""
    PROGRAM.parent.mkdir(parents=True, exist_ok=True)
    kept = {name: os.environ[name] for name in ("PYTHONPATH", "LD_LIBRARY_PATH", "PATH") if name in os.environ}
    exports = "".join(f"export {name}='{value}'\n" for name, value in kept.items())
    PROGRAM.write_text(f'#!/bin/sh\n{exports}exec {sys.executable} -m guestroom "$@"\n')
    PROGRAM.chmod(0o755)
    for unit in (ROOT / "packaging").glob("*.service"):
        shutil.copy(unit, UNITS / unit.name)
    Path("/etc/guestroom/guests").mkdir(parents=True, exist_ok=True)
    Path("/etc/guestroom/config.toml").write_text(SETTINGS)
    # There is no journal here.
    for name in ("guestroom.service", "guest@.service"):
        (UNITS / f"{name}.d").mkdir()
        (UNITS / f"{name}.d/log.conf").write_text(f"[Service]\nStandardOutput=append:{LOG}\nStandardError=inherit\n")
    call("systemctl", "daemon-reload")
    call("systemctl", "start", "guestroom.service")
    yield Service()
    call("systemctl", "stop", "guestroom.service", "guestroom-guests.service", code=None)
