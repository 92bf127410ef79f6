"""Newcomers that wait for room: first in, first out, nobody overtakes (``on_short = wait``).

A small guest that fits would always be served before a large one that does not, and the large one would wait for
ever. So only the first of the queue is ever asked, and while somebody waits nobody else is admitted, whatever its
own ``on_short`` says (``waits_before``). The queue is a tuple of entries that hold all that is needed to ask again,
so it can be written down and read back after a restart as it is. Times are seconds since the epoch, since
they must survive a reboot.

Nothing here knows how admission decides: it is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from guestroom.actions import Verdict, VerdictKind
from guestroom.config import Settings
from guestroom.decide import rules
from guestroom.decide.admit import admit
from guestroom.facts import GuestFacts, HostFacts, Newcomer
from guestroom.units import format_bytes

Ask = Callable[["QueueEntry"], Verdict]
"""Decides about one that waits, as if nobody waited before it."""


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """One that waits, with all that is needed to decide about it again."""

    number: int
    """Its turn: lower numbers first; never used again."""
    newcomer: Newcomer
    burst_bytes: int
    """The largest burst it can make, for the headroom."""
    queued_wall_s: float
    """Since when it waits, in seconds since the epoch."""
    timeout_s: float | None
    """How long it waits at most; None: without end."""

    @property
    def name(self) -> str:
        """Whose entry this is."""
        return self.newcomer.name

    def left_s(self, now_s: float) -> float | None:
        """Seconds until it gives up, not below 0; None: never."""
        return None if self.timeout_s is None else max(0.0, self.queued_wall_s + self.timeout_s - now_s)


Queue = tuple[QueueEntry, ...]
"""Those that wait, the next one first."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one stands and what it waits for."""

    name: str
    place: int
    """1 is next."""
    of: int
    before: tuple[str, ...]
    """Who is asked before it."""
    need_bytes: int
    ram_bytes: int
    waited_s: float
    left_s: float | None
    """Until it gives up; None: never."""
    short_bytes: int | None
    """What is missing for it, known for the first only; None: nobody has asked yet."""
    short_of: str
    """Which room is short (``Verdict.short_of``), ``""`` where nobody has asked."""
    message: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One look at the queue."""

    queue: Queue
    """Those that wait on, without ``start``, ``expired`` and ``impossible``."""
    start: tuple[QueueEntry, Verdict] | None
    """The one that may start now, with its verdict. After it started (or failed), look again."""
    expired: Queue
    """Whose time is over: to be told, they are out of the queue."""
    impossible: tuple[tuple[QueueEntry, Verdict], ...]
    """Which could not start even alone on this host: refused, they are out of the queue."""
    places: tuple[Place, ...]
    """Of all in ``queue``, in order."""


def enqueue(
    queue: Iterable[QueueEntry], newcomer: Newcomer, now_s: float, *, timeout_s: float | None, burst_bytes: int = 0
) -> Queue:
    """The queue with ``newcomer`` at its end; one that waits already (it came back) keeps its turn and its clock.

    Its description is the new one: what it asks for may have changed while it was away.
    """
    waiting = in_turn(queue)
    for entry in waiting:
        if entry.name == newcomer.name:
            again = replace(entry, newcomer=newcomer, burst_bytes=burst_bytes, timeout_s=timeout_s)
            return tuple(again if one is entry else one for one in waiting)
    number = max((entry.number for entry in waiting), default=0) + 1
    return (*waiting, QueueEntry(number, newcomer, burst_bytes, now_s, timeout_s))


def leave(queue: Iterable[QueueEntry], name: str) -> Queue:
    """The queue without ``name``: it gave up, its connection ended, or it started."""
    return tuple(entry for entry in in_turn(queue) if entry.name != name)


def in_turn(queue: Iterable[QueueEntry]) -> Queue:
    """Entries as they come from the ledger, in the order of their turns."""
    return tuple(sorted(queue, key=lambda entry: entry.number))


def waits_before(queue: Iterable[QueueEntry], name: str) -> Queue:
    """Who must be served before ``name`` may be asked; all that wait where it is not in the queue itself."""
    waiting = in_turn(queue)
    own = next((entry.number for entry in waiting if entry.name == name), None)
    return tuple(entry for entry in waiting if own is None or entry.number < own)


def next_admissible(queue: Iterable[QueueEntry], ask: Ask, now_s: float, *, alone: Ask | None = None) -> Turn:
    """Whether the first may start now, who gave up, and everybody's place.

    ``ask`` is called for the first only (and for the next, where the first turns out to be impossible). A verdict
    that is neither ``refuse`` nor ``wait`` lets it start. ``alone`` (see ``could_ever_fit``) is asked when it is
    refused: if even that is a refusal, waiting would never end, and everybody behind it would wait with it.
    """
    waiting = in_turn(queue)
    expired = tuple(entry for entry in waiting if entry.left_s(now_s) == 0.0)
    left = [entry for entry in waiting if entry not in expired]
    impossible: list[tuple[QueueEntry, Verdict]] = []
    asked: dict[str, Verdict] = {}
    start: tuple[QueueEntry, Verdict] | None = None
    for entry in tuple(left):
        if not rules.may_be_asked(left.index(entry) + 1):
            break
        verdict = ask(entry)
        if _starts(verdict):
            start = (entry, verdict)
            left.remove(entry)
            break
        never = alone(entry) if alone is not None else None
        if never is not None and not _starts(never):
            impossible.append((entry, never))
            left.remove(entry)
        else:
            asked[entry.name] = verdict
    places = tuple(_place(i, left, asked.get(entry.name), now_s) for i, entry in enumerate(left))
    return Turn(tuple(left), start, expired, tuple(impossible), places)


def could_ever_fit(entry: QueueEntry, stays: Iterable[GuestFacts], host: HostFacts, settings: Settings) -> Verdict:
    """The verdict ``entry`` would get with nobody else here; a refusal means that waiting is in vain.

    Only what does not change by waiting counts: the host's memory, its huge page pools, the settings, the limits
    above us, and ``stays``: guests that are not ours to end, such as those let go of.
    """
    asks = replace(entry.newcomer, on_short="refuse")
    above = tuple(replace(one, other_use_bytes=0) for one in host.ancestors if one.limit_bytes is not None)
    empty = replace(host, available_bytes=None, outsiders=(), ancestors=above)
    return admit(asks, stays, empty, settings, 0.0, burst_bytes=entry.burst_bytes)


def told_to_wait(verdict: Verdict, place: Place) -> Verdict:
    """A refusal turned into ``wait``: the same numbers, and the place in place of the refusal's words."""
    return replace(verdict, kind=VerdictKind.WAIT, message=place.message)


