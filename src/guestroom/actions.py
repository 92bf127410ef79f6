"""What is to be done and what was decided: data, each with its reason and its numbers.

A decision returns these, never does them (``apply`` does) and never raises for an expected outcome. The
unions are closed: every ``match`` over them ends in ``assert_never``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from guestroom.units import Limit


class Bound(StrEnum):
    """What a grant is bound by."""

    FLOOR = "floor"
    CAP = "cap"
    SHARE = "share"


@dataclass(frozen=True, slots=True)
class Grant:
    """One guest's share of the reserve."""

    name: str
    grant_bytes: int
    bound: Bound


@dataclass(frozen=True, slots=True)
class SetLimit:
    """Set a guest's wall (its only limit) together with the grant it stands for."""

    name: str
    from_bytes: Limit | None
    to_bytes: int
    grant_from_bytes: int
    grant_to_bytes: int
    floor_bytes: int
    """Guest RAM in full + floor: the least this write may say (promise P2)."""
    reason: str

    @property
    def is_shrink(self) -> bool:
        """True where the write lowers the limit; from unlimited or unknown counts as a shrink."""
        return not isinstance(self.from_bytes, int) or self.to_bytes < self.from_bytes


@dataclass(frozen=True, slots=True)
class SetWall:
    """Set the host wall: the limit of the parent cgroup of all guests with split accounting."""

    from_bytes: Limit | None
    to_bytes: int
    reason: str

    @property
    def is_shrink(self) -> bool:
        """True where the write lowers the wall."""
        return not isinstance(self.from_bytes, int) or self.to_bytes < self.from_bytes


@dataclass(frozen=True, slots=True)
class MakeGuest:
    """Make the cgroups of a newcomer and set its limit before anything runs in them."""

    name: str
    limit_bytes: int
    grant_bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Hold a guest still by the freezer."""

    name: str
    over_bytes: int
    """Overhead above its grant."""
    headroom_left_bytes: int
    guard_bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class LetGo:
    """Let a held guest go on."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class StopGuest:
    """Ask the guest's own ``run`` to stop it and start it again under a lower limit."""

    name: str
    grant_bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class StartGuest:
    """Let the newcomer start: carried out by the launch, after every step before it held."""

    name: str
    grant_bytes: int
    limit_bytes: int
    reason: str


Action = SetLimit | SetWall | MakeGuest | Hold | LetGo | StopGuest | StartGuest


def others_rely_on(action: Action) -> bool:
    """Whether later steps of a plan count on this one: what gives room or makes the place they use.

    A raise, a hold or a release that fails leaves the others as good as they were.
    """
    match action:
        case SetLimit():
            return action.is_shrink or action.grant_to_bytes < action.grant_from_bytes
        case SetWall() | MakeGuest() | StopGuest():
            return True
        case Hold() | LetGo() | StartGuest():
            return False
        case _:
            assert_never(action)


class VerdictKind(StrEnum):
    """What is decided about a newcomer."""

    ADMIT = "admit"
    SQUEEZE = "squeeze"
    REFUSE = "refuse"
    RECREATE = "recreate"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds room, and how much of it would come back if it were not there or used only its floor."""

    name: str
    grant_bytes: int
    floor_bytes: int | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a newcomer, with its numbers; ``grants`` are everybody's after it (empty when refused)."""

    kind: VerdictKind
    name: str
    need_bytes: int
    grant_bytes: int
    limit_bytes: int
    left_bytes: int
    """Overhead room that was left for it within the floors of the others."""
    short_bytes: int
    """What was missing for its need; 0 when admitted."""
    short_of: str
    """``overhead``, ``ram``, ``memory now`` or ``""``: which room was short."""
    grants: tuple[Grant, ...]
    holders: tuple[Holder, ...]
    recreate: tuple[str, ...]
    """Guests that are stopped and started again for it."""
    advice: tuple[str, ...]
    """What would make room, a sentence each."""
    message: str


class OutcomeKind(StrEnum):
    """How a step ended."""

    DONE = "done"
    BUSY = "busy"
    INTERRUPTED = "interrupted"
    INVALID = "invalid"
    VANISHED = "vanished"
    NOT_PERMITTED = "not_permitted"
    READ_BACK = "read_back"
    FAILED = "failed"
    SKIPPED = "skipped"
    """Not tried, because a step it depends on failed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What carrying out one action gave."""

    action: Action
    kind: OutcomeKind
    detail: str
    found_bytes: Limit | None = None
    """The limit read back, where the action sets one."""

    @property
    def ok(self) -> bool:
        """True when the action holds."""
        return self.kind is OutcomeKind.DONE
