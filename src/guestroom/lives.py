"""Lives of guests: what was promised for each when it was admitted, and the peak it came to.

Plain data like the facts, as the ledger keeps it. What is learned from it is ``size.learned``'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Likeness:
    """What a guest is like, as texts that are equal for guests that are alike."""

    shape: str
    """Its whole description without names and paths: guests of one shape need the same but for their workload."""
    kind: str
    """Its devices and back ends with counts, vCPUs and RAM only by class."""
    accelerator: str
    qemu: str | None = None
    """QEMU's version by its own word; None where it was never heard."""


@dataclass(frozen=True, slots=True)
class Promised:
    """What a guest was promised to need when it was admitted, by whom, and how sure that was."""

    policy: str
    overhead_bytes: int
    likeness: Likeness
    prior: str
    """The policy that needs no history, whose figure ``prior_bytes`` is what observed peaks are held against."""
    prior_bytes: int
    wanted_coverage: float | None = None
    """Share of guests that was to stay within it; None: the policy promises no share."""
    coverage: float | None = None
    """Share that the samples supported then, with 95 % confidence; None: none."""
    level: str | None = None
    """Which likeness supported it."""
    samples: int = 0
    fixed: bool = False
    """An operator set the figure: nobody's estimate is judged by it."""
    binary: str = ""
    """The command it was started by, which tells the QEMU version of the next one before it runs."""


@dataclass(frozen=True, slots=True)
class Life:
    """One run of one guest, from its first instruction to its end or until now."""

    guest: str
    started_wall_s: float
    at_wall_s: float
    """When this was last true."""
    ran_s: float
    ended: bool
    peak_bytes: int
    """The largest overhead in all its life."""
    grant_bytes: int
    promised: Promised

    @property
    def key(self) -> tuple[str, float]:
        """Which life exactly."""
        return self.guest, self.started_wall_s

    @property
    def missed(self) -> bool:
        """Whether it needed more than an estimate promised."""
        return not self.promised.fixed and self.peak_bytes > self.promised.overhead_bytes


class LifeBook(Protocol):
    """Where lives are kept: a part of the ledger. Raises ``LedgerError`` as all of it."""

    def put_life(self, life: Life) -> None:
        """Write a life in place of any earlier report of it."""
        ...

    def lives(self, limit: int = 20_000) -> tuple[Life, ...]:
        """The last ``limit`` lives, those that were reported longest ago first."""
        ...
