"""Disks and their front ends."""

from __future__ import annotations

import pytest

from guestroom.describe import from_qemu_argv
from guestroom.guest import Disk
from guestroom.units import MIB


def disks(*arguments: str) -> tuple[Disk, ...]:
    """The disks of a command line."""
    return from_qemu_argv([word for argument in arguments for word in argument.split()]).disks


def test_drive_and_device_are_one_disk() -> None:
    """A -drive joined to its -device is one disk with the properties of both."""
    assert disks(
        "-drive file=a,,b.qcow2,if=none,id=d0,format=qcow2,cache=none,aio=native,l2-cache-size=4M",
        "-device virtio-blk-pci,drive=d0,id=v0,num-queues=4,queue-size=128",
    ) == (
        Disk(
            id="v0",
            format="qcow2",
            file="a,b.qcow2",
            interface="virtio-blk",
            cache="none",
            aio="native",
            queues=4,
            queue_size=128,
            l2_cache_bytes=4 * MIB,
        ),
    )


def test_block_nodes_are_followed_to_the_file() -> None:
    """A -blockdev chain, nested or by reference, in either form, is one disk."""
    nested = disks(
        "-blockdev driver=qcow2,node-name=n,l2-cache-size=1M,file.driver=file,file.filename=/a,file.aio=io_uring,"
        "cache.direct=on,cache.no-flush=off -device virtio-blk-pci,drive=n"
    )
    chained = from_qemu_argv(
        [
            "-blockdev",
            '{"driver":"file","filename":"/a","aio":"io_uring","node-name":"p"}',
            "-blockdev",
            '{"driver":"qcow2","node-name":"q","file":"p","l2-cache-size":1048576,"cache":{"direct":true}}',
            "-blockdev",
            '{"driver":"throttle","node-name":"n","file":"q","throttle-group":"g","cache":{"direct":true}}',
            "-device",
            '{"driver":"virtio-blk-pci","drive":"n"}',
        ]
    ).disks
    expected = Disk("n", "qcow2", "/a", "virtio-blk", "none", "io_uring", l2_cache_bytes=MIB)
    assert nested == (expected,)
    assert chained == (expected,)


def test_nodes_that_name_each_other_do_not_hang() -> None:
    """A cycle of block nodes ends."""
    found = disks(
        "-blockdev qcow2,node-name=a,file=b -blockdev qcow2,node-name=b,file=a -device virtio-blk-pci,drive=a"
    )
    assert found[0].format == "qcow2"


@pytest.mark.parametrize(
    ("argument", "interface", "cdrom"),
    [
        ("-hda a.img", "ide", False),
        ("a.img", "ide", False),
        ("-cdrom a.iso", "ide", True),
        ("-fda a.img", "floppy", False),
        ("-pflash a.fd", "pflash", False),
        ("-drive file=a,if=virtio", "virtio-blk", False),
        ("-drive file=a,if=scsi", "scsi", False),
        ("-drive file=a,media=cdrom", "ide", True),
        ("-drive file=a,if=none", None, False),
        ("-M virt -drive file=a", "virtio-blk", False),
    ],
)
def test_drives_bring_their_own_front_end(argument: str, interface: str | None, cdrom: bool) -> None:
    """Options that name an image attach it as QEMU does; a CD-ROM can't be written."""
    (disk,) = disks("-m 64", argument)
    assert (disk.interface, disk.cdrom, disk.read_only) == (interface, cdrom, cdrom)


@pytest.mark.parametrize(
    ("driver", "interface"),
    [
        ("virtio-blk-pci-non-transitional", "virtio-blk"),
        ("virtio-blk-device", "virtio-blk"),
        ("scsi-hd", "scsi"),
        ("ide-hd", "ide"),
        ("nvme", "nvme"),
        ("usb-storage", "usb"),
    ],
)
def test_devices_are_told_apart(driver: str, interface: str) -> None:
    """The driver says which kind of front end it is."""
    (disk,) = disks(f"-drive file=a,if=none,id=d -device {driver},drive=d")
    assert disk.interface == interface


def test_devices_without_a_drive_are_kept_where_the_back_end_is_elsewhere() -> None:
    """vhost disks have no drive; an NVMe controller without one is no disk."""
    found = disks("-device vhost-user-blk-pci,chardev=c,num-queues=2 -device vhost-scsi-pci,wwpn=w -device nvme,id=c")
    assert [(disk.interface, disk.queues) for disk in found] == [("vhost-user-blk", 2), ("vhost-scsi", None)]


def test_scsi_disks_take_their_adapters_depth() -> None:
    """A SCSI disk's requests are bounded by cmd_per_lun and by the queue of the adapter its bus names."""
    (disk,) = disks(
        "-device virtio-scsi-pci,id=s0,num_queues=3,virtqueue_size=64 -device virtio-scsi-pci,id=s1",
        "-drive file=a,if=none,id=d -device scsi-hd,drive=d,bus=s0.0",
    )
    assert (disk.queues, disk.queue_size) == (3, 64)
    (alone,) = disks("-device virtio-scsi-pci,virtqueue_size=1024 -drive file=a,if=none,id=d -device scsi-hd,drive=d")
    assert alone.queue_size == 128


def test_global_defaults_reach_disks() -> None:
    """-global sets the queues of all disks of a driver, in both its forms."""
    for default in ("virtio-blk-pci.queue-size=32", "driver=virtio-blk-device,property=queue-size,value=32"):
        (disk,) = disks(f"-global {default} -drive file=a,if=none,id=d -device virtio-blk-pci,drive=d")
        assert disk.queue_size == 32


def test_temporary_snapshots_are_qcow2() -> None:
    """-snapshot puts a qcow2 overlay on every drive, whatever the image is."""
    (disk,) = disks("-snapshot -drive file=a,format=raw")
    assert disk.format == "qcow2"


def test_firmware_nodes_are_flash() -> None:
    """-machine pflash0= names a block node: a disk, and the firmware."""
    guest = from_qemu_argv(
        ["-M", "q35,pflash0=code", "-blockdev", "raw,node-name=code,read-only=on,file.driver=file,file.filename=/OVMF"]
    )
    assert guest.disks == (Disk("code", "raw", "/OVMF", "pflash", read_only=True),)
    assert guest.firmware == "/OVMF"


def test_a_device_may_name_a_drive_nobody_described() -> None:
    """A dangling reference keeps the disk with what is known."""
    assert disks("-device virtio-blk-pci,drive=ghost") == (Disk(id="ghost", interface="virtio-blk"),)
