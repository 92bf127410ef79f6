"""How many requests a disk's front end can have in flight, from its description.

What bounds a burst of overhead (``describe.burst``) and what a sizing assumes of the load (``size.measured``) must be
the same number, so it is vocabulary of both.
"""

from __future__ import annotations

from guestroom.guest import Disk
from guestroom.units import KIB

CLUSTER_BYTES = 64 * KIB
"""``DEFAULT_CLUSTER_SIZE`` (block/qcow2.h)."""

WITH_CLUSTERS = frozenset({None, "qcow2", "qcow", "qed", "vmdk"})
"""Formats that copy or decompress whole clusters; an unknown format may be one of them."""

OTHER_PROCESS = frozenset({"vhost-user-blk", "vhost-scsi", "vhost-user-scsi"})
"""Front ends whose requests take memory elsewhere."""

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


def requests_in_flight(disk: Disk, vcpus: int | None) -> int:
    """Most requests the guest can have in flight to one disk: queue size x queues."""
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


def has_clusters(disk: Disk) -> bool:
    """Whether requests to it may each need a buffer of one cluster in QEMU itself."""
    return disk.format in WITH_CLUSTERS and disk.interface not in OTHER_PROCESS
