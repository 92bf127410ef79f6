"""The ledger against kill -9 and full disks, with real processes and a real small file system."""

from __future__ import annotations

import errno
import os
import random
import select
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from guestroom.actions import LetGo, Outcome, OutcomeKind, SetLimit
from guestroom.errors import LedgerError
from guestroom.ports import Ledger
from guestroom.record import Outbox, SqliteLedger, open_ledger
from guestroom.testing.clock import ManualClock

KILLS = 30
STEP = SetLimit("a", 700 << 20, 600 << 20, 300 << 20, 200 << 20, 500 << 20, "b starts")
RAISED = Outcome(LetGo("a", "room again"), OutcomeKind.DONE, "")

WRITER = """
import sys
sys.path.insert(0, sys.argv[2])
from test_ledger_crash import write_for_ever
write_for_ever(sys.argv[1])
"""


def write_for_ever(state_dir: str) -> None:
    """Write decisions and events, and say on stdout what the ledger acknowledged. Runs until killed."""
    with open_ledger(state_dir, clock=ManualClock()) as ledger:
        for i in range(1_000_000):
            number = ledger.begin(f"reason {i}", "{}", [STEP, STEP])
            os.write(1, f"began {number}\n".encode())
            ledger.note(number, Outcome(STEP, OutcomeKind.DONE, f"step of {number}"))
            os.write(1, f"noted {number}\n".encode())
            if i % 3:
                ledger.finish(number, [Outcome(STEP, OutcomeKind.DONE, f"step of {number}")])
                os.write(1, f"finished {number}\n".encode())
            event = ledger.event("tick", "a", f"event {i}", {"i": i})
            os.write(1, f"event {event}\n".encode())


