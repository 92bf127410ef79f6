"""Headroom and guard follow what guests were seen to take, live, and no promise is broken for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from guestroom import decide
from guestroom.actions import Action, Outcome, OutcomeKind, SetLimit
from guestroom.testing import Fate, SimGuest
from guestroom.units import GIB, MIB

from .simagent import SETTINGS, SimAgent

FOLLOWING = replace(SETTINGS, reserve=1000 * MIB, headroom_bytes=None, guard_bytes=None, settle_s=0.0)


def headroom(agent: SimAgent) -> int:
    """The headroom in force."""
    budget = agent.keeper.room.budget
    assert budget is not None
    return budget.headroom_bytes


def guard(agent: SimAgent) -> int:
    """The guard as the alarm process has it."""
    wall = agent.alarms.watch.wall
    assert wall is not None
    return wall.guard_bytes


def sums_hold(agent: SimAgent) -> None:
    """P1: what is granted and the headroom are within the reserve; the alarm has the same headroom."""
    room = agent.keeper.room
    assert isinstance(agent.settings.reserve, int)
    assert room.granted_bytes() + headroom(agent) <= agent.settings.reserve
    assert agent.alarms.watch.wall is not None
    assert agent.alarms.watch.wall.headroom_bytes == headroom(agent)


def kinds(agent: SimAgent) -> list[str]:
    """Kinds of the events so far."""
    return [kind for kind, _, _ in agent.events]


async def burst(agent: SimAgent, name: str, size_bytes: int) -> SimGuest:
    """A guest takes this much between two looks of the agent."""
    await agent.rest(6.0)
    guest = agent.guests[name]
    assert guest.use(guest.heap_bytes + size_bytes) is Fate.DONE
    await agent.rest(2.5)
    return guest


def test_a_seen_burst_raises_the_headroom_and_its_guest_s_end_lowers_it() -> None:
    """240 MiB at once: 240 or a little more of headroom from then on, out of grants that nobody used, until it ends."""

    async def history(agent: SimAgent) -> None:
        await agent.start("A")
        await agent.start("B")
        assert headroom(agent) == 128 * MIB
        await burst(agent, "A", 240 * MIB)
        assert 240 * MIB <= headroom(agent) <= 272 * MIB
        sums_hold(agent)
        message = next(text for kind, _, text in agent.events if kind == "headroom")
        assert "A: " in message
        assert "taken at once" in message
        await agent.stop("A")
        assert headroom(agent) == 128 * MIB
        sums_hold(agent)

    SimAgent(FOLLOWING).run(history)


def test_a_restart_does_not_forget_what_was_seen() -> None:
    """The next agent begins with the headroom that the last one had to learn."""
    first = SimAgent(FOLLOWING)

    async def learn(agent: SimAgent) -> None:
        await agent.start("A")
        guest = await burst(agent, "A", 240 * MIB)
        await agent.keeper.alarm({"event": "growth", "name": "A", "growth_bytes_per_s": 7 * GIB, "burst_bytes": 1})
        guest.use(guest.heap_bytes - 240 * MIB)
        await agent.rest(1.0)

    first.run(learn)
    second = SimAgent(FOLLOWING, host=first.host, ledger=first.ledger, clock=first.clock)
    second.guests = first.guests

    async def remembered(agent: SimAgent) -> None:
        assert headroom(agent) >= 240 * MIB
        fastest = agent.keeper.room.following.fastest()
        assert fastest is not None
        assert fastest.record.growth_bytes_per_s == 7 * GIB
        sums_hold(agent)

    second.run(remembered)


def test_what_guests_use_is_never_made_headroom() -> None:
    """A described burst larger than what is left: the headroom is what no guest uses, the rest is refused."""

    async def history(agent: SimAgent) -> None:
        await agent.start("A")
        guest = await burst(agent, "A", 500 * MIB)
        care = agent.keeper.room.cares["A"]
        agent.keeper.room.following.saw(care, 900 * MIB)
        await agent.rest(30.0)
        sums_hold(agent)
        assert agent.grant("A") >= guest.overhead_bytes
        assert headroom(agent) < 500 * MIB
        assert kinds(agent).count("headroom_short") <= 2, "once for each wish"
        assert "headroom_short" in kinds(agent)
        row = await agent.keeper.host_row()
        assert row["headroom_wanted_bytes"] == 912 * MIB
        assert "more were wanted" in str(row["headroom_because"])

    SimAgent(FOLLOWING).run(history)


def test_what_is_set_is_not_moved_by_what_is_seen() -> None:
    """The operator's headroom and guard stay; what would have been is shown."""
    fixed = replace(FOLLOWING, headroom_bytes=200 * MIB, guard_bytes=40 * MIB)

    async def history(agent: SimAgent) -> None:
        await agent.start("A")
        await burst(agent, "A", 300 * MIB)
        await measured(agent, 7 * GIB, 50.0)
        assert (headroom(agent), guard(agent)) == (200 * MIB, 40 * MIB)
        assert not {"headroom", "guard", "headroom_short"} & set(kinds(agent))
        row = await agent.keeper.host_row()
        assert str(row["headroom_because"]).startswith("set; not set it would be 304.0 MiB (A: ")
        assert str(row["guard_because"]).startswith("set; 7.0 GiB/s of A x 50.0 ms")

    SimAgent(fixed).run(history)


