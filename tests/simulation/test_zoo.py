"""Every kind of guest, alone with good neighbours and all mixed: the promises hold at every step."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from guestroom.config import OnShort
from guestroom.testing.simmemory import kernel_error
from guestroom.testing.zoo import ZOO
from guestroom.units import Limit

from .histories import HISTORIES, Event, Start, Stop, Tick, judged, play
from .judge import Judge
from .simagent import SimAgent


@settings(
    max_examples=100,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
@given(history=HISTORIES)
def test_the_promises_hold_whatever_happens(history: list[Event]) -> None:
    """Random starts, stops and growth of all kinds: after no single step is P1, P2, P3, P4, P5, P6 or P9 broken."""
    assert judged(history).broken == []


def with_neighbours(kind: str) -> list[Event]:
    """Two obedient guests, one of ``kind`` between them, another that comes late, and everybody's end."""
    return [
        Start("A"),
        Start("K", kind),
        *[Tick()] * 3,
        Start("B", ram_mib=384),
        *[Tick()] * 3,
        Tick(45.0),
        Start("C", "bursty", on_short=OnShort.SQUEEZE),
        *[Tick()] * 4,
        Stop("B"),
        Stop("K"),
        *[Tick()] * 2,
        Tick(70.0),
        Start("D", ram_mib=512),
        *[Tick()] * 2,
    ]


@pytest.mark.parametrize("kind", sorted(ZOO))
def test_good_neighbours_never_notice(kind: str) -> None:
    """Beside one guest of each kind the obedient ones run to the end, asleep at no limit, held by nobody."""
    agent = SimAgent()
    judge = Judge(agent)
    agent.run(lambda it: play(it, judge, with_neighbours(kind)))
    assert judge.broken == []
    assert judge.steps > 0
    guest = agent.guests["A"]
    assert guest.alive
    assert not guest.sleeps
    assert not agent.host.process(guest.pid).held


FAILURES: dict[str, tuple[int, ...]] = {
    "busy": (errno.EBUSY,),
    "interrupted for good": (errno.EINTR,) * 3,
    "interrupted once": (errno.EINTR,),
    "invalid": (errno.EINVAL,),
    "not permitted": (errno.EACCES,),
}
"""What the n-th write of a limit, or its repetitions, meets."""

UPS_AND_DOWNS: list[Event] = [
    Start("A", "ceiling"),
    Start("B", "hidden floor"),
    *[Tick()] * 2,
    Tick(45.0),
    Start("C", ram_mib=384, on_short=OnShort.SQUEEZE),
    *[Tick()] * 2,
    Stop("A"),
    Tick(),
    Start("D", "bursty", on_short=OnShort.SQUEEZE),
    *[Tick()] * 2,
]


def fail_at(agent: SimAgent, number: int, errors: tuple[int, ...]) -> Callable[[], int]:
    """Let the limit writes from ``number`` on (from 0) meet ``errors``; the function returned counts all of them."""
    seen = [0]

    def on_write(path: str, value: str) -> None:
        if path.endswith("memory.limit_in_bytes"):
            seen[0] += 1
            index = seen[0] - 1 - number
            now = agent.host.memory_group(path.rpartition("/")[0]).limit_bytes
            # EBUSY is the answer to a shrink alone: nothing has to be reclaimed for a raise.
            possible = 0 <= index < len(errors) and (errors[index] != errno.EBUSY or not _raises(value, now))
            if possible:
                raise kernel_error(errors[index], path)

    agent.host.before_write.append(on_write)
    return lambda: seen[0]


def _raises(value: str, now: Limit) -> bool:
    return isinstance(now, int) and int(value) >= now


def with_failures(number: int, errors: tuple[int, ...]) -> tuple[Judge, int]:
    """The ups and downs with the limit writes from ``number`` on meeting ``errors``; and how many writes there were."""
    agent = SimAgent()
    judge = Judge(agent)

    async def history(it: SimAgent) -> int:
        count = fail_at(it, number, errors)
        await play(it, judge, UPS_AND_DOWNS)
        return count()

    return judge, agent.run(history)


@pytest.mark.parametrize("kind", sorted(FAILURES))
def test_any_single_write_may_fail(kind: str) -> None:
    """Whichever write of a limit fails, however: nothing is promised twice, nobody is left shrunk for nothing."""
    _, total = with_failures(0, ())
    assert total > 10
    broken = {number: with_failures(number, FAILURES[kind])[0].broken for number in range(total)}
    assert {number: lines for number, lines in broken.items() if lines} == {}


@pytest.mark.parametrize("burst", [2, 3])
def test_all_writes_may_fail_for_a_while(burst: int) -> None:
    """With every few writes refused in a row the promises hold as well."""
    broken = {number: with_failures(number, (errno.EBUSY,) * burst)[0].broken for number in range(12)}
    assert {number: lines for number, lines in broken.items() if lines} == {}
