"""Writes for adopted guests: cgroups that guestroom did not make and was told to care for (promise P9).

Nothing is made or moved here. Before each write the guest is looked at again: the same cgroup (inode), the same
process (start time), and the process in it. One under ``watch`` is never written. A guest that has a freezer cgroup
to itself is held by it, any other by SIGSTOP to its processes, which a loaded QEMU obeys within 92 ms (measured on
QEMU 7.2, TCG).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from signal import SIGCONT, SIGSTOP, Signals
from typing import TYPE_CHECKING

from guestroom.actions import Action, Hold, LetGo, Outcome, OutcomeKind, SetLimit
from guestroom.apply.cgroup1 import do_write, kind_of, parse_limit, read_text
from guestroom.apply.libvirt import set_hard_limit
from guestroom.apply.processes import open_process, read_start_ticks
from guestroom.apply.writes import FREEZER_FILE, FROZEN, LIMIT_FILE, THAWED, Write, killer
from guestroom.errors import HostError, ReadBackError, VanishedError, WriteError, from_read
from guestroom.facts import Adoption, Identity
from guestroom.units import Limit, Unlimited, format_bytes, format_limit, round_down

if TYPE_CHECKING:
    from guestroom.ports import Clock, Files, Programs

STOP_WAIT_S = 0.5
"""SIGSTOP took a heavily loaded QEMU 92 ms (measured): five times that, then it is told as not still yet."""
_POLL_S = 0.002
_NO_LIMIT = "-1"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an adopted guest is, and which exactly."""

    identity: Identity
    adoption: Adoption


