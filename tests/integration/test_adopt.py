"""Guests that run already, adopted: real QEMU started by hand in a memory cgroup of its own, without guestroom."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.integration.conftest import MakeHost
from tests.integration.test_launch import firmware, run_firmware, running, until

from guestroom.errors import GuestroomError
from guestroom.lab.host import Host
from guestroom.lab.image import GuestImage
from guestroom.lab.vm import Vm
from guestroom.observe.procfs import read_smaps
from guestroom.units import MIB

pytestmark = pytest.mark.integration

SETTINGS = """
[host]
reserve = "400MiB"
headroom = "128MiB"
[sizing]
policy = "ovirt"
[timing]
sweep_s = 0.2
settle_s = 0
peak_window_s = 4
giveback_after_s = 1
agent_lost_s = 2
"""
RAM = 256 * MIB
LIMIT = 460 * MIB
NO_ROOM = ('reserve = "400MiB"', 'reserve = "4TiB"')
"""A reserve that no host has: it is overcommitted."""

MakeVm = Callable[..., tuple[Vm, str]]


@pytest.fixture
def make_vm(image: GuestImage) -> Iterator[MakeVm]:
    """Starts guests without guestroom: each in a new memory cgroup beside the agent's, ended and removed afterwards."""
    made: list[tuple[Host, Vm, str]] = []

    def make(
        host: Host, name: str = "own", limit_bytes: int | None = LIMIT, *, freezer: bool = False
    ) -> tuple[Vm, str]:
        path = f"{host.layout.memory}-{name}"
        Path(path).mkdir()
        if limit_bytes is not None:
            host.files.write(f"{path}/memory.limit_in_bytes", str(limit_bytes))
        vm = Vm(machine := host.machine(name, image, rate=50), machine.argv(), cgroup=path)
        made.append((host, vm, path))
        if freezer:
            assert host.layout.freezer is not None
            own = Path(f"{host.layout.freezer}-{name}")
            own.mkdir()
            (own / "cgroup.procs").write_text(str(vm.process.pid))
        assert vm.wait_alive(60), vm.stderr()
        return vm, path

    yield make
    for host, vm, path in made:
        frozen = Path(f"{host.layout.freezer}-{vm.machine.name}")
        if frozen.exists():
            (frozen / "freezer.state").write_text("THAWED")
        with contextlib.suppress(ProcessLookupError):
            os.kill(vm.process.pid, signal.SIGCONT)
        vm.stop()
        print(f"--- {vm.machine.name}: {vm.stderr()}{vm.signs}")
        for folder in (Path(path), frozen):
            assert until(lambda folder=folder: removed(folder), 5)


def removed(folder: Path) -> bool:
    """Whether a cgroup is gone, having tried to remove it."""
    with contextlib.suppress(OSError):
        folder.rmdir()
    return not folder.exists()


def command(host: Host, *words: str) -> subprocess.CompletedProcess[str]:
    """A guestroom command of this host."""
    argv = host.command(*words, "--socket", host.socket)
    return subprocess.run(argv, capture_output=True, text=True, timeout=60)


def adopt(host: Host, vm: Vm, *options: str) -> dict[str, object]:
    """Adopt it; its row."""
    done = command(host, "adopt", str(vm.process.pid), "--name", vm.machine.name, "--json", *options)
    assert done.returncode == 0, done.stderr
    row: dict[str, object] = json.loads(done.stdout)
    return row


def refused(host: Host, vm_or_pid: Vm | int, *options: str) -> str:
    """Try to adopt it; what was said, with exit code 2."""
    pid = vm_or_pid if isinstance(vm_or_pid, int) else vm_or_pid.process.pid
    done = command(host, "adopt", str(pid), *options)
    assert done.returncode == 2, done
    return done.stderr


def again(host: Host, old: str, new: str) -> None:
    """Stop the agent, change its settings, start it."""
    host.stop()
    host.config.write_text(host.config.read_text().replace(old, new))
    host.start()


