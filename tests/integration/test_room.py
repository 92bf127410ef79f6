"""Many guests on one host: nobody gets room twice, limits follow every start and stop, figures are the kernel's own."""

from __future__ import annotations

import subprocess
import time

import pytest
from tests.integration.conftest import MakeHost
from tests.integration.test_launch import firmware, room_is_back, run_firmware, running, until

from guestroom.lab.host import Host
from guestroom.lab.image import GuestImage
from guestroom.units import MIB

pytestmark = pytest.mark.integration


def sums_hold(host: Host) -> None:
    """P1 in the kernel's own figures: grants + headroom within the reserve, the wall at promised RAM + reserve."""
    rows, about = host.ps(), host.client.get("/v1/host")
    assert sum(row["grant_bytes"] for row in rows.values()) + about["headroom_bytes"] <= about["reserve_bytes"]
    promised = sum(row["ram_bytes"] for row in rows.values())
    assert host.figure(host.layout.memory, "memory.limit_in_bytes") == promised + about["reserve_bytes"]
    for name, row in rows.items():
        assert host.figure(host.layout.guest(name), "memory.limit_in_bytes") == row["limit_bytes"]
        assert row["limit_bytes"] >= row["ram_bytes"] + (row["overhead_bytes"] or 0)


def test_two_at_the_same_moment_never_both_get_the_last_room(make_host: MakeHost) -> None:
    """Of two runs at the same moment for room that is enough for one, exactly one starts and one is refused."""
    host = make_host('[host]\nreserve = "400MiB"\nheadroom = "0"\nguard = "0"\n[sizing]\non_short = "refuse"\n')
    for _ in range(3):
        both = [run_firmware(host, name) for name in ("one", "two")]
        assert until(lambda both=both: any(process.poll() is not None for process in both))  # type: ignore[misc]
        assert until(lambda: any(row["state"] == "running" for row in host.ps().values()))
        codes = [process.poll() for process in both]
        assert sorted(codes, key=str) == [3, None]
        sums_hold(host)
        for process in both:
            process.terminate()
            process.wait(20)
        assert until(lambda: not host.ps())


def test_twenty_starting_at_once(make_host: MakeHost) -> None:
    """Twenty guests that start at once all run, each within limits that never summed above the reserve."""
    host = make_host('[host]\nreserve = "10GiB"\nheadroom = "256MiB"\n[timing]\nsettle_s = 0\n')
    names = [f"g{number:02d}" for number in range(20)]
    processes = [run_firmware(host, name) for name in names]
    deadline_s = time.monotonic() + 90
    while time.monotonic() < deadline_s:
        rows, about = host.ps(), host.client.get("/v1/host")
        assert sum(row["grant_bytes"] for row in rows.values()) + about["headroom_bytes"] <= about["reserve_bytes"]
        if sum(row["state"] == "running" for row in rows.values()) == 20:
            break
        assert all(process.poll() is None for process in processes), [p.communicate()[1] for p in processes if p.poll()]
        time.sleep(0.1)
    sums_hold(host)
    assert len(host.ps()) == 20
    for process in processes:
        process.terminate()
    for process in processes:
        assert process.wait(30) == 0
    assert until(lambda: room_is_back(host), 30)


def test_limits_are_shared_again_at_every_start_and_stop(make_host: MakeHost) -> None:
    """Shares follow weight at each start and stop: alone all of it, beside one of equal RAM half of it, and back."""
    host = make_host('[host]\nreserve = "1GiB"\nheadroom = "0"\nguard = "0"\n[timing]\nsettle_s = 0\n')
    first = run_firmware(host, "first")
    assert until(running(host, "first"))
    assert host.ps()["first"]["grant_bytes"] == 1024 * MIB
    second = run_firmware(host, "second")
    assert until(running(host, "second"))
    assert {row["grant_bytes"] for row in host.ps().values()} == {512 * MIB}
    sums_hold(host)
    second.terminate()
    second.wait(20)
    assert until(lambda: host.ps()["first"]["grant_bytes"] == 1024 * MIB)
    sums_hold(host)
    first.terminate()
    first.wait(20)


def independent_anonymous(host: Host, pid: int) -> int:
    """Anonymous bytes of a process by smaps, counted here without guestroom's reader."""
    text = host.files.read(f"/proc/{pid}/smaps")
    return sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Anonymous:"))


def from_files(host: Host, name: str, ram_bytes: int) -> int:
    """Overhead from the cgroup files, counted here."""
    total = -ram_bytes
    for path in (host.layout.ram(name), host.layout.vmm(name)):
        stat = dict(line.split() for line in host.files.read(f"{path}/memory.stat").splitlines())
        total += int(stat["rss"]) + int(stat["shmem"]) + host.figure(path, "memory.kmem.usage_in_bytes")
    return total


