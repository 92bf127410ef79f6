"""A configuration's command line holds what its factors say, and nothing that was not asked for."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from guestroom.describe import from_qemu_argv
from guestroom.lab.image import GuestImage
from guestroom.lab.study.dataset import Factor
from guestroom.lab.study.loads import LOADS
from guestroom.lab.study.machine import command, needs_monitor
from guestroom.lab.study.matrix import DEFAULTS, parse_matrix
from guestroom.units import MIB

IMAGE = GuestImage("vmlinuz", "initrd.gz")


def argv(**changes: Factor) -> list[str]:
    """The command line of the defaults with these changes."""
    disks = tuple(f"d{number}.raw" for number in range(int(changes.get("disks", 1) or 0)))
    return command({**DEFAULTS, **changes}, IMAGE, Path("folder"), disks)


def test_what_is_asked_for_is_what_guestroom_reads_there() -> None:
    """guestroom's own reader finds the factors in the command line again."""
    guest = from_qemu_argv(argv(ram_mib=512, vcpus=4, disks=3, tb_mib=16, nics=2, usb=True, balloon=True, iothreads=2))
    assert guest.ram_bytes == 512 * MIB
    assert guest.vcpus == 4
    assert guest.tb_bytes == 16 * MIB
    assert (len(guest.disks), len(guest.nics), guest.usb_controllers, guest.iothreads) == (3, 2, 1, 2)
    assert guest.balloon


def test_the_defaults_ask_for_nothing_more() -> None:
    """No display, network, USB, balloon or I/O thread, and sizes left to QEMU."""
    text = " ".join(argv())
    for word in ("vnc", "VGA", "netdev", "xhci", "balloon", "iothread", "tb-size", "l2-cache", "queue-size"):
        assert word not in text


@pytest.mark.parametrize(
    ("factor", "value", "word"),
    [
        ("queue_size", 32, "queue-size=32"),
        ("queues", 2, "num-queues=2"),
        ("l2_cache_mib", 8, "l2-cache-size=8M"),
        ("memory", "memfd", "share=on"),
        ("video", "qxl", "qxl-vga"),
        ("vnc_clients", 1, "unix:folder/vnc"),
        ("env_arena_max", 1, "MALLOC_ARENA_MAX=1"),
        ("env_trim_kib", 128, "MALLOC_TRIM_THRESHOLD_=131072"),
        ("env_mmap_kib", 64, "MALLOC_MMAP_THRESHOLD_=65536"),
        ("refcount_cache_kib", 256, "refcount-cache-size=256K"),
        ("cache_clean_s", 1, "cache-clean-interval=1"),
        ("iops_max", 500, "throttling.iops-total=500"),
        ("detect_zeroes", "unmap", "detect-zeroes=unmap,discard=unmap"),
        ("pool_max", 4, "thread-pool-max=4"),
        ("touch_mib", 64, "guestroom.touch=64"),
        ("memory", "hugetlb", "hugetlb=on"),
        ("bus", "nvme", "nvme,drive=d0"),
        ("bus", "virtio-scsi", "scsi-hd,bus=scsi0.0,drive=d0"),
        ("bus", "virtio-scsi", "guestroom.modules=scsi_common,scsi_mod,sd_mod,virtio_scsi"),
        ("machine", "microvm", "virtio-blk-device,drive=d0"),
        ("shares", 1, "vhost-user-fs-pci,chardev=fs0,tag=share0"),
    ],
)
def test_each_factor_has_its_option(factor: str, value: Factor, word: str) -> None:
    """A factor that is set is in the command line."""
    assert word in " ".join(argv(**{factor: value}))


def test_a_kernel_on_a_disk_is_not_given_to_qemu(tmp_path: Path) -> None:
    """Booting from a disk puts kernel, initramfs and command line there, and no ``-kernel`` on the command line."""
    for name in ("vmlinuz", "initrd.gz"):
        (tmp_path / name).write_text(name)
    image = GuestImage(str(tmp_path / "vmlinuz"), str(tmp_path / "initrd.gz"))
    factors = {**DEFAULTS, "boot": "disk", "touch_mib": 8}
    words = command(factors, image, tmp_path, ("d0.raw",))
    assert "-kernel" not in words
    assert "virtio-blk-pci,drive=boot,bootindex=0" in words
    said = (tmp_path / "boot" / "startup.nsh").read_text()
    assert "vmlinuz.efi initrd=\\initrd.gz console=ttyS0 quiet guestroom.role=shell guestroom.touch=8" in said


def test_a_queue_has_the_option_of_its_bus() -> None:
    """Count and size of the virtqueues reach the device that has them, by the names it knows."""
    assert "num-queues=2,queue-size=32" in " ".join(argv(queues=2, queue_size=32))
    assert "num_queues=2,virtqueue_size=32" in " ".join(argv(bus="virtio-scsi", queues=2, queue_size=32))


def test_a_video_device_has_the_memory_that_is_asked_for() -> None:
    """The memory of a video device is an option of the device."""
    assert "VGA,vgamem_mb=64" in argv(video="std", vga_mib=64)


def test_the_host_has_a_monitor_only_where_it_has_something_to_do() -> None:
    """A monitor costs memory: it is there for loads in which the host acts, and for guests that start stopped."""
    acting = {name for name in LOADS if needs_monitor({**DEFAULTS, "load": name})}
    assert acting == {"hotplug", "snapshot", "savevm", "migrate", "mirror", "backup"}
    assert "-qmp" not in argv()
    words = command(DEFAULTS, IMAGE, Path("folder"), ("d0.raw",), monitor="folder/guest.qmp", stopped=True)
    assert "unix:folder/guest.qmp,server=on,wait=off" in words
    assert "-S" in words


@pytest.mark.parametrize(("name", "least"), [("full", 130), ("quick", 8)])
def test_the_shipped_matrices_are_valid(name: str, least: int) -> None:
    """Both matrices are read, have a base and as many configurations as promised."""
    text = (files("guestroom.lab.study") / "matrices" / f"{name}.toml").read_text()
    found = parse_matrix(text, name)
    assert len(found) >= least
    assert (found[0].name, found[0].split) == ("base", True)
