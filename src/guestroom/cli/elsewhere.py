"""Adopted guests behind the same ports as all others: by its name the right adapter is found.

A guest that guestroom started is under the host wall, an adopted one wherever it was. Who decides about room does not
want to know: each port here looks a name up among the adopted ones and passes everything else on.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from guestroom.actions import Action, Outcome
from guestroom.agent.alarm_client import AlarmClient
from guestroom.apply.adopted import AdoptedApplier, Place
from guestroom.cli.machine import KernelMachine
from guestroom.errors import HostError
from guestroom.facts import (
    Adoption,
    AncestorFacts,
    BrakeMark,
    Candidate,
    HostFacts,
    Identity,
    MemoryReading,
    Moved,
    OverheadReading,
)
from guestroom.layout import Layout
from guestroom.observe import adoptable, libvirt, systemd
from guestroom.observe.snapshot import KernelObserver
from guestroom.ports import Applier, Clock, Files, Programs, Ran
from guestroom.units import Limit

_ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C",
    "LIBVIRT_DEFAULT_URI": "qemu:///system",
}
"""What programs are given: nothing of the agent's own but where they are and, for virsh, where libvirt listens."""


_PACKAGES = {"virsh": "libvirt-clients", "systemctl": "systemd"}


class RealPrograms:
    """``ports.Programs`` on this machine."""

    def run(self, argv: Sequence[str], timeout_s: float) -> Ran:
        """Run one to its end. Raises ``HostError`` where it is not there or takes too long (it is killed then)."""
        env = _ENVIRONMENT | {key: os.environ[key] for key in ("PATH", "LIBVIRT_DEFAULT_URI") if key in os.environ}
        try:
            done = subprocess.run(
                list(argv),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_s,
                check=False,
                env=env,
            )
        except FileNotFoundError as error:
            package = _PACKAGES.get(argv[0])
            hint = None if package is None else f"install it (Debian: {package})"
            raise HostError(f"{argv[0]} is not there", where=argv[0], hint=hint) from error
        except subprocess.TimeoutExpired as error:
            raise HostError(f"{argv[0]} did not end within {timeout_s:g} s", where=" ".join(argv)) from error
        except OSError as error:
            raise HostError(f"{argv[0]} can't be run: {error.strerror}", where=argv[0]) from error
        return Ran(done.returncode, done.stdout, done.stderr)


class ElsewhereApplier:
    """``ports.Applier`` for both kinds of guests."""

    def __init__(self, inner: Applier, adopted: AdoptedApplier, places: Mapping[str, Place]) -> None:
        self._inner = inner
        self._adopted = adopted
        self._places = places

    def carry_out(self, action: Action) -> Outcome:
        """Do one action where its guest is."""
        name = getattr(action, "name", None)
        return (self._adopted if name in self._places else self._inner).carry_out(action)


