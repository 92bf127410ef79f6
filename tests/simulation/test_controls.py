"""Each promise switched off once in the code that ships, and the harm seen on the simulated host.

Every scenario is played twice: with the rule nobody is harmed, without it somebody sleeps at a limit within what was
promised to him, or the judge sees the promise broken at the very step.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from guestroom.actions import Action
from guestroom.apply.cgroup1 import KernelApplier
from guestroom.config import OnShort, Settings
from guestroom.decide import Excess, rules
from guestroom.testing import Fate
from guestroom.units import MIB

from .histories import Start, Tick, play
from .judge import Judge
from .simagent import SETTINGS, SimAgent

Scenario = Callable[[SimAgent, Judge], Coroutine[Any, Any, None]]


def harm(scenario: Scenario, settings: Settings = SETTINGS) -> list[str]:
    """What the judge says about a scenario."""
    agent = SimAgent(settings)
    judge = Judge(agent)
    agent.run(lambda it: scenario(it, judge))
    return judge.broken


async def everybody_takes_its_grant(agent: SimAgent, judge: Judge) -> None:
    """Two guests use what they were granted, to the last page, at the same time."""
    await play(agent, judge, [Start("A"), Start("B")])
    for name in ("A", "B"):
        agent.guests[name].use(agent.grant(name))
        judge.look()


def test_p1_headroom_promised_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Grants that leave no headroom let a guest sleep at the host wall within its own grant."""
    assert harm(everybody_takes_its_grant) == []
    monkeypatch.setattr(rules, "room_for_grants", lambda reserve_bytes, headroom_bytes: reserve_bytes)
    broken = harm(everybody_takes_its_grant)
    assert any(line.startswith("P5: B sleeps") for line in broken)
    assert any(line.startswith("P1: grants + headroom") for line in broken)


async def too_much_ram(agent: SimAgent, judge: Judge) -> None:
    """More RAM is asked for than the budget holds beside the reserve."""
    await play(agent, judge, [Start(name, "obedient", 1100) for name in "ABC"])


def test_p1_ram_promised_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the rule on RAM the host wall rises above what the host has to give."""
    settings = replace(SETTINGS, overhead_bytes=100 * MIB)
    assert harm(too_much_ram, settings) == []
    monkeypatch.setattr(rules, "short_of_budget", lambda promised_ram_bytes, reserve_bytes, budget_bytes: 0)
    assert any(line.startswith("P1: the wall") for line in harm(too_much_ram, settings))


PEAK_BYTES = 340 * MIB


async def a_peak_comes_back(agent: SimAgent, judge: Judge) -> None:
    """A guest uses much, little, a newcomer asks, and then it uses much again."""
    await play(agent, judge, [Start("A")])
    guest = agent.guests["A"]
    for size in (PEAK_BYTES, 40 * MIB):
        guest.use(size)
        await agent.rest(15.0)
        judge.settled()
    await play(agent, judge, [Start("B")])
    if guest.use(PEAK_BYTES) is not Fate.DONE:
        judge.broken.append("A no longer gets what it used a moment ago")


def test_p2_floor_without_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its floor a guest is shrunk to the use of a quiet moment, and sleeps when it is busy again."""
    assert harm(a_peak_comes_back) == []
    monkeypatch.setattr(rules, "kept", lambda floor_bytes, grant_bytes, *, held: 0)
    broken = harm(a_peak_comes_back)
    assert any(line.startswith("P2: A needed") for line in broken)
    assert "A no longer gets what it used a moment ago" in broken


async def one_will_not_shrink(agent: SimAgent, judge: Judge) -> None:
    """A newcomer's room depends on a guest whose limit can't be lowered."""
    await play(agent, judge, [Start("A", "stuck"), Tick(45.0), Start("B", on_short=OnShort.SQUEEZE)])


