"""The devices of a libvirt domain: disks, networks, graphics, passed-through devices, USB."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from guestroom.describe.xmltree import Element
from guestroom.errors import DescribeError
from guestroom.guest import Disk, Nic, Passthrough, Video
from guestroom.units import KIB

_BUSES = {"virtio": "virtio-blk", "fdc": "floppy", "sata": "ide", "xen": "xen"}
"""What QEMU calls the front end of a libvirt bus, where that differs."""
_NETWORKS = {
    "network": "tap",
    "bridge": "tap",
    "direct": "tap",
    "ethernet": "tap",
    "user": "user",
    "vhostuser": "vhost-user",
    "vdpa": "vhost-vdpa",
    "server": "socket",
    "client": "socket",
    "mcast": "socket",
    "udp": "socket",
}
_VGA_KIB = {"vga": 16 * 1024, "vmvga": 16 * 1024, "bochs": 16 * 1024}
_QXL_KIB = 64 * 1024
"""Video memory where none is given (``virDomainVideoDefaultRAM``, src/conf/domain_conf.c): QXL has it twice, RAM and
VRAM. Cirrus is never told its size."""
_MOST_IN_FLIGHT = 256
"""``virtqueue_size`` of virtio-scsi (hw/scsi/virtio-scsi.c): no LUN can have more in flight."""


def read_disks(devices: Element) -> tuple[Disk, ...]:
    """Disks with their back ends, SCSI devices of the host too; a drive without a medium holds nothing and is none."""
    adapters = {
        one.get("index") or "0": driver
        for one in devices.all("controller")
        if one.get("type") == "scsi" and (driver := one.first("driver")) is not None
    }
    disks = [_disk(element, adapters) for element in devices.all("disk") if not _is_empty(element)]
    scsi = [
        _on_adapter(Disk(interface="scsi", format="raw", read_only=one.first("readonly") is not None), one, adapters)
        for one in devices.all("hostdev")
        if one.get("type") == "scsi"
    ]
    vhost = [Disk(interface="vhost-scsi") for one in devices.all("hostdev") if one.get("type") == "scsi_host"]
    return (*disks, *scsi, *vhost)


def _on_adapter(disk: Disk, element: Element, adapters: Mapping[str, Element]) -> Disk:
    """A SCSI disk with the queues of the controller it sits on."""
    address = element.first("address")
    adapter = adapters.get((address.get("controller") if address is not None else None) or "0")
    if disk.interface != "scsi" or adapter is None:
        return disk
    share = _number(adapter, "cmd_per_lun")
    return replace(
        disk, queues=_number(adapter, "queues"), queue_size=None if share is None else min(share, _MOST_IN_FLIGHT)
    )


def _is_empty(element: Element) -> bool:
    source = element.first("source")
    removable = element.get("device") in ("cdrom", "floppy")
    return removable and (source is None or not (source.attributes or source.children))


def _disk(element: Element, adapters: Mapping[str, Element]) -> Disk:
    driver = element.first("driver") or Element("driver", {}, element.line)
    target = element.first("target")
    bus = target.get("bus") if target is not None else None
    source = element.first("source")
    cdrom = element.get("device") == "cdrom"
    cache = driver.first("metadata_cache", "max_size")
    mode = driver.get("cache") if driver.get("cache") != "default" else None
    if mode is None and element.first("shareable") is not None:
        mode = "none"  # qemuDomainPrepareDiskSource: a disk that others write to is not cached
    disk = Disk(
        id=target.get("dev") if target is not None else None,
        format=_format(element, driver, source),
        file=_source(source),
        interface="vhost-user-blk" if element.get("type") == "vhostuser" else _BUSES.get(bus or "", bus),
        cache=mode,
        aio=driver.get("io"),
        read_only=cdrom or element.first("readonly") is not None,
        cdrom=cdrom,
        queues=_number(driver, "queues"),
        queue_size=_number(driver, "queue_size"),
        l2_cache_bytes=_plain(cache),
    )
    return _on_adapter(disk, element, adapters)


def _format(element: Element, driver: Element, source: Element | None) -> str | None:
    """Format of the image; None where the back end is another process, or a pool that only libvirt knows."""
    kind = element.get("type")
    if kind == "vhostuser":
        return None
    named = driver.get("type")
    if named is None and source is not None and kind != "volume":
        named = "raw"  # libvirt never lets QEMU probe (virStorageSource, security)
    if named == "fat":
        return "raw"  # a folder shown as a disk (vvfat)
    encryption = element.first("source", "encryption") or element.first("encryption")
    if encryption is not None and encryption.get("engine") == "librbd":
        return named  # decrypted by the storage's own library
    if named == "raw" and encryption is not None and encryption.get("format") == "luks":
        return "luks"
    return named


def _source(source: Element | None) -> str | None:
    if source is None:
        return None
    return source.get("file") or source.get("dev") or source.get("dir") or source.get("name") or source.get("path")


def _plain(element: Element | None) -> int | None:
    """A byte count with libvirt's ``unit``, bytes without one (``max_size`` of ``metadata_cache``)."""
    if element is None:
        return None
    text = element.text.strip()
    if not (text.isascii() and text.isdecimal()) or len(text) > 15:
        raise DescribeError(f"max_size {text[:40]!r} is not a size", where=f"line {element.line}")
    units = {None: 1, "bytes": 1, "b": 1, "KiB": KIB, "k": KIB, "MiB": KIB**2, "M": KIB**2, "GiB": KIB**3, "G": KIB**3}
    unit = element.get("unit")
    if unit not in units:
        raise DescribeError(f"unit {unit!r} of max_size is not known", where=f"line {element.line}")
    return int(text) * units[unit]


