"""Writes for adopted guests: cgroups that guestroom did not make and was told to care for (promise P9).

Nothing is made or moved here. Before each write the guest is looked at again: the same cgroup (inode), the same
process (start time), and the process in it. One under ``watch`` is never written. A guest that has a freezer cgroup
to itself is held by it, any other by SIGSTOP to its processes, which a loaded QEMU obeys within 92 ms (measured on
QEMU 7.2, TCG).

Where libvirt or systemd owns the limit they are told of it, and the file is verified afterwards. On v2 and for systemd
the file comes first: both write plainly, and on v2 a limit below use kills. So the file gets it with the care that
needs (``cgroup2.set_limit``), and what the owner writes then is what holds already.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from signal import SIGCONT, SIGSTOP, Signals
from typing import TYPE_CHECKING

from guestroom.actions import Action, Hold, LetGo, Outcome, OutcomeKind, SetLimit
from guestroom.apply import cgroup1, cgroup2
from guestroom.apply.applier import kind_of, read_text, write_text
from guestroom.apply.libvirt import set_hard_limit
from guestroom.apply.processes import open_process, read_start_ticks
from guestroom.apply.systemd import set_memory_max
from guestroom.apply.write import Write
from guestroom.apply.writes import FREEZER_FILE, FROZEN, THAWED, killer, limit_file
from guestroom.apply.writes2 import FREEZE_FILE, NO_LIMIT
from guestroom.apply.writes2 import FROZEN as FROZEN2
from guestroom.apply.writes2 import THAWED as THAWED2
from guestroom.errors import HostError, ReadBackError, VanishedError, WriteError, from_read
from guestroom.facts import Adoption, Identity
from guestroom.layout import Version
from guestroom.units import Limit, Unlimited, format_bytes, format_limit, round_down

if TYPE_CHECKING:
    from guestroom.ports import Clock, Files, Programs

STOP_WAIT_S = 0.5
"""SIGSTOP took a heavily loaded QEMU 92 ms (measured): five times that, then it is told as not still yet."""
_POLL_S = 0.002
_NO_LIMIT1 = "-1"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an adopted guest is, and which exactly."""

    identity: Identity
    adoption: Adoption


