"""Which readings are worth keeping: those that say something new.

A sweep reads every guest each second; a quiet guest would fill the disk with the same line. So a reading is
kept when enough time went by, or when overhead, grant or limit moved by more than the plan's own dead band
(max(1 MiB, 1 %), DESIGN "The division").
"""

from __future__ import annotations

from dataclasses import dataclass, field

from guestroom.facts import OverheadReading
from guestroom.units import MIB, Limit, Unlimited


@dataclass(frozen=True, slots=True)
class _Kept:
    at_s: float
    figures: tuple[Limit | None, ...]


@dataclass(slots=True)
class Thinner:
    """Remembers the last kept reading of each guest. After a restart the first reading of each is kept."""

    keep_s: float
    _last: dict[str, _Kept] = field(default_factory=dict)

    def is_news(self, reading: OverheadReading, limit: Limit | None, grant_bytes: int | None) -> bool:
        """True when ``reading`` should be kept: ``keep_s`` went by, or a figure moved or became (un)known."""
        last = self._last.get(reading.name)
        if last is None or reading.at_s - last.at_s >= self.keep_s or reading.at_s < last.at_s:
            return True
        return any(
            _moved(old, new) for old, new in zip(last.figures, _figures(reading, limit, grant_bytes), strict=True)
        )

    def kept(self, reading: OverheadReading, limit: Limit | None, grant_bytes: int | None) -> None:
        """Take note that ``reading`` was written."""
        self._last[reading.name] = _Kept(reading.at_s, _figures(reading, limit, grant_bytes))

    def forget(self, name: str) -> None:
        """The guest ended: another of its name starts anew."""
        self._last.pop(name, None)


def _figures(reading: OverheadReading, limit: Limit | None, grant_bytes: int | None) -> tuple[Limit | None, ...]:
    return (reading.overhead_bytes, reading.upper_bound_bytes, reading.ram_resident_bytes, limit, grant_bytes)


def _moved(old: Limit | None, new: Limit | None) -> bool:
    """True when a figure moved by more than max(1 MiB, 1 %) of what it was, or became known or unknown."""
    if old is None or new is None or isinstance(old, Unlimited) or isinstance(new, Unlimited):
        return old != new
    return abs(new - old) > max(MIB, old // 100)
