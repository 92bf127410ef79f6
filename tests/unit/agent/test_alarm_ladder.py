"""Which rungs a ladder has, and that each is registered once, in the order that matters."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from guestroom.agent.alarm_ladder import (
    LADDER_RUNGS,
    STARTED_BYTES,
    WALL_RUNGS,
    Ladder,
    guest_rungs,
    wall_rungs,
)
from guestroom.kernelfs import KernelFiles
from guestroom.units import GIB, MIB

STEP = 16 * MIB


def test_essential_rungs_are_where_the_grant_may_be_reached() -> None:
    """Waited for: where overhead may first reach the grant, and the grant; then come the headroom's, then the rest."""
    essential, rest = guest_rungs(100 * MIB, 400 * MIB, 128 * MIB, STEP)
    assert [rung // MIB for rung in essential] == [48, 96], "start-up memory in ram makes the overhead sooner"
    assert [rung // MIB for rung in rest][:8] == [112, 128, 144, 160, 176, 192, 208, 224]
    assert [rung // MIB for rung in rest][8:10] == [80, 64]
    assert [rung // MIB for rung in rest][10:] == list(range(240, 401, 16))


@pytest.mark.parametrize("step", [4096, STEP, GIB])
def test_ladders_of_any_shape(step: int) -> None:
    """Few essential rungs, a bounded ladder without doubles or zeros, on the grid, reaching near the limit."""
    grants, headrooms = [0, 1, 5 * MIB, 100 * MIB, 3 * GIB], [0, 128 * MIB, 50 * GIB]
    for grant, headroom, above in itertools.product(grants, headrooms, [0, 64 * MIB, 500 * MIB, 900 * GIB]):
        essential, rest = guest_rungs(grant, above, headroom, step)
        rungs = [*essential, *rest]
        assert 1 <= len(essential) <= 2
        assert len(rungs) <= LADDER_RUNGS
        assert len(set(rungs)) == len(rungs)
        assert min(rungs) > 0
        grid = max(step, MIB)
        assert essential[0] <= max(grant, grid)
        assert all(rung % grid == 0 for rung in rungs), "a moved grant finds them there"
        if above > 2 * max(grid, grant):
            assert max(rungs) > above - max(grid, (above - grant) // 100)


def test_rungs_before_a_cap_lie_close() -> None:
    """First of the rest, 4 MiB apart, from where start-up memory may bring the overhead to the mark up to it."""
    essential, rest = guest_rungs(100 * MIB, 120 * MIB, 128 * MIB, STEP, 104 * MIB)
    assert [rung // MIB for rung in essential] == [48, 96]
    assert [rung // MIB for rung in rest[:13]] == [56, 60, 64, 68, 72, 76, 80, 84, 88, 92, 100, 104, 112]
    assert len(set(rest)) == len(rest)
    assert min(guest_rungs(MIB, 4 * MIB, 128 * MIB, STEP, 3 * MIB)[1]) == 4 * MIB, "never at nothing"


def test_wall_rungs() -> None:
    """The wall's rungs cover the headroom below its limit, with a coarser step where it is large."""
    assert [rung // MIB for rung in wall_rungs(1000 * MIB, 64 * MIB, STEP)] == [928, 944, 960, 976, 992]
    wide = wall_rungs(100 * GIB, 10 * GIB, STEP)
    assert len(wide) <= WALL_RUNGS + 2
    assert wide[0] <= 90 * GIB
    assert wide[-1] <= 100 * GIB


def test_start_up_memory_is_covered() -> None:
    """Below the grant there are rungs for as much as QEMU's start-up leaves in ram."""
    essential, _ = guest_rungs(500 * MIB, 600 * MIB, 64 * MIB, STEP)
    assert min(essential) <= 496 * MIB - STARTED_BYTES


class SlowFiles(KernelFiles):
    """Registers slowly, as the kernel does, and notes the thresholds."""

    def __init__(self) -> None:
        self.registered: list[int] = []
        self.gate = threading.Semaphore(0)
        self.error: OSError | None = None

    def write(self, path: str, value: str) -> None:
        """Wait for the gate, then note it."""
        self.gate.acquire()
        if self.error is not None:
            raise self.error
        assert path.endswith("/cgroup.event_control")
        eventfd, usage_fd, rung = value.split()
        os.fstat(int(eventfd))
        os.fstat(int(usage_fd))
        self.registered.append(int(rung))


class Told:
    """What a ladder said."""

    def __init__(self) -> None:
        self.armed: list[int] = []
        self.errors: list[str] = []


@pytest.fixture
def cgroup(tmp_path: Path) -> str:
    """A folder with a usage file."""
    (tmp_path / "memory.usage_in_bytes").write_text("0\n")
    return str(tmp_path)


def until(condition: Callable[[], object]) -> bool:
    """Wait for another thread."""
    end_s = time.monotonic() + 5
    while time.monotonic() < end_s:
        if condition():
            return True
        time.sleep(0.001)
    return False


def made(cgroup: str) -> tuple[SlowFiles, Told, Ladder]:
    """A ladder on slow files."""
    files, told = SlowFiles(), Told()
    return files, told, Ladder(files, cgroup, told.armed.append, told.errors.append)


def test_essential_first_and_told(cgroup: str) -> None:
    """Wanting returns at once; armed is told after the essential rungs and before the rest; none twice."""
    files, told, ladder = made(cgroup)
    ladder.want((30, 40), (10, 50))
    assert files.registered == []
    files.gate.release(2)
    assert until(lambda: told.armed == [2])
    assert files.registered == [30, 40]
    files.gate.release(100)
    assert until(lambda: files.registered == [30, 40, 10, 50])
    ladder.want((30, 40), (50, 60))
    assert until(lambda: files.registered[4:] == [60])
    assert told.armed == [2], "nothing essential was new"
    ladder.close()


def test_new_essentials_overtake(cgroup: str) -> None:
    """A grant that moves while the rest is being registered has its rungs served first."""
    files, told, ladder = made(cgroup)
    ladder.want((10,), (50, 60, 70))
    files.gate.release(1)
    assert until(lambda: told.armed == [1])
    ladder.want((20, 30))
    files.gate.release(3)
    assert until(lambda: len(told.armed) == 2)
    assert set(files.registered) == {10, 50, 20, 30}, "at most the one already in the kernel came before"
    files.gate.release(100)
    assert until(lambda: len(files.registered) == 6)
    ladder.close()


def test_close_while_registering(cgroup: str) -> None:
    """A ladder closed at work keeps its eventfd open until the kernel is done with it, then gives it back."""
    files, told, ladder = made(cgroup)
    ladder.want((10, 20, 30))
    time.sleep(0.01)
    ladder.close()
    os.fstat(ladder.eventfd)
    files.gate.release(100)
    assert until(lambda: not _is_open(ladder.eventfd))
    assert len(files.registered) <= 1
    assert told.errors == []
    ladder.close()


def test_vanished_cgroup_is_told_and_tried_again(cgroup: str) -> None:
    """A cgroup that is gone is an error once; the next numbers try again."""
    files, told, ladder = made(cgroup)
    files.error = FileNotFoundError(2, "No such file or directory")
    files.gate.release(100)
    ladder.want((10, 20))
    assert until(lambda: len(told.errors) == 1)
    assert "gone" in told.errors[0]
    files.error = None
    ladder.want((10, 20))
    assert until(lambda: files.registered == [10, 20])
    ladder.close()
    ladder_on_nothing = Ladder(files, f"{cgroup}/none", told.armed.append, told.errors.append)
    ladder_on_nothing.want((10,))
    assert until(lambda: len(told.errors) == 2)
    ladder_on_nothing.close()
    assert until(lambda: not _is_open(ladder_on_nothing.eventfd))


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
