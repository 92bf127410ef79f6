"""Memory is got back before anybody is turned away: page cache and balloons of real guests, and what they gain."""

from __future__ import annotations

import time

import pytest
from tests.integration.conftest import MakeHost
from tests.integration.test_launch import run_firmware, running, until

from guestroom.lab.host import Host
from guestroom.lab.image import GuestImage
from guestroom.lab.vm import Vm
from guestroom.units import MIB

pytestmark = pytest.mark.integration

CACHED = """[host]
reserve = "900MiB"
headroom = "100MiB"
guard = "0"
reclaim = "{reclaim}"
[timing]
settle_s = 0
peak_window_s = 10
[guests.new]
overhead = "400MiB"
"""


def fill_cache(host: Host, vm: Vm) -> None:
    """Have the guest write 400 MiB to a disk whose cache is the host's."""
    done = len(vm.signs.lines)
    vm.type("dd if=/dev/zero of=/dev/vdb bs=1M count=400 2>/dev/null")
    assert until(lambda: any(line.startswith("@@DONE") for line in vm.signs.lines[done:]), 60)
    assert until(lambda: (host.ps()["full"]["cache_bytes"] or 0) > 350 * MIB)


@pytest.mark.parametrize(("reclaim", "starts"), [("off", False), ("cache", True)])
def test_a_guest_full_of_page_cache_blocks_nobody(
    make_host: MakeHost, image: GuestImage, reclaim: str, starts: bool
) -> None:
    """Records of 400 MiB of cached pages count as overhead on v1: a newcomer that 5 MiB are missing for is refused
    without reclaim (the control) and starts with it, and the guest that gave them lives."""
    host = make_host(CACHED.format(reclaim=reclaim))
    disk = host.folder / "cached.img"
    with disk.open("wb") as file:
        file.truncate(512 * MIB)
    drive = ("-drive", f"if=none,id=d1,file={disk},format=raw,cache=writeback,aio=threads")
    vm = host.run(host.machine("full", image, extra=(*drive, "-device", "virtio-blk-pci,drive=d1")))
    assert vm.wait_alive(60)
    vm.grow(385 * MIB - host.ps()["full"]["overhead_bytes"], "load")
    # The gap between two samples in which it grew is forgotten with its half of the window.
    assert until(lambda: 383 * MIB < host.ps()["full"]["floor_bytes"] < 392 * MIB, 30), host.ps()["full"]
    time.sleep(6)
    fill_cache(host, vm)
    vm.grow(404 * MIB - host.ps()["full"]["overhead_bytes"], "more")
    assert until(lambda: host.ps()["full"]["overhead_bytes"] >= 403 * MIB)
    time.sleep(2.5)
    # Once what it was seen to gain between two looks is forgotten too, its floor is its use, records and all.
    assert until(lambda: 403 * MIB <= host.ps()["full"]["floor_bytes"] < 408 * MIB, 40), host.ps()["full"]
    new = run_firmware(host, "new")
    if not starts:
        assert new.wait(20) == 3
        assert host.events("reclaimed") == []
        return
    assert until(running(host, "new"), 30), new.poll()
    told = host.wait_for("reclaimed", "full")["numbers"]
    assert (told["means"], told["for"]) == ("cache", "new")
    assert told["charge_bytes"] > 300 * MIB
    assert told["overhead_bytes"] > 5 * MIB
    assert told["ram_bytes"] == 0
    assert host.figure(host.layout.guest("full"), "memory.limit_in_bytes") < (256 + 510) * MIB
    assert vm.alive() is None
    new.terminate()
    new.wait(20)
