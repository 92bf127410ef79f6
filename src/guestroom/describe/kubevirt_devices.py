"""The devices of a KubeVirt machine: disks with their volumes, networks, graphics, host devices, I/O threads."""

from __future__ import annotations

import math
from collections.abc import Mapping

from guestroom.describe.kubetree import Node
from guestroom.guest import Disk, Nic, Passthrough, Video
from guestroom.units import MIB

_BUSES = {"virtio": "virtio-blk", "sata": "ide"}
"""What QEMU calls the front end of a bus, where that differs."""
_VOLUMES = {
    "persistentVolumeClaim": ("claimName", "raw"),
    "dataVolume": ("name", "raw"),
    "hostDisk": ("path", "raw"),
    "containerDisk": ("image", "qcow2"),
    "emptyDisk": ("capacity", "qcow2"),
    "ephemeral": ("", "qcow2"),
}
"""The field that names a volume's store, and the format virt-launcher attaches it in: an overlay is qcow2."""
_TAPS = frozenset({"bridge", "masquerade", "macvtap"})
_BINDINGS = ("bridge", "masquerade", "macvtap", "slirp", "passt", "passtBinding")
_VGA_BYTES = 16 * MIB
"""VGA memory that the converter asks for (pkg/virt-launcher/virtwrap/converter)."""


def read_disks(spec: Node, devices: Node, vcpus: int | None) -> tuple[Disk, ...]:
    """Disks with what their volumes say; a CD drive without a volume holds nothing and is none."""
    volumes = {name: volume for volume in spec.all("volumes") if (name := volume.text("name")) is not None}
    queues = vcpus if devices.flag("blockMultiQueue") else None
    disks = (_disk(disk, volumes, queues) for disk in devices.all("disks"))
    return tuple(disk for disk in disks if disk is not None)


def _disk(disk: Node, volumes: Mapping[str, Node], queues: int | None) -> Disk | None:
    name = disk.text("name")
    volume = volumes.get(name or "")
    cdrom = disk.has("cdrom")
    if cdrom and volume is None:
        return None
    target = disk.at("cdrom" if cdrom else "lun" if disk.has("lun") else "disk")
    bus = target.text("bus")
    file, format_ = _volume(volume) if volume is not None else (None, None)
    return Disk(
        id=name,
        format=format_,
        file=file,
        interface=_BUSES.get(bus or "", bus),
        cache=disk.text("cache"),
        aio=disk.text("io"),
        read_only=target.flag("readonly") is not False if cdrom else target.flag("readonly") is True,
        cdrom=cdrom,
        queues=queues if bus == "virtio" else None,
    )


def _volume(volume: Node) -> tuple[str | None, str | None]:
    for kind, (field, format_) in _VOLUMES.items():
        if volume.has(kind):
            return volume.at(kind).text(field), format_
    return None, None


def read_nics(devices: Node, vcpus: int | None) -> tuple[Nic, ...]:
    """Network cards; those passed through whole (``sriov``) are devices of the host."""
    queues = vcpus if devices.flag("networkInterfaceMultiqueue") else None
    return tuple(_nic(one, queues) for one in devices.all("interfaces") if not one.has("sriov"))


def _nic(one: Node, queues: int | None) -> Nic:
    model = one.text("model")
    binding = next((name for name in _BINDINGS if one.has(name)), None) or one.at("binding").text("name")
    virtio = model is None or model.startswith("virtio")  # virtio is KubeVirt's default
    backend = "tap" if binding in _TAPS else "user" if binding == "slirp" else binding
    return Nic(
        id=one.text("name"),
        model=model,
        backend=backend,
        queues=queues if virtio else None,
        vhost=virtio and backend == "tap",
    )


def read_videos(devices: Node) -> tuple[Video, ...]:
    """The graphics adapter that a machine has unless it is switched off: VGA where nothing else is said."""
    kind = devices.at("video").text("type") or "vga"
    return (Video(kind, _VGA_BYTES if kind == "vga" else None, 1),)


def read_passthrough(devices: Node) -> tuple[Passthrough, ...]:
    """GPUs, other devices of the host, and SR-IOV interfaces; KubeVirt counts each as VFIO."""
    gpus = (Passthrough(one.text("deviceName"), "gpu") for one in devices.all("gpus"))
    others = (Passthrough(one.text("deviceName"), "vfio-pci") for one in devices.all("hostDevices"))
    sriov = (Passthrough(None, "vfio-pci") for one in devices.all("interfaces") if one.has("sriov"))
    return (*gpus, *others, *sriov)


def read_iothreads(domain: Node, devices: Node) -> int:
    """I/O threads: one for each disk that has its own, and the policy's for the others (``GetIOThreadsCountType``).

    ``shared`` and no policy: one for all others. ``auto``: one each, up to two for each CPU requested together with the
    dedicated ones, at least one. ``supplementalPool``: as many as it says.
    """
    policy = domain.text("ioThreadsPolicy")
    if policy == "supplementalPool":
        return domain.at("ioThreads").count("supplementalPoolThreadCount") or 0
    dedicated = [one.flag("dedicatedIOThread") is True for one in devices.all("disks")]
    own, others = sum(dedicated), len(dedicated) - sum(dedicated)
    if policy is None and not own:
        return 0
    most = _auto_threads(domain) if policy == "auto" else 1
    return own + (others if own + others <= most else max(1, most - own))


def _auto_threads(domain: Node) -> int:
    """Two for each CPU requested, else of the limit, else of one; one where the emulator has a CPU of its own."""
    cpu, resources = domain.at("cpu"), domain.at("resources")
    if cpu.flag("dedicatedCpuPlacement") and cpu.flag("isolateEmulatorThread"):
        return 1
    given = (resources.at("requests").cpus("cpu"), resources.at("limits").cpus("cpu"))
    return 2 * math.ceil(next((cpus for cpus in given if cpus is not None), 1))
