"""The test guest tells the truth: what it says about heartbeat and I/O is what happened to it.

Every other real-guest test believes these lines, so they are tried here on guests that are hurt on purpose.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from guestroom.lab.image import MIN_RAM_BYTES, find_image
from guestroom.lab.vm import Machine, Vm

pytestmark = pytest.mark.integration

BOOT_S = 60.0
PLAIN = "file={disk},format=raw,cache=none,aio=threads"
Start = Callable[..., Vm]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a guest with this drive and these options; whatever happens, it is ended."""
    started: list[Vm] = []

    def run(drive: str = PLAIN, ram_mib: int = 128, options: str = "") -> Vm:
        machine = Machine(name=f"g{len(started)}", ram_mib=ram_mib, folder=tmp_path, image=find_image())
        plain = PLAIN.format(disk=machine.disk)
        argv = [word.replace(plain, drive.format(disk=machine.disk, folder=tmp_path)) for word in machine.argv()]
        argv[argv.index("-append") + 1] += f" {options}"
        started.append(Vm(machine, argv))
        return started[-1]

    yield run
    for vm in started:
        vm.stop()


def eventually(holds: Callable[[], bool], timeout_s: float = 20.0) -> bool:
    """Whether it comes true in time."""
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("aio", ["threads", "native"])
@pytest.mark.parametrize("image_format", ["raw", "qcow2"])
def test_it_lives_on_every_kind_of_disk(start: Start, tmp_path: Path, image_format: str, aio: str) -> None:
    """The guest boots, beats and verifies its writes without an error on raw and qcow2, with both kinds of I/O."""
    disk = tmp_path / f"disk.{image_format}"
    subprocess.run(["qemu-img", "create", "-q", "-f", image_format, str(disk), "64M"], check=True)
    vm = start(f"file={disk},format={image_format},cache=none,aio={aio}")
    assert vm.wait_alive(BOOT_S), vm.stderr()
    assert vm.alive() is None


def test_it_boots_with_the_least_ram(start: Start) -> None:
    """The figure given as the least RAM is enough, with the RAM touched as far as the guest can."""
    vm = start(ram_mib=MIN_RAM_BYTES >> 20, options="guestroom.touch=all")
    assert vm.wait_alive(BOOT_S), vm.stderr()
    assert any(line.startswith("@@TOUCHED") for line in vm.signs.lines)


def test_spoiled_blocks_are_found(start: Start) -> None:
    """Blocks overwritten behind the I/O loop's back are reported as mismatches, not as anything else."""
    vm = start()
    assert vm.wait_alive(BOOT_S), vm.stderr()
    vm.type("dd if=/dev/zero of=/dev/vda bs=1M count=32 conv=fsync 2>/dev/null")
    assert eventually(lambda: vm.signs.mismatches > 0)
    assert vm.signs.errors == 0
    assert any(fault.startswith("@@BAD offset=") for fault in vm.signs.faults)
    assert "mismatch" in str(vm.alive())


def test_lost_writes_are_found(start: Start) -> None:
    """A disk that accepts every write and keeps none is found out by reading back."""
    vm = start("driver=null-co,size=67108864,read-zeroes=on")
    assert eventually(lambda: vm.signs.mismatches > 0, BOOT_S), vm.stderr()
    assert vm.signs.errors == 0


def test_failed_requests_are_counted(start: Start) -> None:
    """A disk that answers with EIO is seen as errors by the loop, which goes on and blames no contents."""
    faulty = (
        "driver=raw,file.driver=blkdebug,file.image.driver=file,file.image.filename={disk},"
        "file.inject-error.0.event=write_aio,file.inject-error.0.iotype=write,file.inject-error.0.errno=5"
    )
    vm = start(faulty)
    assert eventually(lambda: vm.signs.errors > 1, BOOT_S), vm.stderr()
    assert vm.signs.mismatches == 0


def test_a_held_guest_is_seen_and_goes_on(start: Start) -> None:
    """A guest stopped for a second shows a gap of a second, then beats and verifies on without an error."""
    vm = start()
    assert vm.wait_alive(BOOT_S), vm.stderr()
    vm.forget_gaps()
    assert eventually(lambda: vm.signs.last_beat_s is not None)
    vm.process.send_signal(signal.SIGSTOP)
    time.sleep(1.2)
    vm.process.send_signal(signal.SIGCONT)
    assert vm.alive() is None
    assert 1.0 <= vm.gap_s() < 10.0


def test_it_takes_commands_and_powers_off(start: Start) -> None:
    """A typed command's exit code comes back, the load generator reports, and poweroff ends QEMU with 0."""
    vm = start(options="guestroom.io=off")
    assert vm.wait_alive(BOOT_S, io=False), vm.stderr()
    vm.type("false")
    assert eventually(lambda: "@@DONE 1" in vm.signs.lines)
    vm.type("gio 1 2 4 4096 100 0 /dev/vda")
    assert eventually(lambda: any(line.startswith("@@GIO ops=") for line in vm.signs.lines))
    vm.type("poweroff")
    assert vm.process.wait(20.0) == 0
