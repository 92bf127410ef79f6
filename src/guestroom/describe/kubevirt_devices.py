"""The devices of a KubeVirt machine: disks with their volumes, networks, graphics, host devices, I/O threads."""

from __future__ import annotations

import math
from collections.abc import Mapping

from guestroom.describe.kubetree import Node
from guestroom.guest import Disk, MemoryBackend, Nic, Passthrough, Video
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
    "cloudInitNoCloud": ("", "raw"),
    "cloudInitConfigDrive": ("", "raw"),
    "sysprep": ("", "raw"),
    "configMap": ("name", "raw"),
    "secret": ("secretName", "raw"),
    "downwardAPI": ("", "raw"),
    "serviceAccount": ("serviceAccountName", "raw"),
    "downwardMetrics": ("", "raw"),
}
"""The field that names a volume's store, and the format virt-launcher attaches it in: an overlay is qcow2, an image it
makes itself raw (``Convert_v1_Volume_To_api_Disk``, pkg/virt-launcher/virtwrap/converter)."""
_DEFAULT_BUS = {"amd64": "sata", "arm64": "virtio", "s390x": "virtio"}
"""Bus of a disk that names none (``setDefaultAmd64DisksBus`` and its likes, pkg/defaults)."""
_TAPS = frozenset({"bridge", "masquerade", "macvtap"})
_BINDINGS = ("bridge", "masquerade", "macvtap", "slirp", "passt", "passtBinding")
_VGA_BYTES = 16 * MIB
"""VGA memory that the converter asks for (``graphicsDeviceDefaultVRAM``, virtwrap/converter/compute/graphics.go)."""
_MOST_NIC_QUEUES = 256
"""``MultiQueueMaxQueues``: what a tap device takes."""
_REDIRECTED = 4
"""USB redirections that ``clientPassthrough`` makes (``UsbClientPassthroughMaxNumberOf``)."""


def read_disks(spec: Node, devices: Node, vcpus: int | None, arch: str | None) -> tuple[Disk, ...]:
    """Disks with what their volumes say; a CD drive without a volume holds nothing and is none.

    A volume that neither a disk nor a filesystem names is given a disk (``SetDefaultVolumeDisk``).
    """
    volumes = {name: volume for volume in spec.all("volumes") if (name := volume.text("name")) is not None}
    queues = vcpus if devices.flag("blockMultiQueue") else None
    named = [one for kind in ("disks", "filesystems") for one in devices.all(kind)]
    taken = {one.text("name") for one in named}
    given = [*devices.all("disks")]
    given += [
        Node({"name": name}, volume.path)
        for name, volume in volumes.items()
        if name not in taken and not volume.has("memoryDump")
    ]
    disks = (_disk(disk, volumes, queues, _DEFAULT_BUS.get(arch or "")) for disk in given)
    return tuple(disk for disk in disks if disk is not None)


def _disk(disk: Node, volumes: Mapping[str, Node], queues: int | None, default_bus: str | None) -> Disk | None:
    name = disk.text("name")
    volume = volumes.get(name or "")
    cdrom = disk.has("cdrom")
    if cdrom and volume is None:
        return None
    target = disk.at("cdrom" if cdrom else "lun" if disk.has("lun") else "disk")
    metrics = volume is not None and volume.has("downwardMetrics")  # always virtio and read-only
    bus = "virtio" if metrics else target.text("bus") or default_bus
    file, format_ = _volume(volume) if volume is not None else (None, None)
    read_only = target.flag("readonly") is not False if cdrom else target.flag("readonly") is True
    return Disk(
        id=name,
        format=format_,
        file=file,
        interface=_BUSES.get(bus or "", bus),
        cache=disk.text("cache"),
        aio=disk.text("io"),
        read_only=read_only or metrics,
        cdrom=cdrom,
        queues=queues if bus == "virtio" else None,
    )


def _volume(volume: Node) -> tuple[str | None, str | None]:
    for kind, (field, format_) in _VOLUMES.items():
        if volume.has(kind):
            return volume.at(kind).text(field), format_
    return None, None


def read_nics(spec: Node, devices: Node, vcpus: int | None) -> tuple[Nic, ...]:
    """Network cards; those passed through whole (``sriov``) are devices of the host.

    A machine that says nothing of networks is put on the pod's (``SetDefaultNetworkInterface``).
    """
    queues = min(vcpus, _MOST_NIC_QUEUES) if vcpus and devices.flag("networkInterfaceMultiqueue") else None
    given = [*devices.all("interfaces")]
    if (
        not given
        and not any(True for _ in spec.all("networks"))
        and devices.flag("autoattachPodInterface") is not False
    ):
        given = [Node({"name": "default", "masquerade": {}}, f"{devices.path}.interfaces")]
    return tuple(_nic(one, queues) for one in given if not one.has("sriov"))


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


def read_videos(devices: Node, arch: str | None) -> tuple[Video, ...]:
    """The graphics adapter that a machine has unless it is switched off: VGA, on ARM and s390x virtio, where nothing
    else is said."""
    kind = devices.at("video").text("type") or ("virtio" if arch in ("arm64", "s390x") else "vga")
    return (Video(kind, _VGA_BYTES if kind == "vga" else None, 1),)


def read_usb(devices: Node, arch: str | None, *, graphics_off: bool) -> tuple[int, int]:
    """USB controllers and what is on them: inputs (USB where no bus is named), redirections and disks.

    ARM gets a keyboard, and a tablet where there is none, with its graphics (``addArchSpecificInputDevices``), and
    always has a controller; elsewhere there is one where something needs it (``IsUSBNeeded``).
    """
    inputs = [*devices.all("inputs")]
    count = sum((one.text("bus") or "usb") == "usb" for one in inputs)
    if not inputs and devices.flag("autoattachInputDevice"):
        count += 1
    if arch == "arm64" and not graphics_off:
        count += 1 if any(one.text("type") == "tablet" for one in inputs) else 2
    count += sum(one.at("disk").text("bus") == "usb" for one in devices.all("disks"))
    count += _REDIRECTED if devices.has("clientPassthrough") else 0
    return int(count > 0 or arch == "arm64"), count


def read_backends(domain: Node, devices: Node, ram_bytes: int | None) -> tuple[MemoryBackend, ...]:
    """RAM in a memfd: for huge pages, and where virtiofs or passt share it (``MemoryBackingConfigurator``)."""
    huge = domain.at("memory").has("hugepages")
    shared = any(one.has("virtiofs") for one in devices.all("filesystems")) or any(
        one.has("passt") or one.has("passtBinding") or one.at("binding").text("name") == "passt"
        for one in devices.all("interfaces")
    )
    if not huge and not shared:
        return ()
    return (
        MemoryBackend(
            id="pc.ram", kind="memfd", size_bytes=ram_bytes, backs_ram=True, share=shared or None, hugetlb=huge
        ),
    )


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
