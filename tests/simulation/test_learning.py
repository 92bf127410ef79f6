"""The real agent with policy ``learned``: what guests came to is written down, survives any end, and sizes the next."""

from __future__ import annotations

from dataclasses import replace

import pytest

from guestroom.agent.views import missed
from guestroom.lives import Life
from guestroom.testing import ManualClock
from guestroom.testing.ledger import MemoryLedger
from guestroom.units import MIB

from .simagent import SETTINGS, SimAgent

LEARNED = replace(SETTINGS, policy="learned", reserve=1200 * MIB, peak_window_s=20.0)


def of(agent: SimAgent, name: str) -> list[Life]:
    """The lives of one guest that the ledger has."""
    return [life for life in agent.ledger.lives() if life.guest == name]


def need(agent: SimAgent, name: str) -> int:
    """What it is expected to need."""
    return agent.keeper.room.cares[name].record.need_bytes


async def live(agent: SimAgent, name: str, peak_mib: int, seconds: float = 121.0) -> None:
    """A guest that comes to a peak, goes back and is ended by its user."""
    await agent.start(name)
    agent.guests[name].use(peak_mib * MIB)
    await agent.rest(1.0)
    agent.guests[name].use(30 * MIB)
    await agent.rest(seconds)
    await agent.stop(name)


def test_a_life_is_written_down_with_its_promise_and_its_whole_peak() -> None:
    """The peak of all its life, not of the last window; its admission's promise; QEMU's version by its own word."""
    agent = SimAgent(LEARNED)

    async def history(agent: SimAgent) -> None:
        await live(agent, "A", 120)

    agent.run(history)
    (life,) = of(agent, "A")
    assert life.ended
    assert 120 * MIB <= life.peak_bytes <= 136 * MIB
    assert life.ran_s >= 120
    assert life.promised.policy == "learned"
    assert life.promised.overhead_bytes == life.promised.prior_bytes, "nothing was learned before it"
    assert life.promised.likeness.qemu == "7.2"
    assert life.promised.coverage == 0.95, "the study's"
    assert "unseen" in (life.promised.level or "")


def test_the_next_start_gets_less_after_low_peaks() -> None:
    """As many guests of one shape as the wanted share takes (5 for one of two) lower it, never below what they took."""
    agent, needs = SimAgent(replace(LEARNED, coverage=0.5)), []

    async def history(agent: SimAgent) -> None:
        for at in range(6):
            await live(agent, f"g{at}", 50)
            needs.append(of(agent, f"g{at}")[0].promised.overhead_bytes)

    agent.run(history)
    assert len(set(needs[:5])) == 1
    assert 50 * MIB <= needs[5] < needs[0]


@pytest.mark.parametrize("alive", [True, False], ids=["while it runs", "when it ended"])
def test_a_miss_gives_the_next_one_more_at_once(alive: bool) -> None:
    """Eight calm lives made the figure small; one guest needs more: the very next start has its peak + 100 MiB."""
    agent = SimAgent(LEARNED)

    async def history(agent: SimAgent) -> tuple[int, int]:
        for at in range(8):
            await live(agent, f"g{at}", 60)
        await agent.start("wild")
        before = need(agent, "wild")
        agent.guests["wild"].use(before + 20 * MIB)
        await agent.rest(3.0)
        if not alive:
            await agent.stop("wild")
            await agent.start("wild")
            return before, need(agent, "wild")
        await agent.start("next")
        return before, need(agent, "next")

    before, after = agent.run(history)
    assert after >= before + 120 * MIB
    told = [message for kind, name, message in agent.events if kind == "promise_missed" and name == "wild"]
    assert len(told) == 1
    assert "learned promised" in told[0]
    assert before < 400 * MIB


def test_what_was_learned_survives_the_end_of_the_agent() -> None:
    """Killed at any moment, with a guest running: the next agent has its peak, tells no miss twice, learns on."""
    ledger, clock = MemoryLedger(ManualClock()), ManualClock()
    first = SimAgent(LEARNED, ledger=ledger, clock=clock)

    async def begin(agent: SimAgent) -> int:
        await live(agent, "calm", 60)
        await agent.start("A")
        agent.guests["A"].use(need(agent, "A") + 10 * MIB)
        await agent.rest(3.0)
        return agent.keeper.room.cares["A"].record.life_peak_bytes or 0

    peak = first.run(begin)
    second = SimAgent(LEARNED, host=first.host, ledger=ledger, clock=clock)
    second.guests, second.sessions, second.runs = first.guests, first.sessions, first.runs

    async def go_on(agent: SimAgent) -> None:
        assert len(agent.keeper.room.learning.history) == 2
        assert agent.keeper.room.cares["A"].record.promised is not None
        await agent.rest(130.0)
        await agent.stop("A")

    second.run(go_on)
    (life,) = of(second, "A")
    assert life.ended
    assert life.peak_bytes >= peak
    assert life.ran_s >= 130
    assert [kind for kind, *_ in first.events + second.events].count("promise_missed") == 1


