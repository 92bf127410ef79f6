"""Room before the wall, made lasting: growing guests get their neighbours' spare room, and give it back."""

from __future__ import annotations

import subprocess
import time

import pytest
from tests.integration.conftest import MakeHost
from tests.integration.test_burst import refusals
from tests.integration.test_launch import until
from tests.integration.test_room import from_files, sums_hold

from guestroom.lab.host import Host
from guestroom.lab.image import GuestImage
from guestroom.lab.vm import Vm
from guestroom.units import MIB

pytestmark = pytest.mark.integration

SETTINGS = """
[host]
reserve = "800MiB"
headroom = "128MiB"
guard = "48MiB"
[sizing]
policy = "openshift"
[timing]
settle_s = 0
sweep_s = 0.2
peak_window_s = 3
giveback_after_s = 2
"""
SHARE = 336 * MIB


def pair(make_host: MakeHost, image: GuestImage) -> tuple[Host, Vm, Vm]:
    """Guests A and B alive under I/O, 336 MiB each, 128 MiB of headroom behind both."""
    host = make_host(SETTINGS)
    a, b = host.run(host.machine("A", image, rate=100)), host.run(host.machine("B", image, rate=100))
    assert a.wait_alive(60)
    assert b.wait_alive(60)
    assert until(lambda: {row["grant_bytes"] for row in host.ps().values()} == {SHARE})
    return host, a, b


def test_a_growing_guest_takes_room_from_an_idle_neighbour(make_host: MakeHost, image: GuestImage) -> None:
    """A grows far over its share in steps; B's spare room comes to it, nobody is held, no charge is ever refused."""
    host, a, b = pair(make_host, image)
    for number in range(26):
        a.grow(16 * MIB, f"step{number}", threads=2)
        time.sleep(0.05)
    used = from_files(host, "A", 256 * MIB)
    assert used > SHARE + 128 * MIB, "more than its share and the whole headroom together"
    assert until(lambda: host.ps()["A"]["grant_bytes"] >= used)
    rows = host.ps()
    assert rows["B"]["grant_bytes"] >= rows["B"]["overhead_bytes"]
    assert refusals(host) == [0, 0, 0]
    assert not host.events("held")
    grown = host.events("grown")
    assert grown
    assert "A" in grown[0]["message"]
    sums_hold(host)
    assert a.alive() is None
    assert b.alive() is None


def test_what_is_not_needed_any_more_comes_back(make_host: MakeHost, image: GuestImage) -> None:
    """A guest whose load is over gives back step by step to its share, never below its use, and without flutter."""
    host, a, b = pair(make_host, image)
    for number in range(20):
        a.grow(16 * MIB, f"step{number}", threads=2)
        time.sleep(0.05)
    assert until(lambda: host.ps()["A"]["grant_bytes"] > SHARE + 16 * MIB)
    for number in range(20):
        a.shrink(f"step{number}")
    assert until(lambda: abs(host.ps()["A"]["grant_bytes"] - SHARE) <= 8 * MIB, 60), host.ps()
    assert host.events("given_back")
    sums_hold(host)
    count = len(host.events("given_back"))
    time.sleep(6)
    assert len(host.events("given_back")) == count, "a quiet host moves nothing"
    assert a.alive() is None
    assert b.alive() is None


def overlay(host: Host, image: GuestImage, name: str) -> list[str]:
    """The guest that breaks formulas: 256 MiB of RAM, overlay of 2 MiB clusters, 256 random 4 KiB writes in flight."""
    base, top = host.folder / f"{name}.base", host.folder / f"{name}.qcow2"
    make = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=2M"]
    subprocess.run([*make, str(base), "1G"], check=True)
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 90 0 1G", str(base)], check=True, capture_output=True)
    subprocess.run([*make, "-b", str(base), "-F", "qcow2", str(top)], check=True)
    machine = host.machine(name, image, io="64x4", rate=0)
    argv = [word.replace(f"file={machine.disk},format=raw", f"file={top},format=qcow2") for word in machine.argv()]
    return [word.replace("guestroom.rate=0", "guestroom.rate=0 guestroom.span=1073741824") for word in argv]


def test_the_guest_that_breaks_formulas_lives(make_host: MakeHost, image: GuestImage) -> None:
    """It starts tight, needs hundreds of MiB for moments, gets them, and every checksum is right."""
    host = make_host(SETTINGS.replace("800MiB", "1GiB").replace("128MiB", "512MiB").replace("48MiB", "128MiB"))
    machine = host.machine("wild", image, io="64x4", rate=0)
    vm = Vm(machine, [*host.run_words("wild"), *overlay(host, image, "wild")])
    host.vms.append(vm)
    calm = host.run(host.machine("calm", image, rate=50))
    assert vm.wait_alive(60)
    assert calm.wait_alive(60)
    highest = 0
    deadline_s = time.monotonic() + 12
    while time.monotonic() < deadline_s:
        highest = max(highest, from_files(host, "wild", 256 * MIB))
        time.sleep(0.02)
    assert vm.alive(10) is None
    assert calm.alive() is None
    grown = [event for event in host.events("grown") if event["guest"] == "wild"]
    assert highest > 130 * MIB or grown, f"the load was no load: {highest >> 20} MiB"
    assert refusals(host) == [0, 0, 0]
    assert vm.signs.verified > 100


@pytest.mark.parametrize(("formula", "overhead_mib"), [("30 % of RAM", 77), ("a tight guess", 100)])
def test_under_a_formula_as_hard_limit_it_is_lost(
    make_host: MakeHost, image: GuestImage, formula: str, overhead_mib: int
) -> None:
    """The same guest under RAM + a formula as a plain limit, killer as it is: it is killed or gets I/O errors."""
    host = make_host(SETTINGS)
    path = f"{host.layout.memory}-control"
    host.files.mkdir(path)
    host.files.write(f"{path}/memory.limit_in_bytes", str((256 + overhead_mib) * MIB))
    argv = [*overlay(host, image, "control"), "-mem-prealloc"]
    vm = Vm(host.machine("control", image, io="64x4", rate=0), argv, cgroup=path)
    try:
        assert until(lambda: vm.process.poll() is not None or vm.signs.errors > 0, 60), f"it lived under {formula}"
    finally:
        vm.process.kill()
        vm.process.wait()
        until(lambda: not host.files.read(f"{path}/cgroup.procs").strip())
        host.files.rmdir(path)
