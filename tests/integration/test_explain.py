"""Where the memory is, asked of real guests: every byte named, and an independent count that agrees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import MakeHost
from tests.integration.halves import HALVES, halves_are_named
from tests.integration.test_growth import overlay

from guestroom.kernelfs import KernelFiles
from guestroom.lab.host import Host
from guestroom.lab.image import GuestImage
from guestroom.lab.vm import Vm
from guestroom.observe.hierarchy import find_layout
from guestroom.units import MIB

pytestmark = pytest.mark.integration

SETTINGS = '[host]\nreserve = "1GiB"\nheadroom = "384MiB"\n[timing]\nsweep_s = 0.2\n'


def explained(*words: str, host: Host | None = None) -> dict[str, Any]:
    """What the command prints as JSON."""
    socket = ["--socket", host.socket] if host is not None else []
    argv = [sys.executable, "-m", "guestroom", "explain", *words, *socket, "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def parts(found: dict[str, Any]) -> dict[str, int]:
    """Bytes by part."""
    return {part["name"]: part["bytes"] for part in found["parts"]}


def holds_together(found: dict[str, Any]) -> None:
    """Parts sum to the charge, at least 99 % is named, and the count by pages agrees within 1 %."""
    assert sum(parts(found).values()) == found["charged_bytes"]
    assert found["explained_bytes"] >= 0.99 * found["charged_bytes"], found
    if found["by_pages_bytes"] is not None:
        assert abs(found["by_pages_bytes"] - found["by_parts_bytes"]) <= 0.01 * found["by_parts_bytes"], found


def test_every_byte_of_a_split_guest_is_named(make_host: MakeHost, image: GuestImage, tmp_path: Path) -> None:
    """Both cgroups together: RAM in full, the known parts of a plain guest, and overhead as ps shows it."""
    host = make_host(SETTINGS)
    vm = host.run(host.machine("plain", image, rate=100))
    assert vm.wait_alive(60)
    picture = tmp_path / "plain.svg"
    drawn = tmp_path / "plain.png"
    found = explained("plain", "--check", "--svg", str(picture), "--png", str(drawn), host=host)
    holds_together(found)
    assert parts(found)["guest RAM"] == 256 * MIB
    assert parts(found)["TCG code buffer"] >= 31 * MIB
    assert parts(found)["copy of the kernel image"] > 10 * MIB
    shown = host.ps()["plain"]["overhead_bytes"]
    assert abs(found["overhead_bytes"] - shown) <= max(4 * MIB, shown // 20)
    assert picture.read_text().startswith("<svg")
    assert drawn.read_bytes().startswith(b"\x89PNG")
    argv = [sys.executable, "-m", "guestroom", "doctor", "--socket", host.socket, "--kvm-timeout", "0", "--json"]
    checks = json.loads(subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60).stdout)["checks"]
    assert [check["level"] for check in checks if check["name"] == "explained: plain"] == ["ok"]
    told = {part["name"]: part["source"] for part in found["parts"]}
    assert "QEMU calls it pc.bios" in told["RAM block: firmware"], "asked on guestroom's own monitor"
    assert {knob["part"] for knob in found["knobs"]} >= {"TCG code buffer", "copy of the kernel image"}
    assert vm.alive() is None


def test_what_grew_is_named_by_difference(make_host: MakeHost, image: GuestImage) -> None:
    """A memory object of 100 MiB that backs no RAM shows as a block of its size, and nothing else moved much."""
    host = make_host(SETTINGS)
    vm = host.run(host.machine("grower", image, rate=50))
    assert vm.wait_alive(60)
    before = parts(explained("grower", host=host))
    vm.grow(100 * MIB, "load", threads=2)
    after = explained("grower", "--check", host=host)
    holds_together(after)
    moved = {name: size - before.get(name, 0) for name, size in parts(after).items()}
    assert moved["RAM block of 100.0 MiB"] == 100 * MIB
    assert sum(abs(size) for name, size in moved.items() if name != "RAM block of 100.0 MiB") < 16 * MIB


def test_an_overlay_under_load_is_explained(make_host: MakeHost, image: GuestImage) -> None:
    """The guest that breaks formulas: what it takes are its qcow2 caches and requests in flight, by name."""
    host = make_host(SETTINGS)
    machine = host.machine("wild", image, io="64x4", rate=0)
    vm = Vm(machine, [*host.run_words("wild"), *overlay(host, image, "wild")])
    host.vms.append(vm)
    assert vm.wait_alive(60)
    for _ in range(5):
        found = explained("wild", host=host)
        holds_together(found)
    assert parts(found).get("qcow2 caches and requests in flight", 0) > 0


def test_any_qemu_is_explained_by_its_pid(image: GuestImage, tmp_path: Path) -> None:
    """No agent is needed: a QEMU that nobody has under care, in whatever cgroup it is, RAM not yet touched."""
    argv = ["qemu-system-x86_64", "-M", "pc", "-m", "128", "-accel", "tcg,tb-size=8", "-display", "none"]
    process = subprocess.Popen([*argv, "-serial", "none", "-monitor", "none", "-S"], stdin=subprocess.DEVNULL)
    try:
        found = explained("--pid", str(process.pid))
        assert sum(parts(found).values()) == found["charged_bytes"]
        assert parts(found)["TCG code buffer"] > 0
    finally:
        process.kill()
        process.wait()


def test_a_block_jobs_buffer_is_named(make_host: MakeHost, image: GuestImage) -> None:
    """While a mirror runs its buffer is under the jobs' name, with the job in the source, and the guest works on."""
    host = make_host(SETTINGS)
    machine = host.machine("mirrored", image, rate=50, disk_mib=512)
    vm = host.run(machine)
    assert vm.wait_alive(60)
    with machine.disk.open("r+b") as disk:
        disk.seek(128 * MIB)
        disk.write(os.urandom(256 * MIB))  # behind what the guest reads and writes
    target = str(host.folder / "copy.img")
    arguments = {"device": "d0", "target": target, "sync": "full", "format": "raw", "speed": 16 * MIB}
    vm.qmp("drive-mirror", arguments)
    name, told, deadline_s = "block job buffers and large allocations", {}, time.monotonic() + 20
    while told.get(name, ("", 0))[1] < 8 * MIB and time.monotonic() < deadline_s:
        found = explained("mirrored", host=host)
        told = {part["name"]: (part["source"], part["bytes"]) for part in found["parts"]}
    source, size = told[name]
    assert "running: mirror of d0" in source
    assert size >= 8 * MIB
    holds_together(found)
    vm.qmp("block-job-cancel", {"device": "d0", "force": True})
    assert vm.alive() is None


def test_unmapped_halves_of_huge_pages_are_named() -> None:
    """Half of each huge page is given back: the kernel charges for it still, and the reading says how much that is."""
    files = KernelFiles()
    home = find_layout(files, f"halves-{os.getpid()}").memory
    files.mkdir(home)
    argv = ["sh", "-c", f'echo $$ >"{home}/cgroup.procs" && exec "$@"', "sh", sys.executable, "-c", HALVES]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        halves_are_named(process, home, 1)
    finally:
        process.kill()
        process.communicate()
        while Path(f"{home}/cgroup.procs").read_text():
            time.sleep(0.02)
        files.rmdir(home)
