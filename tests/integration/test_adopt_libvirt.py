"""A libvirt domain under care: found by its name, its limit set through libvirt, so that virsh always agrees."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.conftest import MakeHost
from tests.integration.libvirt_host import Libvirt
from tests.integration.test_launch import until

from guestroom.lab.host import Host
from guestroom.lab.image import GuestImage
from guestroom.units import KIB, MIB

pytestmark = pytest.mark.integration

SETTINGS = """
[host]
reserve = "400MiB"
headroom = "128MiB"
[timing]
sweep_s = 0.2
settle_s = 0
peak_window_s = 4
giveback_after_s = 1
"""
LIMIT = 460 * MIB


@pytest.fixture(scope="module")
def libvirt() -> Iterator[Libvirt]:
    """A libvirtd of our own for the tests of this module."""
    with Libvirt() as running:
        yield running


@pytest.fixture
def host(make_host: MakeHost, libvirt: Libvirt, monkeypatch: pytest.MonkeyPatch) -> Host:
    """An agent whose virsh talks to that libvirtd."""
    monkeypatch.setenv("LIBVIRT_DEFAULT_URI", libvirt.uri)
    return make_host(SETTINGS)


def command(host: Host, *words: str) -> subprocess.CompletedProcess[str]:
    """A guestroom command of this host."""
    argv = host.command(*words, "--socket", host.socket)
    return subprocess.run(argv, capture_output=True, text=True, timeout=60)


def cgroup(host: Host, pid: int) -> str:
    """Where libvirt put the domain."""
    lines = host.files.read(f"/proc/{pid}/cgroup").splitlines()
    return "/sys/fs/cgroup/memory" + next(line.split(":")[2] for line in lines if ":memory:" in line)


def beats(serial: Path) -> int:
    """Heartbeats of the guest so far."""
    return serial.read_text(errors="replace").count("@@HB") if serial.exists() else 0


def beating(serial: Path) -> bool:
    """Whether its heartbeat goes on."""
    now = beats(serial)
    return until(lambda: beats(serial) > now, 10)


def seen_and_safe(row: dict[str, int], overhead_bytes: int) -> bool:
    """Whether the agent has seen that much overhead and left a margin above it."""
    return row["overhead_bytes"] >= overhead_bytes and row["grant_bytes"] - row["overhead_bytes"] >= 32 * MIB


def test_a_domain_grows_shrinks_and_is_released_and_virsh_agrees(
    host: Host, libvirt: Libvirt, image: GuestImage
) -> None:
    """Adopted by name with a first limit, grown under load, taken back, released: virsh and the kernel say the same."""
    serial = libvirt.start("web", image)
    assert until(lambda: beats(serial) > 2, 60)
    assert libvirt.hard_limit("web") == "unlimited"

    refused = command(host, "adopt", "--libvirt", "web")
    assert refused.returncode == 2, refused
    assert "no memory limit" in refused.stderr
    assert "--limit" in refused.stderr
    adopted = command(host, "adopt", "--libvirt", "web", "--limit", str(LIMIT), "--json")
    assert adopted.returncode == 0, adopted.stderr
    row = json.loads(adopted.stdout)
    path = cgroup(host, row["pid"])
    assert "libvirt-qemu" in path
    assert (row["name"], row["accounting"], row["limit_bytes"]) == ("web", "joint", LIMIT)

    def agreed() -> int:
        """The limit, on which guestroom, virsh and the kernel agree."""
        limit = host.figure(path, "memory.limit_in_bytes")
        assert libvirt.hard_limit("web") == limit // KIB
        assert until(lambda: host.ps()["web"]["limit_bytes"] == limit, 5)
        return limit

    assert agreed() == LIMIT
    for number in range(3):
        before = host.ps()["web"]["overhead_bytes"]
        libvirt.grow("web", 60 * MIB, f"load{number}")
        assert until(lambda before=before: seen_and_safe(host.ps()["web"], before + 55 * MIB), 10)
    grown = agreed()
    assert grown > LIMIT
    assert host.figure(path, "memory.failcnt") == 0
    assert beating(serial)

    for number in range(3):
        libvirt.shrink("web", f"load{number}")
    host.wait_for("given_back", "web", timeout_s=30)
    assert until(lambda: host.figure(path, "memory.limit_in_bytes") == LIMIT, 20), "down to the limit it came with"
    assert agreed() == LIMIT
    assert beating(serial)

    released = command(host, "release", "web")
    assert released.returncode == 0, released.stderr
    assert "unlimited" in released.stdout
    assert libvirt.hard_limit("web") == "unlimited"
    assert "oom_kill_disable 0" in host.files.read(f"{path}/memory.oom_control")
    assert host.ps() == {}
    assert beating(serial)


def test_a_domain_is_held_and_let_go_and_its_owner_may_move_its_limit(
    host: Host, libvirt: Libvirt, image: GuestImage
) -> None:
    """With no room it is held by its own freezer cgroup; a limit that virsh sets counts, and the guest goes on."""
    serial = libvirt.start("held", image)
    assert until(lambda: beats(serial) > 2, 60)
    command(host, "adopt", "--libvirt", "held", "--limit", str(LIMIT))
    row = host.ps()["held"]
    path = cgroup(host, row["pid"])
    settings = host.config.read_text()
    host.stop()
    host.config.write_text(settings.replace('reserve = "400MiB"', 'reserve = "4TiB"'))
    host.start()
    assert host.client.get("/v1/host")["overcommitted_bytes"] > 0
    libvirt.grow("held", 90 * MIB, "load")
    event = host.wait_for("held", "held")
    assert "overcommitted" in event["message"]
    freezer = path.replace("/memory/", "/freezer/", 1)
    assert host.files.read(f"{freezer}/freezer.state").strip() == "FROZEN"
    now = beats(serial)
    assert host.figure(path, "memory.limit_in_bytes") == LIMIT, "nobody is raised on an overcommitted host"

    assert libvirt.virsh("memtune", "held", "--hard-limit", str(700 * MIB // KIB), "--live").returncode == 0
    host.wait_for("limit_moved", "held")
    host.wait_for("let_go", "held")
    assert until(lambda: beats(serial) > now, 10)
    assert host.ps()["held"]["limit_bytes"] == 700 * MIB
    assert command(host, "release", "held").returncode == 0
    assert libvirt.hard_limit("held") == 700 * MIB // KIB, "what its owner set last stays"


def test_what_libvirt_has_is_asked_of_libvirt(host: Host, libvirt: Libvirt, image: GuestImage) -> None:
    """A domain that is not there, and one given by pid, are refused with what to do; watching writes nothing."""
    unknown = command(host, "adopt", "--libvirt", "nobody")
    assert unknown.returncode == 1
    assert "failed to get domain" in unknown.stderr
    libvirt.start("plain", image)
    pid = next(p.pid for p in _qemus(host) if "guest=plain,debug-threads=on" in p.argv)
    by_pid = command(host, "adopt", str(pid), "--limit", "700MiB")
    assert by_pid.returncode == 2
    assert "--libvirt" in by_pid.stderr
    path = cgroup(host, pid)
    before = host.files.read(f"{path}/memory.oom_control")
    watched = command(host, "adopt", str(pid), "--watch", "--json")
    assert watched.returncode == 0, watched.stderr
    assert json.loads(watched.stdout)["limit_bytes"] == "unlimited"
    libvirt.grow("plain", 200 * MIB, "load")
    assert until(lambda: (host.ps()["plain"]["overhead_bytes"] or 0) > 200 * MIB)
    assert command(host, "release", "plain").returncode == 0
    assert libvirt.hard_limit("plain") == "unlimited"
    assert host.files.read(f"{path}/memory.oom_control") == before
    assert not host.events("held")


def _qemus(host: Host):  # type: ignore[no-untyped-def]
    from guestroom.observe.procfs import find_qemus

    return find_qemus(host.files)
