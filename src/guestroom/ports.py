"""What the decisions' carriers need from the outside, as protocols.

The kernel's files are one small port (``Files``), so that the very code which reads and writes a real
cgroup also runs against the simulated host of ``guestroom.testing``: the simulator then shares no logic
with the adapters it checks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from guestroom.actions import Action, Outcome
from guestroom.facts import Accounting, GuestRecord, HostFacts, MemoryReading, Moved, OverheadReading
from guestroom.lives import LifeBook
from guestroom.turns import QueueEntry
from guestroom.units import Limit

Figure = int | float | str | None
"""One number of an event: a figure, a short text such as ``unlimited``, or None for unknown."""


class Clock(Protocol):
    """Time, passed in."""

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    def wall(self) -> float:
        """Seconds since the epoch, for people and the ledger."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


@runtime_checkable
class Files(Protocol):
    """The kernel's control files. Paths are absolute. Every method raises plain ``OSError`` as the kernel gave it."""

    def read(self, path: str) -> str:
        """Whole text of a file."""
        ...

    def write(self, path: str, value: str) -> None:
        """Write in one ``write(2)``, unbuffered, so that the kernel's error is seen."""
        ...

    def mkdir(self, path: str) -> None:
        """Make a folder (a cgroup). ``FileExistsError`` if it is there."""
        ...

    def rmdir(self, path: str) -> None:
        """Remove an empty cgroup."""
        ...

    def list_dirs(self, path: str) -> list[str]:
        """Names of the folders inside, sorted."""
        ...

    def inode(self, path: str) -> int:
        """Inode of a folder: which cgroup exactly."""
        ...


@runtime_checkable
class ManyFiles(Files, Protocol):
    """``Files`` that can read many short files in one go."""

    def read_all(self, paths: Sequence[str]) -> list[bytes | None]:
        """Text of each, None where it can't be read. The same ``paths`` object again is the cheapest."""
        ...

    def forget(self, folder: str) -> None:
        """Keep nothing open of a folder and what is below it."""
        ...


class Observer(Protocol):
    """Facts about the host and the guests under care."""

    def host(self) -> HostFacts:
        """The host now."""
        ...

    def cgroup(self, path: str) -> MemoryReading:
        """One cgroup now. Raises ``VanishedError``."""
        ...

    def overhead(
        self, name: str, ram_charged_bytes: int, pid: int | None, ram_block_bytes: tuple[int, ...] = ()
    ) -> OverheadReading:
        """A split guest's overhead now; smaps is read only when RAM wandered. Raises ``VanishedError``."""
        ...

    def quick(
        self, name: str, ram_charged_bytes: int, pid: int | None, ram_block_bytes: tuple[int, ...] = ()
    ) -> OverheadReading:
        """The same with fewer reads, where the last complete look allows that. Raises as ``overhead``."""
        ...

    def moved(self, names: tuple[str, ...]) -> Moved:
        """Which of these split guests are worth a look."""
        ...


class Monitor(Protocol):
    """Our own QMP monitor of one QEMU; never the user's."""

    def query_status(self) -> str:
        """QEMU's run state: ``prelaunch``, ``running``, ``paused``, ``inmigrate``, ..."""
        ...

    def cont(self) -> None:
        """Let the vCPUs run."""
        ...

    def execute(self, command: str, /, **arguments: object) -> Any:
        """Run any command. Raises ``QmpError``."""
        ...

    def events(self) -> tuple[str, ...]:
        """Names of the events that came since it was last asked, oldest first."""
        ...

    def close(self) -> None:
        """Give the monitor's one place free."""
        ...


