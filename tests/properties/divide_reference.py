"""The division once more, slowly and with fractions: written from the definition, sharing nothing with ``divide``."""

from __future__ import annotations

from fractions import Fraction


def reference(reserve: int, claims: list[tuple[int, int, int | None]]) -> list[int] | None:
    """Pages for each (weight, floor, cap) in pages; None where the floors do not fit.

    The sum is non-decreasing and linear between the hinges floor/weight and cap/weight: find the last hinge at
    which it fits, go on from there by the slope.
    """

    def total(level: Fraction) -> Fraction:
        return sum((clamp(level, claim) for claim in claims), Fraction(0))

    if sum(floor for _, floor, _ in claims) > reserve:
        return None
    bounds = [(floor, weight) for weight, floor, _ in claims]
    bounds += [(cap, weight) for weight, _, cap in claims if cap is not None]
    hinges = sorted({Fraction(0)} | {Fraction(bound, weight) for bound, weight in bounds})
    first, last = 0, len(hinges)
    while last - first > 1:
        middle = (first + last) // 2
        if total(hinges[middle]) <= reserve:
            first = middle
        else:
            last = middle
    level = hinges[first]
    slope = sum(w for w, floor, cap in claims if floor <= level * w and (cap is None or level * w < cap))
    if slope:
        level += (reserve - total(level)) / slope
    return [int(clamp(level, claim)) for claim in claims]


def clamp(level: Fraction, claim: tuple[int, int, int | None]) -> Fraction:
    """level x weight between floor and cap."""
    weight, floor, cap = claim
    share = max(Fraction(floor), level * weight)
    return share if cap is None else min(share, Fraction(cap))
