"""A guest whose requests take the headroom and drain when it is slowed down, on the simulated kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from guestroom.config import Brake, Settings, Sharing
from guestroom.errors import QmpError
from guestroom.ports import Monitor
from guestroom.testing import SimGuest
from guestroom.testing.zoo import START_BYTES, ZOO
from guestroom.units import MIB

from .judge import Judge
from .simagent import SETTINGS, SimAgent

STEP_S = 0.05
BOUND = 256 * 2 * MIB
WIDE = replace(
    SETTINGS,
    reserve=1100 * MIB,
    headroom_bytes=700 * MIB,
    sharing=Sharing.STATIC,
    overhead_bytes=110 * MIB,
    settle_s=0.0,
)
"""Grants that do not grow, so that whoever bursts borrows."""
DISK = ("-drive", "if=none,id=d0,file=top.qcow2,format=qcow2", "-device", "virtio-blk-pci,drive=d0")


class InFlight(SimGuest):
    """Writes without end into a fresh overlay: each request has a buffer until it is finished.

    Slowed down it takes what QEMU has accepted already before it drains; half of what is freed stays on its heap.
    """

    iops = 0
    stopped = False
    flying = 0
    kept = 0
    coming = 0
    """Bytes that are accepted and not filled yet."""
    trims = 0
    quiet = False
    """It has nothing to write yet."""

    def tick(self) -> None:
        """A moment of ``STEP_S``."""
        if self.busy or self.quiet:
            return
        if not (self.iops or self.stopped):
            self.coming, step = 96 * MIB, 48 * MIB
        else:
            step = min(self.coming, 48 * MIB)
            self.coming -= step
        if step:
            self.flying = min(BOUND, self.flying + step)
            self.kept = max(0, self.kept - step)
        else:
            done = min(self.flying, 96 * MIB)
            self.flying -= done
            self.kept += done // 2
        self.use(START_BYTES + self.flying + self.kept)

    def qmp(self, command: str, arguments: dict[str, Any]) -> Any:
        """Its monitor."""
        match command:
            case "query-block":
                names = ("bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr")
                limits = dict.fromkeys(names, 0) | {"iops": self.iops}
                return [
                    {"device": "d0", "qdev": "", "inserted": limits | {"ro": False, "image": {"cluster-size": 2 * MIB}}}
                ]
            case "block_set_io_throttle":
                self.iops = arguments["iops"]
            case "stop":
                self.stopped = True
            case "object-del":
                self.trims += 1
                self.kept = 0
                self.use(START_BYTES + self.flying)
            case _:
                pass
        return {}


class _Monitor:
    def __init__(self, guest: InFlight) -> None:
        self.guest = guest

    def query_status(self) -> str:
        return "prelaunch" if not self.guest.running else "paused" if self.guest.stopped else "running"

    def cont(self) -> None:
        self.guest.running, self.guest.stopped = True, False

    def execute(self, command: str, /, **arguments: Any) -> Any:
        if self.guest.busy:
            raise QmpError("no answer: it is held")
        return self.guest.qmp(command, arguments)

    def events(self) -> tuple[str, ...]:
        return ()

    def close(self) -> None:
        return


def agent_with(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> SimAgent:
    """An agent whose guests of the kind "in flight" have a monitor that does something."""
    monkeypatch.setitem(ZOO, "in flight", InFlight)
    agent = SimAgent(settings)
    inner: Callable[[str, float], Monitor] = agent.machine.monitor

    def monitor(path: str, timeout_s: float) -> Monitor:
        found = inner(path, timeout_s)
        guest = agent.guests[path.split("/")[-2]]
        return _Monitor(guest) if isinstance(guest, InFlight) else found

    monkeypatch.setattr(agent.machine, "monitor", monitor)
    return agent


async def go_on(agent: SimAgent, seconds: float) -> None:
    """Let the guests write for a while, with the alarm looking after every step."""
    for _ in range(round(seconds / STEP_S)):
        for guest in agent.guests.values():
            if guest.alive and guest.running:
                guest.tick()
                agent.alarms.look()
        await agent.rest(STEP_S)


def kinds(agent: SimAgent) -> list[str]:
    """What happened to W."""
    return [kind for kind, name, _ in agent.events if name == "W"]


@pytest.mark.parametrize("brake", [Brake.THROTTLE, Brake.STOP])
def test_it_is_braked_drains_and_goes_on(monkeypatch: pytest.MonkeyPatch, brake: Brake) -> None:
    """With room to drain it is slowed down again and again, gives back, and never has to be frozen."""
    agent = agent_with(replace(WIDE, brake=brake), monkeypatch)
    judge = Judge(agent)

    async def history(it: SimAgent) -> None:
        await it.start("W", "in flight", disks=DISK)
        await it.start("A")
        await it.rest(3.0)
        await go_on(it, 12.0)

    agent.run(history)
    judge.look()
    assert judge.broken == []
    seen = kinds(agent)
    assert seen.count("braked") >= 2
    assert seen.count("unbraked") >= 1
    assert "trimmed" in seen
    assert "held" not in seen
    assert agent.guests["W"].alive


@pytest.mark.parametrize(("brake", "held"), [(Brake.NONE, True), (Brake.THROTTLE, False)])
def test_one_burst_after_the_other(monkeypatch: pytest.MonkeyPatch, brake: Brake, held: bool) -> None:
    """Two bursts do not fit the headroom together; where one has drained there is room for the next: nobody is held.

    Two that begin at the same moment are the freezer's: all their requests are accepted before anybody can slow them.
    """
    agent = agent_with(replace(WIDE, brake=brake), monkeypatch)

    async def history(it: SimAgent) -> None:
        await it.start("W", "in flight", disks=DISK)
        await it.start("V", "in flight", disks=DISK)
        second = it.guests["V"]
        assert isinstance(second, InFlight)
        second.quiet = True
        await it.rest(3.0)
        await go_on(it, 1.5)
        second.quiet = False
        await go_on(it, 1.0)

    agent.run(history)
    assert any(kind == "held" for kind, _, _ in agent.events) is held
    assert all(guest.alive for guest in agent.guests.values())


def test_where_it_can_not_drain_it_is_left_to_the_freezer(monkeypatch: pytest.MonkeyPatch) -> None:
    """With less headroom than its burst and the guard it is never slowed down, only held at the guard."""
    agent = agent_with(replace(WIDE, headroom_bytes=300 * MIB, reserve=700 * MIB), monkeypatch)

    async def history(it: SimAgent) -> None:
        await it.start("W", "in flight", disks=DISK)
        await it.rest(3.0)
        await go_on(it, 1.5)

    agent.run(history)
    assert "braked" not in kinds(agent)
    assert "held" in kinds(agent)
    assert agent.guests["W"].alive


def test_a_new_agent_takes_the_brake_of_the_last_one_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A brake in the ledger is the first thing the next agent undoes; a clean end leaves none behind."""
    agent = agent_with(WIDE, monkeypatch)

    async def until_braked(it: SimAgent) -> None:
        await it.start("W", "in flight", disks=DISK)
        await it.rest(3.0)
        for _ in range(200):
            await go_on(it, STEP_S)
            guest = it.guests["W"]
            assert isinstance(guest, InFlight)
            if guest.iops:
                return

    agent.run(until_braked)
    guest = agent.guests["W"]
    assert isinstance(guest, InFlight)
    assert guest.iops
    assert agent.alarms.brakes["W"] is not None
    (record,) = agent.ledger.get_guests()
    assert record.braked is not None

    async def nothing(it: SimAgent) -> None:
        await it.rest(0.5)

    agent.run(nothing)
    assert guest.iops == 0
    assert agent.alarms.brakes["W"] is None
    assert agent.ledger.get_guests()[0].braked is None
