"""guestroom as systemd's units on cgroup v2, and guests that are systemd's, adopted."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.inguest.systemd.conftest import LOG, UNITS, Service, call, show, status, until
from tests.inguest.v2_cgroups import events

from guestroom.observe.qmp import QmpClient
from guestroom.units import MIB

CGROUPS = Path("/sys/fs/cgroup")
QEMU = "qemu-system-x86_64 -M q35 -m 96 -accel tcg,tb-size=8 -nodefaults -display none"
LIMIT = 300 * MIB


def qmp(path: str, command: str, arguments: dict[str, object] | None = None) -> object:
    """One command to a guest's own monitor."""
    client = QmpClient(path, 60.0)
    try:
        return client.execute(command, **(arguments or {}))
    finally:
        client.close()


def grow(path: str, name: str, size_bytes: int) -> None:
    """Have QEMU take memory that can't be reclaimed."""
    backend = {"qom-type": "memory-backend-ram", "id": name, "size": size_bytes, "prealloc": True}
    qmp(path, "object-add", backend)


def runs(path: str) -> bool:
    """Its monitor says running."""
    answer = qmp(path, "query-status")
    return isinstance(answer, dict) and answer["status"] == "running"


@pytest.mark.timeout(300)
def test_the_agent_is_restarted_and_its_guests_go_on(service: Service) -> None:
    """guest@a runs in the guests' place; a restart and a kill -9 of the agent's unit leave it running and under care.

    The control: a unit whose own cgroup holds the limited children can't be started again.
    """
    monitor = "/run/a.qmp"
    Path("/etc/guestroom/guests/a").write_text(f'QEMU="{QEMU} -qmp unix:{monitor},server=on,wait=off"\n')
    call("systemctl", "start", "guest@a.service")
    assert until(lambda: service.ps().get("a", {}).get("state") == "running"), status()
    wall = CGROUPS / "system.slice/guestroom-guests.service/guestroom"
    pid = service.ps()["a"]["pid"]
    assert (wall / "a/vmm/cgroup.procs").read_text().split() == [str(pid)]
    limit = (wall / "a/memory.max").read_text()

    call("systemctl", "daemon-reload")
    assert (wall / "a/memory.max").read_text() == limit, "systemd leaves what is below the place alone"
    call("systemctl", "restart", "guestroom.service")
    assert service.ps()["a"]["state"] == "running"
    assert "Traceback" not in LOG.read_text()
    os.kill(int(show("guestroom.service", "MainPID")), signal.SIGKILL)
    assert until(lambda: show("guestroom.service", "NRestarts") == "1"), status()
    assert until(lambda: show("guestroom.service", "ActiveState") == "active", 180), status()
    assert service.ps()["a"]["state"] == "running"
    assert runs(monitor)

    assert restarts_in_its_own_cgroup() == "219"
    call("systemctl", "stop", "guest@a.service")
    assert until(lambda: "a" not in service.ps()), status()
    assert not Path(f"/proc/{pid}").exists()


def restarts_in_its_own_cgroup() -> str:
    """The exit status of a unit that gave its own cgroup a child with a limit and lives in another, on a restart."""
    script = (
        "c=/sys/fs/cgroup/system.slice/naive.service; mkdir -p $$c/agent $$c/wall; echo $$$$ >$$c/agent/cgroup.procs; "
        "echo +memory >$$c/cgroup.subtree_control; sleep 1000 & echo $$! >$$c/wall/cgroup.procs; exec sleep 1000"
    )
    unit = f"[Service]\nType=exec\nDelegate=memory\nKillMode=process\nExecStart=/bin/sh -c '{script}'\n"
    (UNITS / "naive.service").write_text(unit)
    call("systemctl", "daemon-reload")
    call("systemctl", "start", "naive.service")
    wall = CGROUPS / "system.slice/naive.service/wall"
    assert until(lambda: wall.exists() and (wall / "cgroup.procs").read_text())
    call("systemctl", "restart", "naive.service", code=None)
    found = show("naive.service", "ExecMainStatus")
    call("systemctl", "kill", "--signal=KILL", "naive.service", code=None)
    return found


