"""What of a description makes two guests alike, exactly and roughly. Pure.

QEMU's overhead follows from what it has to emulate, not from what the guest is called or where its image lies: so
names, paths and addresses are left out, everything else is in the shape. The kind leaves out exact sizes as well, by
which devices of one sort still scale alike (FACTS: per-disk and per-vCPU terms).
"""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass

from guestroom.guest import Disk, Guest, MemoryBackend, Nic
from guestroom.lives import Likeness

LONGEST = 1000
"""Characters a key may have; longer ones keep their beginning and a digest of the whole."""
_PATHS = frozenset({"firmware", "kernel", "initrd", "mem_path"})
_OF_GUEST = frozenset({"name", "accelerator", "source", "unknown", "paused", "daemonize", "incoming", *_PATHS})
"""What makes no other guest of it: names, where it was described, how it is started; the accelerator is apart."""
_OF_PARTS = frozenset({"id", "file", "path", "address"})
_VERSIONED = re.compile(r"^(?:pc-)?(q35|i440fx|virt|microvm)(?:-[0-9].*)?$")


def likeness(guest: Guest, qemu: str | None = None) -> Likeness:
    """The keys of ``guest`` on QEMU version ``qemu``; a description without accelerator counts as TCG, QEMU's default.

    Equal whatever the order of its devices and whatever names and paths they have.
    """
    return Likeness(_bounded(_shape(guest)), _bounded(_kind(guest)), guest.accelerator or "tcg", qemu)


def _shape(guest: Guest) -> str:
    """All that is not as it is by default, whatever fields a description gets one day; of paths only that they are."""
    shown = [_plain(guest, "ram_bytes", "boot_ram_bytes", leave_out=_OF_GUEST)]
    shown += [f"{name} given" for name in sorted(_PATHS) if getattr(guest, name) is not None]
    return " ".join(shown)


def _plain(value: object, *always: str, leave_out: frozenset[str]) -> str:
    """A dataclass as text: fields in their order, lists sorted, those left out or at their default not there."""
    assert is_dataclass(value)
    shown = []
    for one in fields(value):
        found = getattr(value, one.name)
        if one.name in leave_out or (one.name not in always and found == one.default):
            continue
        if isinstance(found, tuple):
            shown += [f"{one.name}={text}" for text in sorted(map(_text, found))]
        else:
            shown.append(f"{one.name}={_text(found)}")
    return " ".join(shown)


def _text(value: object) -> str:
    return f"({_plain(value, leave_out=_OF_PARTS)})" if is_dataclass(value) else str(value)


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
