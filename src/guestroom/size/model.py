"""What an estimate is: named parts that sum exactly, each with the place its number comes from.

A single figure can't be argued with. Parts can: who asks "where does my memory go" gets the terms, and a
wrong constant is found by its source.
"""

from __future__ import annotations

from dataclasses import dataclass

from guestroom.size.promise import Promise
from guestroom.units import MIB

BARE_QEMU_BYTES = 71 * MIB
"""Most that a bare QEMU was seen to use: 66 MiB idle, 71 MiB at its peak under I/O.

Measured on QEMU 7.2 (q35, 1 vCPU, 256 MiB, one qcow2 disk, no display), TCG with tb-size 32, cgroup v1, n = 3.
"""


@dataclass(frozen=True, slots=True)
class Part:
    """One term of an estimate."""

    name: str
    bytes: int
    source: str
    """Where the number comes from: the peer's file and function, or a measurement."""


@dataclass(frozen=True, slots=True)
class Sizing:
    """What a policy returns: its terms, and what it had to assume, a sentence each."""

    parts: tuple[Part, ...]
    warnings: tuple[str, ...] = ()
    promise: Promise | None = None
    """None for formulas, which promise nothing. With one, the sum was measured: being small is no reason to warn."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The overhead a policy expects at a guest's peak. Sizes in bytes; ``parts`` sum exactly to ``overhead_bytes``."""

    policy: str
    overhead_bytes: int
    limit_bytes: int
    """Guest RAM + overhead: what the guest's limit would be."""
    parts: tuple[Part, ...]
    warnings: tuple[str, ...] = ()
    promise: Promise | None = None
    """None for policies that promise nothing."""
