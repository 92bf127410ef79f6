"""What the agent is given: the ports, bound together once by the command that starts it.

The agent never imports an adapter. Everything that blocks (kernel writes, QMP, smaps, SQLite) is run on
threads through ``kernel`` and ``book``, so that the event loop only ever decides and forwards.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from guestroom.actions import Action, Outcome
from guestroom.config import Settings
from guestroom.errors import LedgerError
from guestroom.facts import Adoption, BrakeMark, Candidate, GuestRecord, Identity, OverheadReading
from guestroom.layout import Layout
from guestroom.lives import Life
from guestroom.ports import Applier, Clock, Figure, Ledger, Machine, Observer
from guestroom.units import Limit

T = TypeVar("T")


class Alarms(Protocol):
    """The alarm process, as far as the agent tells it things."""

    on_raised: Callable[[Mapping[str, object]], None]
    """Called, before anything else is heard, for each raise the alarm made from what was lent to it."""

    def lend(self, free_bytes: int) -> None:
        """Room from which the alarm may raise whoever passes its grant, in place of what it had."""
        ...

    async def recall(self) -> None:
        """Take lent room back; when this returns ``on_raised`` has heard of every raise."""
        ...

    def wall(self, limit_bytes: int, headroom_bytes: int, guard_bytes: int) -> None:
        """The host wall's numbers."""
        ...

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
        """A guest's numbers: the first call arms its ladder, later ones only move numbers.

        ``held``: it stands frozen by an earlier agent's hold, which the alarm process takes over. ``hold_at_bytes``:
        overhead at which it is held for its own cap.
        """
        ...

    def brake(self, name: str, path: str, mark: BrakeMark | None) -> None:
        """A guest is slowed down through the monitor at ``path``, or no longer (None): for when the agent is lost."""
        ...

    def forget(self, name: str) -> None:
        """A guest that is gone."""
        ...

    async def armed(self, name: str, timeout_s: float) -> bool:
        """Wait until the essential rungs of a guest's ladder are registered; False when that took too long."""
        ...


class Elsewhere(Protocol):
    """Guests that live in cgroups guestroom did not make. Raises ``HostError`` of the tree.

    After ``know``, observer, applier and machine find the guest by its name like any other, until ``forget`` (or the
    machine's ``remove``).
    """

    def candidate(self, pid: int) -> Candidate:
        """A running process, as it is now."""
        ...

    def domain(self, name: str) -> int:
        """The pid of a libvirt domain's QEMU."""
        ...

    def unit_limit(self, unit: str, cgroup: str) -> Limit:
        """What systemd has as the limit of the unit whose cgroup that is."""
        ...

    def know(self, name: str, identity: Identity, adoption: Adoption) -> None:
        """From now on ``name`` is this guest."""
        ...

    def secure(self, name: str, limit: Limit) -> None:
        """See that the limit which it has may be written and will stay: systemd is told of it."""
        ...

    def untold(self, name: str) -> str | None:
        """Why the owner of its limit, libvirt or systemd, does not know of it; None where it does."""
        ...

    def forget(self, name: str) -> None:
        """``name`` is nobody's any more."""
        ...

    def still(self, name: str) -> bool:
        """Whether it stands still, held or stopped by whomever."""
        ...

    def held(self, name: str, *, held: bool) -> None:
        """Tell whoever lets guests go when the agent is lost (P11) whether this one is held by us."""
        ...

    def restore(self, name: str, limit: Limit) -> None:
        """Write this limit and the OOM killer's former setting: the way out of care."""
        ...


class Balloon(Protocol):
    """The balloon of one guest. Raises ``QmpError``, also where it has none."""

    def ram_bytes(self) -> int:
        """RAM the guest has left, by its driver's own word."""
        ...

    def returns_unasked(self) -> bool | None:
        """Whether it may come back when the guest is short; None where that is not known."""
        ...

    def ask(self, ram_bytes: int) -> None:
        """Set its target; nothing is waited for."""
        ...

    def close(self) -> None:
        """Give the monitor's one place free."""
        ...


class Reclaimer(Protocol):
    """Getting memory back from guests. Each call blocks for milliseconds to seconds; raises ``HostError``."""

    def drop_cache(self, name: str) -> None:
        """Drop a guest's page cache, and begin a new window of the kernel's peak; nothing goes into swap."""
        ...

    def swap_out(self, name: str, size_bytes: int) -> None:
        """Let so much of QEMU's own memory go into the host's swap, never guest RAM in ``ram``."""
        ...

    def balloon(self, path: str, timeout_s: float) -> Balloon:
        """Reach a guest's balloon over our own monitor."""
        ...


