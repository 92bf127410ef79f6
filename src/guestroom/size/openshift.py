"""The rule of thumb in OpenShift Virtualization's documentation."""

from __future__ import annotations

from guestroom.guest import Guest, KubeVirtTraits
from guestroom.size.model import Part, Sizing
from guestroom.size.registry import policy
from guestroom.size.terms import vcpus_or_one
from guestroom.units import GIB, MIB

_SOURCE = "OpenShift Virtualization docs, virt-cluster-resource-requirements"


def ram_part(ram_bytes: int) -> Part:
    """0.2 % of the requested memory, rounded down (printed as 1.002 x memory, the guest's own included, until 2025)."""
    return Part("share of RAM", ram_bytes * 2 // 1000, f"{_SOURCE}: 0.002 x requested memory")


def processes() -> Part:
    """218 MiB for the processes in the ``virt-launcher`` pod."""
    return Part("launcher pod", 218 * MIB, f"{_SOURCE}: 218 MiB")


def vcpu_part(vcpus: int) -> Part:
    """8 MiB for each vCPU."""
    return Part("vCPUs", vcpus * 8 * MIB, f"{_SOURCE}: 8 MiB x {vcpus} vCPUs")


def graphics(devices: int) -> Part:
    """16 MiB for each graphics device the description lists."""
    return Part("graphics devices", devices * 16 * MIB, f"{_SOURCE}: 16 MiB x {devices} graphics devices")


def additional(guest: Guest) -> tuple[Part, ...]:
    """ "Additional memory overhead": 1 GiB for each device passed through, 256 MiB for SEV, 53 MiB for a TPM."""
    devices = sum(device.kind != "usb" and not device.bridge for device in guest.passthrough)
    traits = guest.kubevirt or KubeVirtTraits()
    return (
        Part("passed-through devices", devices * GIB, f"{_SOURCE}: 1 GiB x {devices} SR-IOV or GPU devices"),
        Part("SEV", 256 * MIB if traits.sev else 0, f"{_SOURCE}: 256 MiB for SEV guests"),
        Part("TPM", 53 * MIB if guest.tpm else 0, f"{_SOURCE}: 53 MiB with a TPM"),
    )


@policy("openshift")
def openshift(guest: Guest, ram_bytes: int) -> Sizing:
    """0.2 % of RAM + 218 MiB + 8 MiB x vCPUs + 16 MiB x graphics devices, and the additions the page lists."""
    vcpus, warnings = vcpus_or_one(guest)
    fixed = (ram_part(ram_bytes), processes(), vcpu_part(vcpus), graphics(len(guest.videos)))
    return Sizing((*fixed, *additional(guest)), warnings)
