"""What the alarm process does when its agent is gone: see whether another came, else fail open (P11)."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from guestroom.actions import LetGo
from guestroom.agent.alarm_wire import AdoptedOp, BrakeOp
from guestroom.apply.adopted import AdoptedApplier, Place
from guestroom.apply.upkeep import SystemClock, oom_killers, thaw
from guestroom.apply.upkeep2 import lift
from guestroom.errors import GuestNameError, HostError
from guestroom.facts import Adoption
from guestroom.guest import check_name
from guestroom.layout import Layout
from guestroom.units import UNLIMITED

if TYPE_CHECKING:
    from guestroom.ports import Files


BRAKE_OFF_S = 5.0
"""How long a monitor is waited for: QEMU was thawed a moment ago."""


def somebody_has_lock(layout: Layout) -> bool:
    """True if somebody holds the flock on the wall's folder, as an agent does while it lives, or the wall is gone.

    The try takes the shared lock for an instant, so an agent that finds the lock taken tries again for a moment.
    """
    try:
        fd = os.open(layout.memory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def fail_open(files: Files, layout: Layout, known: Iterable[str]) -> None:
    """Thaw every guest under the wall and switch all OOM killers on: guests go on under the limits they have.

    The folders themselves are asked too: a guest that was being started may not have been told to the alarm.
    """
    names = set(known)
    for folder in (layout.memory, layout.freezer):
        if folder is not None:
            names.update(_guests_in(files, folder))
    reports = [*lift(files, layout, sorted(names))]
    reports += [thaw(files, layout, name) for name in sorted(names)]
    reports += oom_killers(files, layout, sorted(names), enabled=True)
    for report in reports:
        if not report.ok:
            print(f"guestroom alarm: {report.detail}", file=sys.stderr)  # noqa: T201 - nobody else is left to tell


def fail_open_adopted(files: Files, layout: Layout, adopted: Iterable[AdoptedOp]) -> None:
    """Let adopted guests go that are held, and set their OOM killers to what they were (P11); limits stay."""
    ops = {op.name: op for op in adopted}
    places = {
        op.name: Place(op.identity, Adoption(op.cgroup, op.freezer, UNLIMITED, op.killer, None)) for op in ops.values()
    }
    applier = AdoptedApplier(files, SystemClock(), None, places, layout.version)
    for name, op in ops.items():
        try:
            if op.held:
                outcome = applier.carry_out(LetGo(name, "the agent is lost"))
                if not outcome.ok:
                    print(f"guestroom alarm: {outcome.detail}", file=sys.stderr)  # noqa: T201 - as above
            applier.killer(name, restore=True)
        except HostError as error:
            print(f"guestroom alarm: {error.line()}", file=sys.stderr)  # noqa: T201 - as above


def fail_open_brakes(brakes: Iterable[BrakeOp]) -> None:
    """Let guests go on as they were that the lost agent had slowed down through their monitors (P11)."""
    from guestroom.agent.brake_qmp import release  # loaded only now: they bring asyncio, and the alarm must stay small
    from guestroom.observe.qmp import QmpClient

    for op in brakes:
        if op.mark is None:
            continue
        try:
            with QmpClient(op.path, BRAKE_OFF_S) as monitor:
                release(monitor, op.mark)
        except HostError as error:
            print(f"guestroom alarm: {error.line()}", file=sys.stderr)  # noqa: T201 - as above


class Undo:
    """What this process is told only so that it can undo it if the agent is lost, and how it is undone."""

    def __init__(self) -> None:
        self._adopted: dict[str, AdoptedOp] = {}
        self._brakes: dict[str, BrakeOp] = {}

    def take(self, op: AdoptedOp | BrakeOp) -> None:
        """Remember it in place of what was said of that guest before."""
        match op:
            case AdoptedOp():
                self._adopted[op.name] = op
            case BrakeOp():
                self._brakes[op.name] = op

    def forget(self, name: str) -> None:
        """A guest that is gone or out of care."""
        self._adopted.pop(name, None)
        self._brakes.pop(name, None)

    def all(self, files: Files, layout: Layout, known: Iterable[str]) -> None:
        """Fail open: everybody is thawed before a monitor is asked, since a held QEMU does not answer."""
        fail_open(files, layout, known)
        fail_open_adopted(files, layout, self._adopted.values())
        fail_open_brakes(self._brakes.values())


def _guests_in(files: Files, folder: str) -> list[str]:
    try:
        return [name for name in files.list_dirs(folder) if _is_guest(name)]
    except OSError:
        return []


def _is_guest(name: str) -> bool:
    try:
        check_name(name)
    except GuestNameError:
        return False
    return True
