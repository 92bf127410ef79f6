"""What the appliers of both cgroup versions have in common: the answers, and the guards before any write.

The kernel's answer is an outcome, never an exception. Two promises are guarded here a last time, whatever was
decided before: no limit below a guest's floor (P2), no write outside guestroom's own cgroups or into one that was
made anew under the same name (P9). How a write is carried out is for ``cgroup1`` and its twin ``cgroup2``.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

from guestroom.actions import Action, Hold, MakeGuest, Outcome, OutcomeKind, SetLimit, SetWall
from guestroom.apply.writes import Write, limit_file, writes
from guestroom.errors import (
    BusyError,
    GuestNameError,
    HostError,
    InterruptedWriteError,
    InvalidWriteError,
    NotPermittedError,
    ReadBackError,
    VanishedError,
    from_read,
    from_write,
)
from guestroom.layout import Layout
from guestroom.units import Limit, format_bytes, format_limit

if TYPE_CHECKING:
    from guestroom.ports import Clock, Files

INTERRUPTED_TRIES = 3
"""A write that a signal cut short is tried this often."""

_KINDS: Mapping[type[HostError], OutcomeKind] = {
    BusyError: OutcomeKind.BUSY,
    InterruptedWriteError: OutcomeKind.INTERRUPTED,
    InvalidWriteError: OutcomeKind.INVALID,
    VanishedError: OutcomeKind.VANISHED,
    NotPermittedError: OutcomeKind.NOT_PERMITTED,
    ReadBackError: OutcomeKind.READ_BACK,
}


def kind_of(error: HostError) -> OutcomeKind:
    """Return the outcome that ``error`` stands for; ``FAILED`` where it has no kind of its own."""
    return _KINDS.get(type(error), OutcomeKind.FAILED)


def read_text(files: Files, path: str) -> str:
    """Return the text of ``path``. Raises ``VanishedError`` or ``ReadError``."""
    try:
        return files.read(path)
    except OSError as error:
        raise from_read(error, path) from error


def make_folder(files: Files, write: Write) -> None:
    """Carry out a ``mkdir``. Raises the ``HostError`` that the kernel's answer stands for."""
    try:
        files.mkdir(write.path)
    except FileExistsError as error:
        if not write.exist_ok:
            raise from_write(error, write.path, "mkdir") from error
    except OSError as error:
        raise from_write(error, write.path, "mkdir") from error


def write_text(files: Files, path: str, value: str) -> None:
    """Write once. Raises the ``HostError`` that the kernel's answer stands for.

    A write that a signal interrupted is tried three times (CPython itself repeats ``write(2)`` on EINTR as long as no
    signal handler raises, PEP 475).
    """
    for attempt in range(INTERRUPTED_TRIES):
        try:
            files.write(path, value)
        except OSError as error:
            if error.errno == errno.EINTR and attempt + 1 < INTERRUPTED_TRIES:
                continue
            raise from_write(error, path, value) from error
        else:
            return


