"""libvirt domain XML (``virsh dumpxml``), as QEMU will be started from it.

Names and defaults are those of libvirt's formatdomain and of the command line its QEMU driver makes
(src/qemu/qemu_command.c, qemu_domain.c): held against the domains of libvirt's own tests, each of which comes with the
command line that libvirt generates. What ``<qemu:commandline>`` adds is read by the reader of command lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from guestroom.describe.build import guest_from
from guestroom.describe.libvirt_devices import (
    read_disks,
    read_displays,
    read_nics,
    read_passthrough,
    read_usb,
    read_videos,
)
from guestroom.describe.libvirt_memory import Memory, size_of
from guestroom.describe.qemu_argv import settings_from_argv
from guestroom.describe.xmltree import Element, parse_xml
from guestroom.errors import DescribeError
from guestroom.guest import Disk, Guest

_KNOWN = frozenset(
    {"name", "uuid", "genid", "title", "description", "metadata", "id", "bootloader", "bootloader_args", "os"}
    | {"memory", "currentMemory", "maxMemory", "memtune", "memoryBacking", "numatune", "vcpu", "vcpus", "cpu"}
    | {"cputune", "iothreads", "iothreadids", "defaultiothread", "blkiotune", "resource", "features", "clock", "pm"}
    | {"on_poweroff", "on_reboot", "on_crash", "on_lockfailure", "seclabel", "idmap", "keywrap", "launchSecurity"}
    | {"perf", "sysinfo", "devices", "commandline", "capabilities", "deprecation", "override", "override-device"}
)
_QEMU_TYPES = {"kvm": "kvm", "qemu": "tcg", "hvf": "hvf", "xen": "xen"}


def from_libvirt(text: str) -> Guest:
    """The guest a libvirt domain describes.

    Raises ``DescribeError`` with the line for XML that is malformed, hostile (document types, depth, size) or no
    domain, and for sizes and counts that libvirt would refuse. What is not understood is kept in ``unknown``.
    """
    root = parse_xml(text)
    if root.name == "domstatus" or root.name == "domainsnapshot":
        root = root.first("domain") or root
    if root.name != "domain":
        raise DescribeError(
            f"<{root.name}> is no libvirt domain", where=f"line {root.line}", hint="give virsh dumpxml NAME"
        )
    guest = _domain(root)
    extra = _commandline(root)
    return _with_commandline(guest, extra) if extra else guest


def _domain(root: Element) -> Guest:
    devices = root.first("devices") or Element("devices", {}, root.line)
    memory = Memory(root, devices)
    vcpus, max_vcpus = _cpus(root)
    usb_controllers, usb_devices = read_usb(root, devices)
    machine = root.first("os", "type")
    disks = (*read_disks(devices), *_flash(root))
    return Guest(
        name=_text(root, "name"),
        ram_bytes=memory.promised_bytes,
        boot_ram_bytes=memory.boot_bytes,
        vcpus=vcpus,
        max_vcpus=max_vcpus,
        arch=machine.get("arch") if machine is not None else None,
        machine=machine.get("machine") if machine is not None else None,
        accelerator=_QEMU_TYPES.get(root.get("type") or ""),
        tb_bytes=_tb_bytes(root),
        disks=disks,
        nics=read_nics(devices),
        videos=read_videos(devices, machine.get("arch") if machine is not None else None),
        displays=read_displays(devices),
        memory_backends=memory.backends,
        passthrough=read_passthrough(devices),
        iothreads=_iothreads(root),
        shares=sum(1 for _ in devices.all("filesystem")),
        usb_controllers=usb_controllers,
        usb_devices=usb_devices,
        tpm=any(one.get("model") != "spapr-tpm-proxy" for one in devices.all("tpm")),
        balloon=_balloon(root, devices),
        sounds=sum(one.get("model") not in (None, "pcspk") for one in devices.all("sound")),
        numa_nodes=sum(1 for _ in (root.first("cpu", "numa") or Element("", {}, 0)).all("cell")),
        firmware=_text(root, "os", "loader"),
        kernel=_text(root, "os", "kernel"),
        initrd=_text(root, "os", "initrd"),
        mem_lock=root.first("memoryBacking", "locked") is not None,
        hugepages=memory.huge,
        source="libvirt",
        unknown=tuple(dict.fromkeys(f"<{child.name}>" for child in root.children if child.name not in _KNOWN)),
    )


def _flash(root: Element) -> tuple[Disk, ...]:
    """Firmware in flash, code and variables, each of them a block device of its own to QEMU."""
    os = root.first("os") or Element("os", {}, root.line)
    loader, nvram = os.first("loader"), os.first("nvram")
    efi = os.get("firmware") == "efi"
    named = loader is not None and (loader.get("type") == "pflash" or loader.get("readonly") == "no")
    if not efi and not named:
        return ()
    writable = not efi and loader is not None and loader.get("readonly") != "yes"
    code = Disk(id="pflash0", file=_text(os, "loader"), interface="pflash", format="raw", read_only=not writable)
    stateless = loader is not None and loader.get("stateless") == "yes"
    variables = nvram is not None or efi
    if stateless or not variables:
        return (code,)
    return code, Disk(id="pflash1", file=_text(os, "nvram"), interface="pflash", format="raw")


def _cpus(root: Element) -> tuple[int | None, int | None]:
    element = root.first("vcpu")
    if element is None:
        return 1, 1
    most = _count(element.text, "vcpu", element.line)
    now = element.get("current")
    return (most if now is None else _count(now, "vcpu current", element.line)), most


def _count(text: str, what: str, line: int) -> int:
    number = text.strip()
    if not (number.isascii() and number.isdecimal()) or not 0 < int(number[:9]) <= 65_536 or len(number) > 9:
        raise DescribeError(f"{what} {number[:40]!r} is not a count from 1 to 65536", where=f"line {line}")
    return int(number)


def _iothreads(root: Element) -> int:
    """``<iothreads>``, or as many as have an id where that is more (``virDomainDefParseXML``)."""
    element = root.first("iothreads")
    text = element.text.strip() if element is not None else "0"
    if not (text.isascii() and text.isdecimal()) or len(text) > 6:
        line = element.line if element is not None else root.line
        raise DescribeError(f"iothreads {text[:40]!r} is not a count", where=f"line {line}")
    ids = root.first("iothreadids")
    return max(int(text), sum(1 for _ in ids.all("iothread")) if ids is not None else 0)


def _tb_bytes(root: Element) -> int | None:
    """``<features><tcg><tb-cache>``."""
    return size_of(root.first("features", "tcg", "tb-cache"))


def _balloon(root: Element, devices: Element) -> bool:
    """A virtio balloon, which libvirt adds by itself where nothing is said (``qemuDomainDefAddDefaultDevices``)."""
    element = devices.first("memballoon")
    if element is None:
        machine = root.first("os", "type")
        arch = machine.get("arch") if machine is not None else None
        return arch not in ("s390", "sparc", "m68k", "aarch64", "armv7l", "armv6l")
    return element.get("model") != "none"


def _text(root: Element, *names: str) -> str | None:
    element = root.first(*names)
    return (element.text.strip() or None) if element is not None else None


def _commandline(root: Element) -> tuple[str, ...]:
    """What ``<qemu:commandline>`` passes through."""
    found = root.first("commandline")
    return () if found is None else tuple(arg.attributes.get("value", "") for arg in found.all("arg"))


def _with_commandline(guest: Guest, argv: Sequence[str]) -> Guest:
    """The guest with the devices that a passed-through command line adds."""
    # A stand-in for what libvirt writes before: no default devices, and RAM so that nothing is guessed.
    extra = guest_from(settings_from_argv(["-nodefaults", "-m", "1", *argv]))
    return replace(
        guest,
        disks=(*guest.disks, *extra.disks),
        nics=(*guest.nics, *extra.nics),
        videos=(*guest.videos, *extra.videos),
        memory_backends=(*guest.memory_backends, *extra.memory_backends),
        passthrough=(*guest.passthrough, *extra.passthrough),
        iothreads=guest.iothreads + extra.iothreads,
        shares=guest.shares + extra.shares,
        usb_controllers=guest.usb_controllers + extra.usb_controllers,
        usb_devices=guest.usb_devices + extra.usb_devices,
        tpm=guest.tpm or extra.tpm,
        balloon=guest.balloon or extra.balloon,
        sounds=guest.sounds + extra.sounds,
        numa_nodes=guest.numa_nodes + extra.numa_nodes,
        tb_bytes=extra.tb_bytes or guest.tb_bytes,
        unknown=(*guest.unknown, *extra.unknown),
    )