class LateEntries(Protocol):
    """Ledger entries that may be written late, so that a full or slow disk never blocks room (P8).

    Putting never blocks; ``flush`` and ``durable`` are for the ledger's thread.
    """

    @property
    def failure(self) -> LedgerError | None:
        """Why entries wait; None while all is well."""
        ...

    def event(self, kind: str, guest: str | None, message: str, numbers: Mapping[str, Figure]) -> object:
        """An event."""
        ...

    def reading(self, reading: OverheadReading, limit: Limit | None, grant_bytes: int | None) -> object:
        """A reading."""
        ...

    def finish(self, decision: int, outcomes: Sequence[Outcome]) -> object:
        """How a decision ended."""
        ...

    def carried_out(self, reason: str, inputs: str, outcomes: Sequence[Outcome]) -> object:
        """A decision the kernel already has."""
        ...

    def put_guest(self, record: GuestRecord) -> object:
        """A guest's newest record."""
        ...

    def remove_guest(self, name: str, reason: str) -> object:
        """A guest's end."""
        ...

    def put_life(self, life: Life) -> object:
        """What a guest came to."""
        ...

    def remove_waiting(self, name: str) -> object:
        """A place in the queue that is given up."""
        ...

    def flush(self) -> bool:
        """Write what waits."""
        ...

    def durable(self) -> Ledger:
        """The ledger with everything older written; raises ``LedgerError`` when it can't be."""
        ...


@dataclass(slots=True)
class Deps:
    """Ports and threads."""

    settings: Settings
    layout: Layout
    clock: Clock
    observer: Observer
    applier: Applier
    machine: Machine
    ledger: Ledger
    late: LateEntries
    alarms: Alarms
    encode: Callable[[Action], Mapping[str, object]]
    """An action as plain data, the same as in the ledger."""
    monitor_path: Callable[[str, int], str]
    """Makes the place for a guest's own monitor socket and returns its path; given its name and its user's uid."""
    elsewhere: Elsewhere | None = None
    """Adopted guests; None where this host has no way to adopt."""
    reclaimer: Reclaimer | None = None
    """Gets memory back from guests; None where there is no way to."""
    inodes: dict[str, int] = field(default_factory=dict)
    """Inode of each guest's cgroup, which the applier checks before it writes (P9)."""
    huge_paths: tuple[str, ...] = ()
    """Mount points of hugetlbfs: RAM there is made of pool pages, outside memory cgroups."""
    log: Callable[[str, str | None, str], None] = lambda kind, guest, message: None
    """Each event as it happens: kind, guest, message."""
    fault: Callable[[str], None] = lambda point: None
    """Called at named points of a transaction; tests end the process there."""
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(16, "kernel"))
    writer: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "ledger"))

    async def kernel(self, work: Callable[..., T], *args: object) -> T:
        """Run something that blocks on the kernel, QEMU or /proc."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, lambda: work(*args))

    async def book(self, work: Callable[..., T], *args: object) -> T:
        """Run something on the ledger's one thread."""
        return await asyncio.get_running_loop().run_in_executor(self.writer, lambda: work(*args))

    def event(self, kind: str, guest: str | None, message: str, numbers: Mapping[str, object] | None = None) -> None:
        """Note an event. Never blocks and never fails: it is written as soon as the disk takes it."""
        self.log(kind, guest, message)
        self.late.event(kind, guest, message, figures(numbers or {}))
        self.flush()

    def flush(self) -> None:
        """Write what may be late, soon."""
        self.writer.submit(self.late.flush)

    def close(self) -> None:
        """Write what is left and end the threads."""
        self.writer.submit(self.late.flush).result()
        self.writer.shutdown()
        self.threads.shutdown(cancel_futures=True)

    async def durable(self, work: Callable[[Ledger], T]) -> T:
        """Write something that must be on disk before it is done. Raises ``LedgerError`` when it can't be."""
        return await self.book(lambda: work(self.late.durable()))


def figures(numbers: Mapping[str, object]) -> dict[str, Figure]:
    """Numbers for an event: plain values as they are, anything else as JSON text."""
    return {
        key: value if value is None or isinstance(value, int | float | str) else json.dumps(value, default=str)
        for key, value in numbers.items()
    }
