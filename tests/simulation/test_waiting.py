"""Those that wait for room, under the real agent: first in, first out, kept over its end at any moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guestroom.config import OnShort
from guestroom.decide import rules
from guestroom.testing import ManualClock
from guestroom.units import MIB

from .histories import NAMES, Event, Start, Stop, Tick, play
from .judge import Judge
from .simagent import SETTINGS, SimAgent
from .test_crash import Moment, moments_of, next_agent

WAIT = OnShort.WAIT
ROOM = replace(SETTINGS, reserve=500 * MIB, headroom_bytes=100 * MIB, settle_s=10_000.0)
"""400 MiB for all overhead; the need is 30 % of RAM, and nobody's floor falls by itself."""
History = Callable[[SimAgent], Awaitable[None]]


def tell(history: History, **changes: object) -> SimAgent:
    """An agent's life, judged as all are."""
    agent = SimAgent(replace(ROOM, **changes))  # type: ignore[arg-type]
    judge = Judge(agent)

    async def go(it: SimAgent) -> None:
        await history(it)
        judge.expected_gone |= ended(it)
        judge.settled()

    agent.run(go)
    assert judge.broken == []
    return agent


def ended(agent: SimAgent) -> set[str]:
    """Who was ended by the test."""
    return {name for kind, name, _ in agent.events if kind == "ended" and name is not None}


def kinds(agent: SimAgent, name: str) -> list[str]:
    """What the event log has of a guest."""
    return [kind for kind, guest, _ in agent.events if guest == name]


def waits(agent: SimAgent) -> list[str]:
    """Who waits, the next one first."""
    return [entry.name for entry in agent.keeper.waiting.queue]


def running(agent: SimAgent) -> set[str]:
    """Who was let in."""
    return set(agent.keeper.room.cares)


async def full(agent: SimAgent) -> None:
    """A takes 300 of the 400 MiB; B, C and D want 240, 30 and 30."""
    await agent.start("A", ram_mib=1000)
    for name, ram_mib in (("B", 800), ("C", 100), ("D", 100)):
        agent.ask(name, ram_mib=ram_mib, on_short=WAIT)
        await agent.rest(0.1)


def test_they_start_in_their_order_when_a_guest_ends() -> None:
    """B does not fit beside A; C and D would, but came later; when A ends all three start, B first."""

    async def history(agent: SimAgent) -> None:
        await full(agent)
        await agent.rest(30.0)
        assert (waits(agent), running(agent)) == (["B", "C", "D"], {"A"})
        await agent.stop("A")
        assert (waits(agent), running(agent)) == ([], {"B", "C", "D"})

    agent = tell(history)
    begun = [name for kind, name, _ in agent.events if kind == "admitted"]
    assert begun == ["A", "B", "C", "D"]
    assert [kinds(agent, name)[:3] for name in "BCD"] == [
        ["queued", "admitted", "started"],
        ["queued", "queue_moved", "admitted"],
        ["queued", "queue_moved", "admitted"],
    ] or kinds(agent, "B")[:2] == ["queued", "admitted"]


def test_each_hears_its_place_and_the_verdict_only_at_the_end() -> None:
    """While it waits a run hears ``waiting`` lines with numbers, again when they change; then one verdict."""

    async def history(agent: SimAgent) -> None:
        await full(agent)
        await agent.rest(30.0)
        first, last = agent.sessions["B"].heard, agent.sessions["D"].heard
        assert [line["event"] for line in first] == ["waiting"] * len(first)
        assert (first[-1]["place"], first[-1]["before"], first[-1]["free_bytes"]) == (1, (), 100 * MIB)
        assert [holder["name"] for holder in first[-1]["holders"]] == ["A"]  # type: ignore[attr-defined]
        assert (last[-1]["place"], last[-1]["before"]) == (3, ("B", "C"))
        assert len(last) == 1
        agent.give_up("C")
        await agent.rest(1.0)
        assert (last[-1]["place"], last[-1]["before"], len(last)) == (2, ("B",), 2)
        await agent.stop("A")
        for name in ("B", "D"):
            heard = [line["event"] for line in agent.sessions[name].heard]
            assert heard.count("verdict") == 1
            assert heard[-2:] == ["verdict", "running"]

    agent = tell(history)
    assert kinds(agent, "C") == ["queued", "queue_left"]


