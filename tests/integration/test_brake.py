"""Slowed down before it would be held: requests in flight drain, QEMU gives their memory back, nobody is frozen."""

from __future__ import annotations

import subprocess
import time

import pytest
from tests.integration.conftest import MakeHost
from tests.integration.test_burst import refusals
from tests.integration.test_growth import overlay
from tests.integration.test_launch import until
from tests.integration.test_room import from_files

from guestroom.lab.host import Host
from guestroom.lab.image import GuestImage
from guestroom.lab.vm import Vm
from guestroom.units import MIB

pytestmark = pytest.mark.integration

SETTINGS = """
[host]
reserve = "840MiB"
headroom = "700MiB"
guard = "64MiB"
sharing = "static"
brake = "BRAKE"
[sizing]
overhead = "110MiB"
[timing]
settle_s = 0
sweep_s = 0.2
"""
RAM = 256 * MIB


def wild(make_host: MakeHost, image: GuestImage, brake: str, **changes: str) -> tuple[Host, Vm]:
    """The guest that breaks formulas, alive, its first burst over, with a grant that its bursts are far above."""
    settings = SETTINGS.replace("BRAKE", brake)
    for old, new in changes.values():
        settings = settings.replace(old, new)
    host = make_host(settings)
    vm = Vm(host.machine("wild", image, io="64x4", rate=0), [*host.run_words("wild"), *overlay(host, image, "wild")])
    host.vms.append(vm)
    assert vm.wait_alive(60)
    return host, vm


def burst(host: Host, vm: Vm, number: int) -> None:
    """All its clusters have to be copied again: a new overlay of 2 MiB clusters on top of its disk."""
    below = host.folder / (f"top{number - 1}.qcow2" if number else "wild.qcow2")
    top = host.folder / f"top{number}.qcow2"
    make = ["qemu-img", "create", "-q", "-f", "qcow2", "-u", "-o", "cluster_size=2M", "-b", str(below), "-F", "qcow2"]
    subprocess.run([*make, str(top), "1G"], check=True)
    vm.qmp(
        "blockdev-snapshot-sync",
        {"device": "d0", "snapshot-file": str(top), "format": "qcow2", "mode": "existing"},
    )


def limits(vm: Vm) -> list[int]:
    """The write and total limits of its disks now."""
    answer = vm.qmp("query-block")
    assert isinstance(answer, list)
    return [entry["inserted"]["iops"] for entry in answer if "inserted" in entry]


@pytest.mark.parametrize("brake", ["throttle", "stop"])
def test_it_is_slowed_down_and_gives_back(make_host: MakeHost, image: GuestImage, brake: str) -> None:
    """Above its grant it is braked, drains, gives back and goes on; nobody is frozen, every checksum is right."""
    host, vm = wild(make_host, image, brake)
    for number in range(6):
        burst(host, vm, number)
        time.sleep(2.0)
        if host.events("unbraked"):
            break
    event = host.wait_for("braked", "wild")
    assert event["numbers"]["kind"] == brake
    assert event["numbers"]["drain_bytes"] + event["numbers"]["guard_bytes"] <= event["numbers"]["headroom_left_bytes"]
    host.wait_for("unbraked", "wild", timeout_s=60)
    assert until(lambda: host.ps()["wild"]["braked"] is None, 60)
    assert until(lambda: from_files(host, "wild", RAM) < 180 * MIB, 60), "its heap kept what was in flight"
    assert host.events("trimmed")
    row = host.ps()["wild"]
    assert row["braked_s"] > 0
    assert row["held_s"] == 0
    assert not host.events("held")
    assert refusals(host) == [0, 0]
    assert limits(vm) == [0]
    assert vm.alive(20) is None
    assert vm.signs.verified > 100
