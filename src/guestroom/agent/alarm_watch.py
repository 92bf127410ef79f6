"""The alarm's eyes and hands: reads the guests' figures, asks the rule, freezes and thaws, and says so.

What is compared is a guest's *unreclaimable total above its RAM*: ``rss + shmem + kernel`` of its whole cgroup less
``ram_charged_bytes``. Not what lies in ``vmm``: huge page collapse charges RAM anew to ``vmm``, and RAM that a balloon,
free page reporting or KSM gave back and that is touched again lands there too, so a guest would be held for its
own RAM. The total is also what the kernel's limits compare. Page cache is in none of it, so filling the cache holds
nobody.

No decision is made here: ``decide.hold`` and ``decide.quick`` make them. Only what this process froze itself (or was
told to take over) is ever thawed by it while the agent lives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from guestroom.actions import Hold, LetGo
from guestroom.agent.alarm_eyes import FROZEN, THAWED, eyes
from guestroom.agent.alarm_measure import Climb, Reaction
from guestroom.agent.alarm_told import decided, raised
from guestroom.agent.alarm_wire import GuestOp, WallOp
from guestroom.decide.claims import MARGIN_BYTES
from guestroom.decide.hold import Excess, hold
from guestroom.decide.quick import Asking, quick
from guestroom.errors import AgentError, HostError
from guestroom.layout import Layout

if TYPE_CHECKING:
    from guestroom.ports import Applier, Clock, Files

THAWED_WAIT_S = (0.0, 1.0, 5.0, 30.0)
"""How long a guest that somebody else let go is left alone, the first time and later; one that takes more is held."""
THAWED_STEP_BYTES = 4 << 20
"""So much is more: what a guest takes in a millisecond (measured on QEMU 7.2, TCG)."""
FREEZE_TOLD_S = 0.1
"""A hold that is not complete by then is reported as still freezing (58-92 ms in the worst load, measured)."""

LATELY_S = 1.0
"""A guest raised so short a time ago grows on, and its speed since is known."""
AHEAD_S = 0.05
"""Room for so long is a step, at that speed: twenty raises a second are enough for anybody."""

REPORT_S = 0.25
"""What was measured is told at most so often."""

Emit = Callable[[Mapping[str, object]], None]


@dataclass(slots=True)
class Watched:
    """One guest and what the alarm knows of it."""

    op: GuestOp
    held: bool = False
    over: bool = False
    climb: Climb = field(default_factory=Climb)
    raised_s: float = -math.inf
    """When it was last raised here, monotonic."""
    raised_at_bytes: int = 0
    """What it used then."""
    complaint: str | None = None
    """The last error told about it: told once, not at every look."""
    thawed: int = 0
    """How often somebody else let it go while it was held."""
    again_s: float = 0.0
    """Not held again before, unless it takes more: nobody is fought in a loop."""
    seen_bytes: int = 0
    """Its overhead at the last look; 0 where it could not be told."""
    thawed_bytes: int = 0
    """Its overhead when that was seen."""

    def soon_bytes(self, overhead_bytes: int, now_s: float) -> int:
        """What it takes in the next moment at the speed it had since its last raise; 0 where that is long ago."""
        since_s = now_s - self.raised_s
        if not 0 < since_s < LATELY_S:
            return 0
        return int((overhead_bytes - self.raised_at_bytes) / max(since_s, AHEAD_S / 2) * AHEAD_S)


@dataclass(frozen=True, slots=True)
class Freezing:
    """A hold that was asked for and is not seen complete yet."""

    hold: Hold
    since_s: float


class Watch:
    """The guests under the host wall. ``applier`` must not wait for a freeze: several are held at once."""

    def __init__(self, files: Files, layout: Layout, applier: Applier, clock: Clock, emit: Emit) -> None:
        self.wall: WallOp | None = None
        self.free_bytes = 0
        """Room the agent has lent for raises."""
        self.guests: dict[str, Watched] = {}
        self.freezing: dict[str, Freezing] = {}
        self.reaction = Reaction()
        self._report_s = -math.inf
        self._eyes = eyes(files, layout)
        self._layout = layout
        self._applier = applier
        self._clock = clock
        self._emit = emit
        self._wall_complaint: str | None = None

    # --- what the agent says ---------------------------------------------------------------------------

    def set_wall(self, op: WallOp) -> None:
        """Take the wall's numbers. Raises ``AgentError`` for another wall than ours."""
        if op.path != self._layout.memory:
            raise AgentError(f"alarm: the host wall is {self._layout.memory}, not {op.path}")
        self.wall = op

    def set_guest(self, op: GuestOp) -> None:
        """Take a guest or new numbers of one. Raises ``AgentError`` if its paths are not its own (P9)."""
        if op.memory_path != self._layout.guest(op.name) or op.freezer_path != self._layout.freezer_of(op.name):
            raise AgentError(f"alarm: guest {op.name}: {op.memory_path}, {op.freezer_path} are not its cgroups")
        known = self.guests.get(op.name)
        if known is None:
            self.guests[op.name] = Watched(op, held=op.held)
        else:
            known.op = op
            known.held = known.held or op.held

    def forget(self, name: str) -> None:
        """Drop a guest. One that is held by us is let go first: nobody else would do it."""
        guest = self.guests.pop(name, None)
        self.freezing.pop(name, None)
        if guest is not None and guest.held:
            self._applier.carry_out(LetGo(name, "no longer under care"))

    @property
    def anybody_over(self) -> bool:
        """True while a guest is above its grant or held: then it pays to look more often."""
        return any(guest.over or guest.held for guest in self.guests.values())

    # --- looking ---------------------------------------------------------------------------------------

    def look(self) -> None:
        """Read, decide, hold and let go. The hot path: a few file reads for whoever may be above its grant."""
        wall = self.wall
        if wall is None:
            return
        began_s = self._clock.monotonic()
        excesses = []
        left_bytes = self._wall_limit(wall)
        seen = [(guest, self._overhead(guest, began_s)) for guest in self.guests.values()]
        if self.free_bytes:
            self._raise(seen, began_s, woken=False)
        for guest, overhead_bytes in seen:
            op = guest.op
            guest.seen_bytes = overhead_bytes or 0
            if guest.held:
                self._still_held(guest, overhead_bytes, began_s)
            excess = Excess(op.name, op.weight, op.grant_bytes, overhead_bytes, guest.held, op.hold_at_bytes)
            excesses.append(excess)
            left_bytes -= op.ram_charged_bytes + op.grant_bytes + excess.over_bytes
            if overhead_bytes is not None:
                self._tell_over(guest, overhead_bytes, began_s)
        # What the wall leaves above everybody's RAM and grant may be less than the agent's headroom (an overcommitted
        # host); more does not count, it is the agent's to give.
        headroom_bytes = min(wall.headroom_bytes, left_bytes + sum(excess.over_bytes for excess in excesses))
        actions = hold(tuple(excesses), headroom_bytes, wall.guard_bytes)
        did = [self._hold(a, began_s) if isinstance(a, Hold) else self._let_go(a, began_s) for a in actions]
        if any(did) and (told := decided(excesses, headroom_bytes, wall.guard_bytes, actions)) is not None:
            self._emit(told)
        self.reaction.looks.append(self._clock.monotonic() - began_s)

    def report(self) -> None:
        """Tell what was measured since it was last told: the answer's time, and how guests grow.

        Not at every look of a burst: the agent writes down what it hears.
        """
        now_s = self._clock.monotonic()
        if now_s < self._report_s:
            return
        self._report_s = now_s + REPORT_S
        for guest in self.guests.values():
            if (growth := guest.climb.news(guest.op.name)) is not None:
                self._emit(growth)
        if (reaction := self.reaction.news(now_s)) is not None:
            self._emit(reaction)

    def raise_woken(self, names: Iterable[str], woke_s: float) -> None:
        """Raise those whose own alarm rang and who pass their grants, from the room that was lent."""
        guests = [self.guests[name] for name in names if name in self.guests]
        self._raise([(guest, self._overhead(guest, woke_s)) for guest in guests], woke_s, woken=True)

    def settle(self) -> None:
        """Report the holds that are complete by now, or late."""
        now_s = self._clock.monotonic()
        for name, freezing in list(self.freezing.items()):
            try:
                state = self._eyes.freezer(f"{self._layout.freezer_of(name)}")
            except HostError as error:
                del self.freezing[name]
                self._complain(self.guests.get(name), error)
                continue
            late = now_s - freezing.since_s >= FREEZE_TOLD_S
            if state != FROZEN and not late:
                continue
            del self.freezing[name]
            self.reaction.holds.append(now_s - freezing.since_s)
            self._emit(
                {
                    "event": "held",
                    "name": name,
                    "over_bytes": freezing.hold.over_bytes,
                    "headroom_left_bytes": freezing.hold.headroom_left_bytes,
                    "guard_bytes": freezing.hold.guard_bytes,
                    "took_ms": _ms(now_s - freezing.since_s),
                    "frozen": state == FROZEN,
                    "reason": freezing.hold.reason,
                }
            )

    # --- hands -----------------------------------------------------------------------------------------

    def _raise(self, seen: Iterable[tuple[Watched, int | None]], woke_s: float, *, woken: bool) -> None:
        """Write the raises that are due within the room that was lent, then tell the agent."""
        if self.wall is None:
            return
        asking = [
            Asking(
                guest.op.name,
                guest.op.ram_charged_bytes,
                overhead_bytes,
                guest.op.grant_bytes,
                guest.op.limit_bytes,
                guest.op.cap_bytes,
                guest.soon_bytes(overhead_bytes, woke_s),
            )
            for guest, overhead_bytes in seen
            if overhead_bytes is not None and overhead_bytes > guest.op.grant_bytes - MARGIN_BYTES
        ]
        by_name, headroom = {one.name: one for one in asking}, self.wall.headroom_bytes
        for action in quick(asking, self.free_bytes, headroom) if asking else ():
            asked = by_name[action.name]
            outcome = self._applier.carry_out(action)
            written_s = self._clock.monotonic()
            if not outcome.ok:
                # The agent hears that it is over, and decides with more at hand.
                self._emit({"event": "error", "name": action.name, "message": f"not raised: {outcome.detail}"})
                continue
            guest = self.guests[action.name]
            guest.op = replace(guest.op, grant_bytes=action.grant_to_bytes, limit_bytes=action.to_bytes)
            guest.raised_s, guest.raised_at_bytes = written_s, asked.overhead_bytes or 0
            told = raised(action, asked, self.free_bytes, headroom, woken=woken, woke_s=woke_s, at_s=written_s)
            self.free_bytes -= action.grant_to_bytes - action.grant_from_bytes
            self._emit(told)

    def _hold(self, action: Hold, began_s: float) -> bool:
        guest = self.guests.get(action.name)
        if guest is None or guest.held:
            return False
        if self._held_by_another(guest):
            return False
        if began_s < guest.again_s and guest.seen_bytes < guest.thawed_bytes + THAWED_STEP_BYTES:
            return False
        # Said before it is done: if this process dies in between, the agent knows what may be frozen.
        self._emit({"event": "holding", "name": action.name})
        outcome = self._applier.carry_out(action)
        guest.held = outcome.ok
        if guest.held:
            self.freezing[action.name] = Freezing(action, began_s)
        else:
            self._emit({"event": "error", "name": action.name, "message": f"could not be held: {outcome.detail}"})
        return guest.held

    def _still_held(self, guest: Watched, overhead_bytes: int | None, now_s: float) -> None:
        """See that a hold is not undone by somebody else: then it is no hold any more, and the rule decides anew."""
        if guest.op.freezer_path is None or guest.op.name in self.freezing:
            return
        try:
            thawed = self._eyes.freezer(guest.op.freezer_path) == THAWED
        except HostError as error:
            self._complain(guest, error)
            return
        if not thawed:
            return
        guest.held = False
        guest.again_s = now_s + THAWED_WAIT_S[min(guest.thawed, len(THAWED_WAIT_S) - 1)]
        guest.thawed += 1
        guest.thawed_bytes = overhead_bytes or 0
        self._emit({"event": "thawed", "name": guest.op.name, "times": guest.thawed})

    def _held_by_another(self, guest: Watched) -> bool:
        """True if somebody else froze it: it stands still already, and thawing it is not ours."""
        if guest.op.freezer_path is None:
            return False
        try:
            return self._eyes.freezer(guest.op.freezer_path) != THAWED
        except HostError as error:
            self._complain(guest, error)
            return False

    def _let_go(self, action: LetGo, began_s: float) -> bool:
        guest = self.guests.get(action.name)
        if guest is None or not guest.held:
            return False
        outcome = self._applier.carry_out(action)
        if not outcome.ok:
            self._emit({"event": "error", "name": action.name, "message": f"could not be let go: {outcome.detail}"})
            return False
        guest.held = False
        self.freezing.pop(action.name, None)
        took_ms = _ms(self._clock.monotonic() - began_s)
        self._emit({"event": "let_go", "name": action.name, "reason": action.reason, "took_ms": took_ms})
        return True

    # --- eyes ------------------------------------------------------------------------------------------

    def _wall_limit(self, wall: WallOp) -> int:
        """The host wall as the kernel has it; as told where it can't be read.

        The kernel's, because limits are written before they are told: a newcomer's RAM must never be counted against
        the wall of before.
        """
        try:
            limit_bytes = self._eyes.limit(wall.path)
        except HostError as error:
            if self._wall_complaint != error.code:
                self._wall_complaint = error.code
                self._emit({"event": "error", "name": None, "code": error.code, "message": error.line()})
            return wall.limit_bytes
        self._wall_complaint = None
        return limit_bytes

    def _overhead(self, guest: Watched, began_s: float) -> int | None:
        """Unreclaimable bytes above its RAM; for a guest whose whole usage is within RAM + grant a bound of it.

        None where it can't be read: unknown is not zero, so nothing is decided about it (P6).
        """
        op, exact = guest.op, False
        try:
            charged_bytes = self._eyes.usage(op.memory_path)
            if guest.held or charged_bytes > op.ram_charged_bytes + min(
                _quiet_bytes(op), op.grant_bytes - MARGIN_BYTES
            ):
                charged_bytes, exact = self._eyes.unreclaimable(op.name, charged_bytes), True
        except HostError as error:
            self._complain(guest, error)
            return None
        guest.complaint = None
        overhead_bytes = max(0, charged_bytes - op.ram_charged_bytes)
        guest.climb.add(began_s, self._clock.monotonic(), overhead_bytes, exact=exact)
        return overhead_bytes

    def _tell_over(self, guest: Watched, overhead_bytes: int, began_s: float) -> None:
        """Say once when a guest goes above its grant and once when it is back."""
        over = overhead_bytes > guest.op.grant_bytes
        if over != guest.over:
            guest.over = over
            self._emit(
                {
                    "event": "over" if over else "within",
                    "name": guest.op.name,
                    "overhead_bytes": overhead_bytes,
                    "grant_bytes": guest.op.grant_bytes,
                    "at_s": began_s,
                }
            )

    def _complain(self, guest: Watched | None, error: HostError) -> None:
        if guest is not None and guest.complaint != error.code:
            guest.complaint = error.code
            self._emit({"event": "error", "name": guest.op.name, "code": error.code, "message": error.line()})


def _quiet_bytes(op: GuestOp) -> int:
    """Up to this much above its RAM, page cache and all, nothing is to be decided about it."""
    return op.grant_bytes if op.hold_at_bytes is None else min(op.grant_bytes, op.hold_at_bytes - 1)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
