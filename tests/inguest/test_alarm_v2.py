"""The alarm process on a real v2 kernel: holds in time, lets go, bothers nobody else, and fails open."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from tests.inguest.v2_cgroups import MIB, Lab, events, made_lab

from guestroom.actions import MakeGuest
from guestroom.agent.alarm_client import AlarmClient

GRANT = 64 * MIB
HEADROOM = 256 * MIB
GUARD = 96 * MIB
LIMIT = GRANT + HEADROOM
"""The lab's guests have no RAM: their limit is grant + headroom."""


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Two guests, a and b, under a wall of both grants and one headroom."""
    with made_lab() as made:
        made.wall(2 * GRANT + HEADROOM)
        for name in ("a", "b"):
            assert made.applier.carry_out(MakeGuest(name, LIMIT, GRANT, "test")).ok
        yield made


class Heard:
    """Events of the alarm, kept as they come."""

    def __init__(self, client: AlarmClient) -> None:
        self.client = client
        self.all: list[dict[str, object]] = []
        self._task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        async for news in self.client.events():
            self.all.append(news)

    def of(self, *kinds: str) -> list[dict[str, object]]:
        """Events of these kinds."""
        return [news for news in self.all if news["event"] in kinds]

    async def one(self, kind: str, name: str = "a", timeout_s: float = 10.0) -> dict[str, object]:
        """Wait for an event about a guest."""
        end_s = time.monotonic() + timeout_s
        while time.monotonic() < end_s:
            for news in self.of(kind):
                if news.get("name") == name:
                    return news
            await asyncio.sleep(0.005)
        raise AssertionError(f"no {kind} of {name} in {self.all}")


@contextlib.asynccontextmanager
async def alarmed(lab: Lab, *, agent_lost_s: float = 30.0) -> AsyncIterator[Heard]:
    """The alarm process watching a and b."""
    client = await AlarmClient.start(lab.layout, agent_lost_s, timeout_s=30.0)
    heard = Heard(client)
    try:
        client.wall(2 * GRANT + HEADROOM, HEADROOM, GUARD)
        for name in ("a", "b"):
            client.guest(name, 0, 1, GRANT, LIMIT)
            assert await client.armed(name, 10.0)
        yield heard
    finally:
        await client.stop()
    assert heard.of("error") == []


async def until(condition: Callable[[], object], timeout_s: float = 10.0) -> bool:
    """Wait until ``condition`` is true; False if it never was."""
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s:
        if condition():
            return True
        await asyncio.sleep(0.005)
    return bool(condition())


def frozen(lab: Lab, name: str) -> bool:
    """Whether a guest stands still."""
    return "frozen 1" in lab.read(name, "cgroup.events")


def test_runaway_is_held_before_its_wall(lab: Lab) -> None:
    """A guest that runs away is held before it reaches its wall, its neighbour goes on, and it is let go with room."""

    async def play() -> None:
        runaway, neighbour = lab.helper("a"), lab.helper("b")
        async with alarmed(lab) as heard:
            runaway.tell(f"grow {800 * MIB} {MIB}")
            held = await heard.one("held")
            assert held["frozen"] is True
            use = lab.number("a", "memory.current")
            print(f"\nheld with {(LIMIT - use) / MIB:.0f} MiB left to its wall, took {held['took_ms']} ms")
            assert use < LIMIT
            assert events(lab.read("a", "memory.events"))["max"] == 0, "it met its wall"
            neighbour.do(f"grow {GRANT // 2} {MIB}")
            assert not frozen(lab, "b")
            # Room is found: its limit and the wall are raised, then the alarm is told.
            lab.write("", "memory.max", str(2000 * MIB))
            lab.write("a", "memory.max", str(1500 * MIB))
            heard.client.wall(2000 * MIB, HEADROOM, GUARD)
            heard.client.guest("a", 0, 1, 1200 * MIB, 1500 * MIB)
            await heard.one("let_go")
            await asyncio.to_thread(runaway.hear)
            assert lab.kills("a") == 0

    asyncio.run(play())


def test_without_the_alarm_it_is_killed(lab: Lab) -> None:
    """Control run: nobody holds the same runaway, and the kernel kills it at its wall."""
    runaway = lab.helper("a")
    runaway.tell(f"grow {800 * MIB} {MIB}")
    assert runaway.process.wait(60) == -signal.SIGKILL
    assert lab.kills("a") > 0


def test_page_cache_holds_nobody(lab: Lab) -> None:
    """A guest that fills its limit with page cache is not held; its own memory still has room, by reclaim."""

    async def play() -> None:
        helper = lab.helper("a")
        async with alarmed(lab) as heard:
            await asyncio.to_thread(helper.do, f"cache /big-file {LIMIT + 64 * MIB}")
            await asyncio.to_thread(helper.do, f"grow {GRANT // 2} {MIB}")
            await asyncio.sleep(0.3)
            assert heard.of("holding", "held", "over") == []
            assert lab.kills("a") == 0

    asyncio.run(play())


def test_wires_are_above_use_and_there_while_it_watches_only(lab: Lab) -> None:
    """Wires wait where grants and headroom end, go up as they are tripped and down again, and go with the alarm."""

    async def play() -> None:
        helper = lab.helper("a")
        async with alarmed(lab) as heard:
            assert await until(lambda: lab.read("", "memory.high") == str(2 * GRANT))
            assert await until(lambda: lab.read("a", "memory.high") == str(GRANT))
            await asyncio.to_thread(helper.do, f"grow {GRANT + 20 * MIB} {MIB}")
            await heard.one("over")
            assert await until(lambda: lab.number("a", "memory.high") > lab.number("a", "memory.current"))
            await asyncio.to_thread(helper.do, "shrink")
            assert await until(lambda: lab.read("a", "memory.high") == str(GRANT))
            heard.client.guest("a", 0, 1, GRANT + 32 * MIB, LIMIT)
            assert await until(lambda: lab.read("a", "memory.high") == str(GRANT + 32 * MIB))
            heard.client.forget("b")
            assert await until(lambda: lab.read("b", "memory.high") == "max")
        for name in ("", "a", "b"):
            assert lab.read(name, "memory.high") == "max"

    asyncio.run(play())


def test_passing_a_grant_is_told_at_once(lab: Lab) -> None:
    """A guest that passes its grant between two sweeps is told at once, not at the next sweep a second later."""

    async def play() -> None:
        helper = lab.helper("a")
        async with alarmed(lab) as heard:
            waits = []
            await asyncio.to_thread(helper.do, f"grow {GRANT - 12 * MIB} {MIB}")
            for _ in range(5):
                await asyncio.sleep(0.2)
                told = len(heard.of("over"))
                began_s = time.monotonic()
                await asyncio.to_thread(helper.do, f"grow {GRANT} {MIB}")
                assert await until(lambda told=told: len(heard.of("over")) > told)
                waits.append(time.monotonic() - began_s)
                within = len(heard.of("within"))
                await asyncio.to_thread(helper.do, "shrink")
                assert await until(lambda within=within: len(heard.of("within")) > within)
            print(f"\ntold, growing included, after {sorted(round(wait * 1000) for wait in waits)} ms")

    asyncio.run(play())


def test_neighbour_within_its_grant_is_not_braked(lab: Lab) -> None:
    """While A stands held with the headroom gone, B takes all of its own grant, programs and page cache included."""

    async def play() -> None:
        runaway, neighbour = lab.helper("a"), lab.helper("b")
        async with alarmed(lab) as heard:
            runaway.tell(f"grow {800 * MIB} {MIB}")
            await heard.one("held")
            began_s = time.monotonic()
            await asyncio.to_thread(neighbour.do, f"grow {GRANT - 16 * MIB} {MIB}")
            await asyncio.to_thread(neighbour.do, f"cache /big-file {64 * MIB}")
            took_s = time.monotonic() - began_s
            print(f"\nthe neighbour took its grant in {took_s:.2f} s")
            assert took_s < 10
            assert lab.kills("") == 0

    asyncio.run(play())


def test_fails_open(lab: Lab) -> None:
    """When the agent is gone and none comes, nobody stays held or braked."""

    async def play() -> None:
        helper = lab.helper("a")
        lock = os.open(lab.layout.memory, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        client = await AlarmClient.start(lab.layout, 0.5, timeout_s=30.0)
        heard = Heard(client)
        client.wall(2 * GRANT + HEADROOM, HEADROOM, GUARD)
        client.guest("a", 0, 1, GRANT, LIMIT)
        helper.tell(f"grow {LIMIT - MIB * 16} {MIB}")
        await heard.one("held")
        assert frozen(lab, "a")
        process = client._process
        assert process is not None
        assert process.stdin is not None
        client._stopping = True
        os.close(lock)
        process.stdin.close()
        await asyncio.wait_for(process.wait(), 20)
        assert not frozen(lab, "a")
        for name in ("", "a", "a/vmm"):
            assert lab.read(name, "memory.high") == "max"
        await asyncio.to_thread(helper.hear)
        await client.stop()

    asyncio.run(play())