@pytest.mark.parametrize("on_short", [OnShort.REFUSE, OnShort.SQUEEZE, OnShort.RECREATE])
def test_nobody_overtakes_whatever_it_asked_for(on_short: OnShort) -> None:
    """One that would fit, and does not want to wait, is refused while another waits, and told who came first."""

    async def history(agent: SimAgent) -> None:
        await full(agent)
        heard = await agent.start("E", ram_mib=100, on_short=on_short)
        verdict = heard.of("verdict")
        assert (verdict["verdict"], verdict["short_of"]) == ("refuse", "queue")
        assert "B, C, D wait for room and came first" in str(verdict["message"])
        assert waits(agent) == ["B", "C", "D"]

    assert kinds(tell(history), "E") == ["refused"]


def test_who_can_never_start_is_refused_at_once() -> None:
    """More than the whole reserve: no place, exit code 3, and the one behind it is not kept waiting."""

    async def history(agent: SimAgent) -> None:
        heard = await agent.start("B", ram_mib=1600, on_short=WAIT)
        verdict = heard.of("verdict")
        assert (verdict["verdict"], verdict["need_bytes"]) == ("refuse", 480 * MIB)
        assert "waiting would not help" in str(verdict["message"])
        assert waits(agent) == []

    tell(history)


def test_a_time_out_ends_the_wait_with_numbers() -> None:
    """At its time it is refused, with how long it waited, its place and what was free; the next one moves up."""

    async def history(agent: SimAgent) -> None:
        await agent.start("A", ram_mib=1000)
        heard = agent.ask("B", ram_mib=800, on_short=WAIT, timeout_s=20.0)
        agent.ask("C", ram_mib=100, on_short=WAIT)
        await agent.rest(19.0)
        assert waits(agent) == ["B", "C"]
        await agent.rest(2.0)
        verdict = heard.of("verdict")
        assert (verdict["verdict"], verdict["left_bytes"]) == ("refuse", 100 * MIB)
        assert str(verdict["message"]).startswith("guest B is refused: it waited 20 s for room at place 1 of 2, ")
        assert running(agent) == {"A", "C"}

    assert kinds(tell(history), "B") == ["queued", "queue_timeout"]


def test_the_settings_say_how_long_where_the_run_does_not() -> None:
    """``wait_timeout_s`` holds for everybody; 0 means not at all, also for one that is second."""

    async def history(agent: SimAgent) -> None:
        await agent.start("A", ram_mib=1000)
        heard = agent.ask("B", ram_mib=800, on_short=WAIT)
        await agent.rest(6.0)
        assert heard.of("verdict")["verdict"] == "refuse"
        agent.ask("B", ram_mib=800, on_short=WAIT, timeout_s=100.0)
        short = agent.ask("C", ram_mib=100, on_short=WAIT, timeout_s=0.0)
        await agent.rest(1.0)
        assert "behind B" in str(short.of("verdict")["message"])
        assert waits(agent) == ["B"]

    tell(history, wait_timeout_s=5.0)


def test_room_that_comes_by_the_clock_is_seen() -> None:
    """A's need leaves its floor when it has settled: nothing happens at that moment, and B starts nevertheless."""

    async def history(agent: SimAgent) -> None:
        await agent.start("A", ram_mib=1000)
        agent.ask("B", ram_mib=800, on_short=WAIT)
        await agent.rest(20.0)
        assert waits(agent) == ["B"]
        await agent.rest(100.0)
        assert running(agent) == {"A", "B"}

    tell(history, settle_s=30.0)


def test_a_guest_that_comes_back_recreated_does_not_queue() -> None:
    """Its place was kept for it: it waits for nobody, and nobody's turn changes."""

    async def history(agent: SimAgent) -> None:
        await full(agent)
        care = agent.keeper.room.cares["A"]
        agent.host.exit(agent.guests["A"].pid)
        care.recreation = care.record.grant_bytes
        await agent.rest(1.0)
        await agent.keeper.endings.drain(care)
        await agent.keeper.room.clear(care)
        agent.ask("A", ram_mib=1000)
        await agent.rest(2.0)
        assert agent.sessions["A"].of("running")
        assert waits(agent) == ["B", "C", "D"]

    tell(history)


def test_one_name_waits_once() -> None:
    """Another run under a name that waits is told so, and the one that waits keeps its place."""

    async def history(agent: SimAgent) -> None:
        await full(agent)
        first = agent.guests["B"], agent.sessions["B"], agent.runs["B"]
        other = agent.ask("B", ram_mib=100, on_short=WAIT)
        await agent.rest(1.0)
        assert "waits for room already" in str(other.of("error")["error"])
        agent.host.exit(agent.guests["B"].pid)
        agent.guests["B"], agent.sessions["B"], agent.runs["B"] = first
        assert waits(agent) == ["B", "C", "D"]
        await agent.stop("A")
        assert running(agent) == {"B", "C", "D"}

    tell(history)


