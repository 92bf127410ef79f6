"""``learned``: what a policy without memory expects, corrected by the peaks this host has seen. Pure.

From the roughest likeness to the finest the figure moves to what guests of that likeness came to where there are as
many samples as the wanted share takes (59 for 19 of 20). Fewer raise it, in proportion; they lower it only where
nothing rougher, nor what it starts from, promises anything yet: a promise is not given up for a guess.

A miss raises it at once: for the guest that missed, and for all of its shape while they are too few for a promise or
miss more often than was promised. The correction is of the peak that was seen, never of an earlier correction, so that
several misses in a row do not multiply. What is promised of the result, and by which samples, is
said with it (``promise``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice

from guestroom.guest import Guest
from guestroom.lives import Life, Likeness, Promised
from guestroom.size import promise
from guestroom.size.history import FULL_S, LEAST_RUN_S, History, Level, Measured
from guestroom.size.likeness import likeness
from guestroom.size.measured_model import MODEL
from guestroom.size.model import Estimate, Part, Sizing
from guestroom.size.promise import Promise
from guestroom.size.registry import DEFAULT_COVERAGE, estimate, promising_policy, ram_of, summed
from guestroom.units import MIB, PAGE_BYTES, format_bytes, round_up

NAME = "learned"
PRIOR = "measured"
"""The policy it starts from: without a sample of this host its figure is that policy's."""
MISS_TIMES = (6, 5)
MISS_BYTES = 100 * MIB
"""After a miss: the peak that was seen times 6/5, or 100 MiB more, whichever is larger."""
MISS_LIVES = 10
"""So many later lives within the missed peak end that: from then on the samples speak for themselves."""
LATELY_LIVES = 20
"""Among so many newest lives of a shape more misses than usual mean that something has changed."""
KIN_WIDER = 1.25
"""Peaks on another QEMU or accelerator are taken for a quarter more than they were."""
KIN_MOST = 0.5
"""And move the figure halfway at most, however many they are."""


@dataclass(frozen=True, slots=True)
class Step:
    """What the samples of one likeness did to the figure."""

    level: Level
    samples: int
    counted: float
    bytes: int
    """What they say by themselves."""
    moved_to_bytes: int
    """The figure after them."""


@dataclass(frozen=True, slots=True)
class Learned:
    """A figure with all that it follows from."""

    estimate: Estimate
    promise: Promise
    likeness: Likeness
    prior: Estimate
    prior_name: str
    """Which policy that is, of which study."""
    unit_bytes: int
    """What the prior says for the usual coverage: peaks are held against that."""
    steps: tuple[Step, ...]
    recent: Life | None
    """The life of this very guest that keeps the figure up, if one does."""
    miss: Life | None
    """The miss that keeps the figure up, if one does."""

    def promised(self, binary: str = "") -> Promised:
        """What is to be written down of it, for being held against the peak later."""
        made = self.promise
        return Promised(
            policy=NAME,
            overhead_bytes=self.estimate.overhead_bytes,
            likeness=self.likeness,
            prior=self.prior_name,
            prior_bytes=self.unit_bytes,
            wanted_coverage=made.wanted,
            coverage=made.coverage,
            level=made.level,
            samples=made.samples,
            binary=binary,
        )

    def why(self) -> tuple[str, ...]:
        """Where the figure comes from, a sentence each."""
        shown = [f"{self.prior.policy} without any sample: {format_bytes(self.prior.overhead_bytes)}"]
        for step in self.steps:
            count = f"{step.samples} sample{'s' if step.samples != 1 else ''}"
            old = f" that count as {step.counted:.0f}" if step.counted < step.samples - 0.5 else ""
            shown.append(
                f"{step.level}: {count}{old} say {format_bytes(step.bytes)}; the figure becomes "
                f"{format_bytes(step.moved_to_bytes)}"
            )
        if self.recent is not None:
            shown.append(f"this very guest peaked at {format_bytes(self.recent.peak_bytes)} lately: not less than that")
        if self.miss is not None:
            peak, promised = self.miss.peak_bytes, self.miss.promised.overhead_bytes
            shown.append(
                f"{self.miss.guest} peaked at {format_bytes(peak)} where {format_bytes(promised)} were promised: "
                f"{format_bytes(after_miss(self.miss))} until {MISS_LIVES} lives stayed within that peak"
            )
        return (*shown, self.promise.words)


