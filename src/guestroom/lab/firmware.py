"""A guest that runs nothing but its firmware: for hosts where a Linux guest is too slow to boot.

An emulated machine inside an emulated one needs minutes for a kernel (measured), and its firmware seconds. QEMU is real
all the same, and so is every byte of overhead; what is missing is a heartbeat inside, so alive means less here: the
process is there and QEMU itself says that its vCPUs run.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from guestroom.errors import GuestroomError
from guestroom.lab.image import GuestImage
from guestroom.lab.vm import Machine, Vm


class FirmwareMachine(Machine):
    """A guest without a disk or a kernel."""

    def argv(self) -> list[str]:
        """QEMU's command line."""
        self.clear_monitor()
        return [
            "qemu-system-x86_64",
            *("-M", "q35", "-m", str(self.ram_mib), "-accel", "tcg,tb-size=8", "-nodefaults", "-display", "none"),
            *("-qmp", f"unix:{self.monitor},server=on,wait=off"),
            *self.extra,
        ]

    def make_disk(self) -> None:
        """It has none."""

    def start(self, command: Sequence[str], *, cgroup: str | None = None) -> FirmwareVm:
        """Start it by ``command``."""
        return FirmwareVm(self, command, cgroup=cgroup)


class FirmwareVm(Vm):
    """Such a guest, started."""

    def running(self) -> bool:
        """Whether its process is there and its monitor says running."""
        if self.process.poll() is not None:
            return False
        try:
            status = self.qmp("query-status", timeout_s=5.0)
        except GuestroomError:
            return False
        return isinstance(status, dict) and status.get("status") == "running"

    def wait_alive(self, timeout_s: float, *, io: bool = True) -> bool:
        """Wait until it runs; False if it ended or took too long. There is no I/O to wait for."""
        deadline_s = time.monotonic() + timeout_s
        while self.process.poll() is None:
            if self.running():
                return True
            if time.monotonic() >= deadline_s:
                return False
            time.sleep(0.05)
        return False

    def alive(self, patience_s: float = 5.0) -> str | None:
        """None when it runs; else what is wrong."""
        if self.wait_alive(patience_s):
            return None
        code = self.process.poll()
        return (
            f"its process ended with {code}" if code is not None else f"QEMU does not say running for {patience_s:g} s"
        )

    def evidence(self) -> str:
        """What there is to see of its life."""
        return "its process is there, QEMU says running"

    def came_back(self, beats: int, patience_s: float) -> bool:
        """Whether it runs again."""
        return self.alive(patience_s) is None


def firmware_machine(machine: Machine) -> FirmwareMachine:
    """The same shape with nothing inside."""
    return FirmwareMachine(machine.name, machine.ram_mib, machine.folder, GuestImage("", ""), extra=machine.extra)


__all__ = ["FirmwareMachine", "FirmwareVm", "firmware_machine"]
