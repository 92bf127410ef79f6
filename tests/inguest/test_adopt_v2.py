"""Adopting is v1's: on v2 it is refused in one clear line, and what runs is left as it is."""

from __future__ import annotations

import subprocess

import pytest
from tests.inguest.test_agent_v2 import SETTINGS, alive, bare, hosted, until

from guestroom.lab.vm import Vm


@pytest.mark.timeout(300)
def test_adopting_is_refused_in_one_line() -> None:
    """A QEMU that runs already is not adopted on v2: an error that says so, no traceback, and it goes on."""
    with hosted(SETTINGS) as host:
        machine = bare(host, "stranger")
        vm = Vm(machine, machine.argv())
        host.vms.append(vm)
        try:
            assert until(lambda: (host.folder / "stranger.qmp").exists())
            command = host.command("adopt", str(vm.process.pid), "--socket", host.socket, "--limit", "400MiB")
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
            print(f"\n{done.returncode}: {done.stderr}")
            assert done.returncode == 1
            assert "v1" in done.stderr
            assert "Traceback" not in done.stderr + host.log()
            assert alive(vm)
            assert host.ps() == {}
        finally:
            vm.stop()
