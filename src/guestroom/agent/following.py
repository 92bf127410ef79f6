"""Headroom and guard follow what is present: what is described, what was seen, and what that makes of both.

The headroom is the largest burst one present guest can make, by its description or as it was seen, the guard the
fastest growth seen times the measured reaction of the alarm process (``decide.headroom``). What was seen of a
guest is kept in its record, so that a restart does not forget it. What is set explicitly always wins: then only what
would have been is worked out, and shown.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from guestroom import decide
from guestroom.agent.alarm_measure import KEPT, p99
from guestroom.agent.care import Care
from guestroom.agent.deps import Deps
from guestroom.decide import Budget, Burst, HeadroomGiven, HeadroomWanted
from guestroom.decide.budget import LEAST_GUARD_BYTES, LEAST_HEADROOM_BYTES
from guestroom.facts import Accounting, GuestFacts
from guestroom.units import format_bytes

NEWS = 1.1
"""What was seen is written down again when it grew by a tenth."""


@dataclass(frozen=True, slots=True)
class Reaction:
    """The alarm process's answer, in milliseconds, the 99th percentile of each part; None: not seen yet."""

    reaction_ms: float
    wake_ms: float | None = None
    look_ms: float | None = None
    hold_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Follows:
    """What headroom and guard follow, for people and for ``/v1/host``."""

    headroom_wanted_bytes: int
    headroom_because: str
    guard_because: str
    growth_bytes_per_s: int | None
    reaction: Reaction | None
    raise_ms: float | None


