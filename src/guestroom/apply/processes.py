"""Processes by identity: a pid may be used again, so each is held by a pidfd and its start time.

Signals go through the pidfd, which names this very process for as long as it is open (pidfd_open(2));
"pid 4711" in a file from before a crash is checked by its start time (proc(5), stat field 22) first.
"""

from __future__ import annotations

import errno
import os
import select
import signal
from types import TracebackType
from typing import TYPE_CHECKING

from guestroom.errors import HostError, ReadError, VanishedError, from_read, from_write
from guestroom.kernelfs import KernelFiles

if TYPE_CHECKING:
    from guestroom.ports import Files


def read_start_ticks(pid: int, *, files: Files | None = None) -> int:
    """Return when ``pid`` was started, in clock ticks since boot. Raises ``VanishedError`` or ``ReadError``."""
    path = f"/proc/{pid}/stat"
    try:
        text = (files or KernelFiles()).read(path)
    except OSError as error:
        raise from_read(error, path) from error
    # The command in field 2 may hold spaces and brackets: count from behind its last bracket.
    fields = text.rpartition(")")[2].split()
    if len(fields) < 20 or not fields[19].isdecimal():
        raise ReadError(path, "the start time (field 22) was expected", text=text)
    return int(fields[19])


def move(files: Files, cgroup: str, pid: int) -> None:
    """Move process ``pid`` with all its threads into ``cgroup`` and check that it is there.

    Its charges stay where they were made. Raises ``VanishedError`` if the process or the cgroup is gone,
    ``WriteError`` if the kernel refuses, ``HostError`` if it did not arrive.
    """
    path = f"{cgroup}/cgroup.procs"
    try:
        files.write(path, str(pid))
    except OSError as error:
        if error.errno == errno.ESRCH:
            raise VanishedError(f"process {pid}") from error
        raise from_write(error, path, str(pid)) from error
    try:
        arrived = str(pid) in files.read(path).split()
    except OSError as error:
        raise from_read(error, path) from error
    if not arrived:
        raise HostError(f"process {pid} was moved but is not there", where=path)


class ProcessHandle:
    """One process, held by pidfd: ``close`` it, or use it in a ``with``."""

    def __init__(self, pid: int, start_ticks: int, fd: int) -> None:
        self.pid = pid
        self.start_ticks = start_ticks
        self._fd = fd

    def fileno(self) -> int:
        """The pidfd: readable for poll(2) and asyncio once the process has ended."""
        return self._fd

    def alive(self) -> bool:
        """True until the process has ended (a zombie has)."""
        return not self.wait_gone(0)

    def send(self, signum: signal.Signals) -> None:
        """Send a signal. Raises ``VanishedError`` if it has ended, ``HostError`` if not permitted."""
        try:
            signal.pidfd_send_signal(self._fd, signum)
        except ProcessLookupError as error:
            raise VanishedError(f"process {self.pid}") from error
        except OSError as error:
            raise HostError(f"{signum.name} to process {self.pid}: {error.strerror}") from error

    def wait_gone(self, timeout_s: float) -> bool:
        """Wait up to ``timeout_s`` seconds for the process to end; True if it has."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(max(0.0, timeout_s) * 1000))

    def close(self) -> None:
        """Give the pidfd back; the process is not touched."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> ProcessHandle:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def open_process(pid: int, start_ticks: int | None = None, *, files: Files | None = None) -> ProcessHandle:
    """Return a handle on process ``pid``, checked to be the one that started at ``start_ticks`` (None: any).

    The start time is read *after* the pidfd is open: the pidfd pins the process, so the pid can't change
    hands in between unnoticed. Raises ``VanishedError`` if it is gone or another one has its pid.
    """
    try:
        fd = os.pidfd_open(pid)
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.EINVAL):
            raise VanishedError(f"process {pid}") from error
        raise HostError(f"process {pid}: {error.strerror}") from error
    try:
        found = read_start_ticks(pid, files=files)
        if start_ticks is not None and found != start_ticks:
            raise VanishedError(f"process {pid} started at tick {start_ticks} (its pid was taken at tick {found})")
    except HostError:
        os.close(fd)
        raise
    return ProcessHandle(pid, found, fd)
