"""From settings to a ``Guest``."""

from __future__ import annotations

from guestroom.describe.counts import read_counts
from guestroom.describe.cpus import read_cpus
from guestroom.describe.devices import read_displays, read_nics, read_passthrough, read_videos
from guestroom.describe.disks import read_disks
from guestroom.describe.machine import X86, accelerator_of, arch_of, tb_bytes_of
from guestroom.describe.memory import DEFAULT_RAM_BYTES, Memory, locked, on_huge_mount, read_memory
from guestroom.describe.settings import Settings
from guestroom.guest import Disk, Guest


def guest_from(settings: Settings) -> Guest:
    """Give everything a meaning. Raises ``DescribeError`` for malformed sizes, numbers and topologies."""
    memory = memory_of(settings)
    cpus = read_cpus(settings)
    disks = read_disks(settings)
    counts = read_counts(settings)
    return Guest(
        name=settings.text("name", "guest"),
        ram_bytes=memory.ram_bytes,
        boot_ram_bytes=memory.boot_bytes,
        vcpus=cpus.vcpus,
        max_vcpus=cpus.max_vcpus,
        arch=arch_of(settings),
        machine=settings.text("machine", "type"),
        accelerator=accelerator_of(settings),
        tb_bytes=tb_bytes_of(settings),
        disks=disks,
        nics=read_nics(settings),
        videos=read_videos(settings),
        displays=read_displays(settings),
        memory_backends=tuple(each.seen for each in memory.backends),
        passthrough=read_passthrough(settings),
        iothreads=counts.iothreads,
        shares=counts.shares,
        usb_controllers=counts.usb_controllers,
        usb_devices=counts.usb_devices,
        tpm=counts.tpm,
        balloon=counts.balloon,
        sounds=counts.sounds,
        numa_nodes=counts.numa_nodes,
        firmware=settings.text("machine", "firmware") or _pflash(disks),
        kernel=settings.text("machine", "kernel"),
        initrd=settings.text("machine", "initrd"),
        mem_path=settings.text("mem-path", "path"),
        mem_lock=locked(settings),
        hugepages=_hugepages(settings, memory),
        paused="S" in settings.flags,
        incoming=bool(settings.of("incoming")),
        daemonize="daemonize" in settings.flags,
        source=settings.source,
        unknown=tuple(settings.unknown),
    )


def memory_of(settings: Settings) -> Memory:
    """RAM, with the default of the machine where nothing is said: 128 MiB on x86, not known elsewhere.

    Machine ``none`` has none unless told (hw/core/null-machine.c).
    """
    if settings.text("machine", "type") == "none":
        return read_memory(settings, default_bytes=0)
    arch = arch_of(settings)
    x86 = arch in X86 or (arch is None and settings.text("machine", "type") is None)
    return read_memory(settings, default_bytes=DEFAULT_RAM_BYTES if x86 and not settings.partial else None)


def _pflash(disks: tuple[Disk, ...]) -> str | None:
    return next((disk.file for disk in disks if disk.interface == "pflash"), None)


def _hugepages(settings: Settings, memory: Memory) -> bool:
    backed = any(each.seen.backs_ram and each.seen.hugetlb for each in memory.backends)
    return backed or on_huge_mount(settings.text("mem-path", "path"))
