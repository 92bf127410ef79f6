"""What of a guest costs memory, as amounts: the one function that both the fit and the ``measured`` policy read.

Each term has a physical meaning and a unit of its own; what one unit costs is the model's business
(``measured_model``), fitted on the study's runs (``guestroom study fit``). A term the study has nothing on has a cost
from a stated source instead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from guestroom.guest import Disk, Guest
from guestroom.queues import CLUSTER_BYTES, has_clusters, requests_in_flight
from guestroom.units import GIB, KIB, MIB

L2_CACHE_MOST_BYTES = 32 * MIB
"""``DEFAULT_L2_CACHE_MAX_SIZE`` on Linux, block/qcow2.h."""
ASSUMED_VIRTUAL_BYTES = 64 * GIB
"""Virtual size of an image where a description does not say: an 8 MiB L2 cache with clusters of 64 KiB."""
_VGA_BYTES = 16 * MIB
"""``vgamem_mb`` of a standard VGA where nobody says (hw/display/vga-pci.c)."""


@dataclass(frozen=True, slots=True)
class Load:
    """What the guest does with its devices: no description says, so a sizing assumes and a fit knows."""

    requests: int = 16
    """Requests in flight to the busiest disk; no more than its queues hold are counted."""
    copies: bool = True
    """Whether writes go to clusters that must first be read from a backing file."""
    streams_written: bool = False
    """Whether it writes without end: through the host's cache, the kernel's own memory for it then grows as well."""
    inflates: bool = False
    """Whether reads go to compressed clusters."""
    vnc_clients: int = 1
    """Of a guest that has VNC."""
    streams: int = 0
    """Network streams at full speed."""
    job: str | None = None
    """What the host does to it meanwhile: one of ``JOBS``."""
    snapshots: int = 0
    """Layers put above its first disk while it runs."""
    hot_disks: int = 0
    """qcow2 disks plugged in while it runs."""

    @property
    def is_worked_on(self) -> bool:
        """Whether the host does something to the guest, too: a job, snapshots, disks plugged in."""
        return self.job is not None or self.snapshots > 0 or self.hot_disks > 0


JOBS: Mapping[str, str] = {
    "mirror": "mirror job",
    "backup": "backup job",
    "migrate": "migration",
    "savevm": "internal snapshot",
}
"""Term of each."""
TYPICAL = Load()
"""What ``measured`` assumes: 16 requests in flight (the load of the study's base), all of them copies on write, and
somebody at the console. What a guest can do beyond is its burst, which the headroom covers (``describe.burst``);
the kernel's memory for a stream through the host's cache goes with the cache when the guest's limit is near."""


@dataclass(frozen=True, slots=True)
class Term:
    """One addend of the model."""

    name: str
    unit: str
    """What one unit of its amount is."""
    stated_bytes: float | None = None
    """Cost of one unit where no run of the study varies it; None where the study always does."""
    stated_source: str = ""
    knots: tuple[float, ...] = ()
    """Where its cost per unit may fall: amounts in the unit. It never rises."""


_KVM = "not measured: no KVM here"
_UNMEASURED = "not measured"
TERMS: tuple[Term, ...] = (
    Term("QEMU", "process"),
    Term("copy of the kernel image", "-kernel"),
    Term("TCG code buffer", "byte of it touched"),
    Term("vCPUs", "vCPU"),
    Term("KVM vCPUs", "vCPU", 3.0 * MIB, f"{_KVM}; 3 MiB each by lf-edge/eve vmm_overhead.go cpuVMMOverhead"),
    Term("KVM page tables", "byte of RAM", 1 / 512, f"{_KVM}; 8 bytes for 4 KiB (arch/x86/kvm/mmu): RAM / 512"),
    Term("page tables, anonymous RAM", "byte of RAM"),
    Term("page tables, shared RAM", "byte of RAM"),
    Term("disks", "disk"),
    Term("disk queues", "queue beyond one a disk"),
    Term("I/O threads", "thread"),
    Term("L2 caches", "byte of cache"),
    Term("qcow2 tables", "byte of cluster"),
    Term("write-back", "guest with such a disk"),
    Term("write-back of streams", "guest with such a disk"),
    Term("requests in flight", "request"),
    Term("requests for clusters", "request"),
    Term("clusters in flight", "byte: clusters x size", knots=(16.0 * MIB,)),
    Term("mirror job", "job"),
    Term("backup job", "job"),
    Term("migration", "job"),
    Term("internal snapshot", "job"),
    Term("snapshot layers", "layer"),
    Term("network streams", "stream"),
    Term("VGA", "adapter"),
    Term("virtio graphics", "adapter"),
    Term("qxl", "adapter"),
    Term("other graphics", "adapter", 16.0 * MIB, f"{_UNMEASURED}; 16 MiB each by oVirt's VideoDeviceSettings"),
    Term("video memory", "byte beyond 16 MiB", 1.0, f"{_UNMEASURED}; all that is given"),
    Term("remote display", "server"),
    Term("remote display clients", "client"),
    Term("USB", "controller or device"),
    Term("network", "queue pair"),
    Term("balloon", "device"),
    Term("firmware flash", "guest with it", 4.0 * MIB, f"{_UNMEASURED}; size of OVMF_CODE_4M.fd and OVMF_VARS_4M.fd"),
    Term("shared folders", "folder", 1.0 * MIB, f"{_UNMEASURED}; as a disk, rounded up"),
    Term("TPM", "device", 53.0 * MIB, f"{_UNMEASURED}; swtpm beside it, 53 MiB by kubevirt hypervisorbackend.go"),
    Term("MMIO passed through", "byte", 0.01, f"{_UNMEASURED}; 1 % by lf-edge/eve vmm_overhead.go mmioVMMOverhead"),
    Term("IOMMU page tables", "byte of RAM", 1 / 512, f"{_UNMEASURED}; 8 bytes for 4 KiB of pinned RAM: RAM / 512"),
    Term("memory backends beside RAM", "byte", 1.0, "a memory backend plugged nowhere is overhead: its size"),
)  # fmt: skip
BY_NAME: Mapping[str, Term] = {term.name: term for term in TERMS}


def amounts(guest: Guest, ram_bytes: int, load: Load, touched_bytes: float) -> dict[str, float]:
    """How much of each term a guest under a load has, in the term's unit; terms it has nothing of are left out.

    ``touched_bytes`` is how much of TCG's code buffer a guest touches where it is large enough. What is not described
    is taken as QEMU takes it: TCG, one vCPU, write-back; image sizes as ``assumed`` says.
    """
    vcpus = max(guest.vcpus or 1, guest.max_vcpus or 1)
    tcg = guest.accelerator in (None, "tcg")
    found = {
        "QEMU": 1.0,
        "copy of the kernel image": float(guest.kernel is not None),
        "TCG code buffer": min(guest.tb_bytes or touched_bytes, touched_bytes) if tcg else 0.0,
        "vCPUs": float(vcpus),
        "KVM vCPUs": 0.0 if tcg else float(vcpus),
        "KVM page tables": 0.0 if tcg else float(ram_bytes),
        "firmware flash": float(guest.firmware is not None),
        "shared folders": float(guest.shares),
        "TPM": float(guest.tpm),
        "USB": float(guest.usb_controllers + guest.usb_devices),
        "network": float(sum(max(1, nic.queues or 1) for nic in guest.nics)),
        "balloon": float(guest.balloon),
        "I/O threads": float(guest.iothreads),
        "MMIO passed through": float(sum(each.mmio_bytes or 0 for each in guest.passthrough if not each.bridge)),
        "IOMMU page tables": float(ram_bytes) if any(each.kind != "usb" for each in guest.passthrough) else 0.0,
        "memory backends beside RAM": float(
            sum(each.size_bytes or 0 for each in guest.memory_backends if not each.backs_ram)
        ),
        "snapshot layers": float(load.snapshots),
        "network streams": float(load.streams if guest.nics else 0),
        **({JOBS[load.job]: 1.0} if load.job is not None else {}),
        **_page_tables(guest, ram_bytes),
        **_disks(guest, vcpus, load),
        **_displays(guest, load),
    }
    return {name: amount for name, amount in found.items() if amount}


def _page_tables(guest: Guest, ram_bytes: int) -> dict[str, float]:
    """QEMU's own page tables: of huge pages none worth counting; of shared memory twice, as no huge pages help."""
    if guest.hugepages:
        return {}
    shared = any(each.backs_ram and (each.share or each.kind in ("memfd", "file")) for each in guest.memory_backends)
    name = "page tables, shared RAM" if shared or guest.mem_path is not None else "page tables, anonymous RAM"
    return {name: float(ram_bytes)}


def _disks(guest: Guest, vcpus: int, load: Load) -> dict[str, float]:
    plugged = [Disk(format="qcow2", interface="virtio-blk", cache="none", virtual_bytes=GIB)] * load.hot_disks
    disks = [*(disk for disk in guest.disks if disk.interface != "pflash"), *plugged]
    clustered = [disk for disk in disks if has_clusters(disk) and not disk.cdrom]
    images = 2 if load.copies else 1
    writable = [disk for disk in clustered if not disk.read_only]
    busy = [*(writable if load.copies else ()), *(clustered if load.inflates else ())]
    cached = any(not disk.cdrom and disk.cache not in ("none", "directsync") for disk in disks)
    return {
        "disks": float(len(disks)),
        "disk queues": float(sum(max(1, disk.queues or vcpus) - 1 for disk in disks if disk.interface == "virtio-blk")),
        "L2 caches": float(sum(map(_l2_cache_bytes, clustered))),
        "qcow2 tables": float(images * sum(disk.cluster_bytes or CLUSTER_BYTES for disk in clustered)),
        "write-back": float(cached),
        "write-back of streams": float(cached and load.streams_written),
        "requests in flight": float(max((_requests(disk, vcpus, load) for disk in disks), default=0)),
        "requests for clusters": float(max((_requests(disk, vcpus, load) for disk in busy), default=0)),
        "clusters in flight": max((_flight_bytes(disk, vcpus, load) for disk in busy), default=0.0),
    }  # fmt: skip


def _requests(disk: Disk, vcpus: int, load: Load) -> int:
    """Requests in flight to one disk: what the load keeps there, at most what its queues hold."""
    return min(load.requests, requests_in_flight(disk, vcpus))


def _flight_bytes(disk: Disk, vcpus: int, load: Load) -> float:
    """Bytes of clusters that requests to one disk hold at once.

    A second request for a cluster that is being copied waits for the first (``handle_dependencies``,
    block/qcow2-cluster.c), so of N clusters q random requests hold N (1 - (1 - 1/N)^q): balls into bins. Who
    decompresses waits for nobody (``qcow2_co_preadv_compressed``, block/qcow2.c).
    """
    requests, cluster = _requests(disk, vcpus, load), disk.cluster_bytes or CLUSTER_BYTES
    if load.inflates:
        return float(requests * cluster)
    clusters = max(1.0, _virtual_bytes(disk) / cluster)
    return clusters * -math.expm1(requests * math.log1p(-1 / clusters)) * cluster if clusters > 1 else float(cluster)


def _virtual_bytes(disk: Disk) -> int:
    return ASSUMED_VIRTUAL_BYTES if disk.virtual_bytes is None else disk.virtual_bytes


def _l2_cache_bytes(disk: Disk) -> int:
    """The cache that covers all of the disk, at most what it may be (``read_cache_sizes``, block/qcow2.c)."""
    most = L2_CACHE_MOST_BYTES if disk.l2_cache_bytes is None else disk.l2_cache_bytes
    return min(_virtual_bytes(disk) // (disk.cluster_bytes or CLUSTER_BYTES) * 8, most)


def _displays(guest: Guest, load: Load) -> dict[str, float]:
    kinds = [_graphics(video.model) for video in guest.videos]
    remote = sum(kind in ("vnc", "spice") for kind in guest.displays)
    return {
        **{kind: float(kinds.count(kind)) for kind in dict.fromkeys(kinds)},
        "video memory": float(sum(max(0, (video.vga_bytes or 0) - _VGA_BYTES) for video in guest.videos)),
        "remote display": float(remote),
        "remote display clients": float(load.vnc_clients if remote else 0),
    }


def _graphics(model: str) -> str:
    """The term of a graphics adapter, by QEMU's name or libvirt's."""
    name = model.lower()
    if name.startswith("virtio"):
        return "virtio graphics"
    if name.startswith("qxl"):
        return "qxl"
    return "VGA" if name in ("vga", "std", "secondary-vga", "bochs-display") else "other graphics"


def assumed(guest: Guest) -> tuple[str, ...]:
    """What the description leaves out and matters, a sentence each."""
    found = []
    images = [disk for disk in guest.disks if has_clusters(disk) and not disk.cdrom]
    blank = sum(disk.virtual_bytes is None for disk in images)
    if blank:
        found.append(
            f"the virtual size of {blank} image{'s' if blank > 1 else ''} is not known: "
            f"{ASSUMED_VIRTUAL_BYTES // GIB} GiB assumed, with {ASSUMED_VIRTUAL_BYTES // (64 * KIB) * 8 // MIB} MiB of "
            "L2 cache each (QEMU makes at most 32)"
        )
    if guest.source == "given" and not (guest.disks or guest.nics or guest.videos):
        found.append("no disk, network or display is described: none is counted")
    return tuple(found)