def kernel_memory(host: Host, name: str) -> int:
    """Kernel memory of both cgroups."""
    return sum(host.figure(p, "memory.kmem.usage_in_bytes") for p in (host.layout.ram(name), host.layout.vmm(name)))


@pytest.mark.parametrize("touch", ["0", "120"])
def test_ps_shows_what_the_kernel_has(make_host: MakeHost, image: GuestImage, touch: str) -> None:
    """ps overhead equals the cgroup files, and an independent smaps count agrees within 1 %, RAM touched or not."""
    host = make_host('[host]\nreserve = "1GiB"\nheadroom = "128MiB"\n')
    vm = host.run(host.machine("seen", image, touch=touch))
    assert vm.wait_alive(60)
    vm.grow(100 * MIB, "load")
    time.sleep(2.5)

    def agree() -> bool:
        row = host.ps()["seen"]
        files = from_files(host, "seen", 256 * MIB)
        smaps = independent_anonymous(host, row["pid"]) + kernel_memory(host, "seen") - 256 * MIB
        close = abs(row["overhead_bytes"] - files) <= MIB and abs(files - smaps) <= files // 100
        print(f"ps {row['overhead_bytes']} files {files} smaps {smaps}")
        return close

    assert until(agree, 10)


def test_page_cache_does_not_disturb_the_figure(make_host: MakeHost, image: GuestImage) -> None:
    """A guest whose vmm is full of page cache (cache=writeback) shows the same overhead, and nobody is held for it."""
    host = make_host('[host]\nreserve = "600MiB"\nheadroom = "128MiB"\n')
    machine = host.machine("cache", image, role="shell", io="off", disk_mib=400)
    argv = [word.replace("cache=none", "cache=writeback") for word in machine.argv()]
    from guestroom.lab.vm import Vm

    vm = Vm(machine, [*host.run_words("cache"), *argv])
    host.vms.append(vm)
    assert until(lambda: vm.signs.booted, 60)
    time.sleep(2)
    before = host.ps()["cache"]["overhead_bytes"]
    vm.type("dd if=/dev/vda of=/dev/null bs=1M count=380; dd if=/dev/zero of=/dev/vda bs=1M count=300; echo @@FILLED")
    assert until(lambda: any("FILLED" in line for line in vm.signs.lines), 60)
    time.sleep(1.5)
    row = host.ps()["cache"]
    assert row["cache_bytes"] > 200 * MIB
    assert row["overhead_bytes"] - before < 40 * MIB
    assert not host.events("held")


def test_a_static_host_moves_nothing(make_host: MakeHost) -> None:
    """With sharing = "static" each guest has its need, before and after the others come and go."""
    host = make_host('[host]\nreserve = "2GiB"\nheadroom = "128MiB"\nsharing = "static"\n')
    first, second = run_firmware(host, "first"), run_firmware(host, "second")
    assert until(lambda: running(host, "first")() and running(host, "second")())
    rows = host.ps()
    assert all(abs(row["grant_bytes"] - row["need_bytes"]) < 4096 for row in rows.values())
    second.terminate()
    second.wait(20)
    assert until(lambda: len(host.ps()) == 1)
    assert host.ps()["first"]["grant_bytes"] == rows["first"]["grant_bytes"]
    first.terminate()
    first.wait(20)


def test_plan_says_what_a_start_then_does(make_host: MakeHost) -> None:
    """The dry run's verdict and limits are those the start then applies; a refused plan exits with 3."""
    host = make_host('[host]\nreserve = "1GiB"\nheadroom = "0"\nguard = "0"\n[timing]\nsettle_s = 0\n')
    first = run_firmware(host, "first")
    assert until(running(host, "first"))
    command = host.command("plan", "--name", "second", "--socket", host.socket, "--json", "--", *firmware())
    planned = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert planned.returncode == 0, planned.stderr
    import json

    answer = json.loads(planned.stdout)
    limits = {a["name"]: a["to_bytes"] for a in answer["actions"] if a["type"] == "SetLimit"}
    second = run_firmware(host, "second")
    assert until(running(host, "second"))
    assert host.ps()["first"]["limit_bytes"] == limits["first"]
    assert host.ps()["second"]["grant_bytes"] == answer["grant_bytes"]
    huge = host.command("plan", "--socket", host.socket, "--", "qemu-system-x86_64", "-m", "900G")
    refused = subprocess.run(huge, capture_output=True, text=True, timeout=30, check=False)
    assert refused.returncode == 3
    for process in (first, second):
        process.terminate()
        process.wait(20)
