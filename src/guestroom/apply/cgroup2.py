"""The only writer of cgroup v2: carries writes out one by one and reads each one back. Twin of ``cgroup1``.

What is special is the limit. v1 refuses a limit below use (EBUSY); v2 takes it, reclaims, and then kills (kernel
cgroup-v2.rst, "memory.max"; seen: ``oom_kill 1``), and the write tells nothing. So ``memory.max`` is only ever written
here, and never below what is charged at that moment (``set_limit``).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from guestroom.apply.applier import BaseApplier, make_folder, read_text, write_text
from guestroom.apply.write import Write
from guestroom.apply.writes2 import (
    BRAKE_FILE,
    EVENTS_FILE,
    FREEZE_FILE,
    FROZEN,
    LIMIT_FILE,
    NO_LIMIT,
    SUBTREE_FILE,
    THAWED,
)
from guestroom.errors import (
    BusyError,
    HostError,
    InvalidWriteError,
    ReadBackError,
    ReadError,
    VanishedError,
    from_write,
)
from guestroom.layout import Layout
from guestroom.units import MIB, UNLIMITED, Limit, format_bytes, round_down

if TYPE_CHECKING:
    from guestroom.ports import Clock, Files

FREEZE_WAIT_S = 0.1
"""A hold is waited for this long, as on v1; a still guest is frozen within 7 ms (measured in a booted 6.1, TCG)."""
SHRINK_FREEZE_S = 0.02
"""A guest that is not still by then is not shrunk: it would stand still for longer than anybody should notice."""
FREEZE_POLL_S = 0.001
BRAKE_SLACK_BYTES = MIB
"""How far above present use the brake is set: a brake below use makes its writer reclaim until it fits."""
SETTLE_TRIES = 5

CURRENT_FILE = "memory.current"
RECLAIM_FILE = "memory.reclaim"
STAT_FILE = "memory.stat"
_RECLAIMABLE = ("active_file", "inactive_file", "slab_reclaimable")


def parse_limit(path: str, text: str) -> Limit:
    """Return the limit a v2 file shows, in bytes. Raises ``ReadError`` for text that is neither number nor ``max``."""
    word = text.strip()
    if word == NO_LIMIT:
        return UNLIMITED
    if not word.isdecimal():
        raise ReadError(path, "a limit in bytes or 'max' was expected", text=text)
    return int(word)


def do_write2(files: Files, write: Write, clock: Clock, *, freeze_wait_s: float = FREEZE_WAIT_S) -> str:
    """Carry out one write and read it back where it says so; return a detail worth telling, or ``""``.

    Raises the ``HostError`` that the kernel's answer stands for.
    """
    folder, _, name = write.path.rpartition("/")
    match write.op:
        case "mkdir":
            make_folder(files, write)
            return ""
        case "brake":
            high_bytes = read_number(files, f"{folder}/{CURRENT_FILE}") + BRAKE_SLACK_BYTES
            write_text(files, write.path, str(high_bytes))
            return ""
        case "write" if name == LIMIT_FILE:
            set_limit(files, folder, int(write.value), clock)
            return ""
        case "write":
            pass
    try:
        write_text(files, write.path, write.value)
    except VanishedError:
        if write.optional:
            return ""
        raise
    if not write.verify:
        return ""
    if name == FREEZE_FILE:
        return _wait_freezer(files, folder, clock, freeze_wait_s, frozen=write.value == FROZEN)
    _verify(files, write, name)
    return ""


def set_limit(files: Files, folder: str, to_bytes: int, clock: Clock) -> None:
    """Set the limit of the cgroup ``folder`` without ever writing it below what is charged there.

    A raise is one write. So is lowering it where nothing can grow beyond ``to_bytes``: nobody lives there, or all
    children together can't (each has a limit). Else: reclaim first, while everything runs; then freeze, so that what
    is read stays true until it is written; read use; write only if use fits; read back; thaw. Use is
    ``memory.current``, the very counter the kernel compares, with all its page cache and per-CPU stock: what reclaim
    has left of them counts against the shrink.

    Raises ``BusyError`` with the numbers, the old limit kept, where use does not fit or the cgroup is not still within
    20 ms; ``HostError`` for what the kernel says. Whatever happens it is thawed again, unless a hold is meant.
    """
    if to_bytes < 0:
        # The kernel would read a sign as a very large number.
        raise InvalidWriteError(f"{folder}/{LIMIT_FILE}", str(to_bytes), "a limit can't be negative")
    path = f"{folder}/{LIMIT_FILE}"
    present = parse_limit(path, read_text(files, path))
    if (present is not UNLIMITED and to_bytes >= present) or _can_not_outgrow(files, folder, to_bytes):
        _write_limit(files, path, to_bytes)
        return
    use_bytes = read_number(files, f"{folder}/{CURRENT_FILE}")
    if use_bytes > to_bytes:
        reclaim(files, folder, use_bytes - to_bytes)
        _fits(files, folder, to_bytes)
    with_freeze(files, folder, clock, path, str(to_bytes), lambda: _write_if_it_fits(files, folder, to_bytes))


def with_freeze(files: Files, folder: str, clock: Clock, path: str, value: str, work: Callable[[], None]) -> None:
    """Do ``work`` while all in ``folder`` stands still, then let it go on. ``path`` and ``value`` name it in errors."""
    foreign = _is_frozen_by_another(files, folder)
    try:
        write_text(files, f"{folder}/{FREEZE_FILE}", FROZEN)
        if not _until(clock, SHRINK_FREEZE_S, lambda: _event(files, folder, "frozen") == "1"):
            raise BusyError(path, value, f"its processes did not stand still within {SHRINK_FREEZE_S * 1000:.0f} ms")
        work()
    finally:
        if not foreign:
            settle_freezer(files, folder)


def settle_freezer(files: Files, folder: str) -> None:
    """Thaw a cgroup unless a hold of it is meant, which its brake says (a hold sets it before it freezes).

    The alarm may hold or let go at the same moment, so the brake is looked at again after each write: what is left
    standing is what the brake says. Raises ``HostError`` when that could not be done in five tries.
    """
    failure: HostError | None = None
    for _ in range(SETTLE_TRIES):
        try:
            held = is_braked(files, folder)
            write_text(files, f"{folder}/{FREEZE_FILE}", FROZEN if held else THAWED)
            if is_braked(files, folder) == held:
                return
        except HostError as error:
            # Standing still for no reason is worse than a second try.
            failure = error
    if failure is not None:
        raise failure


def is_braked(files: Files, folder: str) -> bool:
    """True where the guest at ``folder`` is held: its ``vmm`` has a brake. The host wall has no ``vmm``, so never."""
    path = f"{folder}/vmm/{BRAKE_FILE}"
    try:
        return read_text(files, path).strip() != NO_LIMIT
    except VanishedError:
        return False


def reclaim(files: Files, folder: str, size_bytes: int) -> bool:
    """Ask the kernel to take ``size_bytes`` back, if there is page cache or slab to take; True if it was asked.

    EAGAIN (it fell short) and a kernel before 5.19 without the file are fine: what matters is looked at afterwards.
    Raises ``HostError`` otherwise.
    """
    if size_bytes <= 0 or reclaimable_bytes(files, folder) <= 0:
        return False
    try:
        files.write(f"{folder}/{RECLAIM_FILE}", str(size_bytes))
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EINTR):
            return True
        if error.errno != errno.ENOENT:
            raise from_write(error, f"{folder}/{RECLAIM_FILE}", str(size_bytes)) from error
        return False
    return True


def reclaimable_bytes(files: Files, folder: str) -> int:
    """Page cache on the file lists and reclaimable slab of a cgroup. Raises ``HostError``."""
    text = read_text(files, f"{folder}/{STAT_FILE}")
    values = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
    return sum(int(values[name]) for name in _RECLAIMABLE if values.get(name, "").isdecimal())


def read_number(files: Files, path: str) -> int:
    """A file that is one number. Raises ``VanishedError`` or ``ReadError``."""
    text = read_text(files, path).strip()
    if not text.isdecimal():
        raise ReadError(path, "a number was expected", text=text)
    return int(text)


def _can_not_outgrow(files: Files, folder: str, to_bytes: int) -> bool:
    """True where use can't pass ``to_bytes`` whatever its processes do, and does not now.

    Nobody is inside, or the limits of all children together, with what is charged to none of them any more (removed
    cgroups whose page cache lives on), stay within it.
    """
    use_bytes = read_number(files, f"{folder}/{CURRENT_FILE}")
    if use_bytes > to_bytes:
        return False
    if _event(files, folder, "populated") == "0":
        return True
    try:
        children = files.list_dirs(folder)
    except OSError:
        return False
    most_bytes = left_bytes = 0
    for child in children:
        try:
            limit = parse_limit(child, read_text(files, f"{folder}/{child}/{LIMIT_FILE}"))
            left_bytes += read_number(files, f"{folder}/{child}/{CURRENT_FILE}")
        except VanishedError:
            return False
        if not isinstance(limit, int):
            return False
        most_bytes += limit
    return bool(children) and most_bytes + max(0, use_bytes - left_bytes) <= to_bytes


def _fits(files: Files, folder: str, to_bytes: int) -> None:
    """Raise ``BusyError`` unless what is charged fits ``to_bytes``."""
    use_bytes = read_number(files, f"{folder}/{CURRENT_FILE}")
    if use_bytes > round_down(to_bytes):
        raise BusyError(
            f"{folder}/{LIMIT_FILE}",
            str(to_bytes),
            f"{use_bytes} bytes ({format_bytes(use_bytes)}) are in use and can't be reclaimed",
        )


def _write_if_it_fits(files: Files, folder: str, to_bytes: int) -> None:
    _fits(files, folder, to_bytes)
    _write_limit(files, f"{folder}/{LIMIT_FILE}", to_bytes)


def _write_limit(files: Files, path: str, to_bytes: int) -> None:
    write_text(files, path, str(to_bytes))
    found = parse_limit(path, read_text(files, path))
    if found != round_down(to_bytes):
        raise ReadBackError(path, str(to_bytes), f"it was accepted, but the file says {found!r}")


def _is_frozen_by_another(files: Files, folder: str) -> bool:
    """Frozen already, and not by a hold of ours: then it is not ours to thaw."""
    return read_text(files, f"{folder}/{FREEZE_FILE}").strip() == FROZEN and not is_braked(files, folder)


def _event(files: Files, folder: str, name: str) -> str:
    """One line of ``cgroup.events``."""
    path = f"{folder}/{EVENTS_FILE}"
    text = read_text(files, path)
    for line in text.splitlines():
        found, _, value = line.partition(" ")
        if found == name:
            return value
    raise ReadError(path, f"line {name} is missing", text=text)


def _until(clock: Clock, wait_s: float, condition: Callable[[], bool]) -> bool:
    end_s = clock.monotonic() + wait_s
    while not condition():
        if clock.monotonic() >= end_s:
            return False
        clock.sleep(FREEZE_POLL_S)
    return True


def _wait_freezer(files: Files, folder: str, clock: Clock, wait_s: float, *, frozen: bool) -> str:
    """Wait until all in ``folder`` stand still, or go on.

    One that is still freezing is told, not an error: its tasks stop as they come out of system calls. One that stays
    frozen after it was thawed has a frozen cgroup above it, and was not let go.
    """
    wanted = "1" if frozen else "0"
    wait_s = wait_s if frozen else max(wait_s, SHRINK_FREEZE_S)
    if _until(clock, wait_s, lambda: _event(files, folder, "frozen") == wanted):
        return ""
    path = f"{folder}/{FREEZE_FILE}"
    said = read_text(files, path).strip()
    if frozen and said == FROZEN:
        return f"still freezing after {wait_s * 1000:.0f} ms"
    raise ReadBackError(path, wanted, f"it was accepted, but the file says {said!r} and it is frozen")


def _verify(files: Files, write: Write, name: str) -> None:
    """Compare the file with what the kernel makes of the value."""
    text = read_text(files, write.path).strip()
    match name:
        case _ if name == SUBTREE_FILE:
            holds = write.value.removeprefix("+") in text.split()
        case _ if write.value.isdecimal() and text.isdecimal():
            holds = int(text) == round_down(int(write.value)) or text == write.value
        case _:
            holds = text == write.value
    if not holds:
        raise ReadBackError(write.path, write.value, f"it was accepted, but the file says {text[:60]!r}")


class KernelApplier2(BaseApplier):
    """``ports.Applier`` for cgroup v2."""

    def __init__(
        self,
        files: Files,
        layout: Layout,
        clock: Clock,
        *,
        expected_inodes: Mapping[str, int] | None = None,
        freeze_wait_s: float = FREEZE_WAIT_S,
    ) -> None:
        super().__init__(files, layout, clock, expected_inodes=expected_inodes, freeze_wait_s=freeze_wait_s)

    def _do(self, write: Write) -> str:
        return do_write2(self._files, write, self._clock, freeze_wait_s=self._freeze_wait_s)

    def _limit(self, path: str) -> Limit:
        return parse_limit(path, read_text(self._files, path))