class AdoptedApplier:
    """``ports.Applier`` for the guests in ``places``, which its owner keeps current. Holds no state of its own."""

    def __init__(self, files: Files, clock: Clock, programs: Programs | None, places: Mapping[str, Place]) -> None:
        """``programs``: None where nothing of libvirt's is written."""
        self._files = files
        self._clock = clock
        self._programs = programs
        self._places = places

    def carry_out(self, action: Action) -> Outcome:
        """Set its limit, hold it, or let it go; anything else is not done to an adopted guest."""
        try:
            match action:
                case SetLimit(name=name):
                    place = self._checked(name)
                    if action.to_bytes < action.floor_bytes:
                        return Outcome(action, OutcomeKind.FAILED, _too_low(action))
                    self._set(place.adoption, action.to_bytes, fall_back=not action.is_shrink)
                    told = f"guest {name}: limit {format_limit(action.to_bytes)}"
                    return Outcome(action, OutcomeKind.DONE, told, self._found(name))
                case Hold(name=name):
                    return Outcome(action, OutcomeKind.DONE, f"guest {name}: held{self._hold(self._checked(name))}")
                case LetGo(name=name):
                    self._let_go(self._checked(name))
                    return Outcome(action, OutcomeKind.DONE, "")
                case _:
                    why = "not done: an adopted guest is neither made, started nor stopped"
                    return Outcome(action, OutcomeKind.FAILED, why)
        except HostError as error:
            found = self._found(action.name) if isinstance(action, SetLimit) else None
            return Outcome(action, kind_of(error), error.line(), found)

    def restore(self, name: str, limit: Limit) -> None:
        """Write ``limit`` and the OOM killer's former setting; nothing under ``watch``. Raises ``HostError``."""
        place = self._places[name]
        if place.adoption.watch:
            return
        self._checked(name)
        self._set(place.adoption, limit, fall_back=False)
        self.killer(name, restore=True)

    def killer(self, name: str, *, restore: bool) -> None:
        """Switch its OOM killer off, or to what it was. Raises ``HostError``; one that can't be read stays as it is."""
        adoption = self._places[name].adoption
        if adoption.watch or adoption.former_killer is None:
            return
        self._checked(name)
        do_write(self._files, killer(adoption.cgroup, on=restore and adoption.former_killer), self._clock)

    # --- guards ----------------------------------------------------------------------------------------

    def _checked(self, name: str) -> Place:
        """Its place, if it may be written and is still the same guest. Raises ``HostError``."""
        place = self._places[name]
        path, identity = place.adoption.cgroup, place.identity
        if place.adoption.watch:
            raise HostError(f"not written: guest {name} is only watched", where=path)
        try:
            inode = self._files.inode(path)
            inside = self._files.read(f"{path}/cgroup.procs").split()
        except OSError as error:
            raise from_read(error, path) from error
        same = inode == identity.cgroup_inode and str(identity.pid) in inside
        if not same or read_start_ticks(identity.pid, files=self._files) != identity.start_ticks:
            raise VanishedError(f"guest {name} (process {identity.pid} in {path})")
        return place

    def _found(self, name: str) -> Limit | None:
        path = f"{self._places[name].adoption.cgroup}/{LIMIT_FILE}"
        try:
            return parse_limit(path, read_text(self._files, path))
        except HostError:
            return None

    # --- limits ----------------------------------------------------------------------------------------

    def _set(self, adoption: Adoption, limit: Limit, *, fall_back: bool) -> None:
        """Write a limit and read it back; through libvirt for libvirt's guests.

        ``fall_back``: where libvirt does not do it the file is written. A raise is room that a guest needs at once,
        and libvirt reads the file when it is asked for the limit.
        """
        path = f"{adoption.cgroup}/{LIMIT_FILE}"
        value = _NO_LIMIT if isinstance(limit, Unlimited) else str(limit)
        if adoption.domain is not None and self._programs is not None:
            try:
                set_hard_limit(self._programs, adoption.domain, limit)
            except WriteError:
                if not fall_back:
                    raise
                do_write(self._files, Write("write", path, value), self._clock)
        else:
            do_write(self._files, Write("write", path, value), self._clock)
        text = read_text(self._files, path)
        wanted = limit if isinstance(limit, Unlimited) else round_down(limit)
        if parse_limit(path, text) != wanted:
            raise ReadBackError(path, value, f"it was accepted, but the file says {text.strip()[:60]!r}")

    # --- holding ---------------------------------------------------------------------------------------

    def _hold(self, place: Place) -> str:
        """Hold it still; what is worth telling about it."""
        freezer = place.adoption.freezer
        if freezer is not None:
            told = do_write(self._files, Write("write", f"{freezer}/{FREEZER_FILE}", FROZEN, verify=True), self._clock)
            return f", {told}" if told else ""
        pids = self._pids(place)
        for pid in pids:
            self._signal(place, pid, SIGSTOP)
        end_s = self._clock.monotonic() + STOP_WAIT_S
        while not all(self._is_still(pid) for pid in pids):
            if self._clock.monotonic() >= end_s:
                return f", not still after {STOP_WAIT_S * 1000:.0f} ms"
            self._clock.sleep(_POLL_S)
        return ""

    def _let_go(self, place: Place) -> None:
        freezer = place.adoption.freezer
        if freezer is not None:
            do_write(self._files, Write("write", f"{freezer}/{FREEZER_FILE}", THAWED, verify=True), self._clock)
            return
        # Helpers first: QEMU must not wait for one that can't answer.
        for pid in reversed(self._pids(place)):
            self._signal(place, pid, SIGCONT)

    def _pids(self, place: Place) -> list[int]:
        """QEMU, then the others in its cgroup. Raises ``HostError``."""
        path, pid = place.adoption.cgroup, place.identity.pid
        inside = {int(word) for word in read_text(self._files, f"{path}/cgroup.procs").split() if word.isdecimal()}
        return [pid, *sorted(inside - {pid})]

    def _signal(self, place: Place, pid: int, number: Signals) -> None:
        """To QEMU by its identity; to a helper as long as it is in the cgroup when its pidfd is open."""
        qemu = pid == place.identity.pid
        try:
            with open_process(pid, place.identity.start_ticks if qemu else None, files=self._files) as handle:
                if qemu or str(pid) in read_text(self._files, f"{place.adoption.cgroup}/cgroup.procs").split():
                    handle.send(number)
        except VanishedError:
            if qemu:
                raise

    def _is_still(self, pid: int) -> bool:
        """True where every thread is stopped or gone (proc(5), stat field 3)."""
        with contextlib.suppress(OSError):
            for thread in self._files.list_dirs(f"/proc/{pid}/task"):
                with contextlib.suppress(OSError):
                    state = self._files.read(f"/proc/{pid}/task/{thread}/stat").rpartition(") ")[2][:1]
                    if state not in ("T", "t", "Z", "X", ""):
                        return False
        return True


def _too_low(action: SetLimit) -> str:
    return (
        f"not written: guest {action.name}: limit {action.to_bytes} bytes ({format_bytes(action.to_bytes)}) is below "
        f"its RAM + floor of {action.floor_bytes} bytes ({format_bytes(action.floor_bytes)})"
    )
