"""How many bytes there are to share, as a sum of named terms (promises P1 and P10)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from guestroom.config import Percent, Reserve, Rest, Settings
from guestroom.decide import rules
from guestroom.facts import Accounting, AncestorFacts, GuestFacts, HostFacts, Newcomer, OutsiderFacts
from guestroom.units import MIB, PAGE_BYTES, Limit, round_down

LEAST_HEADROOM_BYTES = 128 * MIB
"""Default headroom where no present guest can burst more (DESIGN, headroom)."""
LEAST_GUARD_BYTES = 64 * MIB
"""Default guard (DESIGN, guard): a heavy overlay write load grew 31 MiB in 10 ms (measured on QEMU 7.2, TCG)."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be promised on this host. All in bytes; ``terms`` sum to ``budget_bytes`` exactly."""

    budget_bytes: int
    reserve_bytes: int
    headroom_bytes: int
    guard_bytes: int
    promised_ram_bytes: int
    """Charged RAM of all guests under the host wall, and of the newcomer where there is one."""
    overcommitted_bytes: int
    """By how much the guests already here are over the budget; 0 where they are not."""
    terms: tuple[tuple[str, int], ...]
    wall_from_bytes: Limit | None = None
    """The host wall as it is now; None where unknown or not made yet."""
    page_bytes: int = PAGE_BYTES

    @property
    def room_bytes(self) -> int:
        """What all grants may sum to: the reserve less the headroom."""
        return rules.room_for_grants(self.reserve_bytes, self.headroom_bytes)

    @property
    def wall_bytes(self) -> int:
        """The host wall this budget asks for: promised RAM + reserve, in whole pages."""
        return round_down(self.promised_ram_bytes + self.reserve_bytes, self.page_bytes)


def budget(
    host: HostFacts,
    guests: Iterable[GuestFacts],
    settings: Settings,
    *,
    newcomer: Newcomer | None = None,
    burst_bytes: int = 0,
) -> Budget:
    """The budget of ``host`` with ``guests`` under care, and ``newcomer``'s RAM promised where one is given.

    ``burst_bytes`` is the largest burst one present guest can make, for the default headroom. Guests with joint
    accounting stand outside the host wall and count with their full limit, as terms of the budget.
    """
    guests = tuple(guests)
    terms = [*_host_terms(host, guests, settings)]
    terms += _ancestor_terms(host, sum(size for _, size in terms))
    budget_bytes = sum(size for _, size in terms)
    present_bytes = sum(guest.ram_charged_bytes for guest in under_wall(guests))
    promised_bytes = present_bytes + (newcomer.ram_charged_bytes if newcomer else 0)
    reserve_bytes = _reserve(settings.reserve, budget_bytes, promised_bytes)
    headroom_bytes = _headroom(settings.headroom_bytes, reserve_bytes, burst_bytes)
    return Budget(
        budget_bytes=budget_bytes,
        reserve_bytes=reserve_bytes,
        headroom_bytes=headroom_bytes,
        guard_bytes=_guard(settings.guard_bytes, headroom_bytes),
        promised_ram_bytes=promised_bytes,
        overcommitted_bytes=rules.short_of_budget(
            present_bytes, _reserve(settings.reserve, budget_bytes, present_bytes), budget_bytes
        ),
        terms=tuple(terms),
        wall_from_bytes=host.wall_limit_bytes,
        page_bytes=host.page_bytes,
    )


def under_wall(guests: Iterable[GuestFacts]) -> tuple[GuestFacts, ...]:
    """The guests the host wall covers and the reserve is shared among: those with split accounting."""
    return tuple(guest for guest in guests if guest.accounting is Accounting.SPLIT)


def _host_terms(host: HostFacts, guests: Iterable[GuestFacts], settings: Settings) -> Iterable[tuple[str, int]]:
    """Host memory and what is taken off it."""
    yield "host memory", host.total_bytes
    yield "hugetlb pools", -host.hugetlb_bytes
    yield "system reserve", -settings.system_reserve(host.total_bytes)
    for outsider in host.outsiders:
        yield f"QEMU {outsider.pid}, not under care", -_outsider(outsider)
    for guest in guests:
        if guest.accounting is Accounting.JOINT:
            yield f"guest {guest.name}, adopted", -_adopted(guest)


def _outsider(outsider: OutsiderFacts) -> int:
    """max(its use, its RAM + need) as far as known."""
    promised = 0 if outsider.ram_bytes is None else outsider.ram_bytes + (outsider.need_bytes or 0)
    return max(outsider.use_bytes or 0, promised)


def _adopted(guest: GuestFacts) -> int:
    """Its full limit, or what it is expected to take where it has none."""
    if isinstance(guest.limit_bytes, int):
        return guest.limit_bytes
    expected = max(guest.need_bytes, guest.overhead_bytes or 0, guest.overhead_peak_bytes or 0)
    return guest.ram_charged_bytes + expected


def _ancestor_terms(host: HostFacts, so_far_bytes: int) -> Iterable[tuple[str, int]]:
    """What a cgroup above us allows less than the host would, and what keeps the sum from being negative."""
    allowed = [
        (f"cgroup {ancestor.path}", max(0, room))
        for ancestor in host.ancestors
        if (room := _ancestor_room(ancestor, host)) is not None
    ]
    name, least = min(allowed, key=lambda term: term[1], default=("", so_far_bytes))
    if name and least < so_far_bytes:
        yield f"{name} allows less", least - so_far_bytes
    elif so_far_bytes < 0:
        yield "nothing is left", -so_far_bytes


def _ancestor_room(ancestor: AncestorFacts, host: HostFacts) -> int | None:
    """Bytes the ancestor leaves us, None for no limit.

    Where its limit or its other use is unknown it is taken to allow what the host wall promises already
    and nothing new: unknown is not zero (promise P6).
    """
    if ancestor.limit_bytes is not None and not isinstance(ancestor.limit_bytes, int):
        return None
    if ancestor.limit_bytes is None or ancestor.other_use_bytes is None:
        return host.wall_limit_bytes if isinstance(host.wall_limit_bytes, int) else 0
    return ancestor.limit_bytes - ancestor.other_use_bytes


def _reserve(reserve: Reserve, budget_bytes: int, promised_bytes: int) -> int:
    """The reserve in bytes by its three forms."""
    match reserve:
        case Percent():
            return reserve.of(budget_bytes)
        case Rest():
            return max(0, budget_bytes - promised_bytes)
        case _:
            return reserve


def _headroom(set_bytes: int | None, reserve_bytes: int, burst_bytes: int) -> int:
    """As set, else the largest burst and at least 128 MiB; never more than the reserve it is part of."""
    wanted = max(LEAST_HEADROOM_BYTES, burst_bytes) if set_bytes is None else set_bytes
    return min(wanted, reserve_bytes)


def _guard(set_bytes: int | None, headroom_bytes: int) -> int:
    """As set (within the headroom), else 64 MiB and at most half of the headroom."""
    if set_bytes is not None:
        return min(set_bytes, headroom_bytes)
    return min(LEAST_GUARD_BYTES, headroom_bytes // 2)
