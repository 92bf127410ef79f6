"""The largest burst of overhead a guest can make, from its description.

What makes QEMU take hundreds of MiB at once is requests in flight that each need a buffer of one cluster:
copy-on-write from a backing file and compressed clusters (measured on QEMU 7.2, TCG: 256 random writes in
flight into 2 MiB clusters took 259-311 MiB, the bound below says 512; a queue of 32 lowered it as the bound
does). The bound is therefore queue size x queues x cluster size, over the writable images with clusters.
"""

from __future__ import annotations

from guestroom.guest import Disk, Guest
from guestroom.queues import CLUSTER_BYTES, has_clusters, requests_in_flight
from guestroom.units import format_bytes


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
    return f"{requests_in_flight(most[0], guest.vcpus)} requests x {size}{more}"


def disk_burst_bytes(disk: Disk, vcpus: int | None) -> int:
    """One disk's part: queue size x queues x cluster size."""
    if disk.read_only or not has_clusters(disk):
        return 0
    return requests_in_flight(disk, vcpus) * (disk.cluster_bytes or CLUSTER_BYTES)
