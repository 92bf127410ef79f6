"""The agent's side, against programs that stand for the alarm process."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from guestroom.agent.alarm_client import AlarmClient
from guestroom.errors import AgentError
from guestroom.layout import Layout

LAYOUT = Layout("/m/g", "/f/g")

_ECHO = """
import json, sys
print(json.dumps({"event": "ready", "scheduler": "other"}), flush=True)
for line in sys.stdin:
    op = json.loads(line)
    print(json.dumps({"event": "heard", "op": op}), flush=True)
    if op["op"] == "guest":
        print(json.dumps({"event": "armed", "name": op["name"], "rungs": 1}), flush=True)
    if op["op"] == "ping":
        print(json.dumps({"event": "holding", "name": "a"}), flush=True)
        sys.exit(7)
"""


def run(work: Callable[[], Awaitable[None]]) -> None:
    """Run a test's coroutine."""
    asyncio.run(asyncio.wait_for(work(), 30))  # type: ignore[arg-type]


async def made(monkeypatch: pytest.MonkeyPatch, program: str, folder: Path, timeout_s: float = 5.0) -> AlarmClient:
    """A client whose process is ``program``."""
    script = folder / "alarm.py"
    script.write_text(f"#!{sys.executable} -S\n{program}")
    script.chmod(0o755)
    monkeypatch.setattr("guestroom.agent.alarm_client.sys.executable", str(script))
    return await AlarmClient.start(LAYOUT, 30.0, timeout_s=timeout_s)


async def next_of(client: AlarmClient, kind: str) -> dict[str, object]:
    """The next event of a kind."""
    async for news in client.events():
        if news["event"] == kind:
            return news
    raise AssertionError("stopped")


def test_numbers_arrive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Wall and guests are told with the layout's own paths, and armed is waited for by name."""

    async def work() -> None:
        client = await made(monkeypatch, _ECHO, tmp_path)
        assert not await client.armed("a", 0.01), "never told"
        client.wall(30, 20, 10)
        client.guest("a", 1, 2, 3, 4)
        assert await client.armed("a", 5.0)
        assert (await next_of(client, "heard"))["op"] == {
            "op": "wall", "path": "/m/g", "limit_bytes": 30, "headroom_bytes": 20, "guard_bytes": 10,
        }  # fmt: skip
        assert (await next_of(client, "heard"))["op"] == {
            "op": "guest", "name": "a", "memory_path": "/m/g/a", "freezer_path": "/f/g/a", "ram_charged_bytes": 1,
            "weight": 2, "grant_bytes": 3, "limit_bytes": 4, "step_bytes": 16 << 20, "hold_at_bytes": None,
            "cap_bytes": None, "held": False,
        }  # fmt: skip
        await client.stop()
        assert [news["event"] async for news in client.events()] == ["armed"]

    run(work)


def test_restart_tells_everything_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A process that ends is started again and told the wall, the guests still there, and who may be frozen."""

    async def work() -> None:
        client = await made(monkeypatch, _ECHO, tmp_path)
        client.wall(30, 20, 10)
        for name in ("a", "b"):
            client.guest(name, 1, 1, 1, 1)
        client.forget("b")
        client.ping()
        error = await next_of(client, "error")
        assert "exit 7" in str(error["message"])
        told = [(await next_of(client, "heard"))["op"] for _ in range(2)]
        client.send({"op": "marker"})
        told.append((await next_of(client, "heard"))["op"])
        assert [(op["op"], op.get("name"), op.get("held")) for op in told] == [  # type: ignore[index,attr-defined]
            ("wall", None, None),
            ("guest", "a", True),
            ("marker", None, None),
        ]
        assert client.held == {"a"}
        await client.stop()

    run(work)


@pytest.mark.parametrize(
    "program", ["raise SystemExit(3)", "import time; time.sleep(60)", "print('hello', flush=True)"]
)
def test_no_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str) -> None:
    """A process that ends, says nothing or says nonsense is an AgentError in time, and none is left running."""

    async def work() -> None:
        with pytest.raises(AgentError, match="not ready"):
            await made(monkeypatch, program, tmp_path, timeout_s=0.3)

    run(work)


def test_sending_while_it_is_down(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Numbers told while no process runs are not lost: the next one gets them."""

    async def work() -> None:
        client = await made(monkeypatch, _ECHO, tmp_path)
        client.ping()
        await next_of(client, "error")
        client.guest("late", 1, 1, 1, 1)
        assert await client.armed("late", 5.0)
        await client.stop()
        client.guest("after", 1, 1, 1, 1)

    run(work)


_SLOW = """
import json, sys, time
time.sleep(0.4)
print(json.dumps({"event": "ready", "scheduler": "other"}), flush=True)
for line in sys.stdin:
    pass
"""


def test_slow_start_is_waited_for_and_a_deaf_process_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Until its first word it has ten times the patience; after that three unanswered pings end it."""
    monkeypatch.setattr("guestroom.agent.alarm_client._PING_S", 0.05)

    async def work() -> None:
        client = await made(monkeypatch, _SLOW, tmp_path)
        pid = client.pid
        assert client.scheduler == "other", "it was ended before it said a word"
        news = await next_of(client, "error")
        assert f"(pid {pid}) has not answered" in str(news["message"])
        await client.stop()

    run(work)


_DEAF = """
import json, os, sys, time
print(json.dumps({"event": "ready", "scheduler": "other"}), flush=True)
if os.path.exists(sys.argv[0] + ".deaf"):
    os.unlink(sys.argv[0] + ".deaf")
    time.sleep(60)
for line in sys.stdin:
    print(json.dumps({"event": "pong" if json.loads(line)["op"] == "ping" else "heard"}), flush=True)
"""


def test_one_that_does_not_answer_is_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A process without a word for three pings is ended and another takes over; one that answers stays."""

    async def work() -> None:
        monkeypatch.setattr("guestroom.agent.alarm_client._PING_S", 0.05)
        (tmp_path / "alarm.py.deaf").touch()
        client = await made(monkeypatch, _DEAF, tmp_path)
        deaf = client.pid
        error = await next_of(client, "error")
        assert f"pid {deaf}" in str(error["message"])
        assert "not answered" in str(error["message"])
        assert "ended" in str((await next_of(client, "error"))["message"])
        await asyncio.sleep(1.0)
        after = client.pid
        assert after != deaf
        await asyncio.sleep(0.5)
        assert client.pid == after
        await client.stop()

    run(work)
