"""The QMP client against a monitor played by a thread: greetings, errors, events in between, silence, hang-ups."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from guestroom.errors import QmpError
from guestroom.observe.qmp import QmpClient

GREETING = {"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": []}}
STOPPED = {"event": "STOP", "timestamp": {"seconds": 1, "microseconds": 2}}


class FakeMonitor:
    """Greets and answers as ``replies`` says; None as a reply is silence, ``hang up`` closes the connection."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.replies: dict[str, Any] = {}
        self.asked: list[dict[str, Any]] = []
        self.greet = True
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._open: list[socket.socket] = []

    def listen(self) -> None:
        """Begin to serve."""
        self._listener.listen(4)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            with contextlib.suppress(OSError):
                self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        if not self.greet:
            return
        self._send(connection, GREETING)
        # Like QEMU, take a command when its braces are closed: the library ends none with a newline. It sends one at a
        # time, so what is read is one command.
        while command := connection.recv(1 << 16):
            message = json.loads(command)
            self.asked.append(message)
            reply = self.replies.get(message["execute"], {})
            if reply is None:
                continue
            if reply == "hang up":
                connection.shutdown(socket.SHUT_RDWR)
                return
            if message["execute"] == "qmp_capabilities":
                self._send(connection, {"return": {}})
                continue
            for event in range(3):
                self._send(connection, STOPPED | {"data": {"n": event}})
            self._send(connection, (reply if "error" in reply else {"return": reply}) | {"id": message["id"]})

    @staticmethod
    def _send(connection: socket.socket, message: dict[str, Any]) -> None:
        connection.sendall(json.dumps(message).encode() + b"\r\n")

    def close(self) -> None:
        """End everything."""
        for sock in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[FakeMonitor]:
    """A monitor that serves."""
    made = FakeMonitor(tmp_path / "qmp")
    made.replies["query-status"] = {"status": "prelaunch", "running": False}
    made.listen()
    yield made
    made.close()


def test_status_cont_stop(monitor: FakeMonitor) -> None:
    """The three things the agent asks are asked by their names, past any events in between."""
    with QmpClient(monitor.path) as client:
        assert client.query_status() == "prelaunch"
        client.cont()
        client.stop()
        assert client.query_status() == "prelaunch"
    names = [message["execute"] for message in monitor.asked]
    assert names == ["qmp_capabilities", "query-status", "cont", "stop", "query-status"]


def test_arguments_go_out_as_named(monitor: FakeMonitor) -> None:
    """Dashes and underscores in argument names are both QEMU's and stay as they are; the answer comes back whole."""
    monitor.replies["object-add"] = {"a": [1, 2]}
    with QmpClient(monitor.path) as client:
        assert client.execute("object-add", id="x", bps_rd=1, **{"qom-type": "memory-backend-ram"}) == {"a": [1, 2]}
    assert monitor.asked[-1]["arguments"] == {"id": "x", "bps_rd": 1, "qom-type": "memory-backend-ram"}


def test_qemu_says_no(monitor: FakeMonitor) -> None:
    """QEMU's refusal is told with socket, command and its own words, and the connection goes on."""
    monitor.replies["cont"] = {"error": {"class": "GenericError", "desc": "Resetting the Virtual Machine is required"}}
    with QmpClient(monitor.path) as client:
        with pytest.raises(QmpError, match="GenericError: Resetting") as caught:
            client.cont()
        assert caught.value.where == monitor.path
        assert caught.value.numbers == {"command": "cont"}
        assert client.query_status() == "prelaunch"


def test_silence(monitor: FakeMonitor) -> None:
    """A held QEMU gives a QmpError within the time given, and the connection is not used again."""
    monitor.replies["stop"] = None
    with QmpClient(monitor.path, 0.2) as client:
        began_s = time.monotonic()
        with pytest.raises(QmpError, match=r"no answer within 0\.2 s"):
            client.stop()
        assert time.monotonic() - began_s < 2.0
        with pytest.raises(QmpError, match="closed"):
            client.query_status()


def test_silent_greeting(monitor: FakeMonitor) -> None:
    """A monitor that takes the connection and says nothing is given up in time, not waited for for ever."""
    monitor.greet = False
    began_s = time.monotonic()
    with pytest.raises(QmpError, match=r"no greeting within 0\.2 s"):
        QmpClient(monitor.path, 0.2)
    assert time.monotonic() - began_s < 2.0


def test_hang_up(monitor: FakeMonitor) -> None:
    """QEMU ending in the middle of a command is a QmpError."""
    monitor.replies["cont"] = "hang up"
    with QmpClient(monitor.path) as client, pytest.raises(QmpError, match="broke"):
        client.cont()


def test_no_socket(tmp_path: Path) -> None:
    """A socket that never comes is a QmpError with its path, after the time given."""
    began_s = time.monotonic()
    with pytest.raises(QmpError, match="No such file") as caught:
        QmpClient(str(tmp_path / "none"), 0.15)
    assert caught.value.where == str(tmp_path / "none")
    assert 0.1 < time.monotonic() - began_s < 2.0


def test_socket_that_comes_late(tmp_path: Path) -> None:
    """A QEMU that is still starting is waited for."""
    made: list[FakeMonitor] = []

    def later() -> None:
        monitor = FakeMonitor(tmp_path / "late")
        made.append(monitor)
        time.sleep(0.05)
        monitor.listen()

    timer = threading.Timer(0.1, later)
    timer.start()
    try:
        QmpClient(str(tmp_path / "late"), 5.0).close()
    finally:
        timer.join()
        made[0].close()


def test_strange_status(monitor: FakeMonitor) -> None:
    """An answer without a status is an error with the text, not an empty state."""
    monitor.replies["query-status"] = {"running": True}
    with QmpClient(monitor.path) as client, pytest.raises(QmpError, match="running"):
        client.query_status()


def test_threads_leave_nothing_open(monitor: FakeMonitor) -> None:
    """Used from worker threads, each connection gives back all its file descriptors."""

    def ask(_: int) -> str:
        with QmpClient(monitor.path) as client:
            return client.query_status()

    def count() -> int:
        return sum(1 for fd in os.listdir("/proc/self/fd") if not _is_monitors(fd))  # noqa: PTH208

    def _is_monitors(fd: str) -> bool:
        return any(sock.fileno() == int(fd) for sock in monitor._open)

    before = count()
    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(ask, range(20))) == {"prelaunch"}
    assert _settles(lambda: count() <= before)


def test_events_do_not_pile_up(monitor: FakeMonitor) -> None:
    """Events are dropped after each command: a monitor kept open for days holds none of them."""
    with QmpClient(monitor.path) as client:
        for _ in range(5):
            client.query_status()
        assert client._client is not None
        assert client._client.events.empty()


def _settles(condition: Callable[[], bool]) -> bool:
    end_s = time.monotonic() + 2.0
    while time.monotonic() < end_s:
        if condition():
            return True
        time.sleep(0.01)
    return condition()
