"""Slowed down before it would be held: requests in flight drain, QEMU gives their memory back, nobody is frozen."""

from __future__ import annotations

import contextlib
import subprocess
import time

import pytest
from tests.integration.conftest import MakeHost
from tests.integration.test_burst import refusals
from tests.integration.test_growth import overlay
from tests.integration.test_launch import until
from tests.integration.test_room import from_files

from guestroom.errors import GuestroomError
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
agent_lost_s = 10
"""
RAM = 256 * MIB


def wild(
    make_host: MakeHost,
    image: GuestImage,
    brake: str,
    *,
    headroom_mib: int = 700,
    fault_at: str | None = None,
    wait: bool = True,
) -> tuple[Host, Vm]:
    """The guest that breaks formulas, alive unless it is not to be waited for, its bursts far above its grant.

    With ``fault_at`` the agent is killed where that is.
    """
    settings = SETTINGS.replace("BRAKE", brake).replace("700MiB", f"{headroom_mib}MiB")
    settings = settings.replace("840MiB", f"{headroom_mib + 140}MiB")
    host = make_host(settings, start=False)
    host.start(fault_at=fault_at)
    vm = Vm(host.machine("wild", image, io="64x4", rate=0), [*host.run_words("wild"), *overlay(host, image, "wild")])
    host.vms.append(vm)
    assert not wait or vm.wait_alive(120)
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
    row = host.ps()["wild"]
    assert row["braked_s"] > 0
    assert row["held_s"] == 0
    assert not host.events("held")
    assert refusals(host) == [0, 0]
    assert limits(vm) == [0]
    assert vm.alive(20) is None
    assert vm.signs.verified > 100


def dead_in_a_brake(host: Host, vm: Vm) -> None:
    """The agent has died right after it put a brake on, in the burst that its guest begins with or a later one."""
    agent = host.process
    assert agent is not None
    for number in range(-1, 6):
        if number >= 0:
            burst(host, vm, number)
        if until(lambda: agent.poll() is not None, 4 if number >= 0 else 25):
            return
    pytest.fail(f"nobody was braked: {host.log()}")


def status(vm: Vm) -> str:
    """QEMU's run state by its user's own monitor."""
    answer = vm.qmp("query-status")
    assert isinstance(answer, dict)
    return str(answer["status"])


def as_it_was(vm: Vm) -> bool:
    """Whether it runs with no limit on any disk."""
    return status(vm) == "running" and limits(vm) == [0]


@pytest.mark.parametrize("brake", ["throttle", "stop"])
def test_the_next_agent_takes_the_brake_off(make_host: MakeHost, image: GuestImage, brake: str) -> None:
    """kill -9 in the middle of a brake: the agent that comes after finds it in its ledger and ends it at once."""
    host, vm = wild(make_host, image, brake, fault_at="braked", wait=False)
    dead_in_a_brake(host, vm)
    assert status(vm) == "paused" if brake == "stop" else limits(vm) == [64]
    host.start()
    assert until(lambda: as_it_was(vm), 20)
    assert host.events("unbraked")
    assert vm.alive(20) is None


@pytest.mark.parametrize("brake", ["throttle", "stop"])
def test_with_no_agent_the_brake_ends_all_the_same(make_host: MakeHost, image: GuestImage, brake: str) -> None:
    """Nobody comes after the agent that died: when it is given up the alarm process lets the guest go on (P11)."""
    host, vm = wild(make_host, image, brake, fault_at="braked", wait=False)
    dead_in_a_brake(host, vm)
    assert not as_it_was(vm)
    assert until(lambda: as_it_was(vm), 30)
    assert vm.alive(20) is None


def test_where_it_can_not_drain_it_is_frozen(make_host: MakeHost, image: GuestImage) -> None:
    """Its burst does not fit above the guard: it is not braked but held before its wall, and no request fails."""
    host, vm = wild(make_host, image, "throttle", headroom_mib=300, wait=False)
    for number in range(-1, 8):
        if number >= 0:
            with contextlib.suppress(GuestroomError):
                burst(host, vm, number)
        if until(lambda: bool(host.events("held")), 4 if number >= 0 else 30):
            break
    held = host.wait_for("held", "wild")
    assert not [event for event in host.events("braked") if event["number"] < held["number"]]
    assert refusals(host) == [0, 0]
    assert vm.process.poll() is None
    assert vm.signs.errors == vm.signs.mismatches == 0