class BaseApplier(ABC):
    """``ports.Applier`` but for the writing itself. Holds no state of its own, so threads may share it.

    ``expected_inodes`` maps a guest's name to the inode its cgroup had when it was made: a folder that was
    removed and made again by somebody else is not ours (P9). The mapping is looked up at each action, so
    its owner may keep it current. ``freeze_wait_s`` bounds the wait for a hold to take.
    """

    def __init__(
        self,
        files: Files,
        layout: Layout,
        clock: Clock,
        *,
        expected_inodes: Mapping[str, int] | None = None,
        freeze_wait_s: float,
    ) -> None:
        self._files = files
        self._layout = layout
        self._clock = clock
        self._expected_inodes = expected_inodes if expected_inodes is not None else {}
        self._freeze_wait_s = freeze_wait_s

    @abstractmethod
    def _do(self, write: Write) -> str:
        """Carry out one write; return a detail worth telling. Raises ``HostError``."""

    @abstractmethod
    def _limit(self, path: str) -> Limit:
        """The limit a file shows now. Raises ``HostError``."""

    def carry_out(self, action: Action) -> Outcome:
        """Do one action and read it back. Never raises for what the kernel says: that is the outcome."""
        try:
            steps = writes(action, self._layout)
        except (GuestNameError, ValueError) as error:
            return Outcome(action, OutcomeKind.FAILED, f"not written: {error}")
        refusal = self._refusal(action, steps)
        if refusal is not None:
            return refusal
        made: list[str] = []
        details: list[str] = []
        try:
            for step in steps:
                details.append(self._do(step))
                if step.op == "mkdir":
                    made.append(step.path)
        except HostError as error:
            self._take_back(made)
            return Outcome(action, kind_of(error), error.line(), self._found(action))
        return Outcome(action, OutcomeKind.DONE, self._told(action, details), self._found(action))

    def _refusal(self, action: Action, steps: tuple[Write, ...]) -> Outcome | None:
        """What is not even tried: a limit under the floor, a path that is not ours, a cgroup made anew."""
        if isinstance(action, SetLimit) and action.to_bytes < action.floor_bytes:
            return Outcome(
                action,
                OutcomeKind.FAILED,
                f"not written: guest {action.name}: limit {action.to_bytes} bytes ({format_bytes(action.to_bytes)}) "
                f"is below its RAM + floor of {action.floor_bytes} bytes ({format_bytes(action.floor_bytes)})",
            )
        for step in steps:
            if not is_ours(step.path, self._layout):
                return Outcome(action, OutcomeKind.FAILED, f"not written: {step.path} is outside guestroom's cgroups")
        if isinstance(action, MakeGuest | SetWall) or not steps:
            return None
        return self._reborn(action)

    def _reborn(self, action: Action) -> Outcome | None:
        """The outcome for a cgroup that is gone or was made anew under the same name, else None."""
        name = getattr(action, "name", None)
        expected = self._expected_inodes.get(name) if isinstance(name, str) else None
        if name is None or expected is None:
            return None
        path = self._layout.guest(name)
        try:
            found = self._files.inode(path)
        except OSError as error:
            failure = from_read(error, path)
            return Outcome(action, kind_of(failure), failure.line())
        if found != expected:
            return Outcome(
                action,
                OutcomeKind.VANISHED,
                f"not written: {path} was made anew (inode {found}, ours was {expected}): it is not this guest's",
            )
        return None

    def _take_back(self, made: list[str]) -> None:
        """Remove the cgroups a failed ``MakeGuest`` made: all or back (P4). Nothing was in them yet."""
        for path in reversed(made):
            try:
                self._files.rmdir(path)
            except OSError:
                # Somebody put a process or a folder in at once: it stays, and the start finds it by name.
                return

    def _found(self, action: Action) -> Limit | None:
        """The limit as the kernel shows it now, where the action is about one; None if it can't be read."""
        match action:
            case SetLimit(name=name) | MakeGuest(name=name):
                folder = self._layout.guest(name)
            case SetWall():
                folder = self._layout.memory
            case _:
                return None
        try:
            return self._limit(f"{folder}/{limit_file(self._layout.version)}")
        except HostError:
            return None

    def _told(self, action: Action, details: list[str]) -> str:
        notes = "; ".join(detail for detail in details if detail)
        match action:
            case SetLimit(to_bytes=to_bytes, name=name) | MakeGuest(limit_bytes=to_bytes, name=name):
                return f"guest {name}: limit {format_limit(to_bytes)}"
            case SetWall(to_bytes=to_bytes):
                return f"host wall {format_limit(to_bytes)}"
            case Hold(name=name):
                return f"guest {name}: held" + (f", {notes}" if notes else "")
            case _:
                return notes


def is_ours(path: str, layout: Layout) -> bool:
    """True if ``path`` lies in guestroom's own folders (the host wall or its freezer twin), without ``..``."""
    if ".." in path.split("/"):
        return False
    roots = [layout.memory] + ([layout.freezer] if layout.freezer is not None else [])
    return any(path == root or path.startswith(f"{root}/") for root in roots)