def state(pid: int) -> str:
    """A process's state letter."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def killer(host: Host, path: str) -> bool:
    """Whether a cgroup's OOM killer is on."""
    return "oom_kill_disable 0" in host.files.read(f"{path}/memory.oom_control")


def charged_overhead(host: Host, path: str, pid: int) -> int:
    """Overhead as counted here: unreclaimable charge less what smaps has of the one RAM block."""
    stat = dict(line.split() for line in host.files.read(f"{path}/memory.stat").splitlines())
    kernel = host.figure(path, "memory.kmem.usage_in_bytes")
    ram = sum(vma.anonymous_bytes for vma in read_smaps(host.files, pid) if vma.ram_block and vma.size_bytes == RAM)
    return int(stat["total_rss"]) + int(stat["total_shmem"]) + kernel - ram


def test_adopted_grown_taken_back_and_released(make_host: MakeHost, make_vm: MakeVm) -> None:
    """Its limit is kept at first, raised before its overhead meets it, taken back later; release leaves what was."""
    host = make_host(SETTINGS)
    vm, path = make_vm(host)
    assert killer(host, path)
    row = adopt(host, vm)
    assert (row["adopted"], row["accounting"], row["limit_bytes"], row["ram_bytes"]) == (True, "joint", LIMIT, RAM)
    assert host.figure(path, "memory.limit_in_bytes") == LIMIT
    assert not killer(host, path)
    counted = charged_overhead(host, path, vm.process.pid)
    assert abs(host.ps()["own"]["overhead_bytes"] - counted) <= 4 * MIB
    host_row = host.client.get("/v1/host")
    assert {"name": "guest own, adopted", "bytes": -LIMIT} in host_row["terms"]
    assert vm.process.pid not in [one["pid"] for one in host_row["outsiders"]]

    for number in range(6):
        before = host.ps()["own"]["overhead_bytes"]
        vm.grow(40 * MIB, f"load{number}")
        assert until(lambda before=before: seen_and_safe(host.ps()["own"], before + 36 * MIB), 10)
    assert host.figure(path, "memory.limit_in_bytes") == host.ps()["own"]["limit_bytes"] > LIMIT
    assert host.figure(path, "memory.failcnt") == 0
    assert vm.alive() is None
    for number in range(6):
        vm.shrink(f"load{number}")
    host.wait_for("given_back", "own", timeout_s=30)
    assert until(lambda: host.figure(path, "memory.limit_in_bytes") == LIMIT, 20)
    assert vm.alive() is None

    assert command(host, "release", "own").returncode == 0
    assert host.figure(path, "memory.limit_in_bytes") == LIMIT
    assert killer(host, path)
    assert host.ps() == {}
    assert vm.process.pid in [one["pid"] for one in host.client.get("/v1/host")["outsiders"]], "it still counts"
    assert vm.alive() is None


def seen_and_safe(row: dict[str, int], overhead_bytes: int) -> bool:
    """Whether the agent has seen that much overhead and left a margin above it."""
    return row["overhead_bytes"] >= overhead_bytes and row["grant_bytes"] - row["overhead_bytes"] >= 32 * MIB


