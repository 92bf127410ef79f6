"""Disks: the back ends of ``-drive`` and ``-blockdev`` joined with the devices that use them.

What counts for memory is the image's format (qcow2 has caches and copies clusters), the front end's queues,
the cache mode and the L2 cache size; the join follows QEMU's ids.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from guestroom.describe.machine import is_pc
from guestroom.describe.settings import Entry, Settings, Value
from guestroom.guest import Disk

_FRONT_ENDS = {
    "floppy": "floppy",
    "ide-cd": "ide",
    "ide-drive": "ide",
    "ide-hd": "ide",
    "nvme": "nvme",
    "nvme-ns": "nvme",
    "scsi-block": "scsi",
    "scsi-cd": "scsi",
    "scsi-disk": "scsi",
    "scsi-generic": "scsi",
    "scsi-hd": "scsi",
    "sd-card": "sd",
    "usb-storage": "usb",
}
_PREFIXES = (
    ("virtio-blk", "virtio-blk"),
    ("vhost-user-blk", "vhost-user-blk"),
    ("vhost-scsi", "vhost-scsi"),
    ("vhost-user-scsi", "vhost-user-scsi"),
)
_DRIVE_INTERFACES = {"virtio": "virtio-blk"}
_WITHOUT_DRIVE = frozenset({"vhost-user-blk", "vhost-scsi", "vhost-user-scsi"})
"""Front ends whose back end is another process or the kernel: they name no drive."""
_CACHE_MODES = {
    # writeback, direct, no-flush -> name (bdrv_parse_cache_mode, block.c)
    (False, False): "writeback",
    (True, False): "none",
    (False, True): "unsafe",
    (True, True): "unsafe",
}
_WRITTEN_THROUGH = {"none": "directsync", "writeback": "writethrough"}
"""A mode of the back end's cache whose front end has ``write-cache=off``."""
_CMD_PER_LUN, _VIRTQUEUE_SIZE = 128, 256
"""Defaults of virtio-scsi (hw/scsi/virtio-scsi.c)."""
_MAX_NODES = 64
"""Longest chain of block nodes that is followed: a cycle of references must not hang the reader."""


def read_disks(settings: Settings) -> tuple[Disk, ...]:
    """Every disk, in the order its device (or, without one, its drive) was described."""
    drives = {_drive_id(entry, n): entry for n, entry in enumerate(settings.of("drive"))}
    nodes = {name: entry for entry in settings.of("blockdev") if (name := entry.get("node-name"))}
    adapters = [each for each in settings.of("device") if (each.get("driver") or "").startswith("virtio-scsi")]
    used: set[str] = set()
    disks = []
    for device in settings.of("device"):
        interface = interface_of(device.get("driver") or "")
        backend = device.get("drive")
        if interface is None or (backend is None and interface not in _WITHOUT_DRIVE):
            continue
        disk = Disk(id=device.id)
        if backend is not None:
            used.add(backend)
            disk = _back_end(settings, backend, drives, nodes)
        disk = replace(disk, id=device.id or disk.id, interface=interface)
        disks.append(_front_end(settings, device, disk, _adapter(device, adapters)))
    disks += [
        replace(_from_drive(settings, entry), interface=_drive_interface(settings, entry))
        for identity, entry in drives.items()
        if identity not in used
    ]
    disks += _pflash_nodes(settings, nodes)
    return tuple(disks)


def interface_of(driver: str) -> str | None:
    """Kind of front end a device driver is; None where it is no disk."""
    for prefix, interface in _PREFIXES:
        if driver.startswith(prefix):
            return interface
    return _FRONT_ENDS.get(driver)


def _drive_id(entry: Entry, position: int) -> str:
    # QEMU names drives without an id by bus and unit; no device refers to those, so any unique text will do.
    return entry.id or f"#{position}"


def _back_end(settings: Settings, name: str, drives: dict[str, Entry], nodes: dict[str, Entry]) -> Disk:
    if name in drives:
        return _from_drive(settings, drives[name])
    if name in nodes:
        return _from_node(nodes[name], nodes)
    return Disk(id=name)


def _front_end(settings: Settings, device: Entry, disk: Disk, adapter: Entry | None) -> Disk:
    """Add what the device says about queues, and what kind of medium it is."""
    cdrom = disk.cdrom or device.get("driver") in ("ide-cd", "scsi-cd")
    read_only = disk.read_only or cdrom
    if device.get("write-cache") is not None and not device.flag("write-cache"):
        disk = replace(disk, cache=_WRITTEN_THROUGH.get(disk.cache or "", disk.cache))
    queues = _positive(settings.device_value(device, "num-queues", "num_queues", "max_ioqpairs"))
    if disk.interface == "scsi" and adapter is not None:
        queues = _positive(settings.device_value(adapter, "num_queues"))
        return replace(disk, cdrom=cdrom, read_only=read_only, queues=queues, queue_size=_scsi_depth(settings, adapter))
    size = _positive(settings.device_value(device, "queue-size"))
    return replace(disk, cdrom=cdrom, read_only=read_only, queues=queues, queue_size=size)


