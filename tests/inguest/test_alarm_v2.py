"""The alarm process on a real v2 kernel: holds in time, lets go, bothers nobody else, and fails open."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.inguest.v2_cgroups import MIB, Lab, made_lab
from tests.integration.alarm_cases import *  # noqa: F403  (the cases are most of what this module consists of)
from tests.integration.alarm_cases import GRANT, LIMIT, alarmed, does, furnish, run, settled


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Two guests, a and b, under a wall of both grants and one headroom."""
    with made_lab() as made:
        furnish(made)
        yield made


@pytest.fixture
def cache_file() -> Iterator[Path]:
    """A file to fill the page cache with, on a disk: in a tmpfs it would be memory."""
    path = Path("/big-file")
    yield path
    path.unlink(missing_ok=True)


def test_without_the_alarm_it_is_killed(lab: Lab) -> None:
    """Control run: nobody holds the same runaway, and the kernel kills it at its wall."""
    runaway = lab.helper("a")
    runaway.tell(f"grow {800 * MIB} {MIB}")
    assert runaway.process.wait(60) == -signal.SIGKILL
    assert lab.kills("a") > 0


def test_wires_are_above_use_and_there_while_it_watches_only(lab: Lab) -> None:
    """Wires wait where grants and headroom end, go up as they are tripped and down again, and go with the alarm."""

    async def play() -> None:
        helper = lab.helper("a")
        async with alarmed(lab) as heard:
            assert await settled(lambda: lab.read("", "memory.high") == str(2 * GRANT))
            assert await settled(lambda: lab.read("a", "memory.high") == str(GRANT))
            await does(helper, f"grow {GRANT + 20 * MIB} {MIB}")
            await heard.one("over")
            assert await settled(lambda: lab.number("a", "memory.high") > lab.number("a", "memory.current"))
            await does(helper, "shrink")
            assert await settled(lambda: lab.read("a", "memory.high") == str(GRANT))
            heard.client.guest("a", 0, 1, GRANT + 32 * MIB, LIMIT)
            assert await settled(lambda: lab.read("a", "memory.high") == str(GRANT + 32 * MIB))
            heard.client.forget("b")
            assert await settled(lambda: lab.read("b", "memory.high") == "max")
        for name in ("", "a", "b"):
            assert lab.read(name, "memory.high") == "max"

    run(play)


def test_passing_a_grant_is_told_at_once(lab: Lab) -> None:
    """A guest that passes its grant between two sweeps is told at once, not at the next sweep a second later."""

    async def play() -> None:
        helper = lab.helper("a")
        async with alarmed(lab) as heard:
            waits = []
            await does(helper, f"grow {GRANT - 12 * MIB} {MIB}")
            for _ in range(5):
                await asyncio.sleep(0.2)
                told = len(heard.of("over"))
                began_s = time.monotonic()
                await does(helper, f"grow {GRANT} {MIB}")
                assert await settled(lambda told=told: len(heard.of("over")) > told)
                waits.append(time.monotonic() - began_s)
                within = len(heard.of("within"))
                await does(helper, "shrink")
                assert await settled(lambda within=within: len(heard.of("within")) > within)
            print(f"\ntold, growing included, after {sorted(round(wait * 1000) for wait in waits)} ms")

    run(play)


def test_neighbour_within_its_grant_is_not_braked(lab: Lab) -> None:
    """While A stands held with the headroom gone, B takes all of its own grant, programs and page cache included."""

    async def play() -> None:
        runaway, neighbour = lab.helper("a"), lab.helper("b")
        async with alarmed(lab) as heard:
            runaway.tell(f"grow {800 * MIB} {MIB}")
            await heard.one("held")
            began_s = time.monotonic()
            await does(neighbour, f"grow {GRANT - 16 * MIB} {MIB}")
            await does(neighbour, f"cache /big-file {64 * MIB}")
            took_s = time.monotonic() - began_s
            print(f"\nthe neighbour took its grant in {took_s:.2f} s")
            assert took_s < 10
            assert lab.kills("") == 0

    run(play)