@pytest.mark.parametrize("freezer", [False, True], ids=["sigstop", "freezer"])
def test_held_without_room_and_let_go_with_it(make_host: MakeHost, make_vm: MakeVm, freezer: bool) -> None:
    """On an overcommitted host it is held before its limit, never raised; with room it goes on, its data right."""
    host = make_host(SETTINGS.replace(*NO_ROOM))
    vm, path = make_vm(host, freezer=freezer)
    assert "overcommitted" in command(host, "adopt", str(vm.process.pid), "--name", "own").stderr
    over = host.wait_for("overcommitted")
    assert over["numbers"]["overcommitted_bytes"] == host.client.get("/v1/host")["overcommitted_bytes"] > 0
    assert "OVERCOMMITTED" in command(host, "ps").stdout
    newcomer = run_firmware(host, "late")
    assert newcomer.wait(30) == 3, "no admissions"
    with contextlib.suppress(GuestroomError):
        # Held in the middle of it, QEMU answers only when it goes on.
        vm.grow(110 * MIB, "load", threads=2, timeout_s=5.0)
    event = host.wait_for("held", "own")
    assert 0 < event["numbers"]["headroom_left_bytes"] <= 32 * MIB
    assert host.ps()["own"]["held"]
    if freezer:
        assert host.files.read(f"{host.layout.freezer}-own/freezer.state").strip() == "FROZEN"
    else:
        threads = [state(int(tid)) for tid in host.files.list_dirs(f"/proc/{vm.process.pid}/task")]
        assert set(threads) == {"T"}
    beats = vm.signs.beats
    time.sleep(1.0)
    assert vm.signs.beats - beats <= 1, "it stands still"
    assert host.figure(path, "memory.limit_in_bytes") == LIMIT, "no raises"
    assert host.figure(path, "memory.failcnt") == 0

    again(host, *reversed(NO_ROOM))
    assert until(lambda: host.figure(path, "memory.limit_in_bytes") > LIMIT, 10)
    assert not host.ps()["own"]["held"]
    assert vm.alive() is None
    assert host.figure(path, "memory.failcnt") == 0


def test_found_again_after_kill_9_also_while_held(make_host: MakeHost, make_vm: MakeVm) -> None:
    """An agent that was killed finds it again as it was, held included; one that stays away leaves nobody held."""
    host = make_host(SETTINGS.replace(*NO_ROOM).replace("agent_lost_s = 2", "agent_lost_s = 5"))
    vm, path = make_vm(host)
    adopt(host, vm)
    host.kill()
    host.start()
    row = host.ps()["own"]
    assert (row["adopted"], row["limit_bytes"], row["held"]) == (True, LIMIT, False)
    with contextlib.suppress(GuestroomError):
        # Held in the middle of it, QEMU answers only when it goes on.
        vm.grow(110 * MIB, "load", threads=2, timeout_s=5.0)
    host.wait_for("held", "own")
    host.kill()
    assert state(vm.process.pid) == "T"
    host.start()
    assert host.ps()["own"]["held"]
    assert state(vm.process.pid) == "T"
    host.kill()
    assert until(lambda: state(vm.process.pid) != "T", 15), "nobody came: after agent_lost_s it goes on"
    assert until(lambda: killer(host, path), 5)
    assert vm.alive() is None
    vm.shrink("load")
    host.start()
    assert until(lambda: host.ps()["own"]["held"] is False, 10)
    assert not killer(host, path)
    assert vm.alive() is None


def test_it_ends_and_its_limit_comes_back(make_host: MakeHost, make_vm: MakeVm) -> None:
    """Its end is noticed at once, its cgroup is left alone, and the budget has its limit again."""
    host = make_host(SETTINGS)
    vm, path = make_vm(host)
    adopt(host, vm)
    term = {"name": "guest own, adopted", "bytes": -LIMIT}
    assert term in host.client.get("/v1/host")["terms"]
    vm.stop()
    host.wait_for("ended", "own")
    assert term["name"] not in [one["name"] for one in host.client.get("/v1/host")["terms"]]
    assert Path(path).exists()
    assert host.figure(path, "memory.limit_in_bytes") == LIMIT


def test_watched_is_never_written(make_host: MakeHost, make_vm: MakeVm) -> None:
    """Under --watch it is seen and counted, and not one file of it is written, whatever it takes."""
    host = make_host(SETTINGS)
    vm, path = make_vm(host, limit_bytes=None)
    row = adopt(host, vm, "--watch")
    assert (row["watched"], row["limit_bytes"]) == (True, "unlimited")
    vm.grow(300 * MIB, "load", threads=2)
    assert until(lambda: host.ps()["own"]["overhead_bytes"] > 330 * MIB)
    terms = {term["name"]: term["bytes"] for term in host.client.get("/v1/host")["terms"]}
    assert terms["guest own, adopted"] <= -(RAM + 330 * MIB)
    time.sleep(1.0)
    assert killer(host, path)
    assert host.figure(path, "memory.limit_in_bytes") > 1 << 60
    assert not host.events("held")
    assert command(host, "release", "own").returncode == 0
    assert vm.alive() is None


