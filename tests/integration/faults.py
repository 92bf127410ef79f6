"""What the fault tests share: small guests that grow when told, and what must be true after every fault."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.integration.test_launch import run_firmware, running, until
from tests.integration.test_room import sums_hold

from guestroom.lab.host import Host
from guestroom.observe.qmp import QmpClient
from guestroom.record.encode import record_from_json
from guestroom.units import MIB

RAM_BYTES = 64 * MIB
TIGHT = """
[host]
reserve = "288MiB"
headroom = "200MiB"
guard = "96MiB"
sharing = "static"
[sizing]
policy = "ovirt"
[timing]
sweep_s = 0.2
"""
"""Settings under which a guest of ``Small`` is held before it can take much."""


class Small:
    """A firmware guest of 64 MiB whose QEMU grows when told: enough where only its process and memory matter."""

    def __init__(self, host: Host, name: str, *options: str) -> None:
        self.host, self.name = host, name
        self.monitor = str(host.folder / f"{name}.qmp")
        qmp = ("-qmp", f"unix:{self.monitor},server=on,wait=off")
        self.run = run_firmware(host, name, *options, extra=qmp)
        host.at_end.append(self._end)
        self.pid = -1
        assert until(running(host, name), 30), self.run.stderr.read() if self.run.poll() is not None else "not running"
        self.pid = int(host.ps()[name]["pid"])

    def grow(self, size_bytes: int, block: str, *, timeout_s: float = 20.0) -> None:
        """QEMU takes this much more, touched."""
        backend = {"qom_type": "memory-backend-ram", "id": block, "size": size_bytes, "prealloc": True}
        with QmpClient(self.monitor, timeout_s) as client:
            client.execute("object-add", **{key.replace("_", "-"): value for key, value in backend.items()})

    def shrink(self, block: str) -> None:
        """It gives back what ``grow`` took."""
        with QmpClient(self.monitor, 10.0) as client:
            client.execute("object-del", id=block)

    @property
    def alive(self) -> bool:
        """Its own monitor answers that it runs."""
        with contextlib.suppress(Exception), QmpClient(self.monitor, 10.0) as client:
            status = client.execute("query-status")
            return isinstance(status, dict) and status["status"] == "running"
        return False

    @property
    def at_home(self) -> bool:
        """It is in its ``vmm``."""
        return str(self.pid) in self.host.files.read(f"{self.host.layout.vmm(self.name)}/cgroup.procs").split()

    @property
    def folder(self) -> str:
        """Its cgroup."""
        return self.host.layout.guest(self.name)

    def _end(self) -> None:
        """Whatever a test did to it, wherever somebody moved it: it ends."""
        with contextlib.suppress(OSError):
            self.host.files.write(f"{self.host.layout.freezer_of(self.name)}/freezer.state", "THAWED")
        self.run.kill()
        self.run.wait()
        monitor = f"unix:{self.monitor},server=on,wait=off"
        with contextlib.suppress(OSError):
            if monitor in Path(f"/proc/{self.pid}/cmdline").read_text():
                os.kill(self.pid, signal.SIGKILL)

    def stop(self) -> None:
        """Its user ends it, cleanly."""
        self.run.terminate()
        assert self.run.wait(20) == 0


def alarm_pid(host: Host) -> int:
    """The alarm process: the agent's only child."""
    assert host.process is not None
    children = host.files.read(f"/proc/{host.process.pid}/task/{host.process.pid}/children").split()
    assert len(children) == 1, children
    return int(children[0])


def refused(host: Host, name: str) -> int:
    """How often the kernel found no room for a charge of this guest."""
    return host.figure(host.layout.guest(name), "memory.failcnt")


def unharmed(host: Host, *, walls_hit: int = 0) -> None:
    """The agent lives without a traceback, nobody hit a wall, and ledger, agent and kernel say the same."""
    assert host.process is not None
    assert host.process.poll() is None
    assert "Traceback" not in host.log()
    assert host.client.get("/v1/host")["walls_hit"] == walls_hit
    assert until(lambda: _same(host) is None, 10), _same(host)
    sums_hold(host)


def _same(host: Host) -> str | None:
    rows = host.ps()
    with contextlib.closing(sqlite3.connect(f"file:{host.state}/ledger.db?mode=ro", uri=True, timeout=10)) as ledger:
        kept = {r.name: r for r in map(record_from_json, _column(ledger, "SELECT record FROM guests"))}
        unfinished = _column(ledger, "SELECT count(*) FROM decisions WHERE finished_wall_s IS NULL")[0]
    if sorted(kept) != sorted(rows):
        return f"the ledger has {sorted(kept)}, the agent {sorted(rows)}"
    if unfinished:
        return f"{unfinished} decisions are not finished"
    for name, record in kept.items():
        row = rows[name]
        limit = host.figure(host.layout.guest(name), "memory.limit_in_bytes")
        frozen = host.files.read(f"{host.layout.freezer_of(name)}/freezer.state").strip() != "THAWED"
        said = (record.limit_bytes, record.grant_bytes, record.held)
        if said != (row["limit_bytes"], row["grant_bytes"], row["held"]) or limit != row["limit_bytes"]:
            return f"{name}: the ledger has {said}, the agent {row}, the kernel {limit}"
        if frozen != row["held"]:
            return f"{name}: frozen is {frozen}, held is {row['held']}"
    return None


def _column(ledger: sqlite3.Connection, query: str) -> list[Any]:
    return [row[0] for row in ledger.execute(query)]


def every(period_s: float, work: Callable[[], object], for_s: float) -> int:
    """Do ``work`` again and again, whatever the kernel says to it; how often."""
    end_s, times = time.monotonic() + for_s, 0
    while time.monotonic() < end_s:
        with contextlib.suppress(OSError):
            work()
        times += 1
        time.sleep(period_s)
    return times


def cpu_s(pid: int) -> float:
    """Processor time of a process so far, its threads included (proc(5), stat fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def sleeper():  # type: ignore[no-untyped-def]
    """A process of somebody else's."""
    process = subprocess.Popen(["sleep", "1000"])
    try:
        yield process
    finally:
        process.kill()
        process.wait()