def test_a_plan_says_wait_and_changes_nothing() -> None:
    """A dry run tells the place it would have, and the queue is as before."""

    async def history(agent: SimAgent) -> None:
        await full(agent)
        argv = ("qemu-system-x86_64", "-machine", "q35", "-m", "100")
        plan = await agent.keeper.plan("E", argv, {}, WAIT)
        assert (plan["verdict"], plan["grant_bytes"], plan["actions"]) == ("wait", 0, [])
        assert "place 4 of 4, behind B, C, D" in str(plan["message"])
        refused = await agent.keeper.plan("E", argv, {}, OnShort.REFUSE)
        assert (refused["verdict"], refused["short_of"]) == ("refuse", "queue")
        assert waits(agent) == ["B", "C", "D"]

    tell(history)


def test_those_that_wait_are_shown() -> None:
    """``ps`` has them after the others, queued, with their place, and with every field a guest has."""

    async def history(agent: SimAgent) -> None:
        await full(agent)
        rows = agent.keeper.guest_rows()
        assert [(row["name"], row["state"], row["place"]) for row in rows] == [
            ("A", "running", None),
            ("B", "queued", 1),
            ("C", "queued", 2),
            ("D", "queued", 3),
        ]
        assert len({tuple(sorted(row)) for row in rows}) == 1
        assert (await agent.keeper.host_row())["waiting"] == 3

    tell(history)


# --- the agent's end ---------------------------------------------------------------------------------------


async def crash_history(agent: SimAgent) -> None:
    """Three wait; one starts; one gives up; the last is left waiting."""
    await full(agent)
    agent.ask("E", ram_mib=1200, on_short=WAIT)
    await agent.rest(1.0)
    agent.give_up("D")
    await agent.rest(1.0)
    await agent.stop("A")
    await agent.rest(5.0)


def lifetimes() -> list[Moment]:
    """That life, remembered at each fault point."""
    return moments_of(SimAgent(ROOM), crash_history)


def test_killed_at_any_point_the_order_is_kept() -> None:
    """Whoever waited and asks again, in whatever order, starts in the order in which they first came."""
    found = lifetimes()
    assert sum(moment.point == "queued" for moment in found) == 4
    for number, moment in enumerate(found):
        agent, judge = next_agent(moment, ROOM)
        agent.run(lambda it, judge=judge, moment=moment: served_in_order(it, judge, moment))  # type: ignore[misc]
        assert judge.broken == [], f"{number} {moment.point}"


async def served_in_order(agent: SimAgent, judge: Judge, moment: Moment) -> None:
    """All that wait ask again, the last first; then room comes, bit by bit."""
    back = [name for name in "EDCB" if name in moment.asking and name in agent.guests]
    placed = waits(agent)
    for name in back:
        agent.ask_again(name, WAIT)
        await agent.rest(0.1)
    order = [name for name in placed if name in back] + [name for name in back if name not in placed]
    begun = len(agent.events)
    for _ in range(6):
        await agent.rest(40.0)
        living = [name for name in sorted(running(agent)) if agent.guests[name].running]
        for name in living[:1]:
            judge.expected_gone.add(name)
            await agent.stop(name)
    assert waits(agent) == [], moment.point
    started = [name for kind, name, _ in agent.events[:] if kind == "admitted" and name in back]
    assert started == order, (moment.point, begun)


def test_one_that_does_not_come_back_holds_up_nobody_for_long() -> None:
    """B's run is gone with the old agent: its place goes at once; C's never asks again: its place goes in time."""

    async def history(agent: SimAgent) -> None:
        await full(agent)

    moment = moments_of(SimAgent(ROOM), history)[-1]
    moment.host.exit(moment.runs["B"])
    agent, _ = next_agent(moment, ROOM)

    async def later(it: SimAgent) -> None:
        assert waits(it) == ["C", "D"]
        it.ask_again("D", WAIT)
        await it.rest(20.0)
        assert waits(it) == ["C", "D"]
        await it.rest(15.0)
        assert running(it) == {"A", "D"}

    agent.run(later)
    assert [kind for kind, name, _ in agent.events if name in ("B", "C")] == ["queue_left", "queue_left"]


