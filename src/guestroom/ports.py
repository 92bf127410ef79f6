"""What the decisions' carriers need from the outside, as protocols.

The kernel's files are one small port (``Files``), so that the very code which reads and writes a real
cgroup also runs against the simulated host of ``guestroom.testing``: the simulator then shares no logic
with the adapters it checks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from guestroom.actions import Action, Outcome
from guestroom.facts import HostFacts, MemoryReading, OverheadReading


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


class Observer(Protocol):
    """Facts about the host and the guests under care."""

    def host(self) -> HostFacts:
        """The host now."""
        ...

    def cgroup(self, path: str) -> MemoryReading:
        """One cgroup now. Raises ``VanishedError``."""
        ...

    def overhead(self, name: str, ram_charged_bytes: int, pid: int | None) -> OverheadReading:
        """A split guest's overhead now. Raises ``VanishedError``."""
        ...


class Monitor(Protocol):
    """Our own QMP monitor of one QEMU; never the user's."""

    def query_status(self) -> str:
        """QEMU's run state: ``prelaunch``, ``running``, ``paused``, ``inmigrate``, ..."""
        ...

    def cont(self) -> None:
        """Let the vCPUs run."""
        ...

    def close(self) -> None:
        """Give the monitor's one place free."""
        ...


class Machine(Protocol):
    """Processes and cgroup housekeeping around the limits. Raises ``HostError`` of the tree, ``VanishedError`` for the gone."""

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

    def killers(self, names: Sequence[str], *, enabled: bool) -> None:
        """Switch the OOM killers of these guests and of the host wall."""
        ...

    def make_wall(self, limit_bytes: int) -> None:
        """Make the host wall if it is not there, OOM killer off, and set its limit where it has none yet."""
        ...

    def monitor(self, path: str, timeout_s: float) -> Monitor:
        """Connect to our own monitor."""
        ...


class Applier(Protocol):
    """The only writer."""

    def carry_out(self, action: Action) -> Outcome:
        """Do one action and read it back. Never raises for what the kernel says: that is the outcome."""
        ...


class Ledger(Protocol):
    """What was decided and happened, durable (promise P8)."""

    def begin(self, reason: str, inputs: str, actions: Sequence[Action]) -> int:
        """Write a decision with its steps before they are carried out; return its number."""
        ...

    def finish(self, decision: int, outcomes: Sequence[Outcome]) -> None:
        """Write how the steps ended."""
        ...

    def event(self, kind: str, guest: str | None, message: str, numbers: str) -> int:
        """Write an event; return its number."""
        ...