def test_p3_start_before_shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the steps in another order a newcomer starts while others may still take its room."""
    assert harm(one_will_not_shrink) == []
    in_order = rules.in_order
    monkeypatch.setattr(rules, "in_order", lambda action: -in_order(action))
    assert any(line.startswith("P3") for line in harm(one_will_not_shrink))


async def a_plan_breaks_off(agent: SimAgent, judge: Judge) -> None:
    """Of two guests that are to make room the first does and the second can't."""
    await play(agent, judge, [Start("A"), Start("C", "stuck"), Tick(45.0)])
    before = agent.grant("A")
    await play(agent, judge, [Start("D")])
    if agent.guests["A"].use(before + 48 * MIB) is not Fate.DONE:
        judge.broken.append("A sleeps below what it had before a plan that came to nothing")


def test_p4_nothing_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without putting back a guest stays shrunk for a newcomer that never came."""
    assert harm(a_plan_breaks_off) == []
    monkeypatch.setattr(rules, "raised_again", lambda missing_bytes, room_bytes: 0)
    broken = harm(a_plan_breaks_off)
    assert any(line.startswith("P4: A had") for line in broken)
    assert any(line.startswith("A sleeps below") for line in broken)


async def two_burst_and_one_needs_its_own(agent: SimAgent, judge: Judge) -> None:
    """Two guests go 100 MiB over their grants, then a third asks for what is its own."""
    await play(agent, judge, [Start(name) for name in "ABC"])
    for name in ("A", "B"):
        agent.guests[name].use(agent.grant(name) + 100 * MIB)
    agent.guests["C"].use(agent.grant("C"))
    judge.look()


def test_p5_nobody_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where those above their grants are not held, one within its grant sleeps at the host wall."""
    assert harm(two_burst_and_one_needs_its_own) == []
    monkeypatch.setattr(sys.modules[Excess.__module__], "may_be_held", lambda excess: False)
    assert any(line.startswith("P5: C sleeps") for line in harm(two_burst_and_one_needs_its_own))


async def one_can_not_be_read(agent: SimAgent, judge: Judge) -> None:
    """A guest whose statistics are gone has much in use, and a newcomer asks."""
    await play(agent, judge, [Start("A", "mute"), Tick(1.0), Tick(1.0)])
    guest = agent.guests["A"]
    guest.use(290 * MIB)
    await agent.rest(45.0)
    await play(agent, judge, [Start("B")])
    if guest.use(PEAK_BYTES) is not Fate.DONE:
        judge.broken.append("A, unseen, was left too little")


def test_p6_unknown_taken_for_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest whose use is unknown is shrunk where unknown counts as nothing, and sleeps within what it had."""
    assert harm(one_can_not_be_read) == []
    kept = rules.kept
    monkeypatch.setattr(rules, "kept", lambda floor, grant, *, held: kept(floor or 0, grant, held=held))
    monkeypatch.setattr(rules, "kept_limit", lambda limit, wanted, *, may_shrink: wanted)
    broken = harm(one_can_not_be_read)
    assert any(line.startswith("P6: A is shrunk") for line in broken)
    assert "A, unseen, was left too little" in broken


async def replaced_in_between(agent: SimAgent, judge: Judge) -> None:
    """Between a decision and its first step a guest's cgroup is made anew by somebody else."""
    await play(agent, judge, [Start("A"), Tick(45.0)])
    guest, place = agent.guests["A"], agent.layout.guest("A")
    strangers: list[int] = []

    def swap(action: Action) -> None:
        if not strangers:
            judge.expected_gone.add("A")
            guest.leave()
            agent.host.mkdir(place)
            strangers.append(agent.host.spawn(place, argv=("stranger",)))
            agent.host.touch(strangers[0], 64 * MIB, heap=True)

    agent.applier.before.append(swap)
    await play(agent, judge, [Start("B")])
    written = [write for write in agent.host.writes if write.path == f"{place}/memory.limit_in_bytes"]
    limit = agent.host.read(f"{place}/memory.limit_in_bytes")
    if int(limit) < 1 << 62:
        judge.broken.append(f"P9: the stranger's limit is {limit.strip()} after {len(written)} writes")


def test_p9_written_to_a_stranger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without looking at the inode the limit of somebody else's cgroup is written."""
    assert harm(replaced_in_between) == []
    monkeypatch.setattr(KernelApplier, "_reborn", lambda self, action: None)
    assert any(line.startswith("P9") for line in harm(replaced_in_between))