class AdoptedApplier:
    """``ports.Applier`` for the guests in ``places``, which its owner keeps current.

    ``untold``: by guest's name what the owner of its limit, libvirt or systemd, said when it did not take a raise. The
    room is there, but may be lost when the owner writes its own figure, so it is to be ``secure``d later.
    """

    def __init__(
        self,
        files: Files,
        clock: Clock,
        programs: Programs | None,
        places: Mapping[str, Place],
        version: Version = 1,
    ) -> None:
        """``programs``: None where nothing is told to libvirt or systemd. ``version``: of this host's cgroups."""
        self._version: Version = version
        self.untold: dict[str, str] = {}
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
                    untold = self._set(place.adoption, action.to_bytes, is_raise=not action.is_shrink)
                    self._remember(name, untold)
                    told = f"guest {name}: limit {format_limit(action.to_bytes)}"
                    told += f", but its owner has not taken it: {untold}" if untold else ""
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
        """Write ``limit`` and the OOM killer's former setting; nothing under ``watch``. Raises ``HostError``.

        Where ``limit`` is the former one, its systemd unit too has again what it had.
        """
        place = self._places[name]
        adoption = place.adoption
        if adoption.watch:
            return
        self._checked(name)
        unit_limit = adoption.unit_limit_bytes if limit == adoption.former_limit_bytes else limit
        self._set(adoption, limit, is_raise=False, unit_limit=unit_limit)
        self._remember(name, "")
        self.killer(name, restore=True)

    def secure(self, name: str, limit: Limit) -> None:
        """Have the limit it came with held by its systemd unit, and on v2 see that it may be written at all.

        Nothing is changed in the kernel. v1 needs no proof: its OOM killer is switched. Raises ``HostError``.
        """
        place = self._checked(name)
        if self._version == 2 or place.adoption.unit is not None or name in self.untold:
            self._set(place.adoption, limit, is_raise=False)
            self._remember(name, "")

    def killer(self, name: str, *, restore: bool) -> None:
        """Switch its OOM killer off, or to what it was. Raises ``HostError``; one that can't be read stays as it is."""
        adoption = self._places[name].adoption
        if adoption.watch or adoption.former_killer is None or self._version == 2:
            return
        self._checked(name)
        cgroup1.do_write(self._files, killer(adoption.cgroup, on=restore and adoption.former_killer), self._clock)

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
        try:
            return self._read_limit(self._places[name].adoption)
        except HostError:
            return None

    # --- limits ----------------------------------------------------------------------------------------

    def _read_limit(self, adoption: Adoption) -> Limit:
        path = f"{adoption.cgroup}/{limit_file(self._version)}"
        parse = cgroup1.parse_limit if self._version == 1 else cgroup2.parse_limit
        return parse(path, read_text(self._files, path))

    def _set(self, adoption: Adoption, limit: Limit, *, is_raise: bool, unit_limit: Limit | None = None) -> str:
        """Set a limit, where it has an owner through that, and read it back; why the owner has not taken it, or ``""``.

        A raise is room that a guest needs at once: it is made in the file, also where the owner does not take it.
        A shrink that the owner does not take is none: the file gets back what it had (P4). ``unit_limit``: what the
        unit shall have, where that is not what shall hold.
        """
        before, note = self._read_limit(adoption), ""
        if self._file_first(adoption):
            self._write(adoption, limit)
        try:
            self._tell_owner(adoption, limit if unit_limit is None else unit_limit)
        except WriteError as error:
            if not is_raise:
                if self._file_first(adoption):
                    self._write(adoption, before)
                raise
            note = error.line()
            self._write(adoption, limit)
        wanted = limit if isinstance(limit, Unlimited) else round_down(limit)
        if self._read_limit(adoption) != wanted and unit_limit is not None:
            self._write(adoption, limit)
        found = self._read_limit(adoption)
        if found != wanted:
            path = f"{adoption.cgroup}/{limit_file(self._version)}"
            raise ReadBackError(path, str(limit), f"it was accepted, but the file says {format_limit(found)}")
        return note

    def _remember(self, name: str, untold: str) -> None:
        if untold:
            self.untold[name] = untold
        else:
            self.untold.pop(name, None)

    def _file_first(self, adoption: Adoption) -> bool:
        """Everywhere but for libvirt on v1, whose kernel refuses what would kill."""
        return self._version == 2 or adoption.domain is None

    def _tell_owner(self, adoption: Adoption, limit: Limit) -> None:
        """Raises ``WriteError`` where the owner does not take it."""
        if self._programs is None:
            return
        if adoption.domain is not None:
            set_hard_limit(self._programs, adoption.domain, limit)
        elif adoption.unit is not None:
            set_memory_max(self._programs, adoption.unit, limit)

    def _write(self, adoption: Adoption, limit: Limit) -> None:
        """Into the file, never below use. Raises ``HostError``."""
        path = f"{adoption.cgroup}/{limit_file(self._version)}"
        if self._version == 1:
            value = _NO_LIMIT1 if isinstance(limit, Unlimited) else str(limit)
            cgroup1.do_write(self._files, Write("write", path, value), self._clock)
        elif isinstance(limit, Unlimited):
            write_text(self._files, path, NO_LIMIT)
        else:
            cgroup2.set_limit(self._files, adoption.cgroup, limit, self._clock)

    # --- holding ---------------------------------------------------------------------------------------

    def _hold(self, place: Place) -> str:
        """Hold it still; what is worth telling about it."""
        freezer = place.adoption.freezer
        if freezer is not None:
            told = self._freeze(freezer, held=True)
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
            self._freeze(freezer, held=False)
            return
        # Helpers first: QEMU must not wait for one that can't answer.
        for pid in reversed(self._pids(place)):
            self._signal(place, pid, SIGCONT)

    def _freeze(self, freezer: str, *, held: bool) -> str:
        if self._version == 1:
            write = Write("write", f"{freezer}/{FREEZER_FILE}", FROZEN if held else THAWED, verify=True)
            return cgroup1.do_write(self._files, write, self._clock)
        write = Write("write", f"{freezer}/{FREEZE_FILE}", FROZEN2 if held else THAWED2, verify=True)
        return cgroup2.do_write2(self._files, write, self._clock)

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
