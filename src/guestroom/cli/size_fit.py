"""How many guests like this one fit on a host, under each policy: what a sizing means for density."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from guestroom.config import Settings
from guestroom.decide.budget import LEAST_HEADROOM_BYTES
from guestroom.describe import burst_bytes
from guestroom.errors import InputError
from guestroom.guest import Guest
from guestroom.size import Estimate
from guestroom.units import format_bytes

SHARED_HEADROOM = frozenset({"measured", "learned"})
"""Policies that size what a guest takes, and leave its bursts to the headroom that all guests share."""


@dataclass(frozen=True, slots=True)
class Host:
    """Memory of a host, in bytes."""

    total_bytes: int
    hugetlb_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Fit:
    """What fits."""

    host: Host
    system_reserve_bytes: int
    budget_bytes: int
    """Host memory less its hugetlb pools and what it keeps for itself."""
    headroom_bytes: int
    """Kept once for all guests under the policies of ``SHARED_HEADROOM``."""
    guests: tuple[tuple[str, int], ...]
    """Policy, and how many guests of RAM + its overhead the budget holds."""


def fit(guest: Guest, estimates: Sequence[Estimate], host: Host, settings: Settings) -> Fit:
    """How many fit. RAM in hugetlb pages comes from the pool where there is one, all else from the budget.

    Raises ``InputError`` for a host whose own need leaves nothing.
    """
    kept = settings.system_reserve(host.total_bytes)
    budget = host.total_bytes - host.hugetlb_bytes - kept
    if budget <= 0:
        raise InputError(
            f"a host of {format_bytes(host.total_bytes)} keeps {format_bytes(kept + host.hugetlb_bytes)} for itself",
            where="--host-memory",
            numbers={"host_memory_bytes": host.total_bytes, "kept_bytes": kept + host.hugetlb_bytes},
            hint="name a larger host",
        )
    wanted = settings.headroom_bytes
    headroom = max(LEAST_HEADROOM_BYTES, burst_bytes(guest)) if wanted is None else wanted
    counts = tuple((one.policy, _count(guest, one, host, budget, headroom)) for one in estimates)
    return Fit(host, kept, budget, min(headroom, budget), counts)


def _count(guest: Guest, one: Estimate, host: Host, budget: int, headroom: int) -> int:
    room = budget - headroom if one.policy in SHARED_HEADROOM else budget
    ram = one.limit_bytes - one.overhead_bytes
    if guest.hugepages and host.hugetlb_bytes:
        return max(0, min(host.hugetlb_bytes // ram, room // max(1, one.overhead_bytes)))
    return max(0, room // one.limit_bytes)


def headline(found: Fit) -> str:
    """The host in one line."""
    pools = f", {format_bytes(found.host.hugetlb_bytes)} in hugetlb pools" if found.host.hugetlb_bytes else ""
    return (
        f"host: {format_bytes(found.host.total_bytes)}{pools}, {format_bytes(found.system_reserve_bytes)} kept for "
        f"itself; {', '.join(sorted(SHARED_HEADROOM))}: {format_bytes(found.headroom_bytes)} of headroom for all"
    )


def as_dict(found: Fit) -> dict[str, object]:
    """For JSON."""
    return {
        "host_memory_bytes": found.host.total_bytes,
        "hugetlb_bytes": found.host.hugetlb_bytes,
        "system_reserve_bytes": found.system_reserve_bytes,
        "budget_bytes": found.budget_bytes,
        "headroom_bytes": found.headroom_bytes,
        "guests": dict(found.guests),
    }
