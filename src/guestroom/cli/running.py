"""``guestroom run`` from its first fork to QEMU's exit code.

It forks the child that will be QEMU, asks the agent for room, lets the child execute the argv the agent
prepared, and stays: signals are passed on, QEMU's exit code becomes ours, stdin and stdout are QEMU's. An
agent that goes away does not end a running guest; an order to recreate ends QEMU and starts over.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from guestroom.cli.child import WaitingChild
from guestroom.cli.client import AgentClient, Stream, remote_error
from guestroom.cli.say import note
from guestroom.errors import AgentError, GuestroomError, InputError, LaunchError, NoRoomError

_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_STOPPING_S = 1.0
"""How long the agent has to let a held guest go before its user's signal is passed on anyway."""
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_ERROR_KINDS: Mapping[int, type[GuestroomError]] = {2: InputError, 3: NoRoomError}
_LAST_WORD_S = 3.0
"""How long the agent's explanation is awaited after a QEMU that ended before it ran."""
_READCONFIG_BYTES = 1 << 20
"""The largest -readconfig file: what the agent takes and the parser reads."""
_REJOIN_S = 1.0
_HELPER_READY_S = 10.0
_HELPER_END_S = 5.0
_RECREATE_STOP_S = 30.0


class Wish(NamedTuple):
    """What is to be run."""

    name: str
    argv: tuple[str, ...]
    readconfig: Mapping[str, str]
    helpers: tuple[tuple[str, ...], ...]
    helper_ready: tuple[str, ...]
    on_short: str | None
    timeout_s: float | None
    verdict_fd: int | None
    agent_lost_s: float
    lean: Mapping[str, object] | None = None
    """What --lean changed, for the verdict; None where it was not asked for."""


