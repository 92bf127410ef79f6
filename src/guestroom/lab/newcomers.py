"""A trace's guest as the rules see it: asking to be started, and just started."""

from __future__ import annotations

from guestroom.config import Settings
from guestroom.facts import GuestFacts, GuestState, Newcomer
from guestroom.lab.traces import Shape


def newcomer_of(name: str, shape: Shape, settings: Settings) -> Newcomer:
    """What it asks for under ``settings``, as the agent makes it (``agent.request``)."""
    own = settings.guest(shape.own_name or name)
    return Newcomer(
        name=name,
        ram_bytes=shape.ram_bytes,
        ram_charged_bytes=shape.ram_bytes if shape.ram_charged_bytes is None else shape.ram_charged_bytes,
        weight=own.weight or shape.weight or shape.ram_bytes,
        need_bytes=shape.need_bytes,
        boot_floor_bytes=shape.boot_floor_bytes,
        cap_bytes=own.cap_bytes if own.cap_bytes is not None else settings.cap_bytes,
        on_short=(own.on_short or settings.on_short).value,
        fixed_overhead=shape.fixed_overhead,
    )


def started(
    guest: Newcomer, grant_bytes: int, limit_bytes: int, now_s: float, *, overhead_bytes: int | None = None
) -> GuestFacts:
    """The guest at its first instruction."""
    return GuestFacts(
        name=guest.name,
        state=GuestState.RUNNING,
        ram_bytes=guest.ram_bytes,
        ram_charged_bytes=guest.ram_charged_bytes,
        weight=guest.weight,
        need_bytes=guest.need_bytes,
        boot_floor_bytes=guest.boot_floor_bytes,
        cap_bytes=guest.cap_bytes,
        grant_bytes=grant_bytes,
        admitted_grant_bytes=grant_bytes,
        limit_bytes=limit_bytes,
        overhead_bytes=overhead_bytes,
        overhead_peak_bytes=overhead_bytes,
        started_s=now_s,
        fixed_overhead=guest.fixed_overhead,
    )