def test_a_first_limit_and_what_limits_are_refused(make_host: MakeHost, make_vm: MakeVm) -> None:
    """No limit needs --limit; one below RAM + floor, below the present one, or beyond the budget is refused."""
    host = make_host(SETTINGS)
    vm, path = make_vm(host, limit_bytes=None)
    assert "no memory limit" in refused(host, vm, "--name", "own")
    assert "RAM 256.0 MiB + floor" in refused(host, vm, "--name", "own", "--limit", "300MiB")
    assert host.ps() == {}
    assert host.figure(path, "memory.limit_in_bytes") > 1 << 60
    assert killer(host, path)
    adopt(host, vm, "--limit", "500MiB")
    assert host.figure(path, "memory.limit_in_bytes") == 500 * MIB
    assert "under care already" in refused(host, vm, "--name", "other")
    command(host, "release", "own")
    assert host.figure(path, "memory.limit_in_bytes") > 1 << 60

    host.files.write(f"{path}/memory.limit_in_bytes", str(500 * MIB))
    assert "never shrinks" in refused(host, vm, "--name", "own", "--limit", "450MiB")
    far = command(host, "adopt", str(vm.process.pid), "--name", "own", "--limit", "2TiB")
    assert far.returncode == 3
    assert "no room" in far.stderr
    assert host.figure(path, "memory.limit_in_bytes") == 500 * MIB
    assert killer(host, path)
    host.files.write(f"{path}/memory.limit_in_bytes", str(340 * MIB))
    assert "would be held at once" in refused(host, vm, "--name", "own")
    assert host.ps() == {}
    assert vm.alive() is None


def test_what_is_not_adopted(make_host: MakeHost, make_vm: MakeVm) -> None:
    """Not a QEMU, a cgroup shared with others, the agent's own cgroup, one of guestroom's guests, one that stands."""
    host = make_host(SETTINGS)
    assert "is no QEMU" in refused(host, os.getpid(), "--name", "x")
    assert "gone" in command(host, "adopt", str((1 << 22) - 1), "--name", "x").stderr
    assert "name one guest" in command(host, "adopt", "1", "--libvirt", "a").stderr

    with subprocess.Popen(firmware(), stdin=subprocess.DEVNULL) as loose:
        try:
            assert until(lambda: "qemu" in Path(f"/proc/{loose.pid}/cmdline").read_text())
            assert "agent's own or above" in refused(host, loose.pid, "--name", "x", "--limit", "1GiB")
        finally:
            loose.kill()

    ours = run_firmware(host, "ours")
    assert until(running(host, "ours"))
    assert "under care already" in refused(host, host.ps()["ours"]["pid"], "--name", "x")
    ours.terminate()
    ours.wait(20)

    vm, path = make_vm(host)
    with subprocess.Popen(["sleep", "600"]) as stranger:
        try:
            Path(f"{path}/cgroup.procs").write_text(str(stranger.pid))
            assert f"{stranger.pid} (sleep)" in refused(host, vm, "--name", "own")
            assert f"{stranger.pid} (sleep)" in refused(host, vm, "--name", "own", "--watch")
        finally:
            stranger.kill()
    os.kill(vm.process.pid, signal.SIGSTOP)
    assert until(lambda: state(vm.process.pid) == "T")
    assert "stands still" in refused(host, vm, "--name", "own")
    os.kill(vm.process.pid, signal.SIGCONT)
    assert host.ps() == {}
    assert not host.events("adopted")
    assert vm.alive() is None