@promising_policy(NAME)
def _without_history(guest: Guest, ram_bytes: int, coverage: float) -> Sizing:
    """What it starts from: without a history of a host there is nothing to correct it by."""
    prior = estimate(guest, PRIOR, coverage=coverage)
    parts = (Part(one.name, one.bytes, f"{one.source} (policy {PRIOR}; no history is given)") for one in prior.parts)
    return Sizing(tuple(parts), prior.warnings, prior.promise)


def reference(guest: Guest, prior: str = PRIOR) -> tuple[str, int]:
    """What peaks are held against: which policy exactly, and its figure in bytes for the usual coverage.

    Another study's figures are another measure: its day belongs to the name.
    """
    name = f"{prior}, study of {MODEL.study}" if prior == "measured" else prior
    return name, estimate(guest, prior).overhead_bytes


def learn(
    guest: Guest,
    history: History,
    now_s: float,
    *,
    qemu: str | None = None,
    coverage: float = DEFAULT_COVERAGE,
    prior: str = PRIOR,
) -> Learned:
    """The overhead ``guest`` will stay within with probability ``coverage``, by what this host has seen of its like.

    ``now_s``: seconds since the epoch, by which samples age. ``qemu``: the version that will run it, None where that is
    not known: then it can only borrow. ``prior``: the policy corrected. Raises ``InputError`` as ``estimate`` does.
    """
    ram_bytes, first = ram_of(guest), estimate(guest, prior, coverage=coverage)
    like, (prior_name, unit_bytes) = likeness(guest, qemu), reference(guest, prior)
    figure, steps, found = _blend(guest.name, like, first, (prior_name, unit_bytes), history, now_s, coverage)
    recent = _recent(guest.name, like, history, now_s)
    miss = _worst_miss(guest.name, like, found, history, now_s, coverage)
    least = max(recent.peak_bytes if recent else 0, after_miss(miss) if miss else 0)
    size_bytes = max(math.ceil(figure), least)
    if size_bytes != first.overhead_bytes:
        size_bytes = round_up(size_bytes, PAGE_BYTES)
    made = _promise(found, first, size_bytes, coverage)
    return Learned(
        estimate=summed(NAME, ram_bytes, Sizing(_parts(first, size_bytes), _warnings(first), made)),
        promise=made,
        likeness=like,
        prior=first,
        prior_name=prior_name,
        unit_bytes=unit_bytes,
        steps=steps,
        recent=recent if recent is not None and recent.peak_bytes > figure and recent.peak_bytes >= least else None,
        miss=miss if miss is not None and after_miss(miss) > figure and after_miss(miss) >= least else None,
    )


