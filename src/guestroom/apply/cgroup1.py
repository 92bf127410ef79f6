"""The only writer of cgroup v1: carries writes out one by one and reads each one back.

The kernel's answer is an outcome, never an exception: EBUSY (the limit is below what can't be reclaimed;
the old limit stays), EINTR (a signal during reclaim), EINVAL, a cgroup that is gone, a refusal. Two promises
are guarded here a last time, whatever was decided before: no limit below a guest's floor (P2), no write
outside guestroom's own cgroups or into one that was made anew under the same name (P9).
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import TYPE_CHECKING

from guestroom.actions import Action, Hold, MakeGuest, Outcome, OutcomeKind, SetLimit, SetWall
from guestroom.apply.writes import FREEZER_FILE, FROZEN, LIMIT_FILE, OOM_FILE, Write, writes
from guestroom.errors import (
    BusyError,
    GuestNameError,
    HostError,
    InterruptedWriteError,
    InvalidWriteError,
    NotPermittedError,
    ReadBackError,
    ReadError,
    VanishedError,
    from_read,
    from_write,
)
from guestroom.layout import Layout
from guestroom.units import UNLIMITED, Limit, format_bytes, format_limit, round_down

if TYPE_CHECKING:
    from guestroom.ports import Clock, Files

INTERRUPTED_TRIES = 3
"""A write that a signal cut short is tried this often."""
FREEZE_WAIT_S = 0.1
"""A loaded QEMU was frozen 4-6 ms after the request, in the worst load 58-92 ms (measured on QEMU 7.2, TCG)."""
FREEZE_POLL_S = 0.001
_UNLIMITED_FROM = (1 << 63) - (1 << 20)
"""v1 shows "no limit" as the largest long rounded down to pages (mm/page_counter, PAGE_COUNTER_MAX)."""

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


def parse_limit(path: str, text: str) -> Limit:
    """Return the limit a v1 file shows, in bytes. Raises ``ReadError`` for text that is no number."""
    digits = text.strip()
    if not digits.isdecimal():
        raise ReadError(path, "a limit in bytes was expected", text=text)
    return UNLIMITED if int(digits) >= _UNLIMITED_FROM else int(digits)


def read_text(files: Files, path: str) -> str:
    """Return the text of ``path``. Raises ``VanishedError`` or ``ReadError``."""
    try:
        return files.read(path)
    except OSError as error:
        raise from_read(error, path) from error


def do_write(files: Files, write: Write, clock: Clock, *, freeze_wait_s: float = FREEZE_WAIT_S) -> str:
    """Carry out one write and read it back where it says so; return a detail worth telling, or ``""``.

    Raises the ``HostError`` that the kernel's answer stands for. A write that a signal interrupted is tried
    three times (CPython itself repeats ``write(2)`` on EINTR as long as no signal handler raises, PEP 475).
    """
    match write.op:
        case "mkdir":
            _mkdir(files, write)
            return ""
        case "write":
            _write(files, write)
    if not write.verify:
        return ""
    name = write.path.rpartition("/")[2]
    if name == FREEZER_FILE and write.value == FROZEN:
        return _wait_frozen(files, write.path, clock, freeze_wait_s)
    _verify(files, write, name)
    return ""


def _mkdir(files: Files, write: Write) -> None:
    try:
        files.mkdir(write.path)
    except FileExistsError as error:
        if not write.exist_ok:
            raise from_write(error, write.path, "mkdir") from error
    except OSError as error:
        raise from_write(error, write.path, "mkdir") from error


def _write(files: Files, write: Write) -> None:
    for attempt in range(INTERRUPTED_TRIES):
        try:
            files.write(write.path, write.value)
        except OSError as error:
            if error.errno == errno.EINTR and attempt + 1 < INTERRUPTED_TRIES:
                continue
            raise from_write(error, write.path, write.value) from error
        else:
            return


def _verify(files: Files, write: Write, name: str) -> None:
    """Compare the file with what the kernel makes of the value: limits are cut to whole pages."""
    text = read_text(files, write.path)
    match name:
        case _ if name == LIMIT_FILE:
            found: object = parse_limit(write.path, text)
            wanted: object = round_down(int(write.value))
        case _ if name == OOM_FILE:
            found = dict(line.split(" ", 1) for line in text.splitlines() if " " in line).get("oom_kill_disable")
            wanted = write.value
        case _:
            found, wanted = text.strip(), write.value
    if found != wanted:
        raise ReadBackError(write.path, write.value, f"it was accepted, but the file says {text.strip()[:60]!r}")


def _wait_frozen(files: Files, path: str, clock: Clock, wait_s: float) -> str:
    """Wait until the freezer says FROZEN; one that is still FREEZING is told, not an error.

    The kernel stops threads as they come out of system calls, so FREEZING already holds nearly all of them
    (freezer-subsystem.rst); what does not move at all is a read-back mismatch.
    """
    end_s = clock.monotonic() + wait_s
    while True:
        state = read_text(files, path).strip()
        if state == FROZEN:
            return ""
        if clock.monotonic() >= end_s:
            break
        clock.sleep(FREEZE_POLL_S)
    if state == "FREEZING":
        return f"still freezing after {wait_s * 1000:.0f} ms"
    raise ReadBackError(path, FROZEN, f"it was accepted, but the file says {state!r}")


class KernelApplier:
    """``ports.Applier`` for cgroup v1. Holds no state of its own, so threads may share it.

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
        freeze_wait_s: float = FREEZE_WAIT_S,
    ) -> None:
        self._files = files
        self._layout = layout
        self._clock = clock
        self._expected_inodes = expected_inodes if expected_inodes is not None else {}
        self._freeze_wait_s = freeze_wait_s

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
                details.append(do_write(self._files, step, self._clock, freeze_wait_s=self._freeze_wait_s))
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
                path = f"{self._layout.guest(name)}/{LIMIT_FILE}"
            case SetWall():
                path = f"{self._layout.memory}/{LIMIT_FILE}"
            case _:
                return None
        try:
            return parse_limit(path, read_text(self._files, path))
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
