"""Faults at random points of histories: the promises hold, everything is told, and all is right a sweep later."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from guestroom.agent.foreign import Foreign
from guestroom.config import OnShort, Sharing
from guestroom.units import MIB

from .histories import Event, Start, Stop, Tick
from .meddling import FAULTY, WHATS, Deaf, Fault, Meddle, SetClock, suffered
from .simagent import SETTINGS, SimAgent


@settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
@given(history=FAULTY)
def test_the_promises_hold_whatever_others_do(history: list[Event | Fault]) -> None:
    """Starts, stops, growth and faults in any order: no promise is broken at any step, and each fault is told."""
    assert suffered(history).broken == []


def life_with(what: str) -> list[Event | Fault]:
    """Guests come, one of them suffers, and life goes on around it and with it."""
    return [
        Start("A"),
        Start("B", "ceiling"),
        *[Tick()] * 2,
        Meddle(what, "A"),
        *[Tick()] * 2,
        Tick(45.0),
        Start("C", "bursty", 384, OnShort.SQUEEZE),
        Meddle(what, "C"),
        *[Tick()] * 3,
        Stop("A"),
        Stop("B"),
        *[Tick()] * 2,
        Tick(70.0),
        Start("A", ram_mib=384),
        Meddle(what, "A"),
        Tick(),
    ]


@pytest.mark.parametrize("what", WHATS)
def test_each_kind_of_meddling(what: str) -> None:
    """Each thing somebody else can do, to several guests in one life: told, put right where safe, nobody harmed."""
    assert suffered(life_with(what)).broken == []


@pytest.mark.parametrize("kind", ["growing", "bursty", "ceiling"])
def test_with_all_alarms_lost(kind: str) -> None:
    """Thresholds that wake nobody: sweeps alone give room and hold in time, as slowly as these guests grow."""
    history: list[Event | Fault] = [Deaf(True), Start("A"), Start("K", kind), *[Tick()] * 6, Start("B"), *[Tick()] * 4]
    assert suffered(history).broken == []


def test_a_clock_set_at_any_time() -> None:
    """Years forward and back between starts, growth and ends: every window, hold and floor goes on as before."""
    quiet: list[Event | Fault] = [*life_with("none")]
    loud = [*quiet]
    for at, seconds in ((2, 1e8), (6, -2e8), (9, 30.0), (12, 1e6)):
        loud.insert(at, SetClock(seconds))
    assert suffered(loud).broken == []


def test_two_alarms_at_the_same_moment() -> None:
    """Two guests that pass their grants together are both raised by their alarms alone, before any sweep looks."""
    agent = SimAgent(replace(SETTINGS, sharing=Sharing.STATIC))

    async def history(it: SimAgent) -> dict[str, bool]:
        for name in "AB":
            await it.start(name)
        await it.rest(45.5)
        it.alarms.deaf = True
        for name in "AB":
            it.guests[name].use(it.grant(name) + 20 * MIB)
        for name in "AB":
            it.keeper.growing.over(it.keeper.room.cares[name])
        await asyncio.sleep(0.2)
        return {name: it.grant(name) >= it.guests[name].overhead_bytes for name in "AB"}

    assert agent.run(history) == {"A": True, "B": True}


def test_without_a_look_nobody_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: where the sweep does not compare limits, the same histories break promises."""

    async def blind(self: Foreign, *_: object) -> None:
        return

    monkeypatch.setattr(Foreign, "limit", blind)
    monkeypatch.setattr(Foreign, "wall", blind)
    assert suffered(life_with("unlimited")).broken
    assert suffered(life_with("wall raised")).broken
