"""What of a description makes two guests alike, exactly and roughly. Pure.

QEMU's overhead follows from what it has to emulate, not from what the guest is called or where its image lies: so
names, paths and addresses are left out, everything else is in the shape. The kind leaves out exact sizes as well, by
which devices of one sort still scale alike (FACTS: per-disk and per-vCPU terms).
"""

from __future__ import annotations

import re

from guestroom.guest import Disk, Guest, MemoryBackend, Nic
from guestroom.lives import Likeness

LONGEST = 1000
"""Characters a key may have; longer ones keep their beginning and a digest of the whole."""
_VERSIONED = re.compile(r"^(?:pc-)?(q35|i440fx|virt|microvm)(?:-[0-9].*)?$")


def likeness(guest: Guest, qemu: str | None = None) -> Likeness:
    """The keys of ``guest`` on QEMU version ``qemu``; a description without accelerator counts as TCG, QEMU's default.

    Equal whatever the order of its devices and whatever names and paths they have.
    """
    return Likeness(_bounded(_shape(guest)), _bounded(_kind(guest)), guest.accelerator or "tcg", qemu)


def _shape(guest: Guest) -> str:
    shown = [
        f"ram={guest.ram_bytes}/{guest.boot_ram_bytes}",
        f"vcpus={guest.vcpus}/{guest.max_vcpus}",
        f"machine={guest.machine}",
        f"tb={guest.tb_bytes}",
        f"iothreads={guest.iothreads}",
        f"usb={guest.usb_controllers}+{guest.usb_devices}",
        f"shares={guest.shares}",
        f"kernel={guest.kernel is not None}",
        *sorted(f"video={one.model}/{one.vga_bytes}/{one.outputs}" for one in guest.videos),
        *sorted(f"disk={_exact_disk(one)}" for one in guest.disks),
        *sorted(f"nic={_nic(one)}/{one.queues}" for one in guest.nics),
        *sorted(f"memory={_backend(one)}/{one.size_bytes}" for one in guest.memory_backends),
        *sorted(f"passthrough={one.kind}/{one.mmio_bytes}" for one in guest.passthrough),
        *_switches(guest),
    ]
    return " ".join(shown)


def _kind(guest: Guest) -> str:
    machine = _VERSIONED.match(guest.machine or "")
    shown = [
        f"ram<={_class(guest.ram_bytes)}",
        f"vcpus<={_class(guest.max_vcpus or guest.vcpus)}",
        f"machine={machine[1] if machine else guest.machine}",
        f"iothreads={guest.iothreads > 0}",
        f"usb={guest.usb_controllers + guest.usb_devices > 0}",
        f"shares={guest.shares > 0}",
        *sorted(f"video={one.model}" for one in guest.videos),
        *sorted(f"disk={_rough_disk(one)}" for one in guest.disks),
        *sorted(f"nic={_nic(one)}" for one in guest.nics),
        *sorted({f"memory={_backend(one)}" for one in guest.memory_backends}),
        *sorted(f"passthrough={one.kind}" for one in guest.passthrough),
        *_switches(guest),
    ]
    return " ".join(shown)


def _switches(guest: Guest) -> list[str]:
    """What is there or not."""
    found = {
        "tpm": guest.tpm,
        "balloon": guest.balloon,
        "hugepages": guest.hugepages,
        "locked": guest.mem_lock,
        "firmware": guest.firmware is not None,
    }
    return [name for name, there in found.items() if there] + sorted(f"display={one}" for one in guest.displays)


def _rough_disk(disk: Disk) -> str:
    kind = "cdrom" if disk.cdrom else disk.interface
    return f"{kind}/{disk.format}/{disk.cache}/{disk.aio}{'/ro' if disk.read_only else ''}"


def _exact_disk(disk: Disk) -> str:
    sizes = (disk.queues, disk.queue_size, disk.l2_cache_bytes, disk.cluster_bytes, disk.virtual_bytes)
    return f"{_rough_disk(disk)}/{'/'.join(map(str, sizes))}"


def _nic(nic: Nic) -> str:
    return f"{nic.model}/{nic.backend}{'/vhost' if nic.vhost else ''}"


def _backend(backend: MemoryBackend) -> str:
    return f"{backend.kind}/{'ram' if backend.backs_ram else 'other'}{'/huge' if backend.hugetlb else ''}"


def _class(count: int | None) -> int | None:
    """The next power of two: sizes of one class differ by less than a factor of two."""
    return None if count is None else 1 << max(0, count - 1).bit_length()


def _bounded(text: str) -> str:
    """Names of options come from the client and may be of any length."""
    if len(text) <= LONGEST:
        return text
    from hashlib import sha256  # hardly ever needed, and slow to load

    return f"{text[: LONGEST - 65]}#{sha256(text.encode('utf-8', 'backslashreplace')).hexdigest()}"
