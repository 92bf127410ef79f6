"""Everything else that is plugged in: networks, graphics, passed-through devices, and counts of the rest.

Without ``-nodefaults`` QEMU adds a network card and a graphics adapter of its own
(``qemu_create_default_devices``, softmmu/vl.c); on PCs they are listed here too, since they cost memory.
"""

from __future__ import annotations

import re
from dataclasses import replace

from guestroom.describe.machine import is_pc
from guestroom.describe.settings import Entry, Settings
from guestroom.guest import Nic, Passthrough, Video
from guestroom.units import MIB

_NIC_DRIVERS = re.compile(
    r"virtio-net|vhost-vdpa|e1000|i8255|i82551|i82557|i82558|i82559|i82562|i82801\Z|igb|ne2k_|pcnet|rtl8139|tulip|usb-net|vmxnet3"
)
_VIDEO_DRIVERS = re.compile(
    r"(?:VGA|secondary-vga|isa-vga|(?:isa-)?cirrus-vga|vmware-svga|qxl(?:-vga)?|ati-vga|bochs-display|ramfb"
    r"|virtio-vga(?:-gl|-rutabaga)?|virtio-gpu(?:-gl|-rutabaga)?(?:-pci|-device|-ccw)?|vhost-user-(?:vga|gpu(?:-pci)?))\Z"
)
_NO_DEFAULT_VGA = re.compile(
    r"(?:VGA|isa-vga|(?:isa-)?cirrus-vga|vmware-svga|qxl-vga|virtio-vga(?:-gl)?|ati-vga|vhost-user-vga)\Z"
)
"""Drivers whose mention switches the default adapter off (``default_list``, softmmu/vl.c)."""
_VGA_DRIVERS = {"std": "VGA", "cirrus": "cirrus-vga", "vmware": "vmware-svga", "qxl": "qxl-vga", "virtio": "virtio-vga"}
"""Driver that ``-vga`` means (``vga_interfaces``, softmmu/vl.c): its ``-global`` values count."""


def _devices(settings: Settings, *prefixes: str) -> list[Entry]:
    return [entry for entry in settings.of("device") if (entry.get("driver") or "").startswith(prefixes)]


def read_nics(settings: Settings) -> tuple[Nic, ...]:
    """Network cards with what is behind them."""
    backends = {entry.id: entry for entry in settings.of("netdev") if entry.id}
    nics = []
    for device in settings.of("device"):
        model = device.get("driver") or ""
        if not _NIC_DRIVERS.match(model):
            continue
        backend = backends.get(device.get("netdev") or "")
        nics.append(_nic(device.id, model, backend, backend.get("type") if backend else None))
    for entry in settings.of("nic"):
        if entry.get("type") != "none":
            nics.append(_nic(entry.id, entry.get("model"), entry, entry.get("type")))
    nics += _legacy_nics(settings)
    if _default_network(settings):
        machine = settings.text("machine", "type") or "pc"
        # pc_machine default_nic_model: e1000 on i440FX, e1000e on Q35 (hw/i386/pc_piix.c, pc_q35.c).
        nics.append(Nic(model="e1000e" if "q35" in machine else "e1000", backend="user"))
    return tuple(nics)


def _nic(identity: str | None, model: str | None, backend: Entry | None, kind: str | None) -> Nic:
    if backend is None:
        return Nic(identity, model, kind)
    vhost = kind == "vhost-vdpa" or any(backend.get(key) for key in ("vhostfd", "vhostfds"))
    vhost = vhost or backend.flag("vhost") or backend.flag("vhostforce")
    return Nic(identity, model, kind, _queues(backend), vhost)


def _queues(backend: Entry) -> int | None:
    """Pairs of queues: as said, else one for each file descriptor handed over (``net_init_tap``, net/tap.c)."""
    if queues := backend.value("queues"):
        return queues.number()
    handed = backend.get("fds")
    return handed.count(":") + 1 if handed else None


def _legacy_nics(settings: Settings) -> list[Nic]:
    """``-net nic`` cards: joined by a hub to whatever other ``-net`` there is."""
    behind = next((e.get("type") for e in settings.of("net") if e.get("type") not in ("nic", "none", "dump")), None)
    return [Nic(e.id, e.get("model"), behind) for e in settings.of("net") if e.get("type") == "nic"]