@pytest.fixture
def scope() -> Iterator[tuple[str, Path]]:
    """A QEMU in a scope of its own with a limit, as a management program starts it: its monitor and its cgroup."""
    monitor, cgroup = "/run/web.qmp", CGROUPS / "system.slice/web.scope"
    words = ["systemd-run", "--scope", "--unit=web", "-p", f"MemoryMax={LIMIT}", *QEMU.split()]
    with subprocess.Popen([*words, "-name", "web", "-qmp", f"unix:{monitor},server=on,wait=off"]) as process:
        assert until(lambda: Path(monitor).exists())
        assert until(lambda: runs(monitor))
        yield monitor, cgroup
        call("systemctl", "kill", "--signal=KILL", "web.scope", code=None)
        process.wait(20)


def agrees(cgroup: Path) -> int:
    """The limit that systemd and the kernel both say; for an instant in a change only one of them has it."""
    found: list[str] = []

    def same() -> bool:
        found[:] = [show("web.scope", "MemoryMax"), (cgroup / "memory.max").read_text().strip()]
        return found[0] == found[1]

    assert until(same, 10), found
    return int(found[0])


@pytest.mark.timeout(300)
def test_a_scope_is_adopted_through_systemd(service: Service, scope: tuple[str, Path]) -> None:
    """Raised, taken back and released: systemd says what the kernel says, and a daemon-reload changes nothing.

    The control: a limit that is only written is lost at a daemon-reload.
    """
    monitor, cgroup = scope
    (cgroup / "memory.max").write_text(str(LIMIT + 50 * MIB))
    call("systemctl", "daemon-reload")
    assert (cgroup / "memory.max").read_text().strip() == str(LIMIT), (
        "a limit past systemd lasts: the test proves nothing"
    )

    pid = (cgroup / "cgroup.procs").read_text().strip()
    service.guestroom("adopt", pid)
    assert agrees(cgroup) == LIMIT
    for number in range(6):
        grow(monitor, f"load{number}", 40 * MIB)
        used = (number + 1) * 40 * MIB
        assert until(lambda used=used: safe(service.ps()["web"], used), 20), service.ps()
    assert agrees(cgroup) > LIMIT + 50 * MIB
    call("systemctl", "daemon-reload")
    assert agrees(cgroup) > LIMIT + 50 * MIB, "a raise survives"
    assert until(lambda: agrees(cgroup) == service.ps()["web"]["limit_bytes"], 10)
    for number in range(6):
        qmp(monitor, "object-del", {"id": f"load{number}"})
    assert until(lambda: (cgroup / "memory.max").read_text().strip() == str(LIMIT)), service.ps()
    assert until(lambda: show("web.scope", "MemoryMax") == str(LIMIT), 10)
    service.guestroom("release", "web")
    assert agrees(cgroup) == LIMIT
    call("systemctl", "daemon-reload")
    assert agrees(cgroup) == LIMIT

    call("systemctl", "set-property", "--runtime", "web.scope", "MemoryMax=infinity")
    assert "no memory limit" in service.guestroom("adopt", pid, code=2)
    service.guestroom("adopt", pid, "--limit", "320MiB")
    assert agrees(cgroup) == 320 * MIB
    service.guestroom("release", "web")
    assert ((cgroup / "memory.max").read_text().strip(), show("web.scope", "MemoryMax")) == ("max", "infinity")
    seen = events((cgroup / "memory.events").read_text())
    assert seen["max"] + seen["oom_kill"] == 0
    assert runs(monitor)


def safe(row: dict[str, int], overhead_bytes: int) -> bool:
    """Whether the agent has seen that much overhead and left a margin above it."""
    return row["overhead_bytes"] >= overhead_bytes and row["grant_bytes"] - row["overhead_bytes"] >= 32 * MIB
