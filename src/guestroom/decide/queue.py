"""Newcomers that wait for room: first in, first out, nobody overtakes (``on_short = wait``).

A small guest that fits would always be served before a large one that does not, and the large one would wait for
ever. So only the first of the queue is ever asked, and while somebody waits nobody else is admitted, whatever its
own ``on_short`` says (``waits_before``). The queue is a tuple of entries that hold all that is needed to ask again,
so it can be written down and read back after a restart as it is. Times are seconds of a clock that goes on over
a restart of the agent; none of those that wait survives a reboot.

Nothing here knows how admission decides: it is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from guestroom.actions import Holder, Verdict, VerdictKind
from guestroom.config import OnShort, Settings
from guestroom.decide import rules
from guestroom.decide.admit import admit
from guestroom.facts import GuestFacts, HostFacts, Newcomer
from guestroom.turns import Process, QueueEntry
from guestroom.units import format_bytes

Ask = Callable[[QueueEntry], Verdict]
"""Decides about one that waits, as if nobody waited before it."""
_MOST_HOLDERS = 3
"""Guests named as holding room; a longer list is not read."""


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
    free_bytes: int | None
    """Overhead room there is for the first; None: nobody has asked."""
    holders: tuple[Holder, ...]
    """Who holds the room, the largest grant first."""
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
    queue: Iterable[QueueEntry],
    newcomer: Newcomer,
    now_s: float,
    *,
    timeout_s: float | None,
    burst_bytes: int = 0,
    process: Process | None = None,
) -> Queue:
    """The queue with ``newcomer`` at its end; one that waits already (it came back) keeps its turn and its clock.

    Its description is the new one: what it asks for may have changed while it was away.
    """
    waiting = in_turn(queue)
    for entry in waiting:
        if entry.name == newcomer.name:
            again = replace(
                entry, newcomer=newcomer, burst_bytes=burst_bytes, timeout_s=timeout_s, process=process or entry.process
            )
            return tuple(again if one is entry else one for one in waiting)
    number = max((entry.number for entry in waiting), default=0) + 1
    return (*waiting, QueueEntry(number, newcomer, burst_bytes, now_s, timeout_s, process))


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


def overdue(queue: Iterable[QueueEntry], now_s: float) -> Queue:
    """Whose time is over."""
    return tuple(entry for entry in in_turn(queue) if entry.left_s(now_s) == 0.0)


def next_admissible(queue: Iterable[QueueEntry], ask: Ask, now_s: float, *, alone: Ask | None = None) -> Turn:
    """Whether the first may start now, who gave up, and everybody's place.

    ``ask`` is called for the first only (and for the next, where the first turns out to be impossible). A verdict
    that is neither ``refuse`` nor ``wait`` lets it start. ``alone`` (see ``could_ever_fit``) is asked when it is
    refused: if even that is a refusal, waiting would never end, and everybody behind it would wait with it.
    """
    waiting = in_turn(queue)
    expired = overdue(waiting, now_s)
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
    seen = asked.get(left[0].name) if left else None
    return Turn(tuple(left), start, expired, tuple(impossible), places(left, seen, now_s))


def places(queue: Iterable[QueueEntry], seen: Verdict | None, now_s: float) -> tuple[Place, ...]:
    """Everybody's place; ``seen`` is what the first was told, None where it was not asked."""
    waiting = in_turn(queue)
    return tuple(_place(index, waiting, seen, now_s) for index in range(len(waiting)))


def could_ever_fit(entry: QueueEntry, stays: Iterable[GuestFacts], host: HostFacts, settings: Settings) -> Verdict:
    """The verdict ``entry`` would get with nobody else here; a refusal means that waiting is in vain.

    Only what does not change by waiting counts: the host's memory, its huge page pools, the settings, the limits
    above us, and ``stays``: guests that are not ours to end, such as those let go of.
    """
    asks = replace(entry.newcomer, on_short="refuse")
    above = tuple(replace(one, other_use_bytes=0) for one in host.ancestors if one.limit_bytes is not None)
    empty = replace(host, available_bytes=None, outsiders=(), ancestors=above)
    return admit(asks, stays, empty, settings, 0.0, burst_bytes=entry.burst_bytes)


def in_line(queue: Iterable[QueueEntry], name: str, verdict: Verdict, never: Verdict, now_s: float) -> Verdict:
    """What ``name``, which is in ``queue``, is told: its ``verdict`` as if nobody waited, in the light of who waits.

    ``never`` is what ``could_ever_fit`` said. It starts only with nobody before it (no overtaking, whatever its own
    ``on_short`` says); it waits where that is what was wanted and not in vain; else it is refused.
    """
    waiting = in_turn(queue)
    index = next(i for i, entry in enumerate(waiting) if entry.name == name)
    before = waiting[:index]
    if not before and (_starts(verdict) or waiting[index].newcomer.on_short != OnShort.WAIT):
        return verdict
    if waiting[index].newcomer.on_short != OnShort.WAIT:
        return _behind(verdict, before)
    if not _starts(never):
        return in_vain(never)
    return told_to_wait(verdict, _place(index, waiting, None if before else verdict, now_s))


