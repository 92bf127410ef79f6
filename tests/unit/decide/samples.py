"""Guests, newcomers and hosts with round numbers, so that a test states only what it is about."""

from __future__ import annotations

from typing import Any

from guestroom.config import Settings
from guestroom.facts import GuestFacts, GuestState, HostFacts, Newcomer
from guestroom.units import MIB

M = MIB


def settings(**changes: Any) -> Settings:
    """The seed's story: 800 MiB of reserve, no headroom, nothing to settle, no system reserve."""
    story: dict[str, Any] = {"reserve": 800 * M, "headroom_bytes": 0, "settle_s": 0.0, "system_reserve_bytes": 0}
    return Settings(**(story | changes))


def host(**changes: Any) -> HostFacts:
    """4 GiB with nothing else on it."""
    facts: dict[str, Any] = {
        "total_bytes": 4096 * M,
        "available_bytes": 4096 * M,
        "hugetlb_bytes": 0,
        "swap_total_bytes": 0,
    }
    return HostFacts(**(facts | changes))


def guest(name: str = "A", **changes: Any) -> GuestFacts:
    """A settled guest of 512 MiB that uses 100 of its 400 MiB of grant."""
    ram = changes.pop("ram_bytes", 512 * M)
    grant = changes.pop("grant_bytes", 400 * M)
    use = changes.pop("use_bytes", 100 * M)
    facts: dict[str, Any] = {
        "state": GuestState.RUNNING,
        "ram_bytes": ram,
        "ram_charged_bytes": ram,
        "weight": ram,
        "need_bytes": 200 * M,
        "boot_floor_bytes": 64 * M,
        "cap_bytes": None,
        "grant_bytes": grant,
        "admitted_grant_bytes": grant,
        "limit_bytes": ram + grant,
        "overhead_bytes": use,
        "overhead_peak_bytes": use,
        "started_s": 0.0,
    }
    return GuestFacts(name, **(facts | changes))


def newcomer(name: str = "B", **changes: Any) -> Newcomer:
    """A guest of 512 MiB that needs 200 MiB and can start with 64."""
    ram = changes.pop("ram_bytes", 512 * M)
    facts: dict[str, Any] = {
        "ram_bytes": ram,
        "ram_charged_bytes": ram,
        "weight": ram,
        "need_bytes": 200 * M,
        "boot_floor_bytes": 64 * M,
        "cap_bytes": None,
        "on_short": "refuse",
    }
    return Newcomer(name, **(facts | changes))