def _default_network(settings: Settings) -> bool:
    told = any(entry.file is None for entry in settings.of("netdev", "nic", "net"))
    return is_pc(settings) and "nodefaults" not in settings.flags and not told and not settings.partial


def read_videos(settings: Settings) -> tuple[Video, ...]:
    """Graphics adapters."""
    devices = [entry for entry in settings.of("device") if _VIDEO_DRIVERS.match(entry.get("driver") or "")]
    videos = [_video(settings, device) for device in devices]
    chosen = settings.text("vga", "model")
    if chosen is not None:
        model = chosen.partition(",")[0]
        if model == "none":
            return tuple(videos)
        device = Entry("device", {"driver": _VGA_DRIVERS.get(model, model)}, "-vga")
        return (replace(_video(settings, device), model=model), *videos)
    mentioned = any(_NO_DEFAULT_VGA.match(entry.get("driver") or "") for entry in settings.of("device", "global"))
    if is_pc(settings) and not settings.partial and "nodefaults" not in settings.flags and not mentioned:
        # default_display of PC machines (hw/i386/pc_piix.c, pc_q35.c).
        device = Entry("device", {"driver": "VGA"}, "default graphics")
        videos.insert(0, replace(_video(settings, device), model="std"))
    return tuple(videos)


def _video(settings: Settings, device: Entry) -> Video:
    model = device.get("driver") or ""
    outputs = settings.device_value(device, "max_outputs")
    window = settings.device_value(device, "hostmem")
    return Video(
        model,
        _vga_bytes(settings, device, model),
        outputs.number() if outputs else None,
        window.size() or None if window else None,
    )


def _vga_bytes(settings: Settings, device: Entry, model: str) -> int | None:
    """Video memory given: qxl has two RAM blocks (its ``ram`` contains the VGA memory), the others one."""
    given = []
    if model.startswith("qxl"):
        for name in ("ram_size", "vram_size"):
            megabytes = settings.device_value(device, f"{name}_mb")
            size = settings.device_value(device, name)
            if megabytes:
                given.append(megabytes.number() * MIB)
            elif size:
                given.append(size.size())
    if not given and (megabytes := settings.device_value(device, "vgamem_mb")):
        given.append(megabytes.number() * MIB)
    return sum(given) if given else None


def read_displays(settings: Settings) -> tuple[str, ...]:
    """Displays asked for: ``vnc``, ``spice``, ``gtk``, ... without ``none``."""
    kinds: list[str] = [name for name in ("sdl", "curses") if name in settings.flags]  # options of older releases
    for entry in settings.of("display", "vnc", "spice"):
        if entry.group != "display":
            text = entry.get("vnc") if entry.group == "vnc" else entry.group
            kinds.append("none" if text == "none" else entry.group)
        elif "vnc" in entry.values:
            kinds.append("vnc")
        else:
            kinds.append(entry.get("type") or "none")
    return tuple(dict.fromkeys(kind for kind in kinds if kind != "none"))


def read_passthrough(settings: Settings) -> tuple[Passthrough, ...]:
    """Host devices given to the guest. Their MMIO sizes only the host knows."""
    found = []
    for device in _devices(settings, "vfio-pci", "vfio-ap", "vfio-ccw", "vfio-platform", "vfio-user-pci", "usb-host"):
        driver = device.get("driver") or ""
        if driver == "vfio-pci-igd-lpc-bridge":
            continue
        sysfs = device.get("sysfsdev")
        bus, port = device.get("hostbus"), device.get("hostaddr")
        usb = f"{bus}.{port}" if bus and port else device.get("hostdevice") or device.get("vendorid")
        found.append(Passthrough(device.get("host") or sysfs or usb, _passthrough_kind(device, driver, sysfs)))
    return tuple(found)


def _passthrough_kind(device: Entry, driver: str, sysfs: str | None) -> str:
    if driver == "usb-host":
        return "usb"
    if sysfs is not None and "/mdev" in sysfs:
        return "mdev"
    if device.flag("x-vga"):
        return "vga"
    if any(device.get(key) for key in ("x-igd-opregion", "x-igd-gms", "x-igd-lpc")):
        return "gpu"
    return "vfio-pci" if driver.startswith("vfio-pci") else driver
