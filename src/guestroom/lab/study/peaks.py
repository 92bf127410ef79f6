"""The kernel's own peak of a guest's charge, which no sampling misses, and what of it was overhead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from guestroom.errors import from_write
from guestroom.lab.study.home import Home
from guestroom.observe.cgroups import cgroups
from guestroom.units import MIB

BLUR_BYTES = 8 * MIB
"""By how much page cache may move during a load for the kernel's own peak to tell that of the overhead."""


@dataclass(frozen=True, slots=True)
class Window:
    """A load's own part of the kernel's peak; None where this kernel has none."""

    began_bytes: int | None
    """The peak when the load began: what is above it is the load's."""
    life_bytes: int | None
    """The peak from the guest's start till then."""


def peak_of(home: Home, path: str) -> int | None:
    """The kernel's peak of one of a guest's cgroups (v1 ``memory.max_usage_in_bytes``, v2 ``memory.peak``)."""
    return cgroups(home.version).read_memory(home.files, path, 0.0).peak_bytes


def new_window(home: Home) -> Window:
    """Have the peak begin anew, where the kernel can (v1: ``memory.rst`` section 5.2). Raises ``HostError``."""
    life = peak_of(home, home.memory)
    if home.version != 1:
        return Window(life, life)
    path = f"{home.memory}/memory.max_usage_in_bytes"
    try:
        home.files.write(path, "0")
    except OSError as error:
        raise from_write(error, path, "0") from error
    return Window(0, life)


def true_peak(began_bytes: int | None, ended_bytes: int | None, away: Sequence[int], ram_bytes: int) -> int:
    """Overhead at the kernel's own peak, at least; 0 where that can't be told.

    ``away`` is what was seen at each sample that is neither RAM nor overhead; the largest is taken off. Where it moved,
    page cache may have come and gone between two samples, so that nothing is known; where the peak is not above what it
    was before the load, it may be that of the start.
    """
    if ended_bytes is None or began_bytes is None or ended_bytes <= began_bytes:
        return 0
    if not away or max(away) - min(away) > BLUR_BYTES:
        return 0
    return ended_bytes - ram_bytes - max(away)
