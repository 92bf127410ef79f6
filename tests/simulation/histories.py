"""What happens to a host: guests of every kind come, go on and leave, in any order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from guestroom.config import OnShort, Settings
from guestroom.testing.zoo import ZOO

from .judge import Judge
from .simagent import SETTINGS, SimAgent

NAMES = "ABCDE"


@dataclass(frozen=True, slots=True)
class Start:
    """Somebody runs a guest."""

    name: str
    kind: str = "obedient"
    ram_mib: int = 256
    on_short: OnShort = OnShort.REFUSE


@dataclass(frozen=True, slots=True)
class Stop:
    """Its user ends it."""

    name: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Everybody goes on, then ``seconds`` pass."""

    seconds: float = 5.0


Event = Start | Stop | Tick

STARTS = st.builds(
    Start,
    st.sampled_from(NAMES),
    st.sampled_from(sorted(ZOO)),
    st.sampled_from((256, 384, 512)),
    st.sampled_from((OnShort.REFUSE, OnShort.SQUEEZE)),
)
EVENTS = st.one_of(
    STARTS, STARTS, st.builds(Stop, st.sampled_from(NAMES)), *(st.just(Tick(s)) for s in (5.0, 5.0, 45.0))
)
HISTORIES = st.builds(
    lambda first, rest: [*first, *rest],
    st.lists(STARTS, min_size=2, max_size=3),
    st.lists(EVENTS, min_size=4, max_size=14),
)


async def play(agent: SimAgent, judge: Judge, history: Sequence[Event]) -> None:
    """Let it happen; ``judge`` looks after every event and every growth."""
    for event in history:
        before, failures = judge.grants(), _failed_steps(agent)
        match event:
            case Start():
                await _start(agent, judge, event)
            case Stop():
                judge.expected_gone.add(event.name)
                await agent.stop(event.name) if event.name in agent.guests else None
            case Tick():
                await agent.tick(event.seconds)
        judge.settled()
        if _failed_steps(agent) > failures:
            _all_or_back(agent, judge, before)


async def _start(agent: SimAgent, judge: Judge, event: Start) -> None:
    if (event.name in agent.guests and agent.guests[event.name].alive) or event.name in agent.keeper.room.cares:
        return
    stranger = getattr(agent.guests.get(event.name), "stranger", None)
    if stranger is not None:
        return
    judge.kinds[event.name] = event.kind
    judge.seen.pop(event.name, None)
    judge.expected_gone.discard(event.name)
    if event.kind in ("vanishing", "reborn"):
        judge.expected_gone.add(event.name)
    await agent.start(event.name, event.kind, event.ram_mib, event.on_short)
    guest, look = agent.guests[event.name], agent.alarms.look

    def after_step() -> None:
        look()
        judge.look()

    guest.after_step = after_step


def _failed_steps(agent: SimAgent) -> int:
    return sum(kind == "step_failed" for kind, _, _ in agent.events)


def _all_or_back(agent: SimAgent, judge: Judge, before: dict[str, int]) -> None:
    """P4: after a plan that failed nobody has less than before while there is room for it."""
    now = judge.grants()
    if set(now) - set(before):
        return
    left = judge.reserve_bytes - judge.headroom_bytes - sum(now.values())
    for name in now:
        if now[name] < before[name] and left > 4096 * (len(now) + 1):
            judge.broken.append(f"P4: {name} had {before[name]}, has {now[name]}, and {left} is left")


def judged(history: Sequence[Event], settings: Settings = SETTINGS) -> Judge:
    """Play ``history`` on a fresh host; the judge with all it found."""
    agent = SimAgent(settings)
    judge = Judge(agent)
    agent.run(lambda it: play(it, judge, history))
    return judge
