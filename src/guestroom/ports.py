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
