"""LF Edge EVE's formulas: the one of 2021, and today's sum of five terms.

Today's: lf-edge/eve ``pkg/pillar/hypervisor/vmm_overhead.go``, one function here for each function there.
A 1 GiB guest with 2 vCPUs comes to 401.6 MiB, which is the cgroup limit such a guest was seen to run under.
"""

from __future__ import annotations

from guestroom.guest import Guest
from guestroom.size.model import Part, Sizing
from guestroom.size.registry import policy
from guestroom.size.terms import NO_VCPUS
from guestroom.units import KIB, MIB

_SOURCE = "lf-edge/eve pkg/pillar/hypervisor/vmm_overhead.go"


def undefined_part() -> Part:
    """350 MiB that EVE's authors could not tie to the guest's configuration ("the size of disk space affects it")."""
    return Part("undefined", 350 * MIB, f"{_SOURCE} undefinedVMMOverhead: 350 MiB")


def ram_part(ram_bytes: int) -> Part:
    """2.5 % of guest RAM, mostly for page tables: KiB x 1024 x 25 / 1000 in integers.

    EVE keeps RAM in KiB, so a fraction of a KiB is not counted.
    """
    return Part(
        "share of RAM",
        ram_bytes // KIB * 1024 * 25 // 1000,
        f"{_SOURCE} ramVMMOverhead: 2.5 % of guest RAM",
    )


def qemu_part() -> Part:
    """20 MiB for QEMU's binary and libraries."""
    return Part("QEMU binary and libraries", 20 * MIB, f"{_SOURCE} qemuVMMOverhead: 20 MiB")


def cpu_part(cpus: int) -> Part:
    """3 MiB for each vCPU the guest may ever have."""
    return Part("vCPUs", cpus * 3 * MIB, f"{_SOURCE} cpuVMMOverhead: 3 MiB x {cpus} vCPUs")


def mmio_part(mmio_bytes: int) -> Part:
    """1 % of the MMIO size of graphics devices passed through, rounded down."""
    return Part("MMIO of passed-through graphics", mmio_bytes // 100, f"{_SOURCE} mmioVMMOverhead: 1 % of MMIO size")


def _cpus(guest: Guest) -> tuple[int, tuple[str, ...]]:
    """``maxCpus``, or ``vcpus`` where it is 0 or not given."""
    cpus = guest.max_vcpus or guest.vcpus
    return (1, (NO_VCPUS,)) if cpus is None else (cpus, ())


def _mmio(guest: Guest) -> tuple[int, tuple[str, ...]]:
    """Bytes of MMIO that EVE counts: GPU and VGA functions that are no bridges (EVE's ``IoOther`` and ``IoHDMI``)."""
    counted = [device for device in guest.passthrough if device.is_graphics and not device.bridge]
    unknown = sum(device.mmio_bytes is None for device in counted)
    warning = (f"the MMIO size of {unknown} passed-through graphics device(s) is not known: not counted",)
    return sum(device.mmio_bytes or 0 for device in counted), warning if unknown else ()


@policy("eve-2021")
def eve_2021(guest: Guest, ram_bytes: int) -> Sizing:
    """The larger of 2.5 % of guest RAM and 600 MiB (lf-edge/eve PR 2072 as merged)."""
    share_bytes, least_bytes = ram_bytes * 25 // 1000, 600 * MIB
    source = "lf-edge/eve PR 2072: the larger of 2.5 % of guest RAM and 600 MiB"
    name = "share of RAM" if share_bytes > least_bytes else "least"
    return Sizing((Part(name, max(share_bytes, least_bytes), source),))


@policy("eve")
def eve(guest: Guest, ram_bytes: int) -> Sizing:
    """EVE's estimate since 2023 (``estimatedVMMOverhead``)."""
    cpus, cpu_warnings = _cpus(guest)
    mmio_bytes, mmio_warnings = _mmio(guest)
    parts = (undefined_part(), ram_part(ram_bytes), qemu_part(), cpu_part(cpus), mmio_part(mmio_bytes))
    return Sizing(parts, (*cpu_warnings, *mmio_warnings))
