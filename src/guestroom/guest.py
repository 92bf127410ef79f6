"""What a guest is before it runs, whatever described it.

One type for QEMU command lines, ``-readconfig`` files, libvirt domains and KubeVirt machines. What a
description does not say is ``None``: unknown is not zero. Names are checked here too, because a guest's
name becomes a cgroup's folder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from guestroom.errors import GuestNameError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}\Z")


def check_name(name: str) -> str:
    """Return ``name`` if it may name a guest; raise ``GuestNameError`` otherwise.

    1 to 63 letters, digits, ``-`` or ``_``, beginning with a letter or digit: the name becomes a folder in
    the cgroup tree (so no slash, no dot, no newline). ``ram`` and ``vmm`` are guestroom's own folders, ``tasks``
    and ``notify_on_release`` are files the kernel puts into every v1 cgroup.
    """
    if not _NAME.match(name):
        shown = name if len(name) <= 40 else name[:37] + "..."
        raise GuestNameError(
            f"guest name {shown!r} is not allowed",
            numbers={"length": len(name)},
            hint="use 1 to 63 letters, digits, '-' or '_', beginning with a letter or digit",
        )
    if name in ("ram", "vmm"):
        raise GuestNameError(f"guest name {name!r} is taken by guestroom's own folders", hint="choose another name")
    if name in ("tasks", "notify_on_release"):
        raise GuestNameError(f"guest name {name!r} is taken by a file of every v1 cgroup", hint="choose another name")
    return name


@dataclass(frozen=True, slots=True)
class Disk:
    """A block device: what its back end is made of, as far as the description says."""

    id: str | None = None
    format: str | None = None
    """``raw``, ``qcow2``, ...; None where QEMU would probe."""
    file: str | None = None
    interface: str | None = None
    """``virtio-blk``, ``scsi``, ``ide``, ``nvme``, ``floppy``, ``pflash``, ... of the front end."""
    cache: str | None = None
    aio: str | None = None
    read_only: bool = False
    cdrom: bool = False
    queues: int | None = None
    queue_size: int | None = None
    l2_cache_bytes: int | None = None
    cluster_bytes: int | None = None
    """Known only where a description carries it: QEMU's argv does not."""
    virtual_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Nic:
    """A network device with its back end."""

    id: str | None = None
    model: str | None = None
    backend: str | None = None
    """``user``, ``tap``, ``bridge``, ``vhost-user``, ``socket``, ..."""
    queues: int | None = None
    vhost: bool = False


@dataclass(frozen=True, slots=True)
class Video:
    """A graphics adapter."""

    model: str
    vga_bytes: int | None = None
    """VGA memory, where given."""
    outputs: int | None = None
    hostmem_bytes: int | None = None
    """Window into host memory that virtio-gpu maps its blobs in, where given; what is mapped there comes on demand."""


@dataclass(frozen=True, slots=True)
class MemoryBackend:
    """A ``memory-backend-*`` object."""

    id: str
    kind: str
    """``ram``, ``file``, ``memfd``, ``epc``: the part behind ``memory-backend-``."""
    size_bytes: int | None
    backs_ram: bool
    """True where it is guest RAM (machine, NUMA node or memory device); others are overhead."""
    path: str | None = None
    share: bool | None = None
    prealloc: bool | None = None
    hugetlb: bool | None = None


@dataclass(frozen=True, slots=True)
class Passthrough:
    """A host device given to the guest."""

    address: str | None
    kind: str
    """``vfio-pci``, ``vga`` or ``gpu`` where known, ``usb``, ``mdev``, ..."""
    mmio_bytes: int | None = None
    bridge: bool = False

    @property
    def is_graphics(self) -> bool:
        """True for GPUs and VGA functions, whose MMIO EVE counts."""
        return self.kind in ("gpu", "vga")


@dataclass(frozen=True, slots=True)
class KubeVirtTraits:
    """What only a KubeVirt machine says, for the ``kubevirt`` policy."""

    cpu_limit: float | None = None
    cpu_request: float | None = None
    memory_request_bytes: int | None = None
    """Memory asked of Kubernetes, which overcommitment makes less than the guest's RAM; None counts as that RAM."""
    dedicated_cpus: bool = False
    guaranteed_qos: bool = False
    downward_metrics: bool = False
    sev: bool = False
    exec_liveness_probe: bool = False
    exec_readiness_probe: bool = False
    added_overhead_bytes: int = 0
    overhead_ratio: str | None = None
    """``additionalGuestMemoryOverheadRatio`` as written; an unparsable one is ignored by KubeVirt."""


@dataclass(frozen=True, slots=True)
class Guest:
    """A guest machine before it runs.

    ``ram_bytes`` is what was promised to the guest: the boot RAM, or the hot-plug maximum where the
    description has one (``maxmem``, virtio-mem); weights and formulas use it. ``None`` means the
    description does not say (for example a ``-readconfig`` file nobody read).
    """

    name: str | None = None
    ram_bytes: int | None = None
    boot_ram_bytes: int | None = None
    vcpus: int | None = None
    max_vcpus: int | None = None
    arch: str | None = None
    """``x86_64``, ``aarch64``, ...: from the binary's name or the machine's description."""
    machine: str | None = None
    accelerator: str | None = None
    """``tcg``, ``kvm``, ...; the first one named. None where the description does not say."""
    tb_bytes: int | None = None
    """TCG code buffer (``tb-size``)."""
    disks: tuple[Disk, ...] = ()
    nics: tuple[Nic, ...] = ()
    videos: tuple[Video, ...] = ()
    displays: tuple[str, ...] = ()
    memory_backends: tuple[MemoryBackend, ...] = ()
    passthrough: tuple[Passthrough, ...] = ()
    iothreads: int = 0
    shares: int = 0
    usb_controllers: int = 0
    usb_devices: int = 0
    tpm: bool = False
    balloon: bool = False
    sounds: int = 0
    numa_nodes: int = 0
    firmware: str | None = None
    kernel: str | None = None
    initrd: str | None = None
    mem_path: str | None = None
    mem_lock: bool = False
    hugepages: bool = False
    paused: bool = False
    """The description asks for a stopped start (QEMU's ``-S``)."""
    incoming: bool = False
    daemonize: bool = False
    kubevirt: KubeVirtTraits | None = None
    graphics_off: bool = False
    """The description switches the graphics device off explicitly (KubeVirt's autoattachGraphicsDevice)."""
    source: str = "given"
    """Format it was read from: ``qemu-argv``, ``readconfig``, ``given``, ..."""
    unknown: tuple[str, ...] = field(default=())
    """Options that were kept but not understood, as written."""
