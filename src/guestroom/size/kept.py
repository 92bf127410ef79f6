"""Whether promises were kept: each life's peak held against what was promised at its admission. Pure.

A promise nobody checks is what every formula has. So lives are counted by who promised (the policy) and where (QEMU
and accelerator): how many stayed within it, what share of lives that is for certain, and what was granted in vain.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from guestroom.lives import Life
from guestroom.size.history import LEAST_RUN_S
from guestroom.size.promise import supported


@dataclass(frozen=True, slots=True)
class Kept:
    """The promises of one policy on one QEMU and accelerator."""

    policy: str
    qemu: str | None
    accelerator: str
    lives: int
    """Lives that ran long enough to be judged, or missed."""
    missed: int
    """Of them, those that needed more than was promised."""
    coverage: float
    """Share of lives that stayed within what was promised."""
    coverage_at_least: float
    """What that share surely is, with 95 % confidence."""
    promised_coverage: float | None
    """Mean share that was promised, over the lives that were promised one; None: none was."""
    waste_bytes: int
    """Mean of what a life was granted above its peak; one granted less than its peak wasted nothing."""
    peak_bytes: int
    """Median peak."""
    largest_miss_bytes: int
    """The most a life needed above its promise."""


def kept(lives: Iterable[Life]) -> tuple[Kept, ...]:
    """Every group's promises, by policy, QEMU and accelerator. Lives whose figure an operator set are not judged."""
    groups: dict[tuple[str, str, str], list[Life]] = {}
    for life in lives:
        if life.promised.fixed or (life.ran_s < LEAST_RUN_S and not life.missed):
            continue
        like = life.promised.likeness
        groups.setdefault((life.promised.policy, like.qemu or "", like.accelerator), []).append(life)
    return tuple(_judged(*group, groups[group]) for group in sorted(groups))


def _judged(policy: str, qemu: str, accelerator: str, lives: list[Life]) -> Kept:
    missed = sum(life.missed for life in lives)
    peaks = sorted(life.peak_bytes for life in lives)
    promised = [life.promised.coverage for life in lives if life.promised.coverage is not None]
    return Kept(
        policy=policy,
        qemu=qemu or None,
        accelerator=accelerator,
        lives=len(lives),
        missed=missed,
        coverage=1 - missed / len(lives),
        coverage_at_least=supported(len(lives), len(lives) - missed),
        promised_coverage=sum(promised) / len(promised) if promised else None,
        waste_bytes=sum(max(0, life.grant_bytes - life.peak_bytes) for life in lives) // len(lives),
        peak_bytes=peaks[(len(peaks) - 1) // 2],
        largest_miss_bytes=max(
            (life.peak_bytes - life.promised.overhead_bytes for life in lives if life.missed), default=0
        ),
    )