def _number(element: Element, name: str) -> int | None:
    text = element.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > 9:
        raise DescribeError(f"{name} {text[:40]!r} is not a number", where=f"line {element.line}")
    return int(text) or None


def read_nics(devices: Element) -> tuple[Nic, ...]:
    """Network cards; those passed through whole (``hostdev``) are devices of the host."""
    return tuple(_nic(element) for element in devices.all("interface") if element.get("type") != "hostdev")


def _nic(element: Element) -> Nic:
    model = element.first("model")
    driver = element.first("driver") or Element("driver", {}, element.line)
    target = element.first("target")
    backend = _NETWORKS.get(element.get("type") or "")
    name = model.get("type") if model is not None else None
    virtio = name is not None and name.startswith("virtio")
    # vhost is used for virtio cards on taps unless the driver says otherwise (qemuInterfaceOpenVhostNet).
    vhost = backend == "vhost-vdpa" or (backend == "tap" and virtio and driver.get("name") != "qemu")
    return Nic(
        id=target.get("dev") if target is not None else None,
        model=name,
        backend=backend,
        queues=_number(driver, "queues"),
        vhost=vhost,
    )


def read_videos(devices: Element, arch: str | None) -> tuple[Video, ...]:
    """Graphics adapters; ``none`` is none. Where graphics are asked for and no adapter, libvirt adds one."""
    videos = [video for element in devices.all("video") if (video := _video(element)) is not None]
    if not videos and devices.first("video") is None and devices.first("graphics") is not None:
        videos.append(_default_video(arch))
    return tuple(videos)


def _default_video(arch: str | None) -> Video:
    """``qemuDomainDefaultVideoDevice``: VGA on POWER, virtio where a board is virtual, else Cirrus."""
    if arch in ("ppc64", "ppc64le"):
        return Video("vga", _VGA_KIB["vga"] * KIB)
    return Video("virtio" if arch in ("aarch64", "armv7l", "riscv64", "riscv32", "s390x") else "cirrus")


