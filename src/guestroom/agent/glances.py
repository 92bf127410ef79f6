"""The look of a sweep: two short reads a guest, and more only at those where something moved.

A thousand guests must not cost a core, and nearly all of them stand still from one second to the next. What a quiet
guest's last complete look showed still holds, but every so often each is looked at completely all the same, in turn,
so that nothing rests on a comparison alone (the end of a process, a limit somebody else wrote, the kernel's peak).
"""

from __future__ import annotations

from collections.abc import Sequence

from guestroom.agent.care import Care
from guestroom.agent.room import Room
from guestroom.decide.trend import Point
from guestroom.errors import GuestroomError
from guestroom.facts import Accounting, OverheadReading

TURN_SWEEPS = 60
"""Every guest is looked at completely at least once in so many sweeps."""
LEAST_LOOKED = 16
"""So many are each time; so on a host with no more than these, everybody is (a complete look takes half a millisecond,
measured)."""


class Glances:
    """Looks at everybody once a sweep."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.deps = room.deps
        self._next = 0
        """Whose turn it is, by place."""

    async def once(self) -> tuple[list[Care], list[Care]]:
        """Return who has a new reading, and whose limit, wall and life are worth a look."""
        room = self.room
        running = [care for care in room.cares.values() if not care.away]
        split = [care for care in running if care.record.accounting is Accounting.SPLIT]
        due = [care for care in running if care.record.accounting is not Accounting.SPLIT]
        due += self._in_turn(split)
        due += [care for care in split if care.reading is None]
        moved = await self.deps.kernel(self.deps.observer.moved, tuple(care.name for care in split))
        due_names = {care.name for care in due}
        quick = [care for care in split if care.name in moved.moved and care.name not in due_names]
        due = list({care.name: care for care in due}.values())
        found = await self.deps.kernel(self._look, due, quick)
        looked: list[Care] = []
        for care in (*due, *quick):
            seen = found[care.name]
            if room.cares.get(care.name) is not care:
                continue
            if isinstance(seen, GuestroomError):
                room.not_read(care, seen)
            else:
                await room.take(care, seen)
                looked.append(care)
        self._stand_still(split, due_names | moved.moved)
        away = [care for care in room.cares.values() if care.away]
        near = [care for care in split if care.name in moved.near and care.name not in due_names]
        return looked, [*due, *near, *away]

    def _in_turn(self, split: Sequence[Care]) -> list[Care]:
        """Those whose turn it is to be looked at completely."""
        count = min(len(split), max(LEAST_LOOKED, -(-len(split) // TURN_SWEEPS)))
        at = self._next if self._next < len(split) else 0
        self._next = at + count
        return [*split[at : at + count], *split[: max(0, at + count - len(split))]]

    def _look(self, due: Sequence[Care], quick: Sequence[Care]) -> dict[str, OverheadReading | GuestroomError]:
        """All looks of a sweep in one go: a thread's turn costs more than a look."""
        observer = self.deps.observer
        found: dict[str, OverheadReading | GuestroomError] = {}
        for look, cares in ((observer.overhead, due), (observer.quick, quick)):
            for care in cares:
                try:
                    found[care.name] = look(*care.to_observe())
                except GuestroomError as error:
                    found[care.name] = error
        return found

    def _stand_still(self, split: Sequence[Care], looked: frozenset[str] | set[str]) -> None:
        """Whoever rose before and stands still now has a trend that flattens."""
        now_s = self.deps.clock.monotonic()
        for care in split:
            points = care.points
            if care.name in looked or not points or points[-1].overhead_bytes == points[0].overhead_bytes:
                continue
            points.append(Point(now_s, points[-1].overhead_bytes))
