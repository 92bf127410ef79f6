"""Guests that run already, adopted on a real v2 kernel: QEMU started by hand, at its firmware, in its own cgroup."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.inguest.test_agent_v2 import START_S, alive, bare, hosted, until
from tests.inguest.v2_cgroups import events

from guestroom.errors import GuestroomError
from guestroom.lab.host import Host
from guestroom.lab.vm import Vm
from guestroom.units import MIB

SETTINGS = """
[host]
reserve = "400MiB"
headroom = "128MiB"
[sizing]
policy = "ovirt"
[timing]
sweep_s = 0.5
settle_s = 0
peak_window_s = 4
giveback_after_s = 1
agent_lost_s = 5
"""
LIMIT = 300 * MIB
NO_ROOM = ('reserve = "400MiB"', 'reserve = "4TiB"')
"""A reserve that no host has: it is overcommitted."""


@contextlib.contextmanager
def own(host: Host, name: str, limit: int | str) -> Iterator[tuple[Vm, str]]:
    """A QEMU without guestroom, in a new cgroup beside the host wall; ended and removed afterwards."""
    path = f"{host.layout.memory}-{name}"
    Path(path).mkdir()
    host.files.write(f"{path}/memory.max", str(limit))
    machine = bare(host, name)
    vm = Vm(machine, machine.argv(), cgroup=path)
    try:
        assert until(lambda: Path(machine.monitor).exists())
        assert until(lambda: alive(vm))
        yield vm, path
    finally:
        host.files.write(f"{path}/cgroup.freeze", "0")
        vm.stop()
        assert until(lambda: removed(path), 10)


def removed(path: str) -> bool:
    """Whether a cgroup is gone, having tried to remove it."""
    with contextlib.suppress(OSError):
        Path(path).rmdir()
    return not Path(path).exists()


def command(host: Host, *words: str) -> subprocess.CompletedProcess[str]:
    """A guestroom command of this host."""
    argv = host.command(*words, "--socket", host.socket)
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)


def limit_of(host: Host, path: str) -> str:
    """What the kernel says."""
    return host.files.read(f"{path}/memory.max").strip()


def met(host: Host, path: str) -> int:
    """How often a limit was met there, and who was killed for it."""
    seen = events(host.files.read(f"{path}/memory.events"))
    return seen["max"] + seen["oom_kill"]


def frozen(host: Host, path: str) -> bool:
    """Whether all in it stands still."""
    return "frozen 1" in host.files.read(f"{path}/cgroup.events")


@pytest.mark.timeout(400)
def test_adopted_grown_shrunk_and_released() -> None:
    """Kept at first, raised before its overhead meets the limit, lowered again by the shrink that does not kill.

    On the way: what is refused, ``--watch`` that writes nothing, a first limit that ``release`` takes off again; and
    the control: the naive write of the very limit that was given back kills.
    """
    with hosted(SETTINGS) as host, own(host, "web", "max") as (vm, path):
        pid = str(vm.process.pid)
        bare_words = ("adopt", pid, "--name", "web")
        assert "it has no memory limit" in command(host, *bare_words).stderr
        host.files.write(f"{path}/memory.high", str(200 * MIB))
        assert "memory.high = 200.0 MiB" in command(host, *bare_words, "--limit", "300MiB").stderr
        host.files.write(f"{path}/memory.high", "max")

        assert command(host, *bare_words, "--watch").returncode == 0
        assert host.ps()["web"]["watched"]
        assert command(host, "release", "web").returncode == 0
        assert limit_of(host, path) == "max"

        first = command(host, *bare_words, "--limit", "300MiB", "--json")
        assert first.returncode == 0, first.stderr
        row = json.loads(first.stdout)
        assert (row["adopted"], row["accounting"], row["limit_bytes"]) == (True, "joint", LIMIT)
        assert limit_of(host, path) == str(LIMIT)
        assert command(host, "release", "web").returncode == 0
        assert limit_of(host, path) == "max"

        host.files.write(f"{path}/memory.max", str(LIMIT))
        assert command(host, *bare_words).returncode == 0
        assert limit_of(host, path) == str(LIMIT)
        for number in range(6):
            before = host.ps()["web"]["overhead_bytes"]
            vm.grow(40 * MIB, f"load{number}", timeout_s=60)
            assert until(lambda before=before: safe(host.ps()["web"], before + 36 * MIB), 20)
        assert int(limit_of(host, path)) == host.ps()["web"]["limit_bytes"] > LIMIT
        assert met(host, path) == 0
        for number in range(6):
            vm.shrink(f"load{number}")
        assert until(lambda: limit_of(host, path) == str(LIMIT), 60)
        assert met(host, path) == 0, "the shrink met the guest"
        assert not frozen(host, path)
        assert alive(vm)

        assert command(host, "release", "web").returncode == 0
        assert limit_of(host, path) == str(LIMIT)
        assert alive(vm)
        host.files.write(f"{path}/memory.max", "max")
        vm.grow(LIMIT, "all", timeout_s=60)
        host.files.write(f"{path}/memory.max", str(LIMIT))
        assert until(lambda: vm.process.poll() is not None, 20), "the naive write did not kill"


def safe(row: dict[str, int], overhead_bytes: int) -> bool:
    """Whether the agent has seen that much overhead and left a margin above it."""
    return row["overhead_bytes"] >= overhead_bytes and row["grant_bytes"] - row["overhead_bytes"] >= 32 * MIB


@pytest.mark.timeout(400)
def test_held_let_go_and_found_again() -> None:
    """With no room it is frozen before its limit; with no agent within agent_lost_s it goes on (P11).

    The next agent, which has room, takes it back and raises it. The limit was never met.
    """
    with hosted(SETTINGS.replace(*NO_ROOM)) as host, own(host, "web", LIMIT) as (vm, path):
        done = command(host, "adopt", str(vm.process.pid), "--name", "web")
        assert "overcommitted" in done.stderr, done.stderr
        stop = threading.Event()

        def grow() -> None:
            for number in range(40):
                with contextlib.suppress(GuestroomError, OSError):
                    vm.grow(8 * MIB, f"step{number}", timeout_s=30)
                if stop.wait(1.0):
                    return

        grower = threading.Thread(target=grow)
        grower.start()
        try:
            host.wait_for("held", "web", timeout_s=90)
            assert until(lambda: frozen(host, path), 10)
            stop.set()
            assert host.ps()["web"]["held"]
            assert limit_of(host, path) == str(LIMIT), "no raises"
            host.kill()
            assert until(lambda: not frozen(host, path), 30), "nobody came: after agent_lost_s it goes on"
            grower.join(60)
            assert alive(vm)
        finally:
            stop.set()
        host.config.write_text(host.config.read_text().replace(*reversed(NO_ROOM)))
        host.start(timeout_s=START_S)
        assert until(lambda: int(limit_of(host, path)) > LIMIT, 30)
        row = host.ps()["web"]
        assert (row["adopted"], row["held"]) == (True, False)
        time.sleep(1.0)
        assert not frozen(host, path)
        assert alive(vm)
        assert met(host, path) == 0
