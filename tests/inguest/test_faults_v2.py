"""On v2 a limit below use kills: somebody else's hands and lost alarms must end as harmlessly as on v1."""

from __future__ import annotations

import contextlib
import os
import signal

import pytest
from tests.inguest.test_agent_v2 import GROWTH, alive, from_files, hosted, kills, run, running, until

from guestroom.units import MIB


@pytest.mark.timeout(400)
def test_others_write_and_alarms_are_lost() -> None:
    """A limit taken away or lowered, a QEMU moved away, an alarm process that stands still: nobody is killed."""
    with hosted(GROWTH) as host:
        a, b = run(host, "A"), run(host, "B")
        assert until(lambda: running(host, "A")() and running(host, "B")())
        assert until(lambda: host.ps()["A"]["overhead_bytes"] is not None)
        layout = host.layout
        meant, limit = host.ps()["A"]["limit_bytes"], f"{layout.guest('A')}/memory.max"

        host.files.write(limit, "max")
        event = host.wait_for("limit_moved", "A", timeout_s=30)
        assert event["numbers"]["limit_bytes"] == "unlimited"
        assert until(lambda: host.files.read(limit).strip() == str(meant), 30)

        host.files.write(limit, str(host.figure(layout.guest("A"), "memory.current") + 40 * MIB))
        assert until(lambda: host.files.read(limit).strip() == str(meant), 30)
        assert host.events("limit_moved")[-1]["numbers"]["meant_bytes"] == meant

        pid = host.ps()["A"]["pid"]
        away = f"{layout.memory.rpartition('/')[0]}/others"
        host.files.mkdir(away)
        host.files.write(f"{away}/cgroup.procs", str(pid))
        host.wait_for("moved", "A", timeout_s=30)
        assert until(lambda: str(pid) in host.files.read(f"{layout.vmm('A')}/cgroup.procs").split(), 30)
        host.files.rmdir(away)

        assert host.process is not None
        (alarm,) = host.files.read(f"/proc/{host.process.pid}/task/{host.process.pid}/children").split()
        os.kill(int(alarm), signal.SIGSTOP)
        try:
            before = host.ps()["A"]["grant_bytes"]
            a.grow(before - from_files(host, "A") + 40 * MIB, "load", timeout_s=120)
            assert until(lambda: host.ps()["A"]["grant_bytes"] > before, 30), "the sweep did not raise it"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(alarm), signal.SIGCONT)
        assert until(lambda: host.ps()["A"]["overhead_bytes"] <= host.ps()["A"]["grant_bytes"], 30)
        for vm in (a, b):
            assert alive(vm)
        assert kills(host) == 0
        assert host.client.get("/v1/host")["walls_hit"] == 0
        assert "Traceback" not in host.log()
