"""OpenShift's rule of thumb, term by term."""

from dataclasses import replace

from guestroom.guest import Guest, KubeVirtTraits, Passthrough, Video
from guestroom.size import estimate
from guestroom.size.openshift import ram_part
from guestroom.units import GIB, MIB

GUEST = Guest(ram_bytes=1000 * MIB, vcpus=2)


def overhead(guest: Guest) -> int:
    """The overhead in bytes."""
    return estimate(guest, "openshift").overhead_bytes


def test_the_formula_of_the_documentation() -> None:
    """0.2 % of RAM + 218 MiB + 8 MiB x vCPUs + 16 MiB x graphics devices."""
    assert overhead(GUEST) == (2 + 218 + 16) * MIB
    assert overhead(replace(GUEST, videos=(Video("VGA"), Video("qxl")))) == (2 + 218 + 16 + 32) * MIB
    assert overhead(replace(GUEST, vcpus=None)) == (2 + 218 + 8) * MIB


def test_the_share_of_ram_rounds_down() -> None:
    """999 bytes of RAM add 1 byte, 499 none."""
    assert ram_part(999).bytes == 1
    assert ram_part(499).bytes == 0


def test_the_additions_the_page_lists() -> None:
    """1 GiB for each device passed through (not for bridges or USB), 256 MiB for SEV, 53 MiB for a TPM."""
    devices = (
        Passthrough("01:00.0", "gpu"),
        Passthrough("02:00.0", "vfio-pci"),
        Passthrough("00:01.0", "vfio-pci", bridge=True),
        Passthrough(None, "usb"),
    )
    assert overhead(replace(GUEST, passthrough=devices)) == overhead(GUEST) + 2 * GIB
    assert overhead(replace(GUEST, tpm=True)) == overhead(GUEST) + 53 * MIB
    assert overhead(replace(GUEST, kubevirt=KubeVirtTraits(sev=True))) == overhead(GUEST) + 256 * MIB