def test_the_time_waited_counts_on() -> None:
    """A run that waited 15 of its 20 seconds before the agent ended has 5 left, whatever it says later."""

    async def history(agent: SimAgent) -> None:
        await agent.start("A", ram_mib=1000)
        agent.ask("B", ram_mib=800, on_short=WAIT, timeout_s=20.0)
        await agent.rest(15.0)
        agent.deps.fault("here")

    agent, _ = next_agent(moments_of(SimAgent(ROOM), history)[-1], ROOM)

    async def later(it: SimAgent) -> None:
        heard = it.ask_again("B", WAIT, 20.0, 15.0)
        await it.rest(4.0)
        assert not heard.of("verdict")
        await it.rest(2.0)
        assert heard.of("verdict")["verdict"] == "refuse"

    agent.run(later)


# --- whatever happens --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ask:
    """Somebody runs a guest and waits if it must."""

    name: str
    ram_mib: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Its user ends the run while it waits."""

    name: str


ASKS = st.builds(Ask, st.sampled_from(NAMES), st.sampled_from((100, 400, 800, 1000, 1600)))
MORE = st.one_of(
    ASKS,
    ASKS,
    st.builds(GiveUp, st.sampled_from(NAMES)),
    st.builds(Stop, st.sampled_from(NAMES)),
    st.builds(Start, st.sampled_from(NAMES), st.just("obedient"), st.sampled_from((100, 400))),
    st.just(Tick(5.0)),
)
HISTORIES = st.builds(lambda a, b: [*a, *b], st.lists(ASKS, min_size=2, max_size=4), st.lists(MORE, max_size=12))


class Watcher:
    """Keeps the order in which they came once more, and looks who starts."""

    def __init__(self, agent: SimAgent, judge: Judge) -> None:
        self.agent = agent
        self.judge = judge
        self.order: list[str] = []
        self.seen = 0

    async def happens(self, event: Event | Ask | GiveUp) -> None:
        """One event, and what came of it."""
        agent = self.agent
        match event:
            case Ask(name, ram_mib):
                if name not in self.order and name not in running(agent):
                    self.order.append(name)
                    self.judge.expected_gone.discard(name)
                    self.judge.seen.pop(name, None)
                    agent.ask(name, ram_mib=ram_mib, on_short=WAIT)
                    await agent.rest(1.0)
            case GiveUp(name):
                if name in self.order and name not in running(agent):
                    agent.give_up(name)
                    await agent.rest(1.0)
            case Start(name):
                if name not in self.order:
                    await play(agent, self.judge, [event])
            case _:
                await play(agent, self.judge, [event])
        self.look(isinstance(event, Start) and event.name not in self.order)

    def look(self, newcomer: bool) -> None:
        """FIFO: whoever was let in was the first of those that wait."""
        for kind, name, _ in self.agent.events[self.seen :]:
            if kind == "admitted":
                if self.order and self.order[0] != name:
                    self.judge.broken.append(f"{name} overtakes {self.order[0]}")
                if name in self.order:
                    self.order.remove(name)
            elif kind in ("queue_left", "refused", "queue_timeout") and name in self.order:
                self.order.remove(name)
        self.seen = len(self.agent.events)

    async def end(self) -> None:
        """Everybody that runs ends, one after the other: then nobody who could fit is left waiting."""
        for _ in range(len(NAMES) + 1):
            for name in sorted(running(self.agent)):
                self.judge.expected_gone.add(name)
                await self.agent.stop(name)
                self.look(False)
        if self.order or waits(self.agent):
            self.judge.broken.append(f"{self.order} wait for ever: {waits(self.agent)}")


def judged(history: Sequence[Event | Ask | GiveUp]) -> list[str]:
    """What was wrong in a life of an agent."""
    agent = SimAgent(ROOM, clock=ManualClock())
    judge = Judge(agent)

    async def go(it: SimAgent) -> None:
        watcher = Watcher(it, judge)
        for event in history:
            await watcher.happens(event)
            judge.settled()
        await watcher.end()

    agent.run(go)
    return judge.broken


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=HISTORIES)
def test_nobody_overtakes_and_nobody_starves(history: list[Event | Ask | GiveUp]) -> None:
    """Guests come, wait, give up, run and end in any order: who waits is served in its turn, and in the end served."""
    assert judged(history) == []


def test_without_the_rule_a_small_one_overtakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: where anybody may be asked, a small guest starts before a large one that came first, and is seen."""
    monkeypatch.setattr(rules, "may_be_asked", lambda place: True)
    assert any("C overtakes B" in line for line in judged([Ask("A", 1000), Ask("B", 800), Ask("C", 100)]))
