"""KubeVirt's sum, and Harvester's, which is the same with a factor.

kubevirt/kubevirt ``pkg/hypervisor/kvm/hypervisorbackend.go``, ``GetMemoryOverhead``: one function here for each
term there, in its order. 1 vCPU and 2 GiB come to 292 MiB. Kubernetes quantities are rounded *up* to whole
thousands of bytes in two places, which is kept: without it large guests differ by a byte.
"""

from __future__ import annotations

import math
import re

from guestroom.guest import Guest, KubeVirtTraits
from guestroom.size.model import Part, Sizing
from guestroom.size.registry import policy
from guestroom.size.terms import NO_VCPUS
from guestroom.units import GIB, MIB

_SOURCE = "kubevirt/kubevirt pkg/hypervisor/kvm/hypervisorbackend.go"
_HARVESTER_SOURCE = "harvester/harvester pkg/settings: additional-guest-memory-overhead-ratio"
HARVESTER_RATIO = "1.5"
"""``AdditionalGuestMemoryOverheadRatioDefault`` (harvester/harvester pkg/settings)."""

_RATIO = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\Z")
"""What Go's ``strconv.ParseFloat`` takes, less hexadecimal, infinite and NaN."""


def _kilo_up(size_bytes: int) -> int:
    """Thousands of bytes, rounded up: Kubernetes' ``Quantity.ScaledValue(resource.Kilo)``."""
    return -(-size_bytes // 1000)


def page_tables(requested_bytes: int) -> Part:
    """One bit for every 512 bits of memory requested, of whole thousands of bytes, rounded down."""
    return Part("page tables", _kilo_up(requested_bytes) * 1000 // 512, f"{_SOURCE}: requested RAM / 512")


def components() -> tuple[Part, ...]:
    """The processes beside the guest, by their resident size as seen in ``ps``."""
    return tuple(
        Part(name, mib * MIB, f"{_SOURCE} {constant}: {mib} MiB")
        for name, mib, constant in (
            ("launcher monitor", 25, "VirtLauncherMonitorOverhead"),
            ("launcher", 100, "VirtLauncherOverhead"),
            ("virtlogd", 25, "VirtlogdOverhead"),
            ("virtqemud", 40, "VirtqemudOverhead"),
            ("QEMU", 50, "QemuOverhead"),
        )
    )


def vcpu_part(vcpus: int) -> Part:
    """8 MiB for each vCPU."""
    return Part("vCPUs", vcpus * 8 * MIB, f"{_SOURCE}: 8 MiB x {vcpus} vCPUs")


def io_thread() -> Part:
    """8 MiB for the I/O thread, whatever the guest says about I/O threads."""
    return Part("I/O thread", 8 * MIB, f"{_SOURCE}: 8 MiB for the I/O thread")


def video(guest: Guest) -> Part:
    """32 MiB of video RAM unless the graphics device is switched off (``autoattachGraphicsDevice: false``)."""
    return Part("video RAM", 0 if guest.graphics_off else 32 * MIB, f"{_SOURCE}: 32 MiB unless graphics is off")


def arm_flash(guest: Guest) -> Part:
    """128 MiB on arm64: two pflash devices of 64 MiB for UEFI."""
    on_arm = guest.arch in ("aarch64", "arm64")
    return Part("arm64 pflash", 128 * MIB if on_arm else 0, f"{_SOURCE}: 128 MiB on arm64")


def vfio(guest: Guest) -> Part:
    """1 GiB with any VFIO device (host device, GPU, SR-IOV interface): all RAM is locked, and MMIO space."""
    has_vfio = any(device.kind != "usb" for device in guest.passthrough)
    return Part("VFIO", GIB if has_vfio else 0, f"{_SOURCE}: 1 GiB with any VFIO device")


def downward_metrics(traits: KubeVirtTraits) -> Part:
    """1 MiB for the downward metrics volume, which is memory."""
    return Part("downward metrics", MIB if traits.downward_metrics else 0, f"{_SOURCE}: 1 MiB downward metrics")


def probes(traits: KubeVirtTraits) -> Part:
    """10 MiB for each exec probe, and 100 MiB once for the probing program."""
    count = traits.exec_liveness_probe + traits.exec_readiness_probe
    size_bytes = (10 * count + 100) * MIB if count else 0
    return Part("exec probes", size_bytes, f"{_SOURCE} addProbeOverheads: 10 MiB x {count} exec probes + 100 MiB")


def sev(traits: KubeVirtTraits) -> Part:
    """256 MiB for SEV, SEV-ES and SEV-SNP guests (libvirt's launch security notes)."""
    return Part("SEV", 256 * MIB if traits.sev else 0, f"{_SOURCE}: 256 MiB for SEV guests")


def tpm(guest: Guest) -> Part:
    """53 MiB for the swtpm process."""
    return Part("TPM", 53 * MIB if guest.tpm else 0, f"{_SOURCE}: 53 MiB with a TPM")


def dedicated(traits: KubeVirtTraits) -> Part:
    """100 MiB when CPUs are dedicated or the pod's quality of service is Guaranteed."""
    applies = traits.dedicated_cpus or traits.guaranteed_qos
    return Part("dedicated or guaranteed", 100 * MIB if applies else 0, f"{_SOURCE}: 100 MiB dedicated or Guaranteed")


def added(traits: KubeVirtTraits) -> Part:
    """What the machine's own ``reservedOverhead.addedOverhead`` says."""
    return Part("added overhead", traits.added_overhead_bytes, "the machine's reservedOverhead.addedOverhead")


def ratio_part(overhead_bytes: int, ratio: str | None, source: str) -> tuple[Part, tuple[str, ...]]:
    """What ``additionalGuestMemoryOverheadRatio`` adds, as ``MultiplyMemory`` does: in whole thousands of bytes.

    A ratio that is not a number is ignored, as KubeVirt does, and so is one below 1, which KubeVirt's webhook refuses;
    either is warned of, because it silently lowers the result.
    """
    name = "overhead ratio"
    if ratio is None or ratio == "":
        return Part(name, 0, source), ()
    factor = float(ratio) if _RATIO.match(ratio) else math.nan
    added = _kilo_up(overhead_bytes) * (factor - 1.0)
    if not math.isfinite(added) or factor < 1.0:
        return Part(name, 0, source), (f"the overhead ratio {ratio[:40]!r} is not a number of at least 1: ignored",)
    return Part(name, int(added) * 1000, f"{source} x {ratio}"), ()


def vcpus_of(guest: Guest) -> tuple[int, tuple[str, ...]]:
    """vCPUs of the topology, else the CPU limit, else the CPU request, rounded up; at least 1."""
    traits = guest.kubevirt or KubeVirtTraits()
    for given in (guest.vcpus, traits.cpu_limit, traits.cpu_request):
        if given is not None:
            return max(1, math.ceil(given)), ()
    return 1, (NO_VCPUS,)


def _sum(guest: Guest, ram_bytes: int) -> Sizing:
    """Everything before the ratio."""
    traits = guest.kubevirt or KubeVirtTraits()
    vcpus, warnings = vcpus_of(guest)
    requested_bytes = ram_bytes if traits.memory_request_bytes is None else traits.memory_request_bytes
    parts = (
        page_tables(requested_bytes),
        *components(),
        vcpu_part(vcpus),
        io_thread(),
        video(guest),
        arm_flash(guest),
        vfio(guest),
        downward_metrics(traits),
        probes(traits),
        sev(traits),
        tpm(guest),
        dedicated(traits),
        added(traits),
    )
    return Sizing(parts, warnings)


def _with_ratio(sizing: Sizing, ratio: str | None, source: str) -> Sizing:
    part, warnings = ratio_part(sum(part.bytes for part in sizing.parts), ratio, source)
    return Sizing((*sizing.parts, part), (*sizing.warnings, *warnings))


@policy("kubevirt")
def kubevirt(guest: Guest, ram_bytes: int) -> Sizing:
    """KubeVirt's estimate, with the cluster's ratio last where one is given."""
    ratio = guest.kubevirt.overhead_ratio if guest.kubevirt else None
    return _with_ratio(_sum(guest, ram_bytes), ratio, f"{_SOURCE} additionalGuestMemoryOverheadRatio")


@policy("harvester")
def harvester(guest: Guest, ram_bytes: int) -> Sizing:
    """KubeVirt's sum times the cluster's ratio, which Harvester sets to 1.5 where nobody sets another."""
    ratio = (guest.kubevirt.overhead_ratio if guest.kubevirt else None) or HARVESTER_RATIO
    return _with_ratio(_sum(guest, ram_bytes), ratio, _HARVESTER_SOURCE)
