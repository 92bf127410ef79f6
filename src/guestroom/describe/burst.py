"""The largest burst of overhead a guest can make, from its description.

What makes QEMU take hundreds of MiB at once is requests in flight that each need a buffer of one cluster:
copy-on-write from a backing file and compressed clusters (measured on QEMU 7.2, TCG: 256 random writes in
flight into 2 MiB clusters took 259-311 MiB, the bound below says 512; a queue of 32 lowered it as the bound
does). The bound is therefore queue size x queues x cluster size, over the writable images with clusters.
"""

from __future__ import annotations

from guestroom.guest import Disk, Guest
from guestroom.units import KIB, format_bytes

CLUSTER_BYTES = 64 * KIB
"""``DEFAULT_CLUSTER_SIZE`` (block/qcow2.h)."""

_WITH_CLUSTERS = frozenset({None, "qcow2", "qcow", "qed", "vmdk"})
"""Formats that copy or decompress whole clusters; an unknown format may be one of them."""

_DEPTH: dict[str | None, int] = {
    "virtio-blk": 256,  # queue-size (hw/block/virtio-blk.c, since QEMU 5.0)
    "scsi": 128,  # cmd_per_lun (hw/scsi/virtio-scsi.c): in flight per disk, whatever the queues
    "ide": 32,  # NCQ tags of an AHCI port (hw/ide/ahci.h AHCI_MAX_CMDS)
    "nvme": 1024,  # NVME_Q_DEPTH of Linux's driver; QEMU allows 2048 (hw/nvme/ctrl.c MQES)
    "usb": 1,  # bulk-only transport: one command at a time (hw/usb/dev-storage.c)
    "floppy": 1,
    "pflash": 1,
    "sd": 1,
}
_UNKNOWN_DEPTH = 256
_LARGEST = 1024
"""Most queues a virtio device has, and most requests one of them holds (``VIRTIO_QUEUE_MAX``,
``VIRTQUEUE_MAX_SIZE``, include/hw/virtio/virtio.h)."""
_NVME_QUEUES = 64
"""``max_ioqpairs`` (hw/nvme/ctrl.c)."""
_OTHER_PROCESS = frozenset({"vhost-user-blk", "vhost-scsi", "vhost-user-scsi"})
"""Their requests take memory elsewhere."""


def burst_bytes(guest: Guest) -> int:
    """Bytes of overhead that requests in flight can take at once, summed over the guest's disks.

    Read-only disks and formats without clusters add nothing. Where the cluster size is not known (QEMU's
    command line does not say) it is the default of 64 KiB. A disk has the queues it is given, else one for each
    vCPU on virtio-blk (``virtio_pci_optimal_num_queues``, hw/virtio/virtio-pci.c, machine types since 5.2) and
    NVMe; where vCPUs are not known that is one.
    """
    return sum(disk_burst_bytes(disk, guest.vcpus) for disk in guest.disks)


def burst_reason(guest: Guest) -> str:
    """What makes the burst, for people: ``256 requests x 2.0 MiB``, of the disk with most and how many others add."""
    most = sorted((disk for disk in guest.disks), key=lambda disk: disk_burst_bytes(disk, guest.vcpus))[-1:]
    others = sum(disk_burst_bytes(disk, guest.vcpus) > 0 for disk in guest.disks) - 1
    if not most or disk_burst_bytes(most[0], guest.vcpus) == 0:
        return ""
    size = format_bytes(most[0].cluster_bytes or CLUSTER_BYTES)
    more = f" and {others} more disk{'s' if others > 1 else ''}" if others else ""
    return f"{_requests_in_flight(most[0], guest.vcpus)} requests x {size}{more}"


def disk_burst_bytes(disk: Disk, vcpus: int | None) -> int:
    """One disk's part: queue size x queues x cluster size."""
    if disk.read_only or disk.format not in _WITH_CLUSTERS or disk.interface in _OTHER_PROCESS:
        return 0
    return _requests_in_flight(disk, vcpus) * (disk.cluster_bytes or CLUSTER_BYTES)


def _requests_in_flight(disk: Disk, vcpus: int | None) -> int:
    depth = min(disk.queue_size or _DEPTH.get(disk.interface, _UNKNOWN_DEPTH), _LARGEST)
    wanted = min(vcpus or 1, _LARGEST)
    match disk.interface:
        case "virtio-blk":
            # 65535 is the property's way to say one for each vCPU.
            return depth * (disk.queues if disk.queues and disk.queues <= _LARGEST else wanted)
        case "nvme":
            # max_ioqpairs allows; the guest's driver uses no more than one for each vCPU.
            return depth * min(wanted, disk.queues or _NVME_QUEUES)
        case _:
            return depth
