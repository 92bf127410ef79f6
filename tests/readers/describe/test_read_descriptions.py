"""Whole descriptions as libvirt, Proxmox, Kata and EVE write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from guestroom.describe import burst_bytes, from_qemu_argv, from_readconfig, prepare
from guestroom.errors import DescribeError, UsageError
from guestroom.guest import Disk, Nic, Passthrough, Video
from guestroom.units import GIB, KIB, MIB

HERE = Path(__file__).parent
EVE_PROGRAM = "/usr/lib/xen/bin/qemu-system-x86_64 -display none -S -no-user-config -nodefaults"


def argv_of(name: str) -> list[str]:
    """A recorded command line."""
    return (HERE / f"{name}.argv").read_text().splitlines()


def test_libvirt() -> None:
    """A guest libvirt starts is read whole: RAM, vCPUs, disks over block nodes, devices in JSON."""
    guest = from_qemu_argv(argv_of("libvirt"))
    assert (guest.name, guest.arch, guest.machine, guest.accelerator) == ("web-1", "x86_64", "pc-q35-7.2", "kvm")
    assert (guest.boot_ram_bytes, guest.ram_bytes, guest.vcpus, guest.max_vcpus) == (4 * GIB, 16 * GIB, 2, 4)
    assert guest.disks == (
        Disk(
            "virtio-disk0",
            "qcow2",
            "/var/lib/libvirt/images/web-1.qcow2",
            "virtio-blk",
            "none",
            "native",
            queues=2,
        ),
        Disk(
            "scsi0-0-0-0",
            "raw",
            "/var/lib/libvirt/images/install.iso",
            "scsi",
            read_only=True,
            cdrom=True,
            queues=2,
        ),
        Disk("libvirt-pflash0-format", "raw", "/usr/share/OVMF/OVMF_CODE.fd", "pflash", read_only=True),
    )
    assert guest.nics == (Nic("net0", "virtio-net-pci", "tap", vhost=True),)
    assert guest.videos == (Video("virtio-vga", None, 1),)
    assert guest.passthrough == (Passthrough("0000:17:00.1", "vfio-pci"),)
    assert (guest.displays, guest.iothreads, guest.balloon, guest.paused) == (("vnc",), 1, True, True)
    assert (guest.usb_controllers, guest.usb_devices, guest.firmware) == (1, 1, "/usr/share/OVMF/OVMF_CODE.fd")
    assert guest.unknown == ()
    assert burst_bytes(guest) == 2 * 256 * 64 * KIB


def test_libvirt_prepared() -> None:
    """Its shared memfd RAM is switched on in place, its own stop stays its own."""
    result = prepare(argv_of("libvirt"), monitor_path="/m", readconfig={})
    assert (result.ram_block_bytes, result.ram_charged_bytes, result.own_stop) == ((4 * GIB,), 4 * GIB, False)
    assert sum('"prealloc": true' in argument for argument in result.argv) == 1


def test_proxmox() -> None:
    """An option only Proxmox's QEMU knows is kept with its argument, and the rest is read; it can't daemonize here."""
    argv = argv_of("proxmox")
    guest = from_qemu_argv(argv)
    assert guest.unknown == ("-id 100",)
    assert (guest.ram_bytes, guest.vcpus, guest.accelerator, guest.daemonize) == (8 * GIB, 4, "kvm", True)
    cdrom, disk = guest.disks
    assert (cdrom.interface, cdrom.cdrom, cdrom.file) == ("ide", True, None)
    assert (disk.interface, disk.format, disk.cache, disk.aio) == ("scsi", "qcow2", "none", "io_uring")
    with pytest.raises(UsageError):
        prepare(argv, monitor_path="/m", readconfig={})


def test_kata() -> None:
    """A sandbox with a NUMA node in shared memory, an image as NVDIMM and a virtiofs share."""
    guest = from_qemu_argv(argv_of("kata"))
    assert (guest.ram_bytes, guest.vcpus, guest.max_vcpus) == (64 * GIB, 1, 16)
    assert guest.boot_ram_bytes == 2 * GIB + 256 * MIB
    assert (guest.shares, guest.videos, guest.kernel) == (1, (), "/opt/kata/vmlinux.container")
    result = prepare(argv_of("kata"), monitor_path="/m", readconfig={})
    assert result.ram_block_bytes == (2 * GIB,)
    assert "nvdimm mem0" in " ".join(result.notes)


def test_eve() -> None:
    """EVE's configuration file: MiB, sections without ids, comments, values with # in them."""
    guest = from_readconfig((HERE / "eve.cfg").read_text())
    assert (guest.ram_bytes, guest.vcpus, guest.max_vcpus) == (10 * GIB, 4, 4)
    assert (guest.machine, guest.accelerator, guest.firmware) == ("pc-q35-3.1", "kvm", "/usr/lib/xen/boot/ovmf.bin")
    assert guest.disks == (
        Disk(
            "virtio-disk0",
            "qcow2",
            "/persist/vault/volumes/a#1.qcow2",
            "virtio-blk",
            "writeback",
            "io_uring",
        ),
        Disk("sata0-0", "raw", "/persist/vault/volumes/install.iso", "ide", read_only=True, cdrom=True),
    )
    assert guest.nics == (Nic("net0", "virtio-net-pci", "tap"),)
    assert guest.videos == (Video("VGA", 16 * MIB),)
    assert guest.passthrough == (Passthrough("00:02.0", "vga"),)
    assert (guest.displays, guest.shares, guest.tpm, guest.mem_lock) == (("vnc",), 1, True, False)
    assert (guest.usb_controllers, guest.usb_devices) == (1, 1)


def test_eve_through_its_command_line() -> None:
    """EVE names the file on a command line that stops QEMU itself: the same guest, prepared with its own stop."""
    argv = [*EVE_PROGRAM.split(), "-readconfig", "/c"]
    text = (HERE / "eve.cfg").read_text()
    guest = from_qemu_argv(argv, read_file=lambda _: text)
    assert (guest.ram_bytes, guest.disks) == (10 * GIB, from_readconfig(text).disks)
    result = prepare(argv, monitor_path="/m", readconfig={"/c": text})
    assert (result.ram_block_bytes, result.own_stop) == ((10 * GIB,), False)


def error_of(act: Callable[[], object]) -> DescribeError | None:
    """What a reader refuses with; None where it reads."""
    try:
        act()
    except DescribeError as error:
        return error
    return None


@pytest.mark.parametrize("name", ["libvirt", "proxmox", "kata"])
def test_a_command_line_cut_short(name: str) -> None:
    """A command line that ends after an option whose argument is missing is an error saying so, else a guest."""
    argv = argv_of(name)
    errors = [error_of(lambda end=end: from_qemu_argv(argv[:end])) for end in range(len(argv))]
    assert any(errors)
    assert all("requires an argument" in error.message for error in errors if error)


def test_a_file_cut_short() -> None:
    """A configuration file that ends anywhere is an error at its last line, or a guest."""
    text = (HERE / "eve.cfg").read_text()
    seen = 0
    for end in range(0, len(text), 7):
        error = error_of(lambda end=end: from_readconfig(text[:end]))
        if error is not None:
            seen += 1
            assert error.where == f"line {text[:end].count(chr(10)) + 1}"
    assert seen > 100


def test_a_missing_file() -> None:
    """A -readconfig file nobody gave leaves the RAM unknown, and can't be rewritten."""
    argv = [*EVE_PROGRAM.split(), "-readconfig", "/c"]
    assert from_qemu_argv(argv).ram_bytes is None
    with pytest.raises(DescribeError, match="/c"):
        prepare(argv, monitor_path="/m", readconfig={})
