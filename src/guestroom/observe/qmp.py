"""QEMU's monitor, spoken from a worker thread: one call, one answer, never longer than the time given.

QEMU's own library (qemu.qmp) does the talking. Its synchronous wrapper ``qemu.qmp.legacy`` is not used, for
three reasons found by trying it (0.0.6): its ``connect`` takes no time limit and waits for ever on a QEMU
that is held or stopped, it leaves the event loop of every thread open (ten threads: 15 more file
descriptors), and its queue of events grows for as long as nobody pulls it. So the library's asyncio client
runs here in a loop of our own that is closed with the connection.

Meant for our own monitor of a guest, never for the user's (the monitor serves one client at a time).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections import deque
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, TypeVar, cast

from qemu.qmp import ExecuteError, QMPClient, QMPError

from guestroom.errors import QmpError

_Answer = TypeVar("_Answer")
_RETRY_S = 0.01
_LOOK_S = 0.001
_CLOSE_S = 0.5
"""Time for a clean goodbye; a held QEMU gives none."""


class QmpClient:
    """A connection to the monitor socket at ``path``; use it in a ``with`` or ``close`` it.

    Connecting goes on until the socket exists and greets, for up to ``timeout_s``; each command then has
    ``timeout_s`` of its own. One thread at a time, and none that runs an event loop. Everything that goes wrong
    is a ``QmpError`` with the socket, the command and what QEMU said.
    """

    def __init__(self, path: str, timeout_s: float = 5.0) -> None:
        self.path = path
        self.timeout_s = timeout_s
        self._runner = asyncio.Runner()
        self._client: QMPClient | None = None
        self._events: deque[str] = deque(maxlen=256)
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(self.close)
            self._connect()
            on_failure.pop_all()

    def execute(self, command: str, /, **arguments: object) -> Any:
        """Run a command and return what it returns. Arguments go out as named: ``**{"qom-type": ...}`` for dashes.

        Of events that came in between the last 256 names are kept. After a time-out the connection is closed: the
        late answer of one command must not be waited through by the next.
        """
        client = self._client
        if client is None:
            raise self._error(command, "the connection is closed")
        try:
            answer = self._run(client.execute(command, arguments or None), self.timeout_s)
        except ExecuteError as error:
            raise self._error(command, f"QEMU says {error.error_class}: {error}") from error
        except TimeoutError as error:
            self.close()
            raise self._error(command, f"no answer within {self.timeout_s:g} s", "is the guest held?") from error
        except (QMPError, OSError, EOFError) as error:
            self.close()
            raise self._error(command, f"the connection broke: {error}") from error
        self._events += (str(event.get("event")) for event in client.events.clear())
        return answer

    def events(self) -> tuple[str, ...]:
        """Names of the events that came until the last answer and since this was last asked, oldest first."""
        events = tuple(self._events)
        self._events.clear()
        return events

    def query_status(self) -> str:
        """The run state: ``running``, ``paused``, ``prelaunch``, ... (QAPI RunState)."""
        answer = self.execute("query-status")
        status = answer.get("status") if isinstance(answer, dict) else None
        if not isinstance(status, str):
            raise self._error("query-status", f"a status was expected, found {str(answer)[:80]!r}")
        return status

    def cont(self) -> None:
        """Let the vCPUs run. QEMU takes this in ``inmigrate`` and others too: look at the state first."""
        self.execute("cont")

    def stop(self) -> None:
        """Stop the vCPUs; returns after the requests in flight are drained (160-460 ms under load, measured)."""
        self.execute("stop")

    def close(self) -> None:
        """Say goodbye if QEMU listens, and give the socket and the loop back."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(QMPError, OSError, EOFError, TimeoutError):
                self._run(client.disconnect(), _CLOSE_S)
        self._runner.close()

    def __enter__(self) -> QmpClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _connect(self) -> None:
        """Connect, greet and negotiate; the socket may not exist yet, and QEMU may still be starting."""
        end_s = time.monotonic() + self.timeout_s
        while not os.path.exists(self.path) and time.monotonic() + _RETRY_S < end_s:  # noqa: PTH110
            time.sleep(_LOOK_S)  # a look is far cheaper than a client that finds no socket
        while True:
            client = QMPClient("guestroom")
            # What goes wrong is told once, by QmpError; the library would log each try of a QEMU that is starting.
            client.logger.setLevel(logging.CRITICAL + 1)
            left_s = max(end_s - time.monotonic(), _RETRY_S)
            try:
                self._run(client.connect(self.path), left_s)
            except TimeoutError as error:
                raise self._error("connect", f"no greeting within {self.timeout_s:g} s") from error
            except (QMPError, OSError, EOFError) as error:
                if time.monotonic() + _RETRY_S >= end_s:
                    raise self._error("connect", f"{_cause(error)} for {self.timeout_s:g} s") from error
                time.sleep(_RETRY_S)
            else:
                self._client = client
                return

    def _run(self, work: Coroutine[Any, Any, _Answer], limit_s: float) -> _Answer:
        return self._runner.run(_within(work, limit_s))

    def _error(self, command: str, why: str, hint: str | None = None) -> QmpError:
        return QmpError(f"QMP {command}: {why}", where=self.path, numbers={"command": command}, hint=hint)


async def _within(work: Coroutine[Any, Any, _Answer], limit_s: float) -> _Answer:
    return cast(_Answer, await asyncio.wait_for(work, limit_s))


def _cause(error: BaseException) -> str:
    """The innermost reason: the library wraps "No such file" into its own errors."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__.removesuffix("Error")
