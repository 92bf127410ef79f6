"""Judges what the agent does by what really is on the simulated host, sharing no figure with the agent's own readings.

The promises are checked before and after every single step of every plan, and after every growth of every guest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from guestroom.actions import Action, MakeGuest, Outcome, SetLimit, StartGuest
from guestroom.facts import GuestState
from guestroom.testing import SimGuest
from guestroom.testing.zoo import Reborn
from guestroom.units import PAGE_BYTES, round_up

from .simagent import HOST_BYTES, SimAgent

NOT_SEEN = ("lying", "mute", "merged", "huge pages", "half touched", "cache filled")
"""Kinds whose peak no honest reader could know exactly: for them only their use at the moment counts."""
FOLDERS_BYTES = 64 << 10
"""The kernel's own memory for ``ram`` and ``vmm`` is charged to the guest's folder above them, where no reading of
the two sees it (measured: 8 to 16 KiB each)."""


@dataclass
class Judge:
    """Watches one agent; ``broken`` are sentences that begin with the promise."""

    agent: SimAgent
    broken: list[str] = field(default_factory=list)
    kinds: dict[str, str] = field(default_factory=dict)
    expected_gone: set[str] = field(default_factory=set)
    steps: int = 0
    seen: dict[str, list[tuple[float, int]]] = field(default_factory=dict)
    others_at_work: bool = False
    """What is written now is written by somebody else."""
    others: set[str] = field(default_factory=set)
    """Cgroups that are somebody else's, whatever their names."""
    made: dict[str, int] = field(default_factory=dict)
    """Grants of newcomers whose cgroups are made and who are not under care yet."""

    def __post_init__(self) -> None:
        self.agent.applier.before.append(self._before)
        self.agent.applier.after.append(self._after)
        self.agent.host.before_write.append(self._write)
        self.agent.host.before_rmdir.append(self._rmdir)

    # --- sums ------------------------------------------------------------------------------------------

    @property
    def budget_bytes(self) -> int:
        """What there is to promise."""
        reserved = self.agent.settings.system_reserve_bytes
        assert reserved is not None
        return HOST_BYTES - reserved

    @property
    def headroom_bytes(self) -> int:
        """The shared part of the reserve."""
        assert self.agent.settings.headroom_bytes is not None
        return self.agent.settings.headroom_bytes

    @property
    def reserve_bytes(self) -> int:
        """All overhead."""
        assert isinstance(self.agent.settings.reserve, int)
        return self.agent.settings.reserve

    def grants(self) -> dict[str, int]:
        """Everybody's grant now, newcomers being made included."""
        cares = self.agent.keeper.room.cares
        return self.made | {name: care.record.grant_bytes for name, care in cares.items()}

    def wall(self) -> int:
        """The host wall in the kernel."""
        return int(self.agent.host.read(f"{self.agent.layout.memory}/memory.limit_in_bytes"))

    # --- steps -----------------------------------------------------------------------------------------

    def _before(self, action: Action) -> None:
        self.steps += 1
        match action:
            case MakeGuest():
                self.made[action.name] = action.grant_bytes
            case StartGuest():
                self.broken += self._may_start(action)
            case _:
                pass

    def _after(self, action: Action, outcome: Outcome) -> None:
        match action:
            case MakeGuest() if not outcome.ok:
                self.made.pop(action.name, None)
            case StartGuest():
                self.made.pop(action.name, None)  # it is under care by now, or put back
            case SetLimit() if outcome.ok:
                self.broken += self._limit(action)
            case _:
                pass
        self.broken += self._within_budget()

    def _within_budget(self) -> Iterator[str]:
        if self.wall() > self.budget_bytes:
            yield f"P1: the wall is {self.wall()}, the budget {self.budget_bytes}"

    def _sums(self) -> Iterator[str]:
        granted = sum(self.grants().values()) + self.headroom_bytes
        if granted > self.reserve_bytes:
            yield f"P1: grants + headroom are {granted}, the reserve {self.reserve_bytes}"
        ram = sum(self.agent.guests[name].ram_bytes for name in self.grants())
        slack = PAGE_BYTES * (len(self.grants()) + 1)
        if ram + granted > self.wall() + slack:
            yield f"P1: RAM + grants + headroom are {ram + granted}, the wall {self.wall()}"

    def _may_start(self, action: StartGuest) -> Iterator[str]:
        """P3: everything the newcomer's room depends on is there, in the kernel and not only in the plan."""
        yield from (line.replace("P1", "P3") for line in self._sums())
        for name, care in self.agent.keeper.room.cares.items():
            guest = self.agent.guests[name]
            if name == action.name or not guest.alive or care.record.state is GuestState.QUEUED:
                continue
            if care.record.released:
                continue  # its cgroup was taken away: nothing limits it but its room, which still counts
            most = max(care.record.grant_bytes + self.headroom_bytes, self._peak(guest))
            if self.agent.limit(name) > round_up(guest.ram_bytes) + round_up(most):
                yield f"P3: {action.name} starts while {name} may still take {self.agent.limit(name)}"

    def _limit(self, action: SetLimit) -> Iterator[str]:
        guest = self.agent.guests[action.name]
        if not guest.alive:
            return
        now, limit = guest.overhead_bytes, self.agent.limit(action.name)
        if limit < guest.ram_bytes + min(now, action.grant_from_bytes):
            yield f"P2: {action.name} has {now} of overhead and a limit of {limit}"
        care = self.agent.keeper.room.cares.get(action.name)
        shrunk = action.grant_to_bytes < action.grant_from_bytes
        starting = care is not None and care.record.state is GuestState.STARTING  # its need is spoken for: known
        unread = care is not None and (care.reading is None or care.reading.overhead_bytes is None)
        if shrunk and unread and not starting:
            yield f"P6: {action.name} is shrunk though its use is unknown"
        kept = now if self.kinds.get(action.name) in NOT_SEEN else self._peak(guest)
        if shrunk and action.grant_to_bytes < min(kept, action.grant_from_bytes) - FOLDERS_BYTES:
            yield f"P2: {action.name} needed {kept} and is granted {action.grant_to_bytes}"

    # --- guests ----------------------------------------------------------------------------------------

    def look(self) -> None:
        """After any growth: who stands still or died for want of room that was promised to it? (P5)"""
        for name, guest in self.agent.guests.items():
            if not guest.alive:
                if guest.running and name not in self.expected_gone and not isinstance(guest, Reborn):
                    self.broken.append(f"P5: {name} was killed")
                    self.expected_gone.add(name)
                continue
            self.seen.setdefault(name, []).append((self.agent.clock.monotonic(), guest.overhead_bytes))
            care = self.agent.keeper.room.cares.get(name)
            if guest.running and guest.sleeps and care is not None and guest.overhead_bytes <= care.record.grant_bytes:
                grant = care.record.grant_bytes
                self.broken.append(f"P5: {name} sleeps with {guest.overhead_bytes} of its grant of {grant}")

    def _peak(self, guest: SimGuest) -> int:
        """Its largest overhead within the part of the window that the agent must remember."""
        since = self.agent.clock.monotonic() - self.agent.settings.peak_window_s / 2
        return max((size for at, size in self.seen.get(guest.name, []) if at >= since), default=0)

    def settled(self) -> None:
        """Between events: the sums, and nobody is being made."""
        self.made.clear()
        self.look()
        self.broken += self._sums()

    # --- strangers -------------------------------------------------------------------------------------

    def _rmdir(self, path: str) -> None:
        """A folder that holds somebody's process the kernel keeps by itself."""
        folder = self.agent.host.memory_group(path) if path.startswith(self.agent.layout.memory) else None
        if folder is None or not any(process.memory is folder for process in self.agent.host.kernel.processes.values()):
            self._write(path, "rmdir")

    def _write(self, path: str, value: str) -> None:
        """P9: nothing outside our cgroups, nothing in a folder somebody else made under the same name."""
        if self.others_at_work:
            return
        self.broken += [
            f"P9: {value!r} is written to {path}" for one in self.others if f"{path}/".startswith(f"{one}/")
        ]
        layout = self.agent.layout
        roots = (f"{layout.memory}/", f"{layout.freezer}/")
        if not path.startswith(roots) and path.rpartition("/")[0] not in (layout.memory, layout.freezer):
            self.broken.append(f"P9: {value!r} is written to {path}")
        for name, guest in self.agent.guests.items():
            place = layout.guest(name)
            if isinstance(guest, Reborn) and guest.stranger and f"{path}/".startswith(f"{place}/"):
                self.broken.append(f"P9: {value!r} is written to {path}, which is another's")
