"""Lives of this host's guests, grouped by likeness, for ``learned``. In memory, pure, quick to add to.

What changes a guest's need (an update of QEMU or of the software inside, another use) comes with time, not with the
number of starts: so a sample counts in full for ``FULL_S``, then half as much after each further ``HALF_S``, and is
forgotten below an eighth. A window that counts starts would let one guest that restarts all day push all others out.
One life is one sample, however often it was reported: its newest report stands in for the older ones.

A guest that is restarted all day says much of itself and little of others. So where a likeness speaks for a guest that
is not in it, each guest of the shape, or each shape of the kind, counts as one sample at most, its lives in equal parts
(two-layer conformal prediction: Dunn, Wasserman and Ramdas, 2022).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import accumulate

from guestroom.lives import Life, Likeness

_DAY_S = 86_400.0
FULL_S = 14 * _DAY_S
HALF_S = 30 * _DAY_S
FORGET_S = FULL_S + 3 * HALF_S
LEAST_RUN_S = 120.0
"""A life shorter than that says only what it needed at least: it counts where it needed more than was promised."""
MOST_IN_GROUP = 4096
"""Newest samples of a group: enough for 999 of 1000 (2,995), few enough to be sorted in milliseconds."""
MOST_LIVES = 20_000
_HOUR_S = 3600.0

Key = tuple[float, str, float]
"""When, whose and which life: sorted by age, and the same whatever order lives are added in."""


class Level(StrEnum):
    """What guests have in common, from the roughest to the finest. The first two are of other QEMUs."""

    KIN_KIND = "guests of this kind on another QEMU or accelerator"
    KIN_SHAPE = "guests of this shape on another QEMU or accelerator"
    HOST = "guests on this QEMU and accelerator"
    KIND = "guests of this kind"
    SHAPE = "guests of this shape"
    GUEST = "this very guest"

    @property
    def is_kin(self) -> bool:
        """Whether it borrows from other QEMU versions and accelerators."""
        return self in (Level.KIN_KIND, Level.KIN_SHAPE)

    @property
    def unit(self) -> str | None:
        """What counts as one sample at most: ``guest`` or ``shape``; None: each life does."""
        if self is Level.GUEST:
            return None
        return "guest" if self in (Level.SHAPE, Level.KIN_SHAPE) else "shape"

    @property
    def is_exact(self) -> bool:
        """Whether all in it have the same description: then bytes compare as they are."""
        return self in (Level.SHAPE, Level.GUEST)


def weight(age_s: float) -> float:
    """What a sample of that age counts: 1 at first, 0 when it is forgotten. A clock set back makes nothing older."""
    if age_s <= FULL_S:
        return 1.0
    return 0.5 ** ((age_s - FULL_S) / HALF_S) if age_s <= FORGET_S else 0.0


def group_of(level: Level, guest: str | None, like: Likeness) -> tuple[str | None, ...]:
    """The key of the group that a guest belongs to at a level."""
    on = (like.accelerator, like.qemu)
    match level:
        case Level.KIN_KIND:
            return ("kin kind", like.kind)
        case Level.KIN_SHAPE:
            return ("kin shape", like.shape)
        case Level.HOST:
            return ("host", *on)
        case Level.KIND:
            return ("kind", like.kind, *on)
        case Level.SHAPE:
            return ("shape", like.shape, *on)
        case Level.GUEST:
            return ("guest", guest, like.shape, *on)


@dataclass(frozen=True, slots=True)
class Measured:
    """Samples of one group in order of their scores. A score is bytes, or a peak as a multiple of its prior."""

    scores: tuple[float, ...] = ()
    heavier: tuple[float, ...] = ()
    """Weight of all scores up to each."""

    @property
    def counted(self) -> float:
        """What all samples count together."""
        return self.heavier[-1] if self.heavier else 0.0

    def at(self, share: float) -> float:
        """The smallest score that ``share`` of the weight stays within; there must be a sample."""
        place = bisect_left(self.heavier, share * self.counted - 1e-9)
        return self.scores[min(place, len(self.scores) - 1)]

    def within(self, score: float) -> float:
        """The weight of the samples that stay within a score."""
        place = bisect_right(self.scores, score)
        return self.heavier[place - 1] if place else 0.0


_Scored = tuple[float, float, str]
"""Score, weight by age, and unit; an empty text where each life is one of its own."""
_Asked = tuple[str, str, str | None, float]
"""Which prior, for which accelerator and QEMU, in which hour."""


@dataclass(slots=True)
class _Group:
    keys: list[Key] = field(default_factory=list)
    missed: list[Key] = field(default_factory=list)
    asked: _Asked | None = None
    """What ``scored`` is for: it follows each life that comes or goes until something else is asked."""
    scored: list[_Scored] = field(default_factory=list)
    """Each sample, sorted."""
    measured: Measured | None = None
    """The same as it was last given out; None: something has changed."""


class History:
    """Lives by likeness. What it answers does not depend on the order they were added in."""

    def __init__(self, lives: Iterable[Life] = ()) -> None:
        self._lives: dict[tuple[str, float], Life] = {}
        self._by_age: list[Key] = []
        self._groups: dict[tuple[str | None, ...], _Group] = {}
        for life in lives:
            self.add(life)

    def __len__(self) -> int:
        return len(self._lives)

    def add(self, life: Life) -> None:
        """Take a life in, instead of an older report of it; the oldest of too many go."""
        known = self._lives.get(life.key)
        if known is not None:
            if (known.at_wall_s, known.peak_bytes) > (life.at_wall_s, life.peak_bytes):
                return
            self._drop(known)
        self._lives[life.key] = life
        insort(self._by_age, _key(life))
        for level in Level:
            group = self._groups.setdefault(_group(level, life), _Group())
            insort(group.keys, _key(life))
            if life.missed:
                insort(group.missed, _key(life))
            self._follow(level, group, life, there=True)
        if len(self._by_age) > MOST_LIVES:
            self._drop(self._lives[self._by_age[0][1:]])

    def get(self, key: tuple[str, float]) -> Life | None:
        """One life, None where it is not remembered."""
        return self._lives.get(key)

    def lives(self) -> tuple[Life, ...]:
        """All that are remembered, oldest first."""
        return tuple(self._lives[key[1:]] for key in self._by_age)

    def group(self, level: Level, guest: str | None, like: Likeness, now_s: float) -> tuple[Life, ...]:
        """The newest lives of a group that are not forgotten, oldest first; kin without those on this QEMU."""
        found = self._groups.get(group_of(level, guest, like))
        if found is None:
            return ()
        own = (like.accelerator, like.qemu)
        lives = (self._lives[key[1:]] for key in found.keys[-MOST_IN_GROUP:] if now_s - key[0] <= FORGET_S)
        if not level.is_kin:
            return tuple(lives)
        return tuple(one for one in lives if (one.promised.likeness.accelerator, one.promised.likeness.qemu) != own)

    def measured(self, level: Level, guest: str | None, like: Likeness, prior: str, now_s: float) -> Measured:
        """A group's samples: bytes where all have one description, else multiples of the prior named so.

        Ages are those of the hour's beginning: within it a sample more or less is followed and nothing sorted anew.
        """
        group = self._groups.get(group_of(level, guest, like))
        if group is None:
            return Measured()
        hour_s = now_s // _HOUR_S * _HOUR_S
        asked = (prior, like.accelerator, like.qemu, hour_s)
        if asked != group.asked:
            lives = self.group(level, guest, like, hour_s)
            found = (_score(life, asked, level) for life in lives)
            group.asked, group.scored = asked, sorted(one for one in found if one is not None)
            group.measured = None
        if group.measured is None:
            units: dict[str, float] = {}
            for _, counts, unit in group.scored:
                units[unit] = units.get(unit, 0.0) + counts
            weights = [counts / max(1.0, units[unit]) if unit else counts for _, counts, unit in group.scored]
            group.measured = Measured(tuple(one[0] for one in group.scored), tuple(accumulate(weights)))
        return group.measured

    def newest(self, like: Likeness, count: int) -> tuple[Life, ...]:
        """The last lives of guests of a shape, oldest first."""
        group = self._groups.get(group_of(Level.SHAPE, None, like))
        return tuple(self._lives[key[1:]] for key in group.keys[-count:]) if group is not None else ()

    def misses(self, like: Likeness, now_s: float) -> Iterator[tuple[Life, Iterator[Life]]]:
        """The misses of guests of a shape, the newest first, each with the lives after it, oldest first."""
        group = self._groups.get(group_of(Level.SHAPE, None, like))
        if group is None:
            return
        oldest = group.keys[-MOST_IN_GROUP:][0]
        for key in reversed(group.missed):
            if now_s - key[0] > FORGET_S or key < oldest:
                return
            after = range(bisect_right(group.keys, key), len(group.keys))
            yield self._lives[key[1:]], (self._lives[group.keys[at][1:]] for at in after)

    def qemu_of(self, binary: str) -> str | None:
        """The QEMU version that a command ran when it was last heard of."""
        for key in reversed(self._by_age):
            found = self._lives[key[1:]].promised
            if found.binary == binary and found.likeness.qemu is not None:
                return found.likeness.qemu
        return None

    def newest_qemu(self, accelerator: str) -> str | None:
        """The QEMU version that was heard of last with an accelerator."""
        for key in reversed(self._by_age):
            like = self._lives[key[1:]].promised.likeness
            if like.accelerator == accelerator and like.qemu is not None:
                return like.qemu
        return None

    def _follow(self, level: Level, group: _Group, life: Life, *, there: bool) -> None:
        """Bring a group's sorted samples to what they are with a life that came, or without one that is about to go.

        In a full group the oldest of the newest goes for it, or comes back.
        """
        if len(group.keys) <= MOST_IN_GROUP:
            self._count(level, group, life, there=there)
        elif _key(life) >= group.keys[-MOST_IN_GROUP]:
            self._count(level, group, life, there=there)
            self._count(level, group, self._lives[group.keys[-MOST_IN_GROUP - 1][1:]], there=not there)

    def _count(self, level: Level, group: _Group, life: Life, *, there: bool) -> None:
        """Put one life's score into a group's sorted samples, or take it out."""
        asked, like = group.asked, life.promised.likeness
        if asked is None or (level.is_kin and (like.accelerator, like.qemu) == asked[1:3]):
            return
        score = _score(life, asked, level)
        if score is None:
            return
        group.measured = None
        if there:
            insort(group.scored, score)
        else:
            del group.scored[bisect_left(group.scored, score)]

    def _drop(self, life: Life) -> None:
        key = _key(life)
        del self._by_age[bisect_left(self._by_age, key)]
        for level in Level:
            name = _group(level, life)
            group = self._groups[name]
            self._follow(level, group, life, there=False)
            del group.keys[bisect_left(group.keys, key)]
            if life.missed:
                del group.missed[bisect_left(group.missed, key)]
            if not group.keys:
                del self._groups[name]
        del self._lives[life.key]


def _key(life: Life) -> Key:
    return life.at_wall_s, *life.key


def _group(level: Level, life: Life) -> tuple[str | None, ...]:
    return group_of(level, life.guest, life.promised.likeness)


def _score(life: Life, asked: _Asked, level: Level) -> _Scored | None:
    """What a life says, what it counts by its age, and for what; None where it says nothing."""
    prior, _, _, now_s = asked
    counts = weight(now_s - life.at_wall_s)
    if counts == 0 or (life.ran_s < LEAST_RUN_S and not life.missed):
        return None
    unit = {None: "", "guest": life.guest, "shape": life.promised.likeness.shape}[level.unit]
    if level.is_exact:
        return float(life.peak_bytes), counts, unit
    if life.promised.prior != prior or life.promised.prior_bytes <= 0:
        return None
    return life.peak_bytes / life.promised.prior_bytes, counts, unit