class ElsewhereObserver:
    """``ports.Observer`` for both kinds of guests. An adopted QEMU is no outsider: its limit counts instead."""

    def __init__(self, inner: KernelObserver, layout: Layout, places: Mapping[str, Place]) -> None:
        self._inner = inner
        self._layout = layout
        self._places = places

    def host(self) -> HostFacts:
        """The host now."""
        host = self._inner.host()
        places = list(self._places.values())
        ours = {place.identity.pid for place in places}
        return replace(
            host,
            outsiders=tuple(one for one in host.outsiders if one.pid not in ours),
            ancestors=tuple(self._with_adopted(one, places) for one in host.ancestors),
        )

    def cgroup(self, path: str) -> MemoryReading:
        """One cgroup now; the folder of an adopted guest's name stands for where it is. Raises ``VanishedError``."""
        for name, place in list(self._places.items()):
            if path == self._layout.guest(name):
                return self._inner.cgroup(place.adoption.cgroup)
        return self._inner.cgroup(path)

    def overhead(
        self, name: str, ram_charged_bytes: int, pid: int | None, ram_block_bytes: tuple[int, ...] = ()
    ) -> OverheadReading:
        """A guest's overhead now, by its own accounting. Raises ``VanishedError``."""
        place = self._places.get(name)
        if place is None:
            return self._inner.overhead(name, ram_charged_bytes, pid, ram_block_bytes)
        return self._inner.joint_overhead(name, place.adoption.cgroup, ram_block_bytes)

    def quick(
        self, name: str, ram_charged_bytes: int, pid: int | None, ram_block_bytes: tuple[int, ...] = ()
    ) -> OverheadReading:
        """The same with fewer reads; for an adopted guest there is no shorter way. Raises ``VanishedError``."""
        if name in self._places:
            return self.overhead(name, ram_charged_bytes, pid, ram_block_bytes)
        return self._inner.quick(name, ram_charged_bytes, pid, ram_block_bytes)

    def moved(self, names: tuple[str, ...]) -> Moved:
        """Which of these split guests are worth a look."""
        return self._inner.moved(names)

    def _with_adopted(self, ancestor: AncestorFacts, places: Sequence[Place]) -> AncestorFacts:
        """What adopted guests below ``ancestor`` may still take up to their limits is spoken for as well."""
        if ancestor.other_use_bytes is None:
            return ancestor
        spoken_for = ancestor.other_use_bytes
        for place in places:
            if place.adoption.cgroup.startswith(f"{ancestor.path}/"):
                with contextlib.suppress(HostError):
                    reading = self._inner.cgroup(place.adoption.cgroup)
                    if isinstance(reading.limit_bytes, int) and reading.unreclaimable_bytes is not None:
                        spoken_for += max(0, reading.limit_bytes - reading.unreclaimable_bytes)
        return replace(ancestor, other_use_bytes=spoken_for)


class ElsewhereMachine(KernelMachine):
    """``ports.Machine`` for both kinds of guests. An adopted guest is its QEMU: it ends when that ends."""

    def __init__(
        self, files: Files, layout: Layout, clock: Clock, adopted: AdoptedApplier, places: dict[str, Place]
    ) -> None:
        super().__init__(files, layout, clock)
        self._adopted = adopted
        self._places = places

    def members(self, name: str, part: str) -> tuple[int, ...]:
        """Pids in ``ram`` or ``vmm``; of an adopted guest its QEMU. Its helpers are not ours to end."""
        place = self._places.get(name)
        if place is None:
            return super().members(name, part)
        if part == "ram":
            return ()
        with contextlib.suppress(HostError):
            if self.start_ticks(place.identity.pid) == place.identity.start_ticks:
                return (place.identity.pid,)
        return ()

    def inode(self, name: str) -> int:
        """Inode of the guest's cgroup; of an adopted one as it was when it came under care."""
        place = self._places.get(name)
        return super().inode(name) if place is None else place.identity.cgroup_inode

    def remove(self, name: str) -> None:
        """Remove an ended guest's cgroups; an adopted one's are not ours, it is only forgotten."""
        if self._places.pop(name, None) is None:
            super().remove(name)

    def drop_cache(self, name: str, part: str) -> None:
        """Nothing for an adopted guest."""
        if name not in self._places:
            super().drop_cache(name, part)

    def reset_peak(self, name: str, part: str) -> None:
        """Nothing for an adopted guest: others may be reading its peak."""
        if name not in self._places:
            super().reset_peak(name, part)

    def oom_kills(self, name: str) -> int | None:
        """Not known of an adopted guest: its cgroup may have had others before."""
        return None if name in self._places else super().oom_kills(name)

    def killers(self, names: Sequence[str], *, enabled: bool, wall: bool = True) -> None:
        """Switch the OOM killers; "on" means for an adopted guest what it was before. Raises ``HostError``."""
        super().killers([name for name in names if name not in self._places], enabled=enabled, wall=wall)
        for name in names:
            if name in self._places:
                self._adopted.killer(name, restore=enabled)