async def measured(agent: SimAgent, bytes_per_s: int, reaction_ms: float) -> None:
    """What the alarm process tells."""
    growth = {"event": "growth", "name": "A", "growth_bytes_per_s": bytes_per_s, "burst_bytes": 0}
    await agent.keeper.alarm(growth)
    await agent.keeper.alarm({"event": "reaction", "reaction_ms": reaction_ms, "look_ms": 1.0, "samples": 5})


def test_the_guard_follows_what_was_measured_at_once() -> None:
    """4 GiB/s x 20 ms = 82 MiB, told to the alarm process without a division; half of the headroom at most."""
    wide = replace(FOLLOWING, headroom_bytes=300 * MIB)

    async def history(agent: SimAgent) -> None:
        await agent.start("A")
        assert guard(agent) == 64 * MIB
        await measured(agent, 4 * GIB, 20.0)
        assert guard(agent) == round(4 * GIB * 0.020)
        row = await agent.keeper.host_row()
        assert row["guard_because"] == "4.0 GiB/s of A x 20.0 ms measured"
        assert row["reaction"] == {"reaction_ms": 20.0, "wake_ms": None, "look_ms": 1.0, "hold_ms": None}
        await measured(agent, 4 * GIB, 80.0)
        assert guard(agent) == 150 * MIB
        assert kinds(agent).count("guard") == 2
        await agent.stop("A")
        assert guard(agent) == 64 * MIB

    SimAgent(wide).run(history)


def test_the_alarm_measures_itself_and_the_guests() -> None:
    """What ``Watch`` saw of a guest above its grant comes to its record, and its own time to the host's figures."""

    async def history(agent: SimAgent) -> None:
        await agent.start("A")
        await agent.start("B")
        guest = agent.guests["A"]
        guest.use(agent.grant("A") - (guest.overhead_bytes - guest.heap_bytes) + MIB)
        agent.alarms.look()
        agent.clock.sleep(0.02)
        guest.use(guest.heap_bytes + 48 * MIB)
        agent.alarms.look()
        agent.alarms.watch.report()
        await agent.rest(0.1)
        record = agent.keeper.room.cares["A"].record
        assert record.growth_bytes_per_s is not None
        assert record.growth_bytes_per_s >= 2 * GIB
        row = await agent.keeper.host_row()
        assert row["reaction"] is not None
        assert row["raise_ms"] is not None

    SimAgent(FOLLOWING).run(history)


class Refusing:
    """The kernel, refusing to take anything from B."""

    def __init__(self, agent: SimAgent) -> None:
        self.inner = agent.deps.applier
        self.following = agent.keeper.room.following
        self.shown: set[int] = set()
        """The headroom that was shown at each step that took something from B."""

    def carry_out(self, action: Action) -> Outcome:
        """Do it, unless it takes from B."""
        if isinstance(action, SetLimit) and action.name == "B" and action.grant_to_bytes < action.grant_from_bytes:
            self.shown.add(self.following.in_force_bytes)
            return Outcome(action, OutcomeKind.BUSY, "EBUSY", action.from_bytes)
        return self.inner.carry_out(action)


def test_a_headroom_that_could_not_be_made_is_not_told_to_be_there() -> None:
    """B's grant can't be lowered: the headroom stays what it was, and is tried again until B is gone."""

    async def history(agent: SimAgent) -> None:
        await agent.start("A")
        await agent.start("B")
        agent.deps.applier = refusing = Refusing(agent)
        agent.keeper.room.following.saw(agent.keeper.room.cares["A"], 400 * MIB)
        await agent.rest(5.0)
        assert "step_failed" in kinds(agent)
        assert refusing.shown == {128 * MIB}, "nor while it was tried"
        assert headroom(agent) == 128 * MIB
        sums_hold(agent)
        await agent.stop("B")
        assert headroom(agent) == 400 * MIB
        sums_hold(agent)

    SimAgent(FOLLOWING).run(history)


def test_a_guest_with_a_hard_cap_is_held_before_it_and_goes_on_when_released() -> None:
    """Nothing but its own cap is near: it stands still, unharmed, told with the cap; released it goes on."""
    capped = replace(FOLLOWING, headroom_bytes=200 * MIB, cap_bytes=160 * MIB)

    async def history(agent: SimAgent) -> None:
        await agent.start("A")
        assert agent.limit("A") == (256 + 160) * MIB
        guest = agent.guests["A"]
        guest.use(140 * MIB - (guest.overhead_bytes - guest.heap_bytes))
        await agent.rest(1.0)
        assert not agent.keeper.room.cares["A"].record.held
        assert guest.use(400 * MIB) is Fate.FROZEN
        await agent.rest(1.0)
        assert agent.keeper.room.cares["A"].record.held
        assert guest.overhead_bytes < 160 * MIB
        assert guest.alive
        assert not guest.sleeps
        message = next(text for kind, _, text in agent.events if kind == "held")
        assert "cap" in message
        await agent.keeper.release("A")
        assert not agent.host.process(guest.pid).held

    SimAgent(capped).run(history)


def test_without_its_mark_a_guest_meets_its_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: with nobody told where the cap is near, the same guest is at its limit."""
    monkeypatch.setattr(decide, "hold_at_bytes", lambda *_, **__: None)
    capped = replace(FOLLOWING, headroom_bytes=200 * MIB, cap_bytes=160 * MIB)

    async def history(agent: SimAgent) -> None:
        await agent.start("A")
        guest = agent.guests["A"]
        guest.use(400 * MIB)
        assert guest.sleeps or not guest.alive

    SimAgent(capped).run(history)
