"""The two policies this project began with: one figure for all, or one share of RAM for all."""

from __future__ import annotations

from guestroom.guest import Guest
from guestroom.size.model import Part, Sizing
from guestroom.size.registry import policy
from guestroom.units import MIB


@policy("fixed")
def fixed(guest: Guest, ram_bytes: int) -> Sizing:
    """600 MiB for every guest, as EVE had it before 2023 (lf-edge/eve, ``qemuOverHead``, PR 1418)."""
    return Sizing((Part("fixed", 600 * MIB, "600 MiB for every guest: lf-edge/eve qemuOverHead (PR 1418)"),))


@policy("proportional")
def proportional(guest: Guest, ram_bytes: int) -> Sizing:
    """30 % of guest RAM, rounded down: what guestroom set out from, and why it measures instead."""
    return Sizing((Part("share of RAM", ram_bytes * 30 // 100, "30 % of guest RAM: guestroom's first proposal"),))
