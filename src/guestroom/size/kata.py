"""Kata Containers' pod overhead: one figure for each sandbox."""

from __future__ import annotations

from guestroom.guest import Guest
from guestroom.size.model import Part, Sizing
from guestroom.size.registry import policy
from guestroom.units import MIB


@policy("kata")
def kata(guest: Guest, ram_bytes: int) -> Sizing:
    """320 MiB for each sandbox run by QEMU (``podFixed``; 160 MiB was too small, kata-containers issue 6533)."""
    return Sizing((Part("sandbox", 320 * MIB, "kata-containers runtime class kata-qemu, podFixed: 320 MiB"),))
