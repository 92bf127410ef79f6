"""What a vCPU's own page fault at the limit does under KVM, so that what is said about KVM was measured.

Two guests: the smallest one there can be (one vCPU, a loop of stores), and a real QEMU whose boot sector is such a
loop. Stock kernels don't boot under every /dev/kvm; a few instructions do.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from guestroom.units import MIB

from .realhost import own_cgroup

pytestmark = pytest.mark.kernel

HERE = Path(__file__).parent
KVM_EXIT_MMIO = 6
"""``linux/kvm.h``: KVM hands a store to user space, as it does for a device's memory."""
RAM_BYTES = 64 * MIB
ALL_PAGES = (RAM_BYTES - MIB) // 4096
TIGHT_BYTES = 24 * MIB


def _need_kvm() -> None:
    if own_cgroup("memory") is None or own_cgroup("freezer") is None:
        pytest.skip("no writable cgroup v1 memory and freezer hierarchies here")
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("no /dev/kvm here: what a vCPU's fault at the limit does can't be measured")


def _build(target: Path, *arguments: str | Path) -> Path:
    subprocess.run([shutil.which("gcc") or "cc", *arguments, "-o", target], check=True)
    return target


@pytest.fixture(scope="module")
def smallest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest guest's program."""
    _need_kvm()
    return _build(tmp_path_factory.mktemp("kvm") / "kvm_guest", "-O1", "-static", "-Wall", HERE / "kvm_guest.c")


@pytest.fixture(scope="module")
def boot_sector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk whose boot sector touches RAM page by page."""
    _need_kvm()
    folder = tmp_path_factory.mktemp("boot")
    _build(folder / "touch.o", "-c", "-m32", HERE / "touch_ram.s")
    image = folder / "touch.img"
    linker = [shutil.which("ld") or "ld", "-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary"]
    subprocess.run([*linker, "-o", image, folder / "touch.o"], check=True)
    return image


class Cgroup:
    """A v1 memory cgroup with a freezer beside it, for one process."""

    def __init__(self) -> None:
        name = f"kvm-{os.getpid()}-{time.monotonic_ns()}"
        self.memory, self.freezer = (Path(f"{own_cgroup(one)}/{name}") for one in ("memory", "freezer"))
        self.memory.mkdir()
        self.freezer.mkdir()

    def limit(self, value_bytes: int) -> None:
        """Set the limit."""
        (self.memory / "memory.limit_in_bytes").write_text(str(value_bytes))

    def killer(self, on: bool) -> None:
        """Turn the OOM killer on or off."""
        (self.memory / "memory.oom_control").write_text("0" if on else "1")

    def enter(self) -> None:
        """Put the calling process into both."""
        for folder in (self.memory, self.freezer):
            (folder / "cgroup.procs").write_text(str(os.getpid()))

    def freeze(self, state: str) -> None:
        """Write the freezer's state and wait until it is so."""
        (self.freezer / "freezer.state").write_text(state)
        while (self.freezer / "freezer.state").read_text().strip() != state:
            time.sleep(0.001)

    def usage_bytes(self) -> int:
        """Bytes charged."""
        return int((self.memory / "memory.usage_in_bytes").read_text())

    def under_oom(self) -> bool:
        """True while a task sleeps at the limit."""
        return "under_oom 1" in (self.memory / "memory.oom_control").read_text()

    def remove(self) -> None:
        """Take both away once they are empty."""
        for folder in (self.memory, self.freezer):
            until(lambda where=folder: not (where / "cgroup.procs").read_text(), 10)
            folder.rmdir()


