"""A configuration's QEMU command line.

Guest RAM is always preallocated: it is then constant, so that what moves during a load is overhead, to the page.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from guestroom.errors import HostError
from guestroom.lab.image import GuestImage
from guestroom.lab.study.dataset import Factor
from guestroom.lab.study.loads import LOADS, modules

UEFI_CODE, UEFI_VARS = "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"
"""UEFI for x86 as Debian's package ``ovmf`` has it."""
_ENVIRONMENT: tuple[tuple[str, str, int], ...] = (
    ("env_arena_max", "MALLOC_ARENA_MAX", 1),
    ("env_trim_kib", "MALLOC_TRIM_THRESHOLD_", 1024),
    ("env_mmap_kib", "MALLOC_MMAP_THRESHOLD_", 1024),
)
"""glibc's settings (mallopt(3)) by factor, and how many of theirs one of the factor is."""
_DRIVE: tuple[tuple[str, str, str], ...] = (
    ("l2_cache_mib", "l2-cache-size", "M"),
    ("refcount_cache_kib", "refcount-cache-size", "K"),
    ("cache_clean_s", "cache-clean-interval", ""),
    ("iops_max", "throttling.iops-total", ""),
)
_BACKENDS = {"anon": "ram", "memfd": "memfd", "hugetlb": "memfd,hugetlb=on,hugetlbsize=2M"}
_VIDEO = {"std": "VGA", "virtio": "virtio-vga", "qxl": "qxl-vga"}


def command(
    factors: Mapping[str, Factor],
    image: GuestImage,
    folder: Path,
    disks: tuple[str, ...],
    *,
    monitor: str | None = None,
    stopped: bool = False,
) -> list[str]:
    """The command line: its guest takes orders from its serial console, its files are in ``folder``.

    With a QMP socket at ``monitor``; with ``stopped`` its vCPUs wait for ``cont``.
    """
    size, shared = f"{factors['ram_mib']}M", "" if factors["memory"] == "anon" else ",share=on"
    backend = _BACKENDS[str(factors["memory"])]
    buffer = f",tb-size={factors['tb_mib']}" if factors["tb_mib"] else ""
    machine = f"{factors['machine']},memory-backend=ram0"
    settings = [f"{name}={int(factors[own] or 0) * unit}" for own, name, unit in _ENVIRONMENT if factors[own]]
    argv = ["env", *settings] if settings else []
    argv += ["qemu-system-x86_64", "-M", machine, "-m", size]
    argv += ["-object", f"memory-backend-{backend},id=ram0,size={size},prealloc=on{shared}"]
    argv += ["-smp", str(factors["vcpus"]), "-accel", f"tcg{buffer}", "-nodefaults", "-no-reboot"]
    argv += ["-serial", "stdio", "-monitor", "none"]
    told = " ".join(("console=ttyS0 quiet guestroom.role=shell", *_told(factors)))
    if factors["boot"] == "kernel":
        argv += ["-kernel", image.kernel, "-initrd", image.initrd, "-append", told]
    argv += ["-qmp", f"unix:{monitor},server=on,wait=off"] if monitor is not None else []
    argv += ["-S"] if stopped else []
    if factors["firmware"] == "uefi":
        argv += _flash(folder)
    if factors["pool_max"]:
        argv += ["-object", f"main-loop,id=main,thread-pool-max={factors['pool_max']}"]
    for number in range(int(factors["iothreads"] or 0)):
        argv += ["-object", f"iothread,id=io{number}"]
    if disks and factors["bus"] == "virtio-scsi":
        argv += ["-device", f"virtio-scsi-pci,id=scsi0{_queues(factors, '')}"]
    for number, name in enumerate(disks):
        argv += _disk(factors, folder / name, number)
    if factors["boot"] == "disk":
        argv += _boot_disk(image, folder, told)
    return [*argv, *_devices(factors, folder)]


def needs_monitor(factors: Mapping[str, Factor]) -> bool:
    """Whether the host has something to do to it."""
    return LOADS[str(factors["load"])].act is not None


def _told(factors: Mapping[str, Factor]) -> Iterable[str]:
    """What the guest's init is told (guest/init.sh)."""
    if wanted := modules(factors):
        yield f"guestroom.modules={','.join(wanted)}"
    if factors["touch_mib"]:
        yield f"guestroom.touch={factors['touch_mib']}"