def _video(element: Element) -> Video | None:
    model = element.first("model")
    kind = model.get("type") if model is not None else None
    if model is None or kind == "none":
        return None
    given = {name: _number(model, name) for name in ("ram", "vram", "vgamem")}
    if kind == "qxl":
        kib = (given["ram"] or _QXL_KIB) + (given["vram"] or _QXL_KIB)
    else:
        kib = given["vgamem"] or given["vram"] or _VGA_KIB.get(kind or "", 0)
    return Video(kind or "unknown", kib * KIB or None, _number(model, "heads"))


def read_displays(devices: Element) -> tuple[str, ...]:
    """Displays: ``vnc``, ``spice``, ``sdl``, ..."""
    shown = (one for one in devices.all("graphics") if not _is_silent(one))
    return tuple(dict.fromkeys(kind for one in shown if (kind := one.get("type")) is not None))


def _is_silent(element: Element) -> bool:
    """VNC that listens nowhere: libvirt says ``-vnc none``."""
    listen = element.first("listen")
    return element.get("type") == "vnc" and listen is not None and listen.get("type") == "none"


def read_passthrough(devices: Element) -> tuple[Passthrough, ...]:
    """Host devices, those behind ``interface type='hostdev'`` too. SCSI devices are disks of QEMU's own."""
    found = []
    for element in devices.all("hostdev"):
        kind = {"pci": "vfio-pci", "usb": "usb", "mdev": "mdev"}.get(element.get("type") or "")
        if kind is not None and not _is_unassigned(element):
            found.append(Passthrough(_address(element), kind))
    found += [
        Passthrough(_address(element), "vfio-pci")
        for element in devices.all("interface")
        if element.get("type") == "hostdev"
    ]
    return tuple(found)


def _is_unassigned(element: Element) -> bool:
    """Kept in the description and not given to the guest."""
    address = element.first("address")
    return address is not None and address.get("type") == "unassigned"


def _address(element: Element) -> str | None:
    address = element.first("source", "address")
    if address is None:
        return None
    if address.get("uuid") is not None:
        return address.get("uuid")
    if address.get("device") is not None and address.get("slot") is None:
        return f"{address.get('bus')}.{address.get('device')}"
    parts = [(address.get(name) or "0").removeprefix("0x") for name in ("domain", "bus", "slot", "function")]
    return f"{parts[0]:0>4}:{parts[1]:0>2}:{parts[2]:0>2}.{parts[3]}"


def read_usb(root: Element, devices: Element) -> tuple[int, int]:
    """USB controllers and devices on them; libvirt adds a controller to machines that have USB by default."""
    controllers = [one for one in devices.all("controller") if one.get("type") == "usb"]
    none = any(one.get("model") == "none" for one in controllers)
    count = sum(1 for one in controllers if one.get("model") != "none")
    if not controllers and _usb_by_default(root):
        count = 1
    machine = root.first("os", "type")
    if none or ((machine.get("arch") if machine is not None else None) or "").startswith("s390"):
        return 0, 0
    inputs = sum(1 for one in devices.all("input") if one.get("bus") == "usb")
    disks = sum(1 for one in devices.all("disk") if (t := one.first("target")) is not None and t.get("bus") == "usb")
    others = sum(1 for kind in ("redirdev", "smartcard") for _ in devices.all(kind))
    sounds = sum(1 for one in devices.all("sound") if one.get("model") == "usb")
    hosts = sum(1 for one in devices.all("hostdev") if one.get("type") == "usb")
    serials = sum(
        1 for one in devices.all("serial") if (t := one.first("target")) is not None and t.get("type") == "usb-serial"
    )
    return count, inputs + disks + others + sounds + hosts + serials


def _usb_by_default(root: Element) -> bool:
    """Most machines get one (``qemuDomainDefAddDefaultDevices``), ARM's ``virt`` and s390 do not."""
    machine = root.first("os", "type")
    arch = (machine.get("arch") if machine is not None else None) or ""
    board = (machine.get("machine") if machine is not None else None) or ""
    if arch in ("aarch64", "armv7l", "armv6l"):
        return bool(board) and not board.startswith("virt")
    return not arch.startswith("s390") and arch not in ("riscv64", "riscv32")
