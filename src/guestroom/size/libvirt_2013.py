"""The limit libvirt 1.0 set where the administrator set none, dropped because it killed guests ("undecidable").

libvirt 1.0.x ``src/qemu/qemu_cgroup.c``: (1 + k) x (RAM + video RAM) + 32 MiB x disks + F with k = 0.5 and
F = 200 MiB. libvirt counts in KiB, and rounds RAM up to them. That is a limit; the overhead is what it leaves over RAM.
"""

from __future__ import annotations

from guestroom.guest import Guest, Video
from guestroom.size.model import Part, Sizing
from guestroom.size.registry import policy
from guestroom.units import KIB, MIB

_SOURCE = "libvirt 1.0 src/qemu/qemu_cgroup.c qemuSetupMemoryCgroup"
_VIDEO_MIB = {"VGA": 9, "cirrus-vga": 9, "vmware-svga": 9, "qxl": 64, "qxl-vga": 64}
_VIDEO_MIB |= {"vga": 9, "std": 9, "cirrus": 9, "vmware": 9, "vmvga": 9, "xen": 4}
"""``virDomainVideoDefaultRAM`` (src/conf/domain_conf.c) by libvirt's and QEMU's names; other models 0."""


def _kib_up(size_bytes: int) -> int:
    return -(-size_bytes // KIB)


def _video_kib(device: Video) -> int:
    if device.vga_bytes is not None:
        return _kib_up(device.vga_bytes)
    return _VIDEO_MIB.get(device.model, 0) * MIB // KIB


def disk_cache(disks: int) -> Part:
    """32 MiB for each disk: the page cache of its image is charged too."""
    return Part("disk caches", disks * 32 * MIB, f"{_SOURCE}: 32 MiB x {disks} disks")


def fixed() -> Part:
    """F = 200 MiB."""
    return Part("fixed", 200 * MIB, f"{_SOURCE}: 200 MiB")


def video(video_kib: int) -> Part:
    """1.5 x video RAM, rounded down to bytes."""
    return Part("video RAM", video_kib * KIB * 3 // 2, f"{_SOURCE}: 1.5 x video RAM")


def ram_part(ram_bytes: int, video_kib: int) -> Part:
    """Half of RAM: 1.5 x (RAM + video RAM) in whole KiB, less RAM and the video part, so that all sums exactly."""
    together = (_kib_up(ram_bytes) + video_kib) * 3 // 2 * KIB
    return Part("half of RAM", together - ram_bytes - video(video_kib).bytes, f"{_SOURCE}: 1.5 x RAM - RAM")


@policy("libvirt-2013")
def libvirt_2013(guest: Guest, ram_bytes: int) -> Sizing:
    """What libvirt's old default limit leaves for overhead. Firmware flash is no disk to libvirt and is not counted."""
    video_kib = sum(_video_kib(device) for device in guest.videos)
    disks = sum(disk.interface != "pflash" for disk in guest.disks)
    return Sizing((ram_part(ram_bytes, video_kib), video(video_kib), disk_cache(disks), fixed()))