def _flash(folder: Path) -> list[str]:
    """Code that all guests share and variables of its own. Raises ``HostError`` where UEFI is not installed."""
    variables = folder / "vars.fd"
    try:
        shutil.copyfile(UEFI_VARS, variables)
    except OSError as error:
        raise HostError(
            f"no UEFI firmware: {error.strerror}", where=UEFI_VARS, hint="apt-get install ovmf, or make setup"
        ) from error
    code = f"if=pflash,unit=0,format=raw,readonly=on,file={UEFI_CODE}"
    return ["-drive", code, "-drive", f"if=pflash,unit=1,format=raw,file={variables}"]


def _boot_disk(image: GuestImage, folder: Path, told: str) -> list[str]:
    """A disk with the guest's kernel, which the firmware's shell starts: QEMU then keeps no copy of it.

    QEMU makes the FAT file system from a folder (``fat:``, block/vvfat.c), so nothing has to be installed.
    """
    disk = folder / "boot"
    disk.mkdir()
    shutil.copyfile(image.kernel, disk / "vmlinuz.efi")
    shutil.copyfile(image.initrd, disk / "initrd.gz")
    (disk / "startup.nsh").write_text(f"fs0:\r\nvmlinuz.efi initrd=\\initrd.gz {told}\r\n")
    drive = f"if=none,id=boot,format=raw,readonly=on,file=fat:{disk}"
    return ["-drive", drive, "-device", "virtio-blk-pci,drive=boot,bootindex=0"]


def _disk(factors: Mapping[str, Factor], path: Path, number: int) -> list[str]:
    drive = f"if=none,id=d{number},file={path},format={factors['format']},cache={factors['cache']},aio={factors['aio']}"
    drive += "".join(f",{option}={factors[own]}{unit}" for own, option, unit in _DRIVE if factors[own])
    if factors["detect_zeroes"] != "off":
        # Zeroes are turned into holes only where holes are allowed.
        drive += f",detect-zeroes={factors['detect_zeroes']},discard=unmap"
    match factors["bus"]:
        case "virtio-scsi":
            return ["-drive", drive, "-device", f"scsi-hd,bus=scsi0.0,drive=d{number}"]
        case "nvme":
            # More than one request in flight may stand still for ever (measured: QEMU 7.2, Linux 6.1, TCG).
            return ["-drive", drive, "-device", f"nvme,drive=d{number},serial=d{number}"]
        case _:
            thread = f",iothread=io{number % int(factors['iothreads'])}" if factors["iothreads"] else ""
            kind = "device" if factors["machine"] == "microvm" else "pci"
            device = f"virtio-blk-{kind},drive=d{number}{thread}{_queues(factors, 'num-queues')}"
            return ["-drive", drive, "-device", device]


def _queues(factors: Mapping[str, Factor], count: str) -> str:
    """Count and size of a device's virtqueues, where they are not left to QEMU."""
    names = {"queues": count or "num_queues", "queue_size": "queue-size" if count else "virtqueue_size"}
    return "".join(f",{option}={factors[own]}" for own, option in names.items() if factors[own])


def _devices(factors: Mapping[str, Factor], folder: Path) -> list[str]:
    argv = ["-display", "none"]
    if factors["video"] != "none":
        memory = f",vgamem_mb={factors['vga_mib']}" if factors["vga_mib"] else ""
        argv += ["-device", f"{_VIDEO[str(factors['video'])]}{memory}"]
    if factors["vnc_clients"]:
        argv += ["-vnc", f"unix:{folder}/vnc"]
    if factors["usb"]:
        argv += ["-device", "qemu-xhci", "-device", "usb-tablet"]
    net = "virtio-net-device,netdev=" if factors["machine"] == "microvm" else "virtio-net-pci,romfile=,netdev="
    for number in range(int(factors["nics"] or 0)):
        argv += ["-netdev", f"user,id=n{number}", "-device", f"{net}n{number}"]
    for number in range(int(factors["shares"] or 0)):
        argv += ["-chardev", f"socket,id=fs{number},path={folder}/fs{number}"]
        argv += ["-device", f"vhost-user-fs-pci,chardev=fs{number},tag=share{number}"]
    return [*argv, "-device", "virtio-balloon-pci"] if factors["balloon"] else argv
