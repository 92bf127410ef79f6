"""libvirt's old default limit, in KiB as libvirt counted."""

from dataclasses import replace

import pytest

from guestroom.guest import Disk, Guest, Video
from guestroom.size import estimate
from guestroom.size.libvirt_2013 import ram_part, video
from guestroom.units import GIB, KIB, MIB

GUEST = Guest(ram_bytes=GIB)


def limit_kib(guest: Guest) -> int:
    """The limit in KiB, which is always whole."""
    kib, rest = divmod(estimate(guest, "libvirt-2013").limit_bytes, KIB)
    assert rest == 0
    return kib


def test_the_limit_is_libvirts() -> None:
    """1.5 x (RAM + video RAM) + 32 MiB x disks + 200 MiB, in KiB."""
    assert limit_kib(GUEST) == 1_048_576 * 3 // 2 + 204_800
    described = replace(GUEST, disks=(Disk(), Disk()), videos=(Video("cirrus-vga"),))
    assert limit_kib(described) == (1_048_576 + 9 * 1024) * 3 // 2 + 2 * 32_768 + 204_800


def test_firmware_flash_is_no_disk() -> None:
    """libvirt has pflash as firmware, so it gets no 32 MiB."""
    assert limit_kib(replace(GUEST, disks=(Disk(interface="pflash"),))) == limit_kib(GUEST)


@pytest.mark.parametrize(("ram_bytes", "video_kib"), [(KIB, 0), (KIB, 1), (KIB, 2), (1, 0), (1, 1), (3 * KIB - 5, 7)])
def test_rounding_goes_into_the_ram_part(ram_bytes: int, video_kib: int) -> None:
    """For odd sizes RAM + parts are libvirt's figure: KiB rounded up, times 1.5, cut to KiB; no part is negative."""
    part = ram_part(ram_bytes, video_kib)
    assert part.bytes >= 0
    whole = (-(-ram_bytes // KIB) + video_kib) * 3 // 2 * KIB
    assert ram_bytes + part.bytes + video(video_kib).bytes == whole


def test_video_ram_by_model_or_as_given() -> None:
    """9 MiB for VGA and Cirrus, 64 for QXL, as given where given, none for models libvirt had no default for."""

    def mib(device: Video) -> float:
        return (limit_kib(replace(GUEST, videos=(device,))) - limit_kib(GUEST)) / 1024 / 1.5

    assert mib(Video("VGA")) == 9
    assert mib(Video("qxl")) == 64
    assert mib(Video("VGA", vga_bytes=16 * MIB)) == 16
    assert mib(Video("virtio-gpu-pci")) == 0