class Running:
    """One ``run``. ``go`` returns the exit code."""

    def __init__(self, wish: Wish, client: AgentClient) -> None:
        self.wish = wish
        self.client = client
        self.lines: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._wake_r, self._wake_w = os.pipe()
        os.set_blocking(self._wake_r, False)
        os.set_blocking(self._wake_w, False)
        self._signals: list[int] = []
        self.qemu: WaitingChild | None = None
        self.helpers: list[WaitingChild] = []
        self.stream: Stream | None = None
        self.ran = False
        self.waiting_since_s: float | None = None
        """Since when it waits for room: monotonic; None: it does not."""
        self.asking = True
        """No verdict has come yet: whoever is the agent may be asked again."""
        self._lost_asking = False
        self._told = False
        self.lost_s: float | None = None
        self.recreating_until_s: float | None = None
        self.error: GuestroomError | None = None
        self.monitor: str | None = None

    def go(self) -> int:
        """Start and stay; again after an order to recreate."""
        while True:
            self._fork()
            try:
                self._ask()
                # Not before: an agent that does not answer must not make this process deaf to its user.
                for number in _FORWARDED:
                    signal.signal(number, self._on_signal)
                code = self._stay()
            finally:
                self._clean_up()
            if self.recreating_until_s is None or self._signals:
                break
            self.ran, self.recreating_until_s, self.lines = False, None, queue.SimpleQueue()
            self.asking, self._lost_asking = True, False
        if self.error is not None:
            raise self.error
        return code

    # --- the start -------------------------------------------------------------------------------------

    def _fork(self) -> None:
        ours = [self._wake_r, self._wake_w] + ([self.wish.verdict_fd] if self.wish.verdict_fd is not None else [])
        self.qemu = WaitingChild(ours)
        self.helpers = [WaitingChild(ours) for _ in self.wish.helpers]

    def _ask(self) -> None:
        assert self.qemu is not None
        wish = self.wish
        since_s = self.waiting_since_s
        body = {
            "name": wish.name,
            "argv": list(wish.argv),
            "readconfig": dict(wish.readconfig),
            "child_pid": self.qemu.pid,
            "helper_pids": [helper.pid for helper in self.helpers],
            "on_short": wish.on_short,
            "timeout_s": wish.timeout_s,
            "waited_s": 0.0 if since_s is None else time.monotonic() - since_s,
        }
        self._listen(self.client.stream("POST", "/v1/start", body))

    def _listen(self, stream: Stream) -> None:
        self.stream, self.lost_s = stream, None
        lines = self.lines

        def read() -> None:
            for line in stream.lines():
                lines.put(line)
                self._wake()
            lines.put(None)
            self._wake()

        threading.Thread(target=read, daemon=True).start()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._wake_w, b".")

    def _on_signal(self, number: int, _: object) -> None:
        self._signals.append(number)
        self._wake()

    # --- the stay --------------------------------------------------------------------------------------

    def _stay(self) -> int:
        """Wait for QEMU's end, passing on what comes meanwhile; returns its exit code."""
        assert self.qemu is not None
        qemu, passed = self.qemu, 0
        while True:
            ready, _, _ = select.select([qemu.pidfd, self._wake_r], [], [], 0.5)
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_r, 4096)
            while passed < len(self._signals):
                self._pass_on(self._signals[passed])
                passed += 1
            while not self.lines.empty():
                self._heed(self.lines.get())
            if self._lost_asking and self.error is None and not self._signals:
                qemu = self._fork_again()
            elif qemu.pidfd in ready:
                code = qemu.reap(block=True)
                assert code is not None
                if not self.ran and not self._signals:
                    self._last_word()
                if not self.ran and self._signals and self.error is None:
                    name = signal.Signals(self._signals[0]).name
                    self.error = LaunchError(f"ended by signal {name} before the guest ran", where=self.wish.name)
                    self.error.exit_code = 128 + self._signals[0]
                return code
            self._overdue(qemu)

    def _fork_again(self) -> WaitingChild:
        """The agent went away before it was decided: the next one is offered a child of its own.

        It ends what it finds in the guest's cgroups, and who knows whether the first child was put there already.
        """
        self._clean_up()
        self.lines, self.error = queue.SimpleQueue(), None
        self._fork()
        self.lost_s, self._lost_asking = time.monotonic(), False
        assert self.qemu is not None
        return self.qemu

    def _pass_on(self, number: int) -> None:
        assert self.qemu is not None
        if not self.ran:
            self.qemu.give_up()  # nothing runs yet that could handle it: the reservation dies with us
        elif number in _ENDING:
            # A guest that is held still could not even die: the agent lets it go first.
            with contextlib.suppress(GuestroomError):
                AgentClient(self.client.path, answer_s=_STOPPING_S).post("/v1/stopping", {"name": self.wish.name})
        self.qemu.signal(number)

    def _heed(self, line: dict[str, Any] | None) -> None:
        """One line from the agent."""
        assert self.qemu is not None
        if line is None:
            self.lost_s = time.monotonic()
            self._lost_asking = self.asking
            if self.waiting_since_s is not None:
                note(f"the agent went away; {self.wish.name} keeps its place if it is back in time")
            return
        match line.get("event"):
            case "waiting":
                self.waiting_since_s = self.waiting_since_s or time.monotonic() - float(line["waited_s"])
                note(str(line["message"]))
            case "verdict":
                self.asking, self.waiting_since_s = False, None
                self._verdict(line)
            case "running":
                self.ran = True
            case "recreate":
                note(f"{self.wish.name} is recreated: {line.get('reason')}")
                patience_s = float(line.get("stop_timeout_s", _RECREATE_STOP_S))
                self.recreating_until_s = time.monotonic() + patience_s
                self.qemu.signal(signal.SIGTERM)
            case "error":
                kind = _ERROR_KINDS.get(int(line.get("exit_code", 1)), LaunchError)
                self.error = remote_error(line["error"], kind)
                self.qemu.give_up()
            case _:
                pass

    def _verdict(self, line: dict[str, Any]) -> None:
        assert self.qemu is not None
        line.pop("event")
        argv = line.pop("argv", None)
        self.monitor = line.pop("monitor", None)
        untold = self._tell(line if self.wish.lean is None else line | {"lean": self.wish.lean})
        if argv is None:
            advice = "; ".join(line.get("advice", ())) or None
            self.error = NoRoomError(str(line["message"]), numbers=_numbers(line), hint=advice)
            self.qemu.give_up()
            return
        if untold is not None:
            self.error = untold
            self.qemu.give_up()
            return
        note(str(line["message"]))
        self._start_helpers()
        self.qemu.execute(argv)

    def _tell(self, verdict: Mapping[str, Any]) -> GuestroomError | None:
        """Write the verdict to --verdict-fd; the error when nobody can have got it.

        It is authoritative, so no guest starts without it. Only the first: a guest that comes back recreated
        must not fail because its starter, told once, has stopped reading.
        """
        fd = self.wish.verdict_fd
        if fd is None or self._told:
            return None
        payload = json.dumps(verdict).encode() + b"\n"
        try:
            while payload:
                payload = payload[os.write(fd, payload) :]
        except OSError as error:
            return LaunchError(
                f"the verdict can't be written to --verdict-fd {fd}: {error.strerror}; the guest was not started",
                where=self.wish.name,
                hint="keep it open and readable until the line was read",
            )
        self._told = True
        return None

    def _start_helpers(self) -> None:
        """Helpers first, QEMU when what it will connect to is there."""
        for child, argv in zip(self.helpers, self.wish.helpers, strict=True):
            child.execute(argv)
        deadline_s = time.monotonic() + _HELPER_READY_S
        for path in self.wish.helper_ready:
            while not os.path.exists(path):  # noqa: PTH110
                if time.monotonic() > deadline_s:
                    note(f"{path} did not appear within {_HELPER_READY_S:g} s; QEMU is started anyway")
                    return
                time.sleep(0.01)

    def _last_word(self) -> None:
        """QEMU ended before it ran: the agent knows whether it was for want of room."""
        deadline_s = time.monotonic() + _LAST_WORD_S
        while self.error is None and not self.ran and (left_s := deadline_s - time.monotonic()) > 0:
            try:
                line = self.lines.get(timeout=left_s)
            except queue.Empty:
                return
            if line is None:
                return
            if line.get("event") == "error" and line.get("exit_code") != NoRoomError.exit_code:
                return  # QEMU's own exit code and message say more than ours would
            self._heed(line)

    def _overdue(self, qemu: WaitingChild) -> None:
        """What time brings: a recreation that takes too long, an agent that is gone."""
        now_s = time.monotonic()
        if self.recreating_until_s is not None and now_s > self.recreating_until_s:
            qemu.signal(signal.SIGKILL)
        if self.lost_s is None or self.error is not None:
            return
        if not self.ran and now_s - self.lost_s > self.wish.agent_lost_s:
            if self._runs_already():
                self.ran = True
                return
            self.error = AgentError(
                "the agent went away while the guest was "
                + ("starting" if self.waiting_since_s is None else "waiting for room")
                + "; it never ran",
                where=self.client.path,
            )
            qemu.give_up()
            qemu.signal(signal.SIGKILL)
            return
        if self.recreating_until_s is None and int(now_s / _REJOIN_S) != int((now_s - 0.5) / _REJOIN_S):
            self._rejoin()

    def _rejoin(self) -> None:
        """An agent that came back took the guest back too, ended it if it had never run, or kept its place."""
        try:
            if self.asking:
                self._ask()
                return
            self._listen(self.client.stream("GET", f"/v1/guests/{self.wish.name}/orders"))
        except GuestroomError:
            return

    def _runs_already(self) -> bool:
        """Whether QEMU's vCPUs were continued before the agent went away, asked on guestroom's own monitor."""
        if self.monitor is None:
            return False
        from guestroom.observe.qmp import QmpClient  # loaded only in this rare case

        try:
            monitor = QmpClient(self.monitor, 2.0)
            try:
                return monitor.query_status() not in ("prelaunch", "inmigrate")
            finally:
                monitor.close()
        except GuestroomError:
            return False

    def _clean_up(self) -> None:
        """Leave nothing behind: helpers end with their QEMU, the connection closes."""
        for child in (self.qemu, *self.helpers):
            if child is not None:
                child.give_up()
        for helper in self.helpers:
            helper.signal(signal.SIGTERM)
        deadline_s = time.monotonic() + _HELPER_END_S
        for helper in self.helpers:
            while helper.reap(block=False) is None:
                if time.monotonic() > deadline_s:
                    helper.signal(signal.SIGKILL)
                time.sleep(0.01)
        if self.qemu is not None and self.qemu.status is None and not self.ran:
            self.qemu.signal(signal.SIGKILL)
            self.qemu.reap(block=True)
        if self.stream is not None:
            self.stream.close()


def _numbers(line: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key.endswith("_bytes")} | {
        "holders": json.dumps(line.get("holders", [])),
        "short_of": line.get("short_of"),
    }


def read_configs(argv: Sequence[str]) -> dict[str, str]:
    """Texts of the files named by ``-readconfig`` in ``argv``. Raises ``InputError`` naming the file."""
    paths = [value for option, value in pairwise(argv) if option in ("-readconfig", "--readconfig")]
    if not paths:
        return {}
    from guestroom.cli.inputs import read_again  # it brings click

    return {path: read_again(path, most_bytes=_READCONFIG_BYTES) for path in paths}
