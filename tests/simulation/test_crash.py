"""The agent killed at any point of any transaction: the next one finds everything in order (P8)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from guestroom.config import OnShort, Settings
from guestroom.facts import GuestState
from guestroom.testing import ManualClock, SimGuest, SimHost
from guestroom.testing.ledger import MemoryLedger

from .histories import Event, Start, Stop, Tick, play
from .judge import Judge
from .simagent import SETTINGS, SimAgent

HISTORY: list[Event] = [
    Start("A", "ceiling"),
    Start("B"),
    Tick(),
    Tick(45.0),
    Start("C", "bursty", 384, OnShort.SQUEEZE),
    *[Tick()] * 3,
    Stop("B"),
    Tick(),
    Start("D", "stuck", on_short=OnShort.SQUEEZE),
    Tick(),
]


@dataclass
class Moment:
    """All that survives ``kill -9`` of the agent at one fault point."""

    point: str
    host: SimHost
    ledger: MemoryLedger
    clock: ManualClock
    guests: dict[str, tuple[type[SimGuest], int, int, int, bool]]
    runs: dict[str, int]
    asking: frozenset[str]
    """Whose ``run`` was told neither yes nor no."""


def moments() -> list[Moment]:
    """One life of an agent, remembered at each of its fault points."""
    return moments_of(SimAgent(), lambda it: play(it, Judge(it), HISTORY))


def moments_of(agent: SimAgent, history: Callable[[SimAgent], Coroutine[Any, Any, None]]) -> list[Moment]:
    """The life of ``agent`` through ``history``, remembered at each of its fault points."""
    found: list[Moment] = []

    def remember(point: str) -> None:
        # Entries that may be late are lost with the agent: the outbox lives in its memory.
        clock = copy.deepcopy(agent.clock)
        ledger = copy.deepcopy(agent.ledger, {id(agent.clock): clock})
        guests = {
            name: (type(g), g.pid, g.ram_bytes, g.need_bytes, g.running) for name, g in agent.guests.items() if g.alive
        }
        asking = frozenset(name for name, heard in agent.sessions.items() if not heard.of("verdict"))
        found.append(Moment(point, agent.host.copy(), ledger, clock, guests, dict(agent.runs), asking))

    agent.at_fault = remember
    agent.run(history)
    return found


def next_agent(moment: Moment, settings: Settings = SETTINGS) -> tuple[SimAgent, Judge]:
    """The agent that starts after the kill."""
    agent = SimAgent(settings, host=moment.host, ledger=moment.ledger, clock=moment.clock)
    agent.runs = dict(moment.runs)
    for name, (kind, pid, ram, need, running) in moment.guests.items():
        guest = agent.guests[name] = kind(agent.host, agent.layout, name, pid, ram, need)
        guest.running = running
    judge = Judge(agent)
    judge.expected_gone |= {name for name, guest in agent.guests.items() if not guest.running}
    return agent, judge


async def look_around(agent: SimAgent, judge: Judge) -> None:
    """Some time under the new agent."""
    cares = agent.keeper.room.cares
    for name, guest in agent.guests.items():
        if guest.running:
            assert guest.alive, f"{name} ran and is gone"
            assert name in cares, f"{name} runs and is not under care"
            held = cares[name].record.held
            assert held or not agent.host.process(guest.pid).held, f"{name} is left frozen"
        elif name in cares:
            assert cares[name].record.state is not GuestState.RUNNING, f"{name} never ran"
    judge.settled()
    await agent.tick()
    judge.settled()


def test_killed_at_any_point_nothing_is_lost() -> None:
    """After a kill at each fault point every guest that ran is under care and unfrozen, and the sums are kept."""
    found = moments()
    assert len(found) > 40
    for number, moment in enumerate(found):
        agent, judge = next_agent(moment)
        agent.run(lambda it, judge=judge: look_around(it, judge))  # type: ignore[misc]
        assert judge.broken == [], f"{number} {moment.point}"