class Machine(Protocol):
    """Processes and cgroup housekeeping. Raises ``HostError`` of the tree, ``VanishedError`` for the gone."""

    def start_ticks(self, pid: int) -> int:
        """Start time of a process in clock ticks since boot (proc(5), stat field 22)."""
        ...

    def parent(self, pid: int) -> int:
        """Its parent's pid."""
        ...

    def cmdline(self, pid: int) -> tuple[str, ...]:
        """Its arguments as the kernel has them."""
        ...

    def boot_id(self) -> str:
        """Identity of this boot."""
        ...

    def pidfd(self, pid: int, start_ticks: int) -> int:
        """A file descriptor that becomes readable when exactly this process ends."""
        ...

    def kill(self, pid: int, start_ticks: int, signal_number: int) -> None:
        """Signal exactly this process; nothing happens if it is gone."""
        ...

    def members(self, name: str, part: str) -> tuple[int, ...]:
        """Pids in a guest's ``ram`` or ``vmm``; empty if the cgroup is gone."""
        ...

    def put(self, pid: int, name: str, part: str) -> None:
        """Move a process into a guest's ``ram`` or ``vmm`` and into its freezer cgroup."""
        ...

    def inode(self, name: str) -> int:
        """Inode of the guest's cgroup."""
        ...

    def has(self, name: str, part: str) -> bool:
        """Whether a guest's ``ram`` or ``vmm`` is there."""
        ...

    def place(self, pid: int) -> str:
        """The memory cgroup a process is in, as /proc names it."""
        ...

    def frozen(self, name: str) -> bool | None:
        """Whether it is held by the freezer; None if that can't be read."""
        ...

    def guests_there(self) -> tuple[str, ...]:
        """Names of the cgroups under the host wall."""
        ...

    def remove(self, name: str) -> None:
        """Remove an empty guest's cgroups."""
        ...

    def drop_cache(self, name: str, part: str) -> None:
        """Let the kernel drop the page cache charged there."""
        ...

    def reset_peak(self, name: str, part: str) -> None:
        """Begin a new window of the kernel's own peak."""
        ...

    def oom_kills(self, name: str) -> int | None:
        """Processes the kernel killed in a guest because its limit was met; None where that is not known."""
        ...

    def limit_swap(self, name: str, swap_bytes: int | None, zswap_bytes: int | None) -> None:
        """Limit how much of a guest may be swapped out, and how much of that compressed; None: left to the kernel.

        Raises ``HostError`` where this kernel can't.
        """
        ...

    def killers(self, names: Sequence[str], *, enabled: bool, wall: bool = True) -> None:
        """Switch the OOM killers of these guests, and of the host wall unless told otherwise."""
        ...

    def make_wall(self, limit_bytes: int) -> None:
        """Make the host wall if it is not there, OOM killer off, and set its limit where it has none yet."""
        ...

    def monitor(self, path: str, timeout_s: float) -> Monitor:
        """Connect to our own monitor."""
        ...


@dataclass(frozen=True, slots=True)
class Ran:
    """A program that ended."""

    code: int
    stdout: str
    stderr: str


class Programs(Protocol):
    """Other programs of this host."""

    def run(self, argv: Sequence[str], timeout_s: float) -> Ran:
        """Run one to its end, with no input and in the C locale. Raises ``HostError``: not there, or too slow."""
        ...


class Applier(Protocol):
    """The only writer."""

    def carry_out(self, action: Action) -> Outcome:
        """Do one action and read it back. Never raises for what the kernel says: that is the outcome."""
        ...


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, as the ledger keeps it. Numbers only grow and are never given twice."""

    number: int
    at_wall_s: float
    kind: str
    guest: str | None
    message: str
    numbers: Mapping[str, Figure]


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision with its steps. ``outcomes`` holds what is known: none until the first step ended."""

    number: int
    at_wall_s: float
    reason: str
    inputs: str
    """What it was decided from: a JSON text."""
    actions: tuple[Action, ...]
    outcomes: tuple[Outcome, ...]
    """In the order of the steps; what was done beyond the plan (a shrink taken back) comes last."""
    finished_wall_s: float | None
    """None: not finished, so the next start reconciles it (promise P8)."""