class Following:
    """The headroom there is and the guard, and whom they are for."""

    def __init__(self, deps: Deps, cares: Mapping[str, Care]) -> None:
        self.deps = deps
        self._cares = cares
        self.fresh = True
        """Something was seen since the headroom was last asked about."""
        self.given_bytes = LEAST_HEADROOM_BYTES
        """The headroom that was given, where it is not set."""
        self.refused_bytes = 0
        self.reaction: Reaction | None = None
        self._before_bytes = LEAST_HEADROOM_BYTES
        self._guard_bytes: int | None = None
        self._short: tuple[int, str] | None = None
        """The refusal that was told."""
        self._told: tuple[int, int] | None = None
        """Headroom and guard as they were told."""
        self._over_s: dict[str, float] = {}
        self._raises: deque[float] = deque(maxlen=KEPT)

    # --- what was seen ---------------------------------------------------------------------------------

    def heard(self, news: Mapping[str, object]) -> bool:
        """Take ``reaction`` or ``growth`` of the alarm process; True where it was one of them."""
        match news.get("event"):
            case "reaction":
                parts = (_number(news.get(key)) for key in ("wake_ms", "look_ms", "hold_ms"))
                total = _number(news.get("reaction_ms"))
                if total is not None:
                    self.reaction = Reaction(total, *parts)
            case "growth":
                care = self._cares.get(str(news.get("name")))
                speed, burst = _number(news.get("growth_bytes_per_s")), _number(news.get("burst_bytes"))
                if care is not None and speed is not None and burst is not None:
                    self.saw(care, round(burst), round(speed))
            case _:
                return False
        return True

    def saw(self, care: Care, burst_bytes: int, bytes_per_s: int = 0) -> None:
        """Keep what was seen of a guest, in its record, where it is more than before by what is worth a write."""
        record = care.record
        burst = _more(record.burst_seen_bytes, burst_bytes)
        speed = _more(record.growth_bytes_per_s, bytes_per_s)
        if (burst, speed) == (record.burst_seen_bytes, record.growth_bytes_per_s):
            return
        self.fresh = True
        care.record = replace(record, burst_seen_bytes=burst, growth_bytes_per_s=speed)
        self.deps.late.put_guest(care.record)
        self.deps.flush()

    # --- what is wanted --------------------------------------------------------------------------------

    def wanted(self) -> HeadroomWanted:
        """The headroom those present want; it falls only when that is worth it."""
        bursts = [
            Burst(care.name, care.record.burst_bytes, care.record.burst_seen_bytes)
            for care in self._cares.values()
            if care.record.accounting is Accounting.SPLIT
        ]
        return decide.headroom_wanted(bursts, self.given_bytes)

    def with_newcomer(self, burst_bytes: int) -> int:
        """The headroom under which a newcomer is admitted: its own burst is never refused, the newcomer is."""
        own = decide.headroom_wanted([Burst("", burst_bytes)]).headroom_bytes
        return max(self.given_bytes, own)

    def fastest(self) -> Care | None:
        """The guest whose growth was the fastest seen of those present."""
        seen = [c for c in self._cares.values() if c.record.growth_bytes_per_s is not None]
        return max(seen, key=lambda care: (care.record.growth_bytes_per_s or 0, care.name), default=None)

    def guarded(self, budget: Budget) -> Budget:
        """``budget`` with the guard that was measured."""
        fastest, reaction = self.fastest(), self.reaction
        speed = fastest.record.growth_bytes_per_s if fastest is not None else None
        reaction_s = reaction.reaction_ms / 1000 if reaction is not None else None
        return decide.guarded(budget, self.deps.settings, speed, reaction_s, self._guard_bytes)

    def hold_at_bytes(self, care: Care, budget: Budget | None) -> int | None:
        """Where this guest is held for its own cap."""
        record = care.record
        if budget is None or record.adoption is not None:
            return None
        return decide.hold_at_bytes(
            record.cap_bytes,
            record.grant_bytes,
            budget.headroom_bytes,
            speed_bytes_per_s=record.growth_bytes_per_s,
            reaction_s=self.reaction.reaction_ms / 1000 if self.reaction is not None else None,
        )

    # --- what is given ---------------------------------------------------------------------------------

    def due(self, guests: Callable[[], tuple[GuestFacts, ...]], budget: Budget) -> bool:
        """Whether another headroom than the present one would be given now."""
        self.fresh = False
        want = self.wanted().headroom_bytes
        if self.deps.settings.headroom_bytes is not None or want == self.given_bytes:
            return False
        return self._given(want, guests(), budget).headroom_bytes != self.given_bytes

    def settle(self, guests: tuple[GuestFacts, ...], budget: Budget) -> None:
        """Give the headroom what is wanted, as far as no guest must keep it; the division after it makes it true."""
        self._before_bytes = self.given_bytes
        if self.deps.settings.headroom_bytes is not None:
            return
        want = self.wanted()
        found = self._given(want.headroom_bytes, guests, budget)
        self.given_bytes, self.refused_bytes = found.headroom_bytes, found.refused_bytes
        self._tell_refused(want)

    def _given(self, wanted_bytes: int, guests: tuple[GuestFacts, ...], budget: Budget) -> HeadroomGiven:
        settings, now_s = self.deps.settings, self.deps.clock.monotonic()
        return decide.headroom_given(wanted_bytes, self.given_bytes, guests, budget, settings, now_s)

    def admitted(self, budget: Budget) -> None:
        """A newcomer was let in under this headroom."""
        if self.deps.settings.headroom_bytes is None:
            self.given_bytes = max(self.given_bytes, budget.headroom_bytes)

    def undo(self) -> None:
        """The division that was to make room for it did not hold: the headroom is what it was, if that was less."""
        self.given_bytes = min(self.given_bytes, self._before_bytes)

    def taken(self, budget: Budget) -> None:
        """``budget`` is in force from now on: remember its guard, and say what is another than before."""
        settings = self.deps.settings
        headroom, guard = budget.headroom_bytes, budget.guard_bytes
        first, before = self._told is None, self._told or (LEAST_HEADROOM_BYTES, LEAST_GUARD_BYTES)
        self._told, self._guard_bytes = (headroom, guard), guard
        follows = self.view(budget)
        if settings.headroom_bytes is None and headroom != before[0]:
            change = f"{format_bytes(headroom)} now, before {format_bytes(before[0])}"
            message = f"the headroom is {change}: {follows.headroom_because}"
            numbers = {"headroom_bytes": headroom, "before_bytes": before[0], "refused_bytes": self.refused_bytes}
            self.deps.event("headroom", None, message, numbers)
        # Half of a headroom that is set is no news: it was so from the start.
        news = guard != before[1] and not (first and guard == headroom // 2)
        if settings.guard_bytes is None and news:
            message = (
                f"the guard is {format_bytes(guard)} now, before {format_bytes(before[1])}: {follows.guard_because}"
            )
            self.deps.event("guard", None, message, {"guard_bytes": guard, "before_bytes": before[1]})

    def _tell_refused(self, want: HeadroomWanted) -> None:
        """Once per wish: what no guest has to spare for it."""
        if not self.refused_bytes:
            self._short = None
            return
        if self._short == (want.headroom_bytes, want.because):
            return
        self._short = (want.headroom_bytes, want.because)
        message = (
            f"{want.because} may take {format_bytes(want.headroom_bytes)} at once, the headroom is "
            f"{format_bytes(self.given_bytes)}: the rest is what guests use; raise the reserve, or stop a guest"
        )
        numbers = {"wanted_bytes": want.headroom_bytes, "headroom_bytes": self.given_bytes}
        self.deps.event("headroom_short", want.because or None, message, numbers)

    # --- how soon a limit is raised --------------------------------------------------------------------

    def over(self, name: str, at_s: object) -> None:
        """The alarm process saw a guest above its grant at this moment (one clock for all processes)."""
        if isinstance(at_s, float):
            self._over_s[name] = at_s

    def raised(self, name: str) -> None:
        """Its limit was raised: how long that took since the alarm."""
        at_s = self._over_s.pop(name, None)
        if at_s is not None:
            self._raises.append(self.deps.clock.monotonic() - at_s)

    # --- showing ---------------------------------------------------------------------------------------

    @property
    def in_force_bytes(self) -> int:
        """The headroom that is there: one that is being made room for is not there before its steps held."""
        return self._told[0] if self._told is not None else self.given_bytes

    def view(self, budget: Budget) -> Follows:
        """What ``doctor`` and ``ps`` say of ``budget``'s headroom and guard."""
        want, fastest, reaction = self.wanted(), self.fastest(), self.reaction
        raise_s = p99(self._raises)
        return Follows(
            want.headroom_bytes,
            self._headroom_because(want, budget),
            self._guard_because(budget),
            fastest.record.growth_bytes_per_s if fastest is not None else None,
            reaction,
            None if raise_s is None else round(raise_s * 1000, 3),
        )

    def _headroom_because(self, want: HeadroomWanted, budget: Budget) -> str:
        care = self._cares.get(want.because)
        if care is None:
            reason = "the least there is"
        else:
            record, seen = care.record, care.record.burst_seen_bytes or 0
            described = record.burst_reason or format_bytes(record.burst_bytes)
            taken = f"{format_bytes(seen)} were taken at once" if seen > record.burst_bytes else described
            reason = f"{care.name}: {taken}"
        if self.deps.settings.headroom_bytes is not None:
            return f"set; not set it would be {format_bytes(want.headroom_bytes)} ({reason})"
        if self.refused_bytes:
            reason += f"; {format_bytes(self.refused_bytes)} more were wanted, which guests use"
        elif budget.headroom_bytes >= budget.reserve_bytes:
            reason += "; the whole reserve"
        return reason

    def _guard_because(self, budget: Budget) -> str:
        fastest, reaction = self.fastest(), self.reaction
        if fastest is None or reaction is None:
            reason = "the least there is" if reaction is None else "the least there is: no growth seen yet"
        else:
            speed = format_bytes(fastest.record.growth_bytes_per_s or 0)
            reason = f"{speed}/s of {fastest.name} x {reaction.reaction_ms:.1f} ms measured"
        if self.deps.settings.guard_bytes is not None:
            return f"set; {reason}"
        if fastest is not None and reaction is not None and budget.guard_bytes == LEAST_GUARD_BYTES:
            return f"the least there is; {reason}"
        if budget.guard_bytes == budget.headroom_bytes // 2:
            return f"half of the headroom; {reason}"
        return reason


def _more(before: int | None, seen: int) -> int | None:
    """The larger one, where the new one is worth writing down."""
    if seen <= 0 or (before is not None and seen <= before * NEWS):
        return before
    return seen


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