def told_to_wait(verdict: Verdict, place: Place) -> Verdict:
    """A verdict turned into ``wait``: the same numbers, nothing granted, and the place in place of its words."""
    return replace(
        verdict, kind=VerdictKind.WAIT, grant_bytes=0, limit_bytes=0, grants=(), recreate=(), message=place.message
    )


def in_vain(never: Verdict) -> Verdict:
    """The refusal of one that could not start on this host even alone."""
    return replace(never, message=f"{never.message}; waiting would not help: that is with nobody else here")


def gave_up(verdict: Verdict, place: Place) -> Verdict:
    """The refusal of one whose time is over, with the numbers of ``verdict``, its last."""
    waited = f"guest {verdict.name} is refused: it waited {place.waited_s:.0f} s for room"
    where = f"behind {', '.join(place.before)}" if place.before else _wanting(verdict)
    held = _held(verdict.holders)
    return replace(
        verdict,
        kind=VerdictKind.REFUSE,
        grant_bytes=0,
        limit_bytes=0,
        grants=(),
        recreate=(),
        short_of=verdict.short_of or ("queue" if place.before else ""),
        message=f"{waited} at place {place.place} of {place.of}, {where}" + (f"; {held}" if held else ""),
    )


def _behind(verdict: Verdict, before: Queue) -> Verdict:
    """Refused because others wait: what is there is theirs first."""
    names = ", ".join(entry.name for entry in before)
    verb = "waits" if len(before) == 1 else "wait"
    return replace(
        verdict,
        kind=VerdictKind.REFUSE,
        grant_bytes=0,
        limit_bytes=0,
        grants=(),
        recreate=(),
        short_of=verdict.short_of or "queue",
        message=f"guest {verdict.name} is refused: {names} {verb} for room and came first; {_wanting(verdict)}",
        advice=('set on_short = "wait": it starts in its turn', *verdict.advice),
    )


def _starts(verdict: Verdict) -> bool:
    return verdict.kind not in (VerdictKind.REFUSE, VerdictKind.WAIT)


def _place(index: int, left: Sequence[QueueEntry], seen: Verdict | None, now_s: float) -> Place:
    """Where the entry at ``index`` stands; ``seen`` is what the first was told, None where it was not asked."""
    entry, verdict = left[index], seen if index == 0 else None
    before = tuple(one.name for one in left[:index])
    need = entry.newcomer.need_bytes if verdict is None else verdict.need_bytes
    left_s = entry.left_s(now_s)
    words = [f"guest {entry.name} waits at place {index + 1} of {len(left)}"]
    if before:
        words[0] += f", behind {', '.join(before)}"
    if verdict is not None:
        words.append(_wanting(verdict))
    else:
        ram = format_bytes(entry.newcomer.ram_bytes)
        words.append(f"it asks for {format_bytes(need)} of overhead and {ram} of RAM")
    if seen is not None and seen.holders:
        words.append(_held(seen.holders))
    if left_s is not None:
        words.append(f"it gives up in {left_s:.0f} s")
    return Place(
        name=entry.name,
        place=index + 1,
        of=len(left),
        before=before,
        need_bytes=need,
        ram_bytes=entry.newcomer.ram_bytes,
        waited_s=max(0.0, now_s - entry.queued_s),
        left_s=left_s,
        short_bytes=None if verdict is None else verdict.short_bytes,
        short_of="" if verdict is None else verdict.short_of,
        free_bytes=None if seen is None else seen.left_bytes,
        holders=() if seen is None else seen.holders,
        message="; ".join(words),
    )


def _wanting(verdict: Verdict) -> str:
    """What it asks for and what there is."""
    need, short = format_bytes(verdict.need_bytes), format_bytes(verdict.short_bytes)
    match verdict.short_of:
        case "ram":
            return f"its RAM does not fit the budget, {short} are missing"
        case "memory now":
            return f"the host has too little memory at this moment, {short} are missing"
        case _:
            return f"it needs {need} of overhead, {format_bytes(verdict.left_bytes)} are free"


def _held(holders: Sequence[Holder]) -> str:
    """Who holds the room."""
    named = [f"{one.name} holds {format_bytes(one.grant_bytes)}" for one in holders[:_MOST_HOLDERS]]
    more = len(holders) - len(named)
    return ", ".join(named) + (f", {more} more hold the rest" if more else "")