class RealElsewhere:
    """``deps.Elsewhere`` on this machine."""

    def __init__(
        self,
        files: Files,
        layout: Layout,
        programs: Programs,
        adopted: AdoptedApplier,
        places: dict[str, Place],
        alarms: AlarmClient,
    ) -> None:
        self._files = files
        self._layout = layout
        self._programs = programs
        self._adopted = adopted
        self._places = places
        self._alarms = alarms

    def candidate(self, pid: int) -> Candidate:
        """A running process, as it is now."""
        return adoptable.read_candidate(self._files, pid, self._layout.version)

    def unit_limit(self, unit: str, cgroup: str) -> Limit:
        """What systemd has as this unit's limit. Raises ``HostError``."""
        return systemd.unit_limit(self._programs, unit, cgroup)

    def domain(self, name: str) -> int:
        """The pid of a libvirt domain's QEMU."""
        return libvirt.domain_pid(self._files, self._programs, name)

    def know(self, name: str, identity: Identity, adoption: Adoption) -> None:
        """From now on ``name`` is this guest."""
        self._places[name] = Place(identity, adoption)

    def untold(self, name: str) -> str | None:
        """Why the owner of its limit, libvirt or systemd, does not know of it; None where it does."""
        return self._adopted.untold.get(name)

    def forget(self, name: str) -> None:
        """``name`` is nobody's any more."""
        self._places.pop(name, None)
        self._adopted.untold.pop(name, None)
        self._alarms.forget(name)

    def still(self, name: str) -> bool:
        """Whether it stands still. Raises ``HostError``."""
        place = self._places[name]
        return adoptable.stands_still(self._files, place.identity.pid, place.adoption.freezer)

    def held(self, name: str, *, held: bool) -> None:
        """Tell the alarm process, which outlives an agent that is killed."""
        place = self._places[name]
        if not place.adoption.watch:
            self._alarms.adopted(name, place.identity, place.adoption, held=held)

    def restore(self, name: str, limit: Limit) -> None:
        """Write this limit and the OOM killer's former setting. Raises ``HostError``."""
        self._adopted.restore(name, limit)

    def secure(self, name: str, limit: Limit) -> None:
        """See that this limit, which it has, may be written, and is known to systemd. Raises ``HostError``."""
        self._adopted.secure(name, limit)


class ElsewhereAlarms:
    """``deps.Alarms``: an adopted guest has no ladder, it is seen by the sweep."""

    def __init__(self, inner: AlarmClient, places: Mapping[str, Place]) -> None:
        self._inner = inner
        self._places = places

    def wall(self, limit_bytes: int, headroom_bytes: int, guard_bytes: int) -> None:
        """The host wall's numbers."""
        self._inner.wall(limit_bytes, headroom_bytes, guard_bytes)

    def guest(
        self,
        name: str,
        ram_charged_bytes: int,
        weight: int,
        grant_bytes: int,
        limit_bytes: int,
        *,
        held: bool = False,
        hold_at_bytes: int | None = None,
        cap_bytes: int | None = None,
    ) -> None:
        """A guest's numbers."""
        if name not in self._places:
            numbers = ram_charged_bytes, weight, grant_bytes, limit_bytes
            self._inner.guest(name, *numbers, held=held, hold_at_bytes=hold_at_bytes, cap_bytes=cap_bytes)

    @property
    def on_raised(self) -> Callable[[Mapping[str, object]], None]:
        """Who hears of raises."""
        return self._inner.on_raised

    @on_raised.setter
    def on_raised(self, call: Callable[[Mapping[str, object]], None]) -> None:
        self._inner.on_raised = call

    def lend(self, free_bytes: int) -> None:
        """Room from which the alarm may raise."""
        self._inner.lend(free_bytes)

    async def recall(self) -> None:
        """Take it back."""
        await self._inner.recall()

    def brake(self, name: str, path: str, mark: BrakeMark | None) -> None:
        """A guest is slowed down, or no longer."""
        self._inner.brake(name, path, mark)

    def forget(self, name: str) -> None:
        """A guest that is gone."""
        self._inner.forget(name)

    async def armed(self, name: str, timeout_s: float) -> bool:
        """Wait until its ladder is registered; an adopted guest has none to wait for."""
        return name in self._places or await self._inner.armed(name, timeout_s)
