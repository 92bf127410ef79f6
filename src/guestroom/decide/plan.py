"""A dry run: verdict, budget and every step in one object; what is carried out is exactly this."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from guestroom.actions import Action, Grant, Verdict
from guestroom.config import Settings
from guestroom.decide.admit import admit
from guestroom.decide.budget import Budget, budget
from guestroom.decide.rebalance import divide_again, steps
from guestroom.facts import GuestFacts, HostFacts, Newcomer
from guestroom.units import Limit


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done, and from which budget. ``verdict`` is None where there is no newcomer."""

    verdict: Verdict | None
    grants: tuple[Grant, ...]
    actions: tuple[Action, ...]
    budget: Budget


def plan(
    newcomer: Newcomer,
    guests: Iterable[GuestFacts],
    host: HostFacts,
    settings: Settings,
    now_s: float,
    *,
    burst_bytes: int = 0,
    wall_bytes: Limit | None = None,
) -> Plan:
    """What the start of ``newcomer`` would change; no actions where it is refused.

    ``burst_bytes`` is the largest burst one guest can make, the newcomer included; ``wall_bytes`` the host wall now,
    where the caller knows it better than ``host``.
    """
    others = tuple(guest for guest in guests if guest.name != newcomer.name)
    verdict = admit(newcomer, others, host, settings, now_s, burst_bytes=burst_bytes)
    total = budget(host, others, settings, newcomer=newcomer, burst_bytes=burst_bytes)
    actions = steps(
        verdict.grants, others, total, settings, newcomer=newcomer, verdict=verdict, now_s=now_s, wall_bytes=wall_bytes
    )
    return Plan(verdict, verdict.grants, actions, total)


def plan_again(
    guests: Iterable[GuestFacts],
    host: HostFacts,
    settings: Settings,
    now_s: float,
    *,
    burst_bytes: int = 0,
    wall_bytes: Limit | None = None,
) -> Plan:
    """What changes after a stop, with changed settings, or because floors moved; no newcomer."""
    present = tuple(guests)
    total = budget(host, present, settings, burst_bytes=burst_bytes)
    grants = divide_again(present, total, settings, now_s, host.page_bytes)
    return Plan(None, grants, steps(grants, present, total, settings, now_s=now_s, wall_bytes=wall_bytes), total)
