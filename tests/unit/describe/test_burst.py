"""The largest burst, from a description."""

from __future__ import annotations

from guestroom.describe import burst_bytes, from_qemu_argv
from guestroom.describe.burst import burst_reason, disk_burst_bytes
from guestroom.guest import Disk, Guest
from guestroom.units import KIB, MIB


def test_the_measured_case() -> None:
    """256 requests into 2 MiB clusters: 512 MiB bound, where 311 were measured."""
    disk = Disk(format="qcow2", interface="virtio-blk", cluster_bytes=2 * MIB)
    assert disk_burst_bytes(disk, 1) == 512 * MIB
    assert (
        disk_burst_bytes(Disk(format="qcow2", interface="virtio-blk", cluster_bytes=MIB, queue_size=32), 1) == 32 * MIB
    )


def test_queues_multiply() -> None:
    """A virtio-blk disk has one queue for each vCPU unless told; 65535 means the same as untold."""
    assert disk_burst_bytes(Disk(format="qcow2", interface="virtio-blk"), 4) == 4 * 256 * 64 * KIB
    assert disk_burst_bytes(Disk(format="qcow2", interface="virtio-blk", queues=2), 4) == 2 * 256 * 64 * KIB
    assert disk_burst_bytes(Disk(format="qcow2", interface="virtio-blk", queues=65535), 4) == 4 * 256 * 64 * KIB


def test_each_front_end_has_its_depth() -> None:
    """SCSI, IDE and NVMe disks have the depth of their own protocol."""
    depth = {name: disk_burst_bytes(Disk(format="qcow2", interface=name), 2) // (64 * KIB) for name in ("scsi", "ide")}
    assert depth == {"scsi": 128, "ide": 32}
    assert disk_burst_bytes(Disk(format="qcow2", interface="nvme"), 2) == 2 * 1024 * 64 * KIB
    assert disk_burst_bytes(Disk(format="qcow2", interface="nvme", queues=1), 2) == 1024 * 64 * KIB


def test_what_can_not_burst_adds_nothing() -> None:
    """Raw images, read-only disks and back ends in other processes add nothing; an unknown format may burst."""
    assert disk_burst_bytes(Disk(format="raw", interface="virtio-blk"), 4) == 0
    assert disk_burst_bytes(Disk(format="qcow2", interface="virtio-blk", read_only=True), 4) == 0
    assert disk_burst_bytes(Disk(interface="vhost-user-blk"), 4) == 0
    assert disk_burst_bytes(Disk(interface="ide"), 4) == 32 * 64 * KIB


def test_absurd_numbers_are_bounded_by_what_qemu_allows() -> None:
    """A queue can't hold more than 1024 requests, whatever a command line claims."""
    absurd = Disk(format="qcow2", interface="virtio-blk", queues=10**9, queue_size=10**9)
    assert disk_burst_bytes(absurd, 1) == 1024 * 64 * KIB


def test_a_guests_disks_add_up() -> None:
    """The guest's burst is the sum over its disks, straight from a command line."""
    text = "-smp 2 -drive file=a.qcow2,if=virtio,format=qcow2 -drive file=b.img,if=virtio,format=raw -hda c.qcow2"
    guest = from_qemu_argv(text.split())
    assert burst_bytes(guest) == (2 * 256 + 32) * 64 * KIB
    assert burst_bytes(Guest()) == 0


def test_it_is_said_what_makes_the_burst() -> None:
    """The disk with most, in requests and cluster size, and how many others add; nothing where nothing bursts."""
    assert burst_reason(Guest()) == burst_reason(Guest(disks=(Disk(format="raw", interface="ide"),))) == ""
    one = Disk(format="qcow2", interface="virtio-blk", queues=1, cluster_bytes=2 * MIB)
    assert burst_reason(Guest(disks=(one,))) == "256 requests x 2.0 MiB"
    small, raw = Disk(format="qcow2", interface="ide"), Disk(format="raw", interface="ide")
    assert burst_reason(Guest(disks=(small, one, raw))) == "256 requests x 2.0 MiB and 1 more disk"
    assert burst_reason(Guest(disks=(small, one, small))) == "256 requests x 2.0 MiB and 2 more disks"
