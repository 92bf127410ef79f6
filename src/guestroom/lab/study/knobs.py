"""What turning a knob saves, on the guest where it saves most, and what it does to the guest's speed.

A knob is any factor that is neither what the guest is nor what it does. Two configurations that differ in knobs only
show its gain; the one with the higher overhead is the guest it applies to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import permutations

from guestroom.lab.study.dataset import Factor
from guestroom.lab.study.matrix import DEFAULTS
from guestroom.lab.study.samples import BASE, Samples, factor
from guestroom.lab.study.stats import Estimate
from guestroom.lab.study.words import change

_GIVEN = frozenset(
    {
        "allocated",
        "backing",
        "balloon",
        "block_kib",
        "compressed",
        "depth",
        "disks",
        "filled",
        "hot_disks",
        "jobs",
        "load",
        "load_s",
        "nics",
        "ram_mib",
        "shares",
        "snapshots",
        "touch_mib",
        "usb",
        "vcpus",
        "virtual_gib",
        "vnc_clients",
    }
)
"""What a guest is and what it does: not for whoever runs it to choose."""
_CHOICES = frozenset({"cache", "cluster_kib", "format", "memory", "video"})
"""Where the default is the lean one, and what others choose costs: of the other knobs only turning is of interest."""
_AT_ONCE = 3
_MORE = 1.1
"""A set of knobs is told of where it saves this many times what its members save alone, each on its best guest."""


@dataclass(frozen=True, slots=True)
class Gain:
    """One or some knobs turned on one guest."""

    changed: tuple[tuple[str, Factor, Factor], ...]
    """Name, value before and after of each knob."""
    before: str
    """The configuration they were turned on."""
    after: str
    saved_mib: Estimate
    iops: Estimate | None
    """Logarithm of how many times the operations per second there are afterwards; None where there are none."""
    boot: Estimate | None
    """The same of the time to boot."""

    @property
    def knobs(self) -> frozenset[str]:
        """Names of the knobs."""
        return frozenset(name for name, _, _ in self.changed)

    @property
    def label(self) -> str:
        """What was turned, in words."""
        return change(self.changed)


def gains(samples: Samples) -> tuple[Gain, ...]:
    """For each knob, or set of knobs, and each value it was turned to: where it saves most; largest first."""
    if BASE not in samples:
        return ()
    best: dict[tuple[object, ...], Gain] = {}
    for before, after in permutations(sorted(samples.by_config), 2):
        changed = samples.changed(after, before)
        if not _is_turned(samples, changed):
            continue
        one = Gain(changed, before, after, samples.difference(before, after), None, None)
        key = tuple((name, here) for name, _, here in changed)
        known = best.get(key)
        if known is None or one.saved_mib.value > known.saved_mib.value:
            best[key] = one
    with_speed = (_with_speed(samples, one) for one in best.values())
    return tuple(sorted(with_speed, key=lambda one: (-one.saved_mib.value, one.before, one.after)))


def _is_turned(samples: Samples, changed: tuple[tuple[str, Factor, Factor], ...]) -> bool:
    """Whether knobs only, all from where they usually are; or one choice back to there."""
    if not 1 <= len(changed) <= _AT_ONCE or any(name in _GIVEN for name, _, _ in changed):
        return False
    base = samples.first(BASE)
    if all(there in (DEFAULTS.get(name), factor(base, name)) for name, there, _ in changed):
        return True
    name, _, here = changed[0]
    return len(changed) == 1 and name in _CHOICES and here in (DEFAULTS.get(name), factor(base, name))


def _with_speed(samples: Samples, one: Gain) -> Gain:
    iops = samples.speed(one.after, one.before, "iops")
    boot = samples.speed(one.after, one.before, "boot_s")
    return Gain(one.changed, one.before, one.after, one.saved_mib, iops, boot)


def _by_knobs(found: Iterable[Gain]) -> dict[frozenset[str], Gain]:
    """The largest gain of each knob and of each set of knobs that saves more than its members do alone."""
    kept: dict[frozenset[str], Gain] = {}
    for one in sorted(found, key=lambda one: (-one.saved_mib.value, len(one.changed))):
        kept.setdefault(one.knobs, one)
    alone = {next(iter(knobs)): one.saved_mib.value for knobs, one in kept.items() if len(knobs) == 1}

    def is_more(one: Gain) -> bool:
        parts = sum(max(0.0, alone.get(name, 0.0)) for name in one.knobs)
        return len(one.knobs) == 1 or one.saved_mib.value > _MORE * parts

    return {knobs: one for knobs, one in kept.items() if is_more(one)}


def foremost(found: Iterable[Gain], most: int) -> tuple[Gain, ...]:
    """The largest gain of each knob, as many as asked for, without those that may be none."""
    told = [one for one in _by_knobs(found).values() if one.saved_mib.value > 0 and not one.saved_mib.may_be_zero]
    return tuple(sorted(told, key=lambda one: -one.saved_mib.value)[:most])


def listed(found: Iterable[Gain]) -> tuple[Gain, ...]:
    """Each knob with each value it was turned to, and the sets that save more than their members; one way only."""
    kept = tuple(found)
    sets = set(_by_knobs(kept).values())
    saving = {frozenset(one.changed) for one in kept if one.saved_mib.value > 0}
    return tuple(
        one
        for one in kept
        if one in sets
        or (
            len(one.changed) == 1
            and (
                one.saved_mib.value > 0
                or frozenset((name, here, there) for name, there, here in one.changed) not in saving
            )
        )
    )
