"""The state folder: made private, and held by one agent at a time.

The lock is an flock on ``lock`` inside: the kernel lets it go however the agent ends, so there is no stale
lock to clear by hand. It is not inherited over exec; a bare fork that outlives the agent would keep it. The
pid in the file only serves the message.
"""

from __future__ import annotations

import fcntl
import os
import stat
from types import TracebackType

from guestroom.errors import AgentError, LedgerError
from guestroom.record.failures import from_os

_DOING = "preparing the state folder"


class StateLock:
    """Holds the state folder until closed or the process ends."""

    def __init__(self, state_dir: str) -> None:
        self.path = f"{state_dir}/lock"
        self._fd: int | None = _take(self.path, state_dir)

    def close(self) -> None:
        """Let the folder go; another agent may take it. May be repeated."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> StateLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def make_folder(state_dir: str) -> None:
    """Make the folder (mode 0700) with its parents, or check that nobody else may write to it.

    Raises ``LedgerError``: whoever may write here could forge what the agent believes about every guest.
    """
    try:
        os.makedirs(state_dir, mode=0o700, exist_ok=True)  # noqa: PTH103 - paths are plain strings here
        found = os.stat(state_dir)  # noqa: PTH116
    except OSError as error:
        raise from_os(error, state_dir, _DOING) from error
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise LedgerError(
            f"the state folder may be written by others (owner {found.st_uid}, mode {found.st_mode & 0o7777:04o})",
            where=state_dir,
            numbers={"uid": found.st_uid, "mode": found.st_mode & 0o7777},
            hint="chown it to the agent's user and chmod 700, or name another one with --state",
        )


def _take(path: str, state_dir: str) -> int:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise from_os(error, path, _DOING) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, 32, 0).decode(errors="replace").strip()
        os.close(fd)
        pid = int(holder) if holder.isascii() and holder.isdigit() else None
        raise AgentError(
            f"an agent with this state is already running (pid {pid if pid is not None else 'unknown'})",
            where=state_dir,
            numbers={"pid": pid},
            hint="stop that one first, or give this one a state folder and a socket of its own",
        ) from None
    except OSError as error:
        os.close(fd)
        raise from_os(error, path, _DOING) from error
    try:
        # Written in place and then cut, so that a full disk can still overwrite the block that is there.
        text = f"{os.getpid()}\n".encode()
        os.pwrite(fd, text, 0)
        os.ftruncate(fd, len(text))
    except OSError as error:
        os.close(fd)
        raise from_os(error, path, _DOING) from error
    return fd
