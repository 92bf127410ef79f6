"""Guests that wait for room, as their users see it: real QEMU, real ends of agents, real signals."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.integration.conftest import MakeHost
from tests.integration.test_launch import firmware, room_is_back, run_firmware, running, until
from tests.integration.test_room import sums_hold

from guestroom.errors import AgentError
from guestroom.lab.host import Host

pytestmark = pytest.mark.integration

SETTINGS = """
[host]
reserve = "800MiB"
headroom = "0"
guard = "0"
[timing]
sweep_s = 0.5
[guests.A]
overhead = "700MiB"
[guests.large]
overhead = "780MiB"
[guests.giant]
overhead = "900MiB"
"""
"""A leaves 100 MiB; each other guest needs 375, so two of them fit when A is gone."""
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def host(make_host: MakeHost) -> Host:
    """An agent under which A runs and nobody else fits."""
    return make_host(SETTINGS)


@pytest.fixture
def start(host: Host) -> Iterator[Start]:
    """Starts firmware guests with ``--on-short wait``; whatever is left of them is ended."""
    made: list[subprocess.Popen[str]] = []

    def go(name: str, *options: str) -> subprocess.Popen[str]:
        process = run_firmware(host, name, *(options or ("--on-short", "wait")))
        made.append(process)
        return process

    yield go
    for process in made:
        if process.poll() is None:
            process.terminate()
            process.wait(20)


def places(host: Host) -> list[str]:
    """Who waits, in the order shown."""
    return [name for name, row in host.ps().items() if row["state"] == "queued"]


def end(process: subprocess.Popen[str]) -> str:
    """End a run; what it said."""
    process.terminate()
    return process.communicate(timeout=20)[1]


def order(host: Host, kind: str) -> list[str]:
    """Whose events of a kind there were, in order."""
    return [event["guest"] for event in host.events(kind)]


def test_two_that_wait_start_in_order_when_one_stops(host: Host, start: Start) -> None:
    """B and C wait beside A, each told its place and who holds the room; A stops, B starts, then C; the sums hold."""
    a = start("A")
    assert until(running(host, "A"))
    b = start("B")
    assert until(lambda: places(host) == ["B"])
    c = start("C")
    assert until(lambda: places(host) == ["B", "C"])
    time.sleep(3)
    assert (b.poll(), c.poll(), places(host)) == (None, None, ["B", "C"])
    end(a)
    assert until(lambda: running(host, "B")() and running(host, "C")())
    sums_hold(host)
    assert order(host, "admitted") == ["A", "B", "C"]
    assert order(host, "queued") == ["B", "C"]
    said = [end(b), end(c)]
    assert (
        "guestroom: guest B waits at place 1 of 1; it needs 374.6 MiB of overhead, 100.0 MiB are free; A holds"
        in (said[0])
    )
    assert "guestroom: guest C waits at place 2 of 2, behind B; " in said[1]
    assert said[1].index("place 2 of 2") < said[1].index("guest C gets")
    assert until(lambda: room_is_back(host))


def test_a_small_guest_does_not_overtake_a_large_one(host: Host, start: Start) -> None:
    """A large guest waits for nearly everything; one that would fit beside A is refused or waits behind it."""
    a = start("B")
    assert until(running(host, "B"))
    start("large")
    assert until(lambda: places(host) == ["large"])
    refused = start("C", "--on-short", "refuse")
    assert refused.wait(20) == 3
    assert "large waits for room and came first" in refused.communicate()[1]
    start("D")
    assert until(lambda: places(host) == ["large", "D"])
    end(a)
    assert until(running(host, "large"))
    assert places(host) == ["D"]


def test_a_time_out_ends_with_3(host: Host, start: Start, tmp_path: Path) -> None:
    """After --timeout it is refused with exit code 3 and the numbers, which --verdict-fd gets only then."""
    start("A")
    assert until(running(host, "A"))
    verdict = tmp_path / "verdict"
    with verdict.open("w") as file:
        argv = [*host.run_words("B", "--timeout", "3s", "--verdict-fd", str(file.fileno())), *firmware()]
        began_s = time.monotonic()
        b = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, pass_fds=[file.fileno()])
    assert until(lambda: places(host) == ["B"])
    assert verdict.read_text() == ""
    said = b.communicate(timeout=20)[1]
    assert b.returncode == 3
    assert 3 <= time.monotonic() - began_s < 8
    assert "guest B is refused: it waited 3 s for room at place 1 of 1, it needs 374.6 MiB of overhead, 100" in said
    (line,) = verdict.read_text().splitlines()
    told = json.loads(line)
    assert (told["verdict"], told["need_bytes"] > 370 << 20, told["left_bytes"]) == ("refuse", True, 100 << 20)
    assert [event["numbers"]["short_of"] for event in host.events("queue_timeout")] == ["overhead"]
    assert places(host) == []


def test_what_could_never_fit_is_refused_at_once(host: Host, start: Start) -> None:
    """Waiting would never end: exit code 3 at once, and the reason."""
    giant = start("giant")
    assert giant.wait(20) == 3
    assert "waiting would not help" in giant.communicate()[1]


def test_interrupted_it_leaves_the_queue(host: Host, start: Start) -> None:
    """Ctrl-C ends a run that waits at once with 130; the next one moves up."""
    start("A")
    assert until(running(host, "A"))
    b = start("B")
    assert until(lambda: places(host) == ["B"])
    start("C")
    assert until(lambda: places(host) == ["B", "C"])
    began_s = time.monotonic()
    b.send_signal(signal.SIGINT)
    assert b.wait(20) == 130
    assert time.monotonic() - began_s < 2.5
    assert until(lambda: places(host) == ["C"])
    assert order(host, "queue_left") == ["B"]


def test_killed_it_leaves_the_queue(host: Host, start: Start) -> None:
    """kill -9 of a run that waits: its place goes with its connection, and its waiting process too."""
    start("A")
    assert until(running(host, "A"))
    b = start("B")
    assert until(lambda: places(host) == ["B"])
    children = Path(f"/proc/{b.pid}/task/{b.pid}/children").read_text().split()
    b.kill()
    b.wait(20)
    assert until(lambda: places(host) == [])
    assert until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in children))  # noqa: PTH110


@pytest.mark.parametrize("way", ["kill", "stop"])
def test_places_outlive_the_agent(host: Host, start: Start, way: str) -> None:
    """Killed with -9 or stopped in order, with two waiting: both ask the next agent again and have their places."""
    a = start("A")
    assert until(running(host, "A"))
    start("B")
    assert until(lambda: places(host) == ["B"])
    c = start("C")
    assert until(lambda: places(host) == ["B", "C"])
    (host.kill if way == "kill" else host.stop)()
    time.sleep(1.5)
    host.start()
    assert places(host) == ["B", "C"]
    late = start("late")
    assert until(lambda: places(host) == ["B", "C", "late"])
    assert until(lambda: order(host, "queued")[-2:] != [] and set(order(host, "queued")[2:]) >= {"B", "C"})
    end(a)
    assert until(lambda: running(host, "B")() and running(host, "C")())
    assert order(host, "admitted") == ["A", "B", "C"]
    assert places(host) == ["late"]
    assert late.poll() is None
    end(c)


POINTS = ["written", "before:MakeGuest:B", "after:MakeGuest:B", "after:StartGuest:B"]


@pytest.mark.parametrize("point", POINTS)
def test_killed_while_the_first_is_let_in(host: Host, start: Start, point: str) -> None:
    """Whatever step of B's admission the agent dies at, B comes before C under the next one, and both run."""
    a = start("A")
    assert until(running(host, "A"))
    start("B")
    assert until(lambda: places(host) == ["B"])
    start("C")
    assert until(lambda: places(host) == ["B", "C"])
    host.kill()
    end(a)
    with contextlib.suppress(AgentError):  # it may die before it ever answers
        host.start(fault_at=point)
    assert host.process is not None
    assert host.process.wait(40) == -9, "the agent never came to this point"
    host.start()
    assert until(lambda: running(host, "B")() and running(host, "C")(), 30)
    admitted = order(host, "admitted")
    assert admitted.index("B") < admitted.index("C")
    sums_hold(host)


def test_killed_after_its_process_was_placed(host: Host, start: Start) -> None:
    """The next agent ends what stood in B's cgroup and never ran; B's run offers another process and comes first."""
    a = start("A")
    assert until(running(host, "A"))
    start("B")
    assert until(lambda: places(host) == ["B"])
    start("large")
    assert until(lambda: places(host) == ["B", "large"])
    host.kill()
    end(a)
    with contextlib.suppress(AgentError):
        host.start(fault_at="placed")
    assert host.process is not None
    assert host.process.wait(40) == -9
    host.start()
    assert until(running(host, "B"), 30)
    assert places(host) == ["large"]


def test_a_plan_says_wait(host: Host, start: Start) -> None:
    """A dry run beside a queue tells the place, changes nothing, and is no refusal."""
    start("A")
    assert until(running(host, "A"))
    start("B")
    assert until(lambda: places(host) == ["B"])
    words = host.command("plan", "--socket", host.socket, "--json", "--name", "C", "--on-short", "wait", "--")
    done = subprocess.run([*words, *firmware()], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["verdict"], told["actions"], told["grant_bytes"]) == ("wait", [], 0)
    assert "place 2 of 2, behind B" in told["message"]
    assert places(host) == ["B"]