@dataclass(frozen=True, slots=True)
class KeptReading:
    """One overhead reading as the ledger keeps it, with the grant and limit that held then."""

    guest: str
    at_wall_s: float
    accounting: Accounting
    overhead_bytes: int | None
    upper_bound_bytes: int | None
    ram_resident_bytes: int | None
    cache_bytes: int | None
    limit_bytes: Limit | None
    grant_bytes: int | None
    how: str
    kernel_peak_bytes: int | None = None
    """Overhead at the kernel's own peak since it was last reset; counts page cache."""


@dataclass(frozen=True, slots=True)
class EndedGuest:
    """A guest that was under care, with what it needed at most: what later sizing learns from."""

    record: GuestRecord
    ended_wall_s: float
    reason: str


class Ledger(LifeBook, Protocol):
    """What was decided and happened, durable (promise P8).

    Every method returns only when its entry would survive a crash, and raises ``LedgerError`` otherwise:
    then nothing of it was written. ``EntryError`` means that trying again would not help. ``at_wall_s`` is
    when it happened, for entries written late; None: now.
    """

    def put_guest(self, record: GuestRecord) -> None:
        """Write a guest's record in place of any it had."""
        ...

    def get_guests(self) -> tuple[GuestRecord, ...]:
        """Every guest under care, by name."""
        ...

    def remove_guest(self, name: str, reason: str, *, at_wall_s: float | None = None) -> bool:
        """Move a guest to the ended ones; False where there is none of this name."""
        ...

    def ended_guests(self, limit: int = 1000) -> tuple[EndedGuest, ...]:
        """The last ``limit`` guests that ended, oldest first."""
        ...

    def put_waiting(self, entry: QueueEntry) -> None:
        """Write the place of one that waits for room, instead of any it had."""
        ...

    def get_waiting(self) -> tuple[QueueEntry, ...]:
        """Everybody who waits, in the order of their turns."""
        ...

    def remove_waiting(self, name: str) -> None:
        """Give a place up; nothing where there is none."""
        ...

    def begin(self, reason: str, inputs: str, actions: Sequence[Action], newcomer: GuestRecord | None = None) -> int:
        """Write a decision with its steps, and whom it lets in, before they are carried out; return its number."""
        ...

    def note(self, decision: int, outcome: Outcome, *, at_wall_s: float | None = None) -> None:
        """Write how one step ended while the decision goes on."""
        ...

    def finish(self, decision: int, outcomes: Sequence[Outcome], *, at_wall_s: float | None = None) -> None:
        """Write how the steps ended. May be repeated; a step without an outcome stays without."""
        ...

    def carried_out(
        self, reason: str, inputs: str, outcomes: Sequence[Outcome], *, at_wall_s: float | None = None
    ) -> int:
        """Write a decision whose steps were carried out already (a raise: kernel first); return its number."""
        ...

    def unfinished(self) -> tuple[Decision, ...]:
        """Decisions that were begun and not finished, oldest first."""
        ...

    def decisions(self, limit: int = 100) -> tuple[Decision, ...]:
        """The last ``limit`` decisions, oldest first."""
        ...

    def event(
        self,
        kind: str,
        guest: str | None,
        message: str,
        numbers: Mapping[str, Figure],
        *,
        at_wall_s: float | None = None,
    ) -> int:
        """Write an event; return its number."""
        ...

    def events(self, after: int = 0, limit: int = 1000, guest: str | None = None) -> tuple[Event, ...]:
        """The first ``limit`` events numbered above ``after``, oldest first; of one guest where named."""
        ...

    def last_events(self, limit: int = 100, guest: str | None = None) -> tuple[Event, ...]:
        """The last ``limit`` events, oldest first; of one guest where named."""
        ...

    def reading(
        self, reading: OverheadReading, limit: Limit | None, grant_bytes: int | None, *, at_wall_s: float | None = None
    ) -> bool:
        """Keep a reading unless it says nothing new; True where it was kept."""
        ...

    def readings(self, guest: str, since_wall_s: float = 0.0, limit: int = 10_000) -> tuple[KeptReading, ...]:
        """The last ``limit`` kept readings of a guest from ``since_wall_s`` on, oldest first."""
        ...

    def close(self) -> None:
        """Let go of the files. May be repeated."""
        ...
