"""What kind of thing a part of an estimate is, and why it is needed, in words.

Policies name their parts as their sources do, so eleven of them have some sixty names. Side by side they can be read
only by kind: one table says for each name its kind and a sentence that needs no source code to be understood. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

from guestroom.size.model import Estimate


class Kind(StrEnum):
    """Kinds of parts, in the order they are shown."""

    QEMU = "QEMU itself"
    CODE = "translated code"
    TABLES = "share of RAM"
    CPUS = "vCPUs"
    DISKS = "disks"
    NETWORK = "network"
    GRAPHICS = "graphics"
    FIRMWARE = "kernel and firmware"
    PASSED = "passed through"
    DEVICES = "other devices"
    BESIDE = "beside QEMU"
    MARGIN = "margin"
    WHOLE = "not told apart"


_TABLE: tuple[tuple[str, Kind, str], ...] = (
    (r"fixed", Kind.WHOLE, "one figure, whatever the guest is; nobody says what it is made of"),
    (r"least", Kind.WHOLE, "the least that is given to any guest; it is more than the share of this guest's RAM"),
    (r"undefined", Kind.WHOLE, "what was seen to be used and could not be tied to anything in the guest's description"),
    (r"sandbox", Kind.WHOLE, "one figure for QEMU and all that is beside it"),
    (r"(host|guest) setting", Kind.WHOLE, "an operator set it; no formula was asked"),
    (r"QEMU( binary and libraries)?", Kind.QEMU, "QEMU's own heap, stacks, libraries and device models of any guest"),
    (r"TCG code buffer", Kind.CODE, "without KVM QEMU translates the guest's code and keeps the result"),
    (r"half of RAM", Kind.TABLES, "half of the guest's RAM once more, a guess that was dropped later"),
    (r"share of RAM", Kind.TABLES, "a fixed share of the guest's RAM, for page tables and all that grows with RAM"),
    (r"KVM page tables", Kind.TABLES, "KVM's own tables from the guest's memory to the host's: 8 bytes for each 4 KiB"),
    (r"IOMMU page tables", Kind.TABLES, "a device that is passed through reaches RAM by tables of its own"),
    (r"page tables, shared RAM", Kind.TABLES, "tables for RAM in a file or memfd: small pages, so twice the tables"),
    (r"page tables.*", Kind.TABLES, "the kernel's tables for the guest's RAM: 8 bytes for each page that is touched"),
    (r"KVM vCPUs", Kind.CPUS, "KVM's state, the thread and its stack for each vCPU"),
    (r"vCPUs", Kind.CPUS, "a thread with its stack, and state, for each vCPU"),
    (
        r"clusters in flight",
        Kind.DISKS,
        "a write into an image with a backing file copies a whole cluster; so many at once",
    ),
    (r"requests (in flight|for clusters)", Kind.DISKS, "a buffer and bookkeeping for each request that waits for it"),
    (r"L2 caches", Kind.DISKS, "qcow2 keeps its map of the image in memory: 1 MiB for each 8 GiB, up to 32 MiB"),
    (r"qcow2 tables", Kind.DISKS, "one cluster of each kind of table of an open qcow2 image"),
    (r"write-back( of streams)?", Kind.DISKS, "kernel memory for pages of the host's cache that the disk goes through"),
    (r"disk caches", Kind.DISKS, "the host's cache of each image, which is charged to the guest"),
    (r"(mirror|backup) job|migration|internal snapshot", Kind.DISKS, "buffers of a job that the host runs meanwhile"),
    (r"snapshot layers", Kind.DISKS, "each layer of an image is opened with caches of its own"),
    (r"disk queues", Kind.DISKS, "each queue of a disk beyond its first"),
    (r"disks", Kind.DISKS, "a block back end and its device for each disk"),
    (r"I/O threads?", Kind.DISKS, "a thread with its stack for disk requests"),
    (r"network streams", Kind.NETWORK, "buffers of streams at full speed"),
    (r"network", Kind.NETWORK, "rings and buffers for each pair of queues of a card"),
    (r"remote display clients", Kind.GRAPHICS, "each viewer has a copy of what changed on the screen"),
    (r"remote display", Kind.GRAPHICS, "the VNC or SPICE server's copy of the screen"),
    (r"video (RAM|memory)", Kind.GRAPHICS, "memory of the graphics adapter, which is QEMU's and not the guest's RAM"),
    (r"graphics devices", Kind.GRAPHICS, "a fixed figure for each graphics adapter"),
    (r"VGA|virtio graphics|qxl|other graphics", Kind.GRAPHICS, "the adapter and the picture it shows"),
    (r"copy of the kernel image", Kind.FIRMWARE, "with -kernel QEMU keeps the image, to load it again at a reset"),
    (r"firmware flash|arm64 pflash", Kind.FIRMWARE, "UEFI's code and variables are held in memory"),
    (r"MMIO.*", Kind.PASSED, "tables that map the device's own memory, which may be huge for a graphics card"),
    (
        r"VFIO|passed-through devices",
        Kind.PASSED,
        "RAM is locked and mapped for the device, with room for its own memory",
    ),
    (r"USB|balloon|downward metrics", Kind.DEVICES, "the device's own state"),
    (r"shared folders", Kind.DEVICES, "queues and buffers for each folder shared with the host"),
    (r"memory backends beside RAM", Kind.DEVICES, "memory objects in QEMU that are not the guest's RAM"),
    (r"SEV", Kind.DEVICES, "encrypted guests keep bounce buffers outside of their encrypted RAM"),
    (r"TPM", Kind.BESIDE, "swtpm, a process of its own, is charged to the same place"),
    (r"launcher.*|virtlogd|virtqemud", Kind.BESIDE, "a process of the pod beside QEMU, by its resident size"),
    (r"exec probes", Kind.BESIDE, "a probe starts a program in the pod each time"),
    (r"overhead ratio", Kind.MARGIN, "the cluster's administrator multiplies the sum"),
    (r"dedicated or guaranteed", Kind.MARGIN, "a pod that can't borrow from others gets more room of its own"),
    (r"added overhead", Kind.MARGIN, "the machine's own document asks for it"),
    (
        r"margin",
        Kind.MARGIN,
        "so that the promised share of guests stays within: what unseen guests needed beyond the sum",
    ),
    (r"learned", Kind.MARGIN, "what guests like this one came to on this host, beyond the policy it starts from"),
)
_RULES = tuple((re.compile(f"(?:{pattern})\\Z"), kind, words) for pattern, kind, words in _TABLE)
_OTHER = (Kind.WHOLE, "see its source")


def kind_of(name: str) -> Kind:
    """Kind of a part; a name nobody listed is not told apart."""
    return _rule(name)[0]


def words_of(name: str) -> str:
    """Why the part is needed, a sentence without its full stop."""
    return _rule(name)[1]


def by_kind(estimate: Estimate) -> Mapping[Kind, int]:
    """Bytes by kind, in the kinds' order, without those that come to nothing; they sum exactly to the overhead."""
    sums = dict.fromkeys(Kind, 0)
    for part in estimate.parts:
        sums[kind_of(part.name)] += part.bytes
    return {kind: size for kind, size in sums.items() if size}


def _rule(name: str) -> tuple[Kind, str]:
    return next(((kind, words) for pattern, kind, words in _RULES if pattern.match(name)), _OTHER)
