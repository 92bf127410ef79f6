"""Pressure triggers on a real v2 kernel: they wake for a stall that meets no limit and trips no wire."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator

import pytest
from tests.inguest.v2_cgroups import MIB, Lab, events

from guestroom.actions import MakeGuest
from guestroom.agent.alarm_events import EventAlarms
from guestroom.agent.alarm_pressure import TRIGGERS, Trigger, arm
from guestroom.agent.alarm_wire import WallOp


@pytest.fixture
def epoll() -> Iterator[select.epoll]:
    """An epoll of the test's own."""
    with select.epoll() as made:
        yield made


def churn(lab: Lab) -> None:
    """Have a helper wait for memory: it takes far more than the brake of its ``vmm`` lets it have.

    The wall stays far below its limit and its own wire.
    """
    lab.write("a", "vmm/memory.high", str(16 * MIB))
    lab.helper("a").tell(f"grow {64 * MIB} {MIB}")


def test_waiting_for_memory_wakes(lab: Lab, epoll: select.epoll) -> None:
    """Somebody under the wall stands in reclaim far below every limit, and the trigger on the wall wakes within 2 s."""
    assert lab.applier.carry_out(MakeGuest("a", 512 * MIB, 400 * MIB, "test")).ok
    errors: list[str] = []
    alarms = EventAlarms(lab.files, lab.layout, epoll, lambda name, why: errors.append(f"{name}: {why}"))
    alarms.wall(WallOp(lab.layout.memory, 1 << 30, 256 * MIB, 64 * MIB))
    assert errors == []
    trigger = alarms.pressure
    assert trigger is not None
    assert trigger.words == TRIGGERS[0]
    assert epoll.poll(1.0) == [], "it wakes for nothing"
    churn(lab)
    began_s = time.monotonic()
    woken: set[int] = set()
    while trigger.fd not in woken and time.monotonic() - began_s < 10:
        for fd, _ in epoll.poll(0.5):
            woken.add(fd)
            assert alarms.took(fd)
    print(f"\nwoken after {time.monotonic() - began_s:.2f} s, counts {events(lab.read('a', 'memory.events'))}")
    assert trigger.fd in woken
    assert events(lab.read("a", "memory.events"))["max"] == 0


def test_wall_that_is_gone_is_heard_once(lab: Lab, epoll: select.epoll) -> None:
    """A removed wall is not heard for ever: the trigger is closed when it wakes for that."""
    path = f"{lab.layout.memory}/gone"
    os.mkdir(path)  # noqa: PTH102
    alarms = EventAlarms(lab.files, lab.layout, epoll, lambda name, why: None)
    alarms.wall(WallOp(path, 1 << 30, 256 * MIB, 64 * MIB))
    assert alarms.pressure is not None
    os.rmdir(path)  # noqa: PTH106
    for _ in range(3):
        for fd, _ in epoll.poll(1.0):
            alarms.took(fd)
    assert alarms.pressure is None
    assert epoll.poll(0.5) == []


def test_one_trigger_a_descriptor_and_windows_of_the_kernel(lab: Lab) -> None:
    """Both windows are taken here; a folder without pressure is said with why, in words."""
    armed = arm(lab.layout.memory)
    assert isinstance(armed, Trigger)
    os.close(armed.fd)
    for words in TRIGGERS:
        fd = os.open(f"{lab.layout.memory}/memory.pressure", os.O_RDWR | os.O_NONBLOCK)
        os.write(fd, words.encode())
        with pytest.raises(OSError, match="busy"):
            os.write(fd, words.encode())
        os.close(fd)
    said = arm("/sys/fs/cgroup/none")
    assert isinstance(said, str)
    assert "CONFIG_PSI" in said
