"""oVirt's sum.

oVirt/ovirt-engine ``VmOverheadCalculatorImpl`` and ``VideoDeviceSettings``: oVirt counts in whole MiB with
integer division, so page tables of a guest below 512 MiB come to nothing.
"""

from __future__ import annotations

from guestroom.guest import Guest, Video
from guestroom.size.model import Part, Sizing
from guestroom.size.registry import policy
from guestroom.size.terms import vcpus_or_one
from guestroom.units import MIB

_SOURCE = "oVirt/ovirt-engine VmOverheadCalculatorImpl"
_VIDEO_SOURCE = "oVirt/ovirt-engine VideoDeviceSettings, VgamemVideoSettings"
_VGA_MIB = 16
"""``BASE_RAM_SIZE``: video RAM of VGA and Cirrus devices; oVirt counts it for every guest."""
_QXL_VRAM_MIB = 8
_PPC = ("ppc", "ppc64", "ppc64le")


def page_tables(ram_mib: int, *, on_ppc: bool) -> Part:
    """RAM / 512 in whole MiB; on POWER the next power of two / 64 (its hashed page table is one block)."""
    if on_ppc:
        power = 1 << max(0, ram_mib - 1).bit_length()
        return Part("page tables", power // 64 * MIB, f"{_SOURCE}: RAM to the next power of two / 64, in MiB")
    return Part("page tables", ram_mib // 512 * MIB, f"{_SOURCE}: RAM / 512, in whole MiB")


def fixed(*, on_ppc: bool) -> Part:
    """64 MiB for shared libraries and QEMU's own structures; 100 MiB on POWER."""
    mib = 100 if on_ppc else 64
    return Part("QEMU", mib * MIB, f"{_SOURCE}: {mib} MiB")


def _video_mib(device: Video) -> int:
    """Video RAM of one device: as given, else oVirt's own default for its kind."""
    if device.vga_bytes is not None:
        return -(-device.vga_bytes // MIB)
    if device.model.startswith("qxl"):
        return 4 * _VGA_MIB * (device.outputs or 1) + _QXL_VRAM_MIB
    return _VGA_MIB


def video(guest: Guest) -> Part:
    """Video RAM of all devices, rounded up to MiB; with none described oVirt's 16 MiB, unless graphics is off."""
    mib = sum(_video_mib(device) for device in guest.videos)
    if not guest.videos and not guest.graphics_off:
        mib = _VGA_MIB
    return Part("video RAM", mib * MIB, f"{_VIDEO_SOURCE}: {mib} MiB")


def cpu_part(vcpus: int) -> Part:
    """8 MiB for each vCPU."""
    return Part("vCPUs", vcpus * 8 * MIB, f"{_SOURCE}: 8 MiB x {vcpus} vCPUs")


def io_threads(count: int) -> Part:
    """8 MiB for each I/O thread."""
    return Part("I/O threads", count * 8 * MIB, f"{_SOURCE}: 8 MiB x {count} I/O threads")


@policy("ovirt")
def ovirt(guest: Guest, ram_bytes: int) -> Sizing:
    """RAM / 512 + 64 MiB + video RAM + 8 MiB x vCPUs + 8 MiB x I/O threads."""
    on_ppc = guest.arch in _PPC
    vcpus, warnings = vcpus_or_one(guest)
    parts = (
        page_tables(ram_bytes // MIB, on_ppc=on_ppc),
        fixed(on_ppc=on_ppc),
        video(guest),
        cpu_part(vcpus),
        io_threads(guest.iothreads),
    )
    return Sizing(parts, warnings)
