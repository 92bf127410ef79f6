"""The alarm process as a program: what it loads, how it answers, and that nobody can make it stumble."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from guestroom.agent.alarm import Outbox
from guestroom.agent.alarm_lost import fail_open, somebody_has_lock
from guestroom.kernelfs import KernelFiles
from guestroom.layout import Layout


@pytest.fixture
def wall(tmp_path: Path) -> Path:
    """A folder that stands for the wall."""
    folder = tmp_path / "wall"
    folder.mkdir()
    return folder


@pytest.fixture
def process(wall: Path) -> Iterator[subprocess.Popen[str]]:
    """The program on it, ready."""
    argv = [sys.executable, "-P", "-m", "guestroom.agent.alarm", "--memory", str(wall), "--agent-lost-s", "0.2"]
    started = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert started.stdout is not None
    assert json.loads(started.stdout.readline())["event"] == "ready"
    yield started
    started.kill()
    started.wait()
    for stream in (started.stdin, started.stdout, started.stderr):
        assert stream is not None
        with contextlib.suppress(BrokenPipeError):
            stream.close()


def ask(process: subprocess.Popen[str], *lines: str) -> list[dict[str, object]]:
    """Send lines and a ping; return what came before the pong."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("".join(f"{line}\n" for line in (*lines, '{"op":"ping"}')))
    process.stdin.flush()
    events: list[dict[str, object]] = []
    while (news := json.loads(process.stdout.readline()))["event"] != "pong":
        events.append(news)
    return events


def test_imports_little() -> None:
    """None of what makes a Python program slow to start or wake is loaded."""
    code = "import sys, guestroom.agent.alarm; print('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    roots = {name.partition(".")[0] for name in loaded}
    assert not roots & {
        "pydantic",
        "fastapi",
        "click",
        "rich",
        "uvicorn",
        "asyncio",
        "sqlite3",
        "http",
        "qemu",
        "logging",
    }
    assert not {"guestroom.observe", "guestroom.record", "guestroom.ports"} & set(loaded)


def test_ping(process: subprocess.Popen[str]) -> None:
    """A ping is answered by a pong."""
    assert ask(process) == []


def test_nonsense_is_an_error_not_an_end(process: subprocess.Popen[str]) -> None:
    """Bad lines, half lines, huge lines and foreign paths are errors told; it goes on."""
    foreign = {
        "op": "guest", "name": "a", "memory_path": "/x", "freezer_path": None, "ram_charged_bytes": 1, "weight": 1,
        "grant_bytes": 1, "limit_bytes": 2, "step_bytes": 4096,
    }  # fmt: skip
    events = ask(process, "{", "", '{"op":"fly"}', json.dumps(foreign), '{"op":"forget","name":"never"}')
    assert [news["event"] for news in events] == ["error"] * 3
    assert ask(process, "x" * 200_000)[-1]["event"] == "error"
    assert ask(process) == []


def test_sigterm_ends_it(process: subprocess.Popen[str]) -> None:
    """SIGTERM is a clean end; SIGINT, meant for the agent, is none."""
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGHUP)
    assert ask(process) == []
    process.terminate()
    assert process.wait(5) == 0


def test_agent_gone(process: subprocess.Popen[str]) -> None:
    """When its stdin ends and nobody comes, it ends by itself."""
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(5) == 0


def test_lock(wall: Path) -> None:
    """A free folder is free afterwards too; a locked one, or none, means that there is nothing to do."""
    layout = Layout(str(wall), None)
    assert not somebody_has_lock(layout)
    fd = os.open(wall, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert somebody_has_lock(layout)
    os.close(fd)
    assert not somebody_has_lock(layout)
    assert somebody_has_lock(Layout(str(wall / "none"), None))


def test_fail_open_finds_guests_it_was_not_told(tmp_path: Path) -> None:
    """Every guest under the wall is thawed and gets its killer back, known or not; other folders are not touched."""
    memory, freezer = tmp_path / "m", tmp_path / "f"
    for folder in (memory, memory / "told", memory / "found", memory / "not.ours"):
        folder.mkdir(parents=True)
        (folder / "memory.oom_control").write_text("1")
    for name in ("told", "found", "not.ours"):
        (freezer / name).mkdir(parents=True)
        (freezer / name / "freezer.state").write_text("FROZEN")
    fail_open(KernelFiles(), Layout(str(memory), str(freezer)), ["told", "gone"])
    states = {path.parent.name: path.read_text()[:6] for path in freezer.glob("*/freezer.state")}
    assert states == {"told": "THAWED", "found": "THAWED", "not.ours": "FROZEN"}
    killers = {path.parent.name: path.read_text() for path in memory.rglob("memory.oom_control")}
    assert killers == {"m": "0", "told": "0", "found": "0", "not.ours": "1"}


def test_outbox_never_blocks() -> None:
    """Events for an agent that does not read are kept up to a bound, in order, and sent when it reads."""
    reader, writer = os.pipe()
    try:
        outbox = Outbox(writer)
        for number in range(20_000):
            outbox.emit({"event": "x", "n": number, "text": "y" * 300})
        assert outbox
        got = b""
        while outbox:
            got += os.read(reader, 1 << 16)
            outbox.flush()
        os.set_blocking(reader, False)
        while chunk := _read(reader):
            got += chunk
        numbers = [json.loads(line)["n"] for line in got.splitlines()]
        assert numbers == list(range(len(numbers)))
        assert 10_000 < len(numbers) < 20_000
    finally:
        os.close(reader)
        os.close(writer)


def test_outbox_of_a_dead_agent() -> None:
    """Events for an agent that is gone are dropped without a word."""
    reader, writer = os.pipe()
    os.close(reader)
    outbox = Outbox(writer)
    outbox.emit({"event": "x"})
    assert not outbox
    os.close(writer)


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 1 << 16)
    except BlockingIOError:
        return b""
