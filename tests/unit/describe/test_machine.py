"""Which machine is meant."""

from __future__ import annotations

import pytest

from guestroom.describe import from_qemu_argv


@pytest.mark.parametrize(
    ("text", "arch", "machine"),
    [
        ("qemu-system-x86_64 -M q35,usb=on", "x86_64", "q35"),
        ("/opt/qemu-system-aarch64 -machine type=virt", "aarch64", "virt"),
        ("qemu-kvm -M pc-q35-6.2", "x86_64", "pc-q35-6.2"),
        ("qemu-kvm -M virt", None, "virt"),
        ("-M microvm", "x86_64", "microvm"),
        ("-M pc -M q35", "x86_64", "q35"),
        ("-m 64", None, None),
    ],
)
def test_architecture_and_machine(text: str, arch: str | None, machine: str | None) -> None:
    """The program's name or an x86-only machine tells the architecture; otherwise it is None."""
    guest = from_qemu_argv(text.split())
    assert (guest.arch, guest.machine) == (arch, machine)
