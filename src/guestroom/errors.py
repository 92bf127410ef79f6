"""Every error this package raises on purpose, as one tree.

::

    GuestroomError
    +-- InputError                exit 2: what was given is wrong
    |   +-- SizeError               a size text
    |   +-- GuestNameError              a guest's name
    |   +-- DescribeError           a guest's description (argv, readconfig, XML, YAML)
    |   +-- ConfigError             the settings file
    |   +-- ClaimsError             the input of ``divide``
    |   +-- UsageError              options that do not fit together
    +-- NoRoomError               exit 3: correct, but there is no room
    +-- HostError                 exit 1: the machine did not do what was asked
        +-- ReadError               a kernel or proc file: unreadable or malformed
        +-- VanishedError           a cgroup or process that is gone (expected, its own type)
        +-- WriteError              a kernel write that was refused
        |   +-- BusyError             EBUSY: the limit is below what can't be reclaimed
        |   +-- InterruptedWriteError EINTR: a signal came during reclaim
        |   +-- InvalidWriteError     EINVAL: the kernel does not take this value
        |   +-- NotPermittedError     EACCES, EPERM, EROFS
        |   +-- ReadBackError         written, but the file says something else
        +-- QmpError                QEMU's monitor
        +-- LaunchError             a guest that could not be started
        +-- LedgerError             the state folder or its database
        |   +-- EntryError            an entry the ledger can't take: trying again would not help
        +-- AgentError              the agent: not reachable, already running, answering nonsense

Each carries a stable code, what happened, where (file:line, path or guest), the numbers, and what to do.
Errors are for what was not expected: a verdict such as ``refuse`` is data (see ``actions``), which a door
turns into ``NoRoomError`` only to exit with 3.
"""

from __future__ import annotations

import errno as _errno
from collections.abc import Mapping


class GuestroomError(Exception):
    """Base of all. ``exit_code`` is the process exit code a command ends with."""

    code = "error"
    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        numbers: Mapping[str, int | float | str | None] | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.numbers = dict(numbers or {})
        self.hint = hint

    def line(self) -> str:
        """One line for stderr: what, where, what to do."""
        place = f" ({self.where})" if self.where else ""
        advice = f": {self.hint}" if self.hint else ""
        return f"{self.message}{place}{advice}".replace("\n", "\\n")

    def to_dict(self) -> dict[str, object]:
        """The ``--json`` form: ``{"error": {"code", "message", "where", "numbers", "hint"}}``."""
        return {
            "error": {
                "code": self.code,
                "message": self.message,
                "where": self.where,
                "numbers": self.numbers,
                "hint": self.hint,
            }
        }


class InputError(GuestroomError):
    """What was given is wrong; nothing was changed."""

    code = "input"
    exit_code = 2


class SizeError(InputError):
    """A size text that its dialect does not know or that is ambiguous."""

    code = "size"

    def __init__(self, text: str, dialect: str, why: str, *, where: str | None = None) -> None:
        shown = text if len(text) <= 60 else text[:57] + "..."
        super().__init__(
            f"size {shown!r} is not understood: {why}",
            where=where,
            numbers={"text": shown, "dialect": dialect},
        )


class GuestNameError(InputError):
    """A guest's name that can't be a folder's name or is not allowed."""

    code = "name"


class DescribeError(InputError):
    """A guest's description that can't be understood."""

    code = "describe"


class ConfigError(InputError):
    """A settings file with errors; ``where`` is file:line."""

    code = "config"


class ClaimsError(InputError):
    """Input of ``divide`` that is not what the contract says."""

    code = "claims"


class UsageError(InputError):
    """Options that do not fit together."""

    code = "usage"


class NoRoomError(GuestroomError):
    """Everything was understood; there is no room."""

    code = "no_room"
    exit_code = 3


class HostError(GuestroomError):
    """The machine did not do what was asked."""

    code = "host"


class ReadError(HostError):
    """A kernel or proc file that could not be read or whose text is not what it should be."""

    code = "read"

    def __init__(self, path: str, why: str, *, line: int | None = None, text: str | None = None) -> None:
        found = f", found {text[:80]!r}" if text is not None else ""
        super().__init__(f"cannot read {path}: {why}{found}", where=f"{path}:{line}" if line else path)
        self.path = path


class VanishedError(HostError):
    """A cgroup or process that is gone: expected while guests come and go."""

    code = "vanished"

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is gone", where=path)
        self.path = path


class WriteError(HostError):
    """A kernel write that was refused."""

    code = "write"

    def __init__(self, path: str, value: str, why: str, *, hint: str | None = None) -> None:
        super().__init__(f"writing {value!r} to {path} failed: {why}", where=path, numbers={"value": value}, hint=hint)
        self.path = path
        self.value = value


class BusyError(WriteError):
    """EBUSY: the limit is below what can't be reclaimed; the old limit stays."""

    code = "busy"


class InterruptedWriteError(WriteError):
    """EINTR: a signal came while the kernel reclaimed; the old limit stays."""

    code = "interrupted"


class InvalidWriteError(WriteError):
    """EINVAL: the kernel does not take this value here."""

    code = "invalid"


class NotPermittedError(WriteError):
    """EACCES, EPERM or EROFS."""

    code = "not_permitted"


class ReadBackError(WriteError):
    """The write was accepted but the file reads otherwise."""

    code = "read_back"


class QmpError(HostError):
    """QEMU's monitor did not answer or answered with an error."""

    code = "qmp"


class LaunchError(HostError):
    """A guest that could not be started; it never ran."""

    code = "launch"


class LedgerError(HostError):
    """The state folder or its database."""

    code = "ledger"


class EntryError(LedgerError):
    """An entry the ledger can't take, whatever the disk does: trying again would not help."""

    code = "entry"


class AgentError(HostError):
    """The agent: not reachable, already running, or answering nonsense."""

    code = "agent"


_WRITE_ERRORS: Mapping[int, type[WriteError]] = {
    _errno.EBUSY: BusyError,
    _errno.EINTR: InterruptedWriteError,
    _errno.EINVAL: InvalidWriteError,
    _errno.EACCES: NotPermittedError,
    _errno.EPERM: NotPermittedError,
    _errno.EROFS: NotPermittedError,
}
_GONE = frozenset({_errno.ENOENT, _errno.ENODEV, _errno.ESRCH})


def from_write(error: OSError, path: str, value: str) -> HostError:
    """The tree's error for an ``OSError`` met when writing ``value`` to ``path``."""
    if error.errno in _GONE:
        return VanishedError(path)
    kind = _WRITE_ERRORS.get(error.errno or 0, WriteError)
    hint = "run as root, or let the agent's user own this cgroup" if kind is NotPermittedError else None
    return kind(path, value, f"{_errno.errorcode.get(error.errno or 0, '?')} {error.strerror}", hint=hint)


def from_read(error: OSError, path: str) -> HostError:
    """The tree's error for an ``OSError`` met when reading ``path``."""
    if error.errno in _GONE:
        return VanishedError(path)
    return ReadError(path, f"{_errno.errorcode.get(error.errno or 0, '?')} {error.strerror}")