def _starts(verdict: Verdict) -> bool:
    return verdict.kind not in (VerdictKind.REFUSE, VerdictKind.WAIT)


def _place(index: int, left: Sequence[QueueEntry], verdict: Verdict | None, now_s: float) -> Place:
    """Where the entry at ``index`` stands."""
    entry = left[index]
    before = tuple(one.name for one in left[:index])
    need = entry.newcomer.need_bytes if verdict is None else verdict.need_bytes
    left_s = entry.left_s(now_s)
    words = [f"guest {entry.name} waits at place {index + 1} of {len(left)}"]
    if before:
        words.append(f"behind {', '.join(before)}")
    if verdict is not None:
        words.append(f"{format_bytes(verdict.short_bytes)} of {verdict.short_of or 'room'} are missing")
    words.append(f"it asks for {format_bytes(need)} of overhead and {format_bytes(entry.newcomer.ram_bytes)} of RAM")
    if left_s is not None:
        words.append(f"it gives up in {left_s:.0f} s")
    return Place(
        name=entry.name,
        place=index + 1,
        of=len(left),
        before=before,
        need_bytes=need,
        ram_bytes=entry.newcomer.ram_bytes,
        waited_s=max(0.0, now_s - entry.queued_wall_s),
        left_s=left_s,
        short_bytes=None if verdict is None else verdict.short_bytes,
        short_of="" if verdict is None else verdict.short_of,
        message="; ".join(words),
    )