def until(true: Callable[[], bool], seconds: float) -> bool:
    """Wait until something is true; whether it came to be."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture
def cgroup() -> Iterator[Cgroup]:
    """A fresh cgroup."""
    _need_kvm()
    made = Cgroup()
    yield made
    made.remove()


class Smallest:
    """The smallest guest, in a cgroup."""

    def __init__(self, program: Path, cgroup: Cgroup) -> None:
        self.process = subprocess.Popen(
            [program, str(RAM_BYTES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            preexec_fn=cgroup.enter,
        )
        assert self.hear(10) == ["ready"]

    def go(self) -> None:
        """Let the vCPU run."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")

    def hear(self, seconds: float) -> list[str]:
        """Its next line; empty when it says nothing or is gone."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        return self.process.stdout.readline().decode().split() if ready else []

    def end(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def guest(smallest: Path, cgroup: Cgroup) -> Iterator[Smallest]:
    """The smallest guest with far too little room."""
    made = Smallest(smallest, cgroup)
    yield made
    made.end()


def test_with_room_the_vcpu_touches_all_its_ram(guest: Smallest) -> None:
    """Without a limit in its way the guest writes to every page: the control of the tests below."""
    guest.go()
    assert guest.hear(20)[:2] == ["done", str(ALL_PAGES)]


def test_a_vcpu_at_the_limit_does_not_sleep_and_its_store_is_not_done(guest: Smallest, cgroup: Cgroup) -> None:
    """With the killer off KVM_RUN comes back at once: with EFAULT, or with the store handed to user space."""
    cgroup.killer(on=False)
    cgroup.limit(TIGHT_BYTES)
    guest.go()
    word, code, pages, *_ = guest.hear(20)
    assert (word, int(code)) in {("failed", errno.EFAULT), ("exit", KVM_EXIT_MMIO)}
    assert 0 < int(pages) < ALL_PAGES
    assert not cgroup.under_oom()
    assert cgroup.usage_bytes() > TIGHT_BYTES - MIB


def test_a_vcpu_at_the_limit_is_killed_where_the_killer_is_on(guest: Smallest, cgroup: Cgroup) -> None:
    """With the killer on the whole process is gone."""
    cgroup.killer(on=True)
    cgroup.limit(TIGHT_BYTES)
    guest.go()
    assert guest.hear(20) == []
    assert guest.process.wait(10) == -signal.SIGKILL


def test_a_vcpu_held_before_the_limit_loses_nothing(guest: Smallest, cgroup: Cgroup) -> None:
    """Frozen, given room and thawed, the same vCPU goes through all its RAM with no fault that failed."""
    cgroup.killer(on=False)
    cgroup.limit(TIGHT_BYTES)
    cgroup.freeze("FROZEN")
    guest.go()
    assert guest.hear(0.3) == []
    cgroup.limit(2 * RAM_BYTES)
    cgroup.freeze("THAWED")
    assert guest.hear(20)[:2] == ["done", str(ALL_PAGES)]


class Qemu:
    """A QEMU under KVM whose guest touches its RAM page by page; its RAM is not preallocated."""

    def __init__(self, disk: Path, folder: Path, cgroup: Cgroup) -> None:
        self._serial, self._monitor = folder / "serial", folder / "qmp"
        self.process = subprocess.Popen(
            [
                *("qemu-system-x86_64", "-accel", "kvm", "-M", "pc", "-m", "256", "-nodefaults", "-display", "none"),
                *("-serial", f"file:{self._serial}", "-qmp", f"unix:{self._monitor},server=on,wait=off"),
                *("-drive", f"file={disk},format=raw,if=ide"),
            ],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=cgroup.enter,
        )

    def said(self) -> str:
        """All that the guest said."""
        return self._serial.read_text() if self._serial.exists() else ""

    def status(self) -> str | None:
        """What QMP says of it; None where it does not answer within a second."""
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection:
            connection.settimeout(1)
            try:
                connection.connect(str(self._monitor))
                lines = connection.makefile("rw")
                lines.readline()
                for name in ("qmp_capabilities", "query-status"):
                    lines.write(json.dumps({"execute": name}) + "\n")
                    lines.flush()
                    answer = json.loads(lines.readline())
                return str(answer["return"]["status"])
            except OSError:
                return None

    def end(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


@pytest.fixture
def qemu(boot_sector: Path, tmp_path: Path, cgroup: Cgroup) -> Iterator[Qemu]:
    """A QEMU under KVM that will need twice its limit."""
    cgroup.limit(120 * MIB)
    cgroup.killer(on=False)
    made = Qemu(boot_sector, tmp_path, cgroup)
    yield made
    cgroup.limit(400 * MIB)
    made.end()


def test_qemu_under_kvm_at_its_limit_is_lost_to_its_users(qemu: Qemu, cgroup: Cgroup) -> None:
    """It stands still in the middle, and its monitor says nothing or ``internal-error``; no event of QMP says why."""
    assert until(lambda: cgroup.under_oom() or qemu.status() == "internal-error", 90)
    assert qemu.status() in {None, "internal-error"}
    assert "D" not in qemu.said()


def test_qemu_under_kvm_is_killed_at_its_limit_where_the_killer_is_on(qemu: Qemu, cgroup: Cgroup) -> None:
    """With the killer on the guest is gone in the middle of its work."""
    cgroup.killer(on=True)
    assert qemu.process.wait(90) == -signal.SIGKILL
    assert "." in qemu.said()
    assert "D" not in qemu.said()


def test_qemu_under_kvm_held_before_its_limit_goes_on(qemu: Qemu, cgroup: Cgroup) -> None:
    """Frozen short of the wall, given room and thawed, the guest comes to its end."""
    assert until(lambda: cgroup.usage_bytes() > 40 * MIB, 90)
    cgroup.freeze("FROZEN")
    seen = qemu.said()
    assert "D" not in seen
    cgroup.limit(400 * MIB)
    cgroup.freeze("THAWED")
    assert until(lambda: "Dh" in qemu.said(), 60)
    assert not cgroup.under_oom()
    assert qemu.status() == "running"
