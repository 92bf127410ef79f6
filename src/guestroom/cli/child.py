"""Processes that wait before they execute: so that the agent can put them under a limit first.

A waiting child reads its argv from a pipe and executes it; if the pipe closes first (the parent died or
was refused) it ends without having run anything.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

_RESET = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE)
NOT_EXECUTED = 127
"""Exit code of a child that never executed anything, or whose program was not found (as shells report it)."""


class WaitingChild:
    """A forked child of this process; ``pid`` is what becomes QEMU or a helper."""

    def __init__(self, close_fds: Sequence[int] = ()) -> None:
        reader, writer = os.pipe()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(writer)
            for fd in close_fds:
                with contextlib.suppress(OSError):
                    os.close(fd)
            _become(reader)
        os.close(reader)
        self._writer: int | None = writer
        self.pidfd = os.pidfd_open(self.pid)
        self.status: int | None = None

    def execute(self, argv: Sequence[str]) -> None:
        """Let the child execute ``argv``."""
        assert self._writer is not None
        payload = json.dumps(list(argv)).encode()
        with contextlib.suppress(BrokenPipeError):
            while payload:
                payload = payload[os.write(self._writer, payload) :]
        os.close(self._writer)
        self._writer = None

    def give_up(self) -> None:
        """Let the child end without having executed anything, if it still waits."""
        if self._writer is not None:
            os.close(self._writer)
            self._writer = None

    def signal(self, number: int) -> None:
        """Signal exactly this child; nothing if it is gone."""
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, number)

    def reap(self, *, block: bool) -> int | None:
        """Its exit code as shells report it (128 + n for signal n), or None while it lives."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, 0 if block else os.WNOHANG)
            if pid == 0:
                return None
            code = os.waitstatus_to_exitcode(status)
            self.status = 128 - code if code < 0 else code
            os.close(self.pidfd)
        return self.status


def _become(reader: int) -> NoReturn:
    """In the child: wait for an argv, execute it. Never returns and never raises into the parent's code."""
    try:
        for number in _RESET:
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        chunks = []
        while chunk := os.read(reader, 1 << 16):
            chunks.append(chunk)
        if chunks:
            argv = json.loads(b"".join(chunks))
            os.execvp(argv[0], argv)  # noqa: S606 - this is what it is for
    except OSError as error:
        os.write(2, f"guestroom: {argv[0]} can't be executed: {error.strerror}\n".encode())
    finally:
        os._exit(NOT_EXECUTED)