@pytest.mark.parametrize("saved", [MIB, None], ids=["an older peak", "no peak"])
def test_a_record_that_was_not_saved_since_the_peak_hides_no_miss(saved: int | None) -> None:
    """The life is written at once, the guest's record may be older: the next agent shows the larger of both."""
    ledger, clock = MemoryLedger(ManualClock()), ManualClock()
    first = SimAgent(LEARNED, ledger=ledger, clock=clock)

    async def begin(agent: SimAgent) -> int:
        await agent.start("A")
        agent.guests["A"].use(need(agent, "A") + 10 * MIB)
        await agent.rest(3.0)
        agent.guests["A"].use(30 * MIB)
        await agent.rest(50.0)  # until the kernel's own peak was begun anew
        return agent.keeper.room.cares["A"].record.life_peak_bytes or 0

    peak = first.run(begin)
    (record,) = ledger.get_guests()
    ledger.put_guest(replace(record, life_peak_bytes=saved, overhead_peak_bytes=saved))
    second = SimAgent(LEARNED, host=first.host, ledger=ledger, clock=clock)
    second.guests, second.sessions, second.runs = first.guests, first.sessions, first.runs

    async def look(agent: SimAgent) -> bool | None:
        await agent.rest(3.0)
        record = agent.keeper.room.cares["A"].record
        assert (record.life_peak_bytes or 0) >= peak
        return missed(record)

    assert second.run(look) is True


def test_a_running_guest_is_reported_before_it_ends() -> None:
    """After a minute it is a sample, and for as long as it runs it stays a recent one, once."""
    agent = SimAgent(LEARNED)

    async def history(agent: SimAgent) -> list[tuple[int, float]]:
        await agent.start("A")
        seen = []
        for seconds in (30.0, 60.0, 3700.0):
            await agent.rest(seconds)
            seen.append((len(of(agent, "A")), of(agent, "A")[0].ran_s if of(agent, "A") else 0.0))
        return seen

    none, first, later = agent.run(history)
    assert none == (0, 0.0)
    assert first[0] == later[0] == 1
    assert later[1] >= first[1] + 3500


def test_other_policies_are_learned_from_and_judged_too() -> None:
    """Under ``proportional`` the same is written down: there is a history on the day ``learned`` is chosen."""
    agent = SimAgent(SETTINGS)

    async def history(agent: SimAgent) -> dict[str, object]:
        await live(agent, "A", 70)
        await agent.start("B")
        agent.guests["B"].use(100 * MIB)
        await agent.rest(130.0)
        shown = {str(row["name"]): row for row in agent.keeper.guest_rows()}["B"]
        assert shown["missed"] is True
        assert shown["life_peak_bytes"] is not None
        assert shown["promised_coverage"] is None
        return await agent.keeper.learning_row()

    row = agent.run(history)
    groups = row["groups"]
    assert isinstance(groups, list)
    (group,) = groups
    assert (row["policy"], row["prior"], row["lives"]) == ("proportional", None, 2)
    assert (group["policy"], group["qemu"], group["accelerator"]) == ("proportional", "7.2", "tcg")
    assert (group["lives"], group["missed"], group["coverage"]) == (2, 1, 0.5)
    assert group["largest_miss_bytes"] > 0
    assert all(life.promised.prior.startswith("measured") for life in agent.ledger.lives())


def test_a_fixed_overhead_is_nobodys_promise() -> None:
    """What an operator sets is not judged, and no event says that a policy missed."""
    agent = SimAgent(replace(SETTINGS, overhead_bytes=80 * MIB))

    async def history(agent: SimAgent) -> dict[str, object]:
        await agent.start("A")
        agent.guests["A"].use(100 * MIB)
        await agent.rest(130.0)
        return await agent.keeper.learning_row()

    row = agent.run(history)
    assert row["groups"] == []
    assert "promise_missed" not in [kind for kind, *_ in agent.events]


def test_a_full_disk_stops_no_learning() -> None:
    """While nothing can be written the next guest is sized by what is in memory, and later all is in the ledger."""
    agent = SimAgent(LEARNED)

    async def history(agent: SimAgent) -> None:
        await live(agent, "A", 60)
        await agent.start("B")
        agent.ledger.fail()
        agent.guests["B"].use(need(agent, "B") + 10 * MIB)
        await agent.rest(5.0)
        assert len(of(agent, "B")) == 0
        assert agent.keeper.room.learning.history.get(_key(agent, "B"))
        agent.ledger.mend()
        await agent.rest(2.0)

    agent.run(history)
    assert len(of(agent, "B")) == 1


def _key(agent: SimAgent, name: str) -> tuple[str, float]:
    record = agent.keeper.room.cares[name].record
    return record.name, record.started_wall_s