def after_miss(life: Life) -> int:
    """What a guest like that one gets after it, in bytes: from the peak that was seen alone."""
    times, of = MISS_TIMES
    return max(life.peak_bytes * times // of, life.peak_bytes + MISS_BYTES)


_Found = dict[Level, tuple[Measured, float]]
"""The samples of each likeness, and how many bytes a score of 1 is."""


def _blend(
    name: str | None,
    like: Likeness,
    first: Estimate,
    reference: tuple[str, int],
    history: History,
    now_s: float,
    coverage: float,
) -> tuple[float, tuple[Step, ...], _Found]:
    """The prior, moved by one likeness after another."""
    figure, steps, found = float(first.overhead_bytes), [], _Found()
    prior_name, unit_bytes = reference
    sure = first.promise is not None
    for level in Level:
        if level is Level.GUEST and name is None:
            continue
        measured = history.measured(level, name, like, prior_name, now_s)
        n = math.floor(measured.counted + 1e-9)
        if n == 0:
            continue
        unit = 1.0 if level.is_exact else float(unit_bytes)
        found[level] = measured, unit
        rank = promise.sure_rank(n, coverage) or n
        says = measured.at(rank / n) * unit * (KIN_WIDER if level.is_kin else 1.0)
        enough = n >= promise.needed(coverage) and not level.is_kin
        if enough:
            figure, sure = says, True
        elif says > figure or not sure:
            figure += (says - figure) * min(n / promise.needed(coverage), KIN_MOST if level.is_kin else 1.0)
        figure = max(figure, _at_least(level, measured, unit, n, coverage))
        steps.append(Step(level, len(measured.scores), measured.counted, math.ceil(says), math.ceil(figure)))
    return figure, tuple(steps), found


def _at_least(level: Level, measured: Measured, unit: float, n: int, coverage: float) -> float:
    """What a likeness raises the figure to without waiting for as many samples as a promise takes.

    Where descriptions are the same, all of a few samples; where they are only alike, as soon as conformal prediction
    has a quantile at all (19 samples for 19 of 20). It never lowers by so few.
    """
    if level.is_kin:
        return 0.0
    rank = promise.conformal_rank(n, coverage)
    if rank is not None:
        return measured.at(rank / n) * unit
    return measured.scores[-1] * unit if level.is_exact else 0.0


def _recent(name: str | None, like: Likeness, history: History, now_s: float) -> Life | None:
    """The life of this very guest that peaked highest lately, however short it was."""
    if name is None:
        return None
    lives = history.group(Level.GUEST, name, like, now_s)
    fresh = [life for life in lives if now_s - life.at_wall_s <= FULL_S]
    return max(fresh, key=lambda life: (life.peak_bytes, life.at_wall_s), default=None)


def _worst_miss(
    name: str | None, like: Likeness, found: _Found, history: History, now_s: float, coverage: float
) -> Life | None:
    """The miss that asks for most and is not answered by enough later lives of its shape within its peak.

    Of a shape with enough samples one in twenty is expected to miss a promise of 19 of 20, which is no news for the
    others: there it is a miss of this very guest, unless lately too many missed.
    """
    shape = found.get(Level.SHAPE)
    few = shape is None or shape[0].counted + 1e-9 < promise.needed(coverage)
    lately = history.newest(like, LATELY_LIVES)
    unusual = sum(life.missed for life in lately) > promise.usual_misses(len(lately), coverage)
    worst: Life | None = None
    for life, later in history.misses(like, now_s):
        if life.guest != name and not few and not unusual:
            continue
        if worst is not None and life.peak_bytes <= worst.peak_bytes:
            continue
        within = (one for one in later if one.ran_s >= LEAST_RUN_S and one.peak_bytes <= life.peak_bytes)
        if len(tuple(islice(within, MISS_LIVES))) < MISS_LIVES:
            worst = life
    return worst


def _promise(found: _Found, first: Estimate, size_bytes: int, coverage: float) -> Promise:
    """By the finest likeness with enough samples, else by what it starts from, else by the one with most samples.

    Which one is chosen by numbers of samples, not by what they say, so that the choice does not bias it; but the prior
    speaks no longer where a sample of this host is above the figure. Borrowed samples promise nothing.
    """
    own = {level: one for level, one in found.items() if not level.is_kin}
    enough = [level for level, (one, _) in own.items() if one.counted + 1e-9 >= promise.needed(coverage)]
    level = enough[-1] if enough else max(own, key=lambda level: own[level][0].counted, default=None)
    above = any(one.within(size_bytes / unit) < one.counted - 1e-9 for one, unit in own.values())
    if not enough and first.promise is not None and size_bytes >= first.overhead_bytes and not above:
        return first.promise
    if level is None:
        return promise.none(coverage)
    measured, unit = own[level]
    within = measured.within(size_bytes / unit)
    return promise.made(coverage, measured.counted, len(measured.scores), within, str(level))


def _warnings(first: Estimate) -> tuple[str, ...]:
    """What the prior had to assume; what it says about starving is said anew of the new figure."""
    return tuple(one for one in first.warnings if "would not live" not in one)


def _parts(first: Estimate, size_bytes: int) -> tuple[Part, ...]:
    """The prior's parts and what was learned; where less was seen, its parts scaled, so that none is negative."""
    more = size_bytes - first.overhead_bytes
    if more >= 0:
        return (*first.parts, Part("learned", more, f"peaks of this host, held against {first.policy}"))
    times = size_bytes / first.overhead_bytes
    scaled = [
        Part(one.name, one.bytes * size_bytes // first.overhead_bytes, f"{one.source}; times {times:.2f} by peaks here")
        for one in first.parts
    ]
    return (*scaled, Part("learned", size_bytes - sum(one.bytes for one in scaled), "what rounding left"))
