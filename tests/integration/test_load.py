"""Limits that change under a loaded guest: shrinks and raises at every start and stop, unnoticed inside."""

from __future__ import annotations

import subprocess

import pytest
from tests.integration.conftest import MakeHost
from tests.integration.test_launch import run_firmware, running, until
from tests.integration.test_room import from_files, sums_hold

from guestroom.lab.host import Host
from guestroom.lab.image import GuestImage
from guestroom.lab.vm import Vm
from guestroom.units import MIB

pytestmark = pytest.mark.integration

SETTINGS = """
[host]
reserve = "1300MiB"
headroom = "256MiB"
[timing]
settle_s = 0
sweep_s = 0.2
"""


def overlay(host: Host, image: GuestImage, cluster: str) -> Vm:
    """A guest on a qcow2 overlay: random writes then copy whole clusters, which is what makes overhead jump."""
    base, top = host.folder / "base.img", host.folder / "over.qcow2"
    with base.open("wb") as file:
        file.write(b"\x5a" * (64 << 20))
    make = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", f"cluster_size={cluster}", "-b", str(base), "-F", "raw"]
    subprocess.run([*make, str(top)], check=True)
    machine = host.machine("A", image, io="64x2", rate=0)
    argv = [word.replace(f"file={machine.disk},format=raw", f"file={top},format=qcow2") for word in machine.argv()]
    vm = Vm(machine, [*host.run_words("A"), *argv])
    host.vms.append(vm)
    return vm


def test_shrinks_and_raises_under_overlay_writes(make_host: MakeHost, image: GuestImage) -> None:
    """Eight neighbours come and go beside 128 overlay writes in flight: each shrink holds, no checksum is wrong."""
    host = make_host(SETTINGS)
    a = overlay(host, image, "512k")
    assert a.wait_alive(60)
    seen = {host.ps()["A"]["limit_bytes"]}
    for number in range(8):
        neighbour = run_firmware(host, f"n{number}")
        assert until(running(host, f"n{number}"), 30)
        sums_hold(host)
        row = host.ps()["A"]
        seen.add(row["limit_bytes"])
        assert from_files(host, "A", 256 * MIB) <= row["limit_bytes"] - 256 * MIB
        neighbour.terminate()
        assert neighbour.wait(20) == 0
        assert until(lambda: list(host.ps()) == ["A"])
        assert a.alive() is None, f"after neighbour {number}"
    assert len(seen) >= 2, "the neighbours never made A's limit move"
    assert host.figure(host.layout.guest("A"), "memory.failcnt") == 0
    assert a.signs.verified > 100


def test_a_limit_set_behind_the_agents_back_is_noticed(make_host: MakeHost, image: GuestImage) -> None:
    """A foreign write to a guest's limit is put right at the next division, and the guest lives through both."""
    host = make_host(SETTINGS)
    a = host.run(host.machine("A", image))
    assert a.wait_alive(60)
    wanted = host.ps()["A"]["limit_bytes"]
    assert host.set_limit("A", wanted + 512 * MIB) is None
    neighbour = run_firmware(host, "n")
    assert until(running(host, "n"), 30)
    neighbour.terminate()
    neighbour.wait(20)
    assert until(lambda: host.figure(host.layout.guest("A"), "memory.limit_in_bytes") == wanted)
    assert a.alive() is None
