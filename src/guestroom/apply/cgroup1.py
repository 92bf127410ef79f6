"""The only writer of cgroup v1: carries writes out one by one and reads each one back.

The kernel's answer is an outcome, never an exception: EBUSY (the limit is below what can't be reclaimed;
the old limit stays), EINTR (a signal during reclaim), EINVAL, a cgroup that is gone, a refusal. Its twin is
``cgroup2``; what both guard is in ``applier``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from guestroom.apply.applier import BaseApplier, is_ours, kind_of, make_folder, read_text, write_text
from guestroom.apply.writes import FREEZER_FILE, FROZEN, LIMIT_FILE, OOM_FILE, Write
from guestroom.errors import ReadBackError, ReadError
from guestroom.layout import Layout
from guestroom.units import UNLIMITED, Limit, round_down

if TYPE_CHECKING:
    from guestroom.ports import Clock, Files

__all__ = ["KernelApplier", "do_write", "is_ours", "kind_of", "parse_limit", "read_text"]

FREEZE_WAIT_S = 0.1
"""A loaded QEMU was frozen 4-6 ms after the request, in the worst load 58-92 ms (measured on QEMU 7.2, TCG)."""
FREEZE_POLL_S = 0.001
_UNLIMITED_FROM = (1 << 63) - (1 << 20)
"""v1 shows "no limit" as the largest long rounded down to pages (mm/page_counter, PAGE_COUNTER_MAX)."""


def parse_limit(path: str, text: str) -> Limit:
    """Return the limit a v1 file shows, in bytes. Raises ``ReadError`` for text that is no number."""
    digits = text.strip()
    if not digits.isdecimal():
        raise ReadError(path, "a limit in bytes was expected", text=text)
    return UNLIMITED if int(digits) >= _UNLIMITED_FROM else int(digits)


def do_write(files: Files, write: Write, clock: Clock, *, freeze_wait_s: float = FREEZE_WAIT_S) -> str:
    """Carry out one write and read it back where it says so; return a detail worth telling, or ``""``.

    Raises the ``HostError`` that the kernel's answer stands for.
    """
    match write.op:
        case "mkdir":
            make_folder(files, write)
            return ""
        case "write":
            write_text(files, write.path, write.value)
        case "brake":
            raise AssertionError("v1 has no brake")
    if not write.verify:
        return ""
    name = write.path.rpartition("/")[2]
    if name == FREEZER_FILE and write.value == FROZEN:
        return _wait_frozen(files, write.path, clock, freeze_wait_s)
    _verify(files, write, name)
    return ""


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


class KernelApplier(BaseApplier):
    """``ports.Applier`` for cgroup v1."""

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
        return do_write(self._files, write, self._clock, freeze_wait_s=self._freeze_wait_s)

    def _limit(self, path: str) -> Limit:
        return parse_limit(path, read_text(self._files, path))