def acknowledged(state_dir: str, after_s: float) -> list[tuple[str, int]]:
    """Start a writer, kill it ``after_s`` after its first word, and return all it was told is durable."""
    command = [sys.executable, "-c", WRITER, state_dir, str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert select.select([writer.stdout], [], [], 60)[0], "the writer did not begin"
        time.sleep(after_s)
        writer.send_signal(signal.SIGKILL)
        text = writer.stdout.read().decode()
    assert writer.returncode == -signal.SIGKILL
    whole = text[: text.rfind("\n") + 1]
    return [(kind, int(number)) for kind, number in (line.split() for line in whole.splitlines())]


def check(state_dir: str, told: dict[str, set[int]]) -> None:
    """Everything acknowledged is there, and SQLite finds no fault."""
    with open_ledger(state_dir, clock=ManualClock()) as ledger:
        decisions = {one.number: one for one in ledger.decisions(1_000_000)}
        unfinished = {one.number for one in ledger.unfinished()}
        events = {one.number for one in ledger.events(limit=1_000_000)}
    assert told["began"] <= decisions.keys()
    assert all(decisions[number].actions == (STEP, STEP) for number in told["began"])
    assert all(decisions[number].outcomes[0].detail == f"step of {number}" for number in told["noted"])
    assert not told["finished"] & unfinished
    assert told["event"] <= events
    connection = sqlite3.connect(f"{state_dir}/ledger.db")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()


def test_kill_9_at_any_moment_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """Thirty times killed while writing, the ledger has all it said was durable and opens at once (P8)."""
    state_dir = str(tmp_path / "state")
    chance = random.Random(8)
    told: dict[str, set[int]] = {"began": set(), "noted": set(), "finished": set(), "event": set()}
    for _ in range(KILLS):
        for kind, number in acknowledged(state_dir, chance.uniform(0, 0.06)):
            told[kind].add(number)
        check(state_dir, told)
    assert min(len(numbers) for numbers in told.values()) > KILLS


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB that can really run full."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "guestroom-test", str(place)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path, leave_bytes: int = 0) -> Path:
    """Take every free block of a file system but ``leave_bytes``."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            os.truncate(filler, filler.stat().st_size - leave_bytes)
            return filler


def begin_until_full(ledger: Ledger) -> tuple[list[int], LedgerError]:
    """Begin decisions until one is refused; the blocks SQLite already has are used up first."""
    numbers: list[int] = []
    for i in range(10_000):
        try:
            numbers.append(ledger.begin(f"reason {i}", "x" * 2000, [STEP]))
        except LedgerError as error:
            return numbers, error
    raise AssertionError("the disk never got full")


def check_full_and_mended(ledger: SqliteLedger, outbox: Outbox, filler: Path) -> None:
    """The whole story of a full disk, told through the outbox."""
    began, error = begin_until_full(ledger)
    assert len(began) > 10
    assert error.numbers["errno"] == errno.ENOSPC
    assert "ENOSPC" in error.message
    assert "make room" in (error.hint or "")
    assert [one.number for one in ledger.decisions(10_000)] == began
    for i in range(20):
        outbox.event("held", "a", "m" * 2000, {"i": i})
    outbox.carried_out("a let go", "{}", [RAISED])
    assert not outbox.flush()
    assert outbox.failure is not None
    with pytest.raises(LedgerError, match="ENOSPC"):
        outbox.durable()
    filler.unlink()
    assert outbox.flush()
    assert [event.numbers["i"] for event in ledger.events() if event.kind == "held"] == list(range(20))
    assert ledger.decisions(1)[0].outcomes == (RAISED,)
    assert outbox.durable().begin("again", "{}", [STEP]) > began[-1]


def test_a_full_disk_refuses_decisions_and_takes_everything_else(small_disk: Path) -> None:
    """On a really full disk nothing begun is lost, what may be late is written in order when there is room (P8)."""
    clock = ManualClock()
    state_dir = str(small_disk / "state")
    with open_ledger(state_dir, clock=clock) as ledger:
        outbox = Outbox(ledger, clock)
        outbox.event("before", None, "all is well", {})
        assert outbox.flush()
        check_full_and_mended(ledger, outbox, fill(small_disk, leave_bytes=256 << 10))
    with open_ledger(state_dir, clock=clock) as ledger:
        assert ledger.events()[0].kind == "before"
        assert ledger.decisions(1)[0].reason == "again"
    assert sqlite3.connect(f"{state_dir}/ledger.db").execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_full_disk_at_the_start_is_told(small_disk: Path) -> None:
    """An agent that can't write anything down does not start, and says which file and what to do."""
    filler = fill(small_disk)
    with pytest.raises(LedgerError, match="ENOSPC") as caught:
        open_ledger(str(small_disk / "state"), clock=ManualClock())
    assert str(small_disk) in (caught.value.where or "")
    assert "make room" in (caught.value.hint or "")
    filler.unlink()
    open_ledger(str(small_disk / "state"), clock=ManualClock()).close()


def test_a_read_only_file_system_is_told(small_disk: Path) -> None:
    """A state folder nobody can write to ends with its errno and what to do, also for root."""
    open_ledger(str(small_disk / "state"), clock=ManualClock()).close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(LedgerError, match="EROFS") as caught:
        open_ledger(str(small_disk / "state"), clock=ManualClock())
    assert "--state" in (caught.value.hint or "")


SIZE_LIMITED = """
import resource, sys
sys.path.insert(0, sys.argv[2])
import test_ledger_crash as t
from guestroom.errors import LedgerError
from guestroom.record import open_ledger
ledger = open_ledger(sys.argv[1], clock=t.ManualClock())
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
began, error = t.begin_until_full(ledger)
assert error.hint and "ledger.db" in error.where, error.line()
print(len(began))
"""


def test_a_file_size_limit_is_an_error_not_a_death(tmp_path: Path) -> None:
    """Where a write fails for another reason than a full disk the agent is told too, and keeps what it had."""
    state_dir = str(tmp_path / "state")
    command = [sys.executable, "-c", SIZE_LIMITED, state_dir, str(Path(__file__).parent)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    with open_ledger(state_dir, clock=ManualClock()) as ledger:
        assert len(ledger.decisions(10_000)) == int(ended.stdout) > 10