def _scsi_depth(settings: Settings, adapter: Entry) -> int | None:
    """Requests of one disk in flight: its share of the adapter, and never more than the adapter's queue."""
    share = _positive(settings.device_value(adapter, "cmd_per_lun"))
    queue = _positive(settings.device_value(adapter, "virtqueue_size"))
    return None if share is None and queue is None else min(share or _CMD_PER_LUN, queue or _VIRTQUEUE_SIZE)


def _positive(value: Value | None) -> int | None:
    return (value.number() or None) if value else None


def _adapter(disk: Entry, adapters: list[Entry]) -> Entry | None:
    """The virtio-scsi adapter a SCSI disk sits on: the one its bus names, else the only one."""
    bus = disk.get("bus")
    if bus is not None:
        named = bus.rpartition(".")[0] or bus
        return next((each for each in adapters if each.id == named), None)
    return adapters[0] if len(adapters) == 1 else None


def _from_drive(settings: Settings, entry: Entry) -> Disk:
    cdrom = entry.get("media") == "cdrom"
    # -snapshot puts a writable qcow2 overlay on top of every drive (bdrv_append_temp_snapshot, block.c).
    overlay = entry.flag("snapshot", default="snapshot" in settings.flags)
    return Disk(
        id=entry.id,
        format="qcow2" if overlay else entry.get("format") or entry.get("driver"),
        file=entry.get("file") or entry.get("file.filename") or entry.get("file.path"),
        cache=entry.get("cache") or _cache_mode(entry),
        aio=entry.get("aio") or entry.get("file.aio"),
        read_only=cdrom or entry.flag("readonly") or entry.flag("read-only"),
        cdrom=cdrom,
        l2_cache_bytes=_l2_cache(entry),
    )


def _drive_interface(settings: Settings, entry: Entry) -> str | None:
    given = entry.get("if")
    if given == "none":
        return None
    if given is not None:
        return _DRIVE_INTERFACES.get(given, given)
    # The machine's block_default_type: IDE on PCs (hw/i386/pc.c), virtio on aarch64's virt.
    if is_pc(settings) or settings.text("machine", "type") == "isapc":
        return "ide"
    return "virtio-blk" if (settings.text("machine", "type") or "").startswith("virt") else None


def _from_node(root: Entry, nodes: dict[str, Entry]) -> Disk:
    """Follow ``file`` from the node a device names down to the protocol: one disk."""
    layers = list(_layers(root, nodes))
    image = next((layer for layer in layers if layer.get("driver") in _FORMATS), layers[-1])
    protocol = layers[-1]
    return Disk(
        id=root.get("node-name"),
        format=image.get("driver") if image.get("driver") in _FORMATS else "raw",
        file=protocol.get("filename") or protocol.get("path"),
        cache=next((mode for layer in layers if (mode := _cache_mode(layer))), None),
        aio=protocol.get("aio"),
        read_only=root.flag("read-only"),
        l2_cache_bytes=_l2_cache(image),
    )


def _l2_cache(image: Entry) -> int | None:
    """The L2 cache as given; ``cache-size`` is its bound, as it holds the refcount cache too (``read_cache_sizes``,
    block/qcow2.c)."""
    given = image.value("l2-cache-size") or image.value("cache-size")
    return None if given is None else given.size()


_FORMATS = frozenset(
    {"bochs", "cloop", "dmg", "luks", "parallels", "qcow", "qcow2", "qed", "raw", "vdi", "vhdx", "vmdk", "vpc"}
)


def _layers(root: Entry, nodes: dict[str, Entry]) -> Iterator[Entry]:
    """``root``, then what each layer's ``file`` names or holds."""
    layer: Entry | None = root
    for _ in range(_MAX_NODES):
        if layer is None:
            return
        yield layer
        child = layer.get("file")
        inner = layer.sub("file")
        if child is not None:
            layer = nodes.get(child)
        elif inner:
            layer = Entry("blockdev", inner, layer.where, index=layer.index)
        else:
            return


def _cache_mode(entry: Entry) -> str | None:
    if not entry.sub("cache"):
        return None
    return _CACHE_MODES[entry.flag("cache.direct"), entry.flag("cache.no-flush")]


def _pflash_nodes(settings: Settings, nodes: dict[str, Entry]) -> Iterator[Disk]:
    """Firmware given as block nodes: ``-machine pflash0=NODE`` (libvirt's way)."""
    for key in ("pflash0", "pflash1"):
        name = settings.text("machine", key)
        if name is not None and name in nodes:
            yield replace(_from_node(nodes[name], nodes), interface="pflash")
