"""Faults at any point of a history: somebody else's hands on the cgroups, alarms that are lost, a clock that is set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from guestroom.agent.care import Care
from guestroom.facts import GuestState
from guestroom.units import MIB

from .histories import EVENTS, NAMES, STARTS, Event, play
from .judge import Judge
from .simagent import SimAgent

LIMIT = "memory.limit_in_bytes"


@dataclass(frozen=True, slots=True)
class Meddle:
    """Somebody else does ``what`` to a guest (or to the host wall, then the name says nothing)."""

    what: str
    name: str


@dataclass(frozen=True, slots=True)
class Deaf:
    """No threshold wakes anybody from now on (or again): only sweeps look."""

    lost: bool


@dataclass(frozen=True, slots=True)
class SetClock:
    """The wall clock is set."""

    seconds: float


Fault = Meddle | Deaf | SetClock
WHATS = ("raised", "unlimited", "lowered", "wall raised", "wall lowered", "killer", "thaw", "move", "remove", "replace")
FAULTS = st.one_of(
    *[st.builds(Meddle, st.sampled_from(WHATS), st.sampled_from(NAMES))] * 3,
    st.builds(Deaf, st.booleans()),
    st.builds(SetClock, st.sampled_from((-1e6, -30.0, 30.0, 1e6))),
)
FAULTY = st.builds(
    lambda first, rest: [*first, *rest],
    st.lists(STARTS, min_size=2, max_size=3),
    st.lists(st.one_of(EVENTS, FAULTS), min_size=6, max_size=18),
)


async def suffer(agent: SimAgent, judge: Judge, history: Sequence[Event | Fault]) -> None:
    """Let it happen; after every fault and a sweep or two all is right again, and the judge goes on as ever."""
    for event in history:
        match event:
            case Meddle():
                await _meddle(agent, judge, event)
            case Deaf(lost=lost):
                agent.alarms.deaf = lost
            case SetClock(seconds=seconds):
                agent.clock.step_wall(seconds)
                await agent.rest(2.0)
                told = agent.events[-5:]
                if not any(kind == "clock_set" for kind, _, _ in told):
                    judge.broken.append(f"a clock that was set by {seconds} s is not told: {told}")
            case _:
                await play(agent, judge, [event])


def _may(agent: SimAgent, care: Care | None, event: Meddle) -> bool:
    """Whether it is the first time in a while, to somebody it can happen to."""
    patience, now_s = agent.keeper.sweep.foreign.patience, agent.clock.monotonic()
    if event.what.startswith("wall"):
        return patience.wait_s("host wall", now_s) == 0
    if care is None or care.record.released or care.record.state is not GuestState.RUNNING:
        return False
    if not agent.guests[event.name].alive or care.ended.is_set() or agent.guests[event.name].busy != care.record.held:
        return False
    if event.what in ("raised", "unlimited", "move") and (
        care.record.held or care.reading is None or care.reading.overhead_bytes is None
    ):
        return False  # left as it is: what can't be shrunk safely stays (P6)
    topics = (f"limit of {event.name}", f"OOM killer of {event.name}", f"place of {event.name}")
    return event.what == "thaw" or all(patience.wait_s(topic, now_s) == 0 for topic in topics)


async def _meddle(agent: SimAgent, judge: Judge, event: Meddle) -> None:
    care = agent.keeper.room.cares.get(event.name)
    if not _may(agent, care, event):
        return
    told = len(agent.events)
    judge.others_at_work = True
    try:
        expected = _do(agent, judge, event)
    finally:
        judge.others_at_work = False
    await agent.rest(3.0)
    kinds = [kind for kind, _, _ in agent.events[told:]]
    if expected is not None and expected not in kinds:
        judge.broken.append(f"{event} is not told as {expected}: {agent.events[told:]}")
    _all_right(agent, judge, event)
    judge.settled()


def _do(agent: SimAgent, judge: Judge, event: Meddle) -> str | None:
    """Carry it out; the event it must be told as."""
    host, layout, wall = agent.host, agent.layout, agent.layout.memory
    place, guest = layout.guest(event.name), agent.guests.get(event.name)

    def limit(folder: str, change: int) -> str | None:
        now = int(host.read(f"{folder}/{LIMIT}"))
        try:
            host.write(f"{folder}/{LIMIT}", str(now + change))
        except OSError:
            return None  # EBUSY: the kernel itself has kept it
        return "limit_moved"

    match event.what:
        case "raised":
            return limit(place, 300 * MIB)
        case "unlimited":
            host.write(f"{place}/{LIMIT}", "-1")
            return "limit_moved"
        case "lowered":
            return limit(place, -40 * MIB)
        case "wall raised":
            return limit(wall, 100 * MIB)
        case "wall lowered":
            return limit(wall, -40 * MIB)
        case "killer":
            host.write(f"{place}/memory.oom_control", "0")
            return "killer_on"
        case "thaw":
            held = agent.keeper.room.cares[event.name].record.held
            host.write(f"{layout.freezer_of(event.name)}/freezer.state", "THAWED")
            return "hold_lost" if held else None
    assert guest is not None
    host.move(guest.pid, host.memory)
    if event.what == "move":
        return "moved"
    for path in (layout.ram(event.name), layout.vmm(event.name), place):
        host.rmdir(path)
    if event.what == "replace":
        for path in (place, layout.ram(event.name), layout.vmm(event.name)):
            host.mkdir(path)
        host.write(f"{place}/{LIMIT}", str(64 * MIB))
        judge.others.add(place)
    return "gone"


def _all_right(agent: SimAgent, judge: Judge, event: Meddle) -> None:
    """What the kernel has is what was meant; a guest that lost its cgroup is out of care, and lives."""
    room = agent.keeper.room
    if judge.wall() != room.wall_bytes:
        judge.broken.append(f"{event}: the wall is {judge.wall()}, {room.wall_bytes} was meant")
    for name, care in room.cares.items():
        if care.record.released or care.record.state is not GuestState.RUNNING or not agent.guests[name].alive:
            continue
        if agent.limit(name) != care.record.limit_bytes:
            judge.broken.append(f"{event}: {name} has {agent.limit(name)}, {care.record.limit_bytes} was meant")
        control = agent.host.read(f"{agent.layout.guest(name)}/memory.oom_control")
        if not control.startswith("oom_kill_disable 1"):
            judge.broken.append(f"{event}: the OOM killer of {name} is left on")
        if agent.host.process(agent.guests[name].pid).memory.path.rpartition("/")[2] != "vmm":
            judge.broken.append(f"{event}: {name} is left outside of its cgroup")


def suffered(history: Sequence[Event | Fault]) -> Judge:
    """Play ``history`` on a fresh host; the judge with all it found."""
    agent = SimAgent()
    judge = Judge(agent)
    agent.run(lambda it: suffer(it, judge, history))
    return judge
