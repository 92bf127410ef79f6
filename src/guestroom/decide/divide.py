"""Weighted max-min division of a reserve, exactly (promise P7).

grant_i = clamp(lambda * weight_i, floor_i, cap_i) with the largest lambda whose sum fits (DESIGN, The
division). Floors round up to pages, caps and the reserve round down, lambda is the exact rational solution
in pages, and each share is rounded down: rounding down keeps every property of the division, any rounding
that hands out the last pages breaks monotonicity (measured on 20,000 random cases, largest remainder 550 times).

How it is fast: the sum as a function of lambda only bends at the 2n *hinges* floor_i/weight_i and
cap_i/weight_i, so lambda is found like a median, by halving the hinges that may still matter, with every
pass over them in C. Hinges are ordered by their correctly rounded floats: rounding is monotone, so a smaller
float is a smaller fraction, and only *equal* floats say nothing. What is found is therefore checked by cross
multiplication of the hinges beside it, and in the rare case that equal floats hid an order the search is
done again with exact integer keys. No result ever depends on a float.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import compress, repeat
from math import inf
from operator import lt, neg, truediv
from typing import TYPE_CHECKING, NamedTuple

from guestroom.actions import Bound, Grant
from guestroom.errors import ClaimsError
from guestroom.units import MAX_JSON_INT, PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

_KEY_BITS = 2 * 53 + 4
"""Two different fractions with parts below 2^53 differ by more than 2^-106, so scaled by 2^110 and rounded
down they are still different integers in the same order."""

_SAMPLE = 512
"""Hinges that are simply sorted; of more, this many are looked at to bracket lambda."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One guest's claim on the reserve: at least its floor, at most its cap (None: no cap), between them by weight."""

    name: str
    weight: int
    floor_bytes: int
    cap_bytes: int | None


@dataclass(frozen=True, slots=True)
class Division:
    """How the reserve is divided; ``grants`` in the order of the claims, empty where the floors do not fit."""

    feasible: bool
    short_bytes: int
    """Rounded floors less the rounded reserve where infeasible, else 0."""
    unused_bytes: int
    """The reserve as given less the sum of the grants."""
    grants: tuple[Grant, ...]


def divide(reserve_bytes: int, claims: Iterable[Claim], page_bytes: int = PAGE_BYTES) -> Division:
    """Divide ``reserve_bytes`` among ``claims`` by weighted max-min between floors and caps, in whole pages.

    A floor sum above the reserve is an answer (``feasible`` False with the shortfall), not an error. A grant's
    ``bound`` is ``floor`` where it equals the rounded floor, else ``cap`` where it equals the rounded cap, else
    ``share``. Raises ``ClaimsError`` for anything that is not an integer from 0 to 2^53 - 1, a weight or page
    size below 1, a name twice, or a cap that is below its floor once both are rounded.
    """
    claims = tuple(claims)
    names = [claim.name for claim in claims]
    weights = [claim.weight for claim in claims]
    floors = [claim.floor_bytes for claim in claims]
    caps = [claim.cap_bytes for claim in claims]
    _check_numbers(reserve_bytes, page_bytes, claims, weights, floors, caps)
    floor_pages = [(floor + page_bytes - 1) // page_bytes for floor in floors]
    cap_pages = [None if cap is None else cap // page_bytes for cap in caps]
    reserve_pages = reserve_bytes // page_bytes
    _check_claims(names, floor_pages, cap_pages, page_bytes)
    short_pages = sum(floor_pages) - reserve_pages
    if short_pages > 0:
        return Division(False, short_pages * page_bytes, reserve_bytes, ())
    pages = _grant_pages(reserve_pages, weights, floor_pages, cap_pages)
    by_floor, by_cap, by_share = Bound.FLOOR, Bound.CAP, Bound.SHARE
    bounds = [
        by_floor if grant == floor else by_cap if grant == cap else by_share
        for grant, floor, cap in zip(pages, floor_pages, cap_pages, strict=True)
    ]
    grants = [grant * page_bytes for grant in pages]
    return Division(True, 0, reserve_bytes - sum(grants), _grants(names, grants, bounds))


def _grants(names: Sequence[str], grants: Sequence[int], bounds: Sequence[Bound]) -> tuple[Grant, ...]:
    """The grants as objects.

    A frozen dataclass sets each field through ``object.__setattr__`` in Python, which for 10,000 grants
    costs more than the division itself; setting the slots through their descriptors gives the same objects.
    """
    made = tuple(map(object.__new__, repeat(Grant, len(names))))
    slots: tuple[tuple[Callable[..., None], Sequence[object]], ...] = (
        (vars(Grant)["name"].__set__, names),
        (vars(Grant)["grant_bytes"].__set__, grants),
        (vars(Grant)["bound"].__set__, bounds),
    )
    for set_slot, column in slots:
        deque(map(set_slot, made, column), maxlen=0)
    return made


def _grant_pages(
    reserve: int, weights: Sequence[int], floors: Sequence[int], caps: Sequence[int | None]
) -> Sequence[int]:
    """Pages of each grant; the floors are known to fit."""
    if sum(floors) == reserve:
        return floors
    if None not in caps:
        all_caps = [cap for cap in caps if cap is not None]
        if sum(all_caps) <= reserve:
            return all_caps
    numerator, denominator = _level(reserve, weights, floors, caps)
    return _rounded_shares(numerator, denominator, weights, floors, caps)


def _rounded_shares(
    numerator: int, denominator: int, weights: Sequence[int], floors: Sequence[int], caps: Sequence[int | None]
) -> list[int]:
    """Each clamp(lambda * weight, floor, cap) rounded down; the bounds are whole pages, so rounding comes first."""
    return [
        floor if (share := numerator * weight // denominator) <= floor else share if cap is None or share < cap else cap
        for weight, floor, cap in zip(weights, floors, caps, strict=True)
    ]


def _level(reserve: int, weights: Sequence[int], floors: Sequence[int], caps: Sequence[int | None]) -> tuple[int, int]:
    """The exact lambda as (numerator, denominator), where sum(floors) < reserve < sum(caps)."""
    cap_values: Sequence[int] = [cap for cap in caps if cap is not None]
    cap_widths = weights
    if len(cap_values) < len(weights):
        cap_widths = [weight for weight, cap in zip(weights, caps, strict=True) if cap is not None]
    # The sign of a cap's hinge is in both parts, so the fraction is still cap/weight.
    values, widths = [*floors, *map(neg, cap_values)], [*weights, *map(neg, cap_widths)]
    rise = reserve - sum(floors)
    floats = [*map(truediv, floors, weights), *map(truediv, cap_values, cap_widths)]
    found = _search(rise, _Hinges(floats, values, widths), exact=False)
    if found is None:
        keys = [(value << _KEY_BITS) // width for value, width in zip(values, widths, strict=True)]
        found = _search(rise, _Hinges(keys, values, widths), exact=True)
    assert found is not None, "exact keys hide no order"
    return found


class _Hinges(NamedTuple):
    """Where the sum over all guests bends, as columns; ``keys`` are in the order of |value| / |width|.

    sum(lambda) - sum(floors) = lambda * W - V, with W and V the sums of the (signed) widths and values of the
    hinges below lambda: a floor's hinge adds its guest's weight to the slope, a cap's takes it away.
    """

    keys: Sequence[float]
    values: list[int]
    widths: list[int]

    def where(self, mask: list[bool]) -> _Hinges:
        """Only the hinges marked."""
        return _Hinges(
            list(compress(self.keys, mask)), list(compress(self.values, mask)), list(compress(self.widths, mask))
        )

    def walk(self, top: int, bottom: int) -> tuple[list[int], int, int, int]:
        """Hinges in order, how many of them are below lambda = top / bottom, and top and bottom with those added."""
        order = sorted(range(len(self.keys)), key=self.keys.__getitem__)
        for count, i in enumerate(order):
            value, width = self.values[i], self.widths[i]
            if abs(value) * bottom >= top * abs(width):
                return order, count, top, bottom
            top, bottom = top + value, bottom + width
        return order, len(order), top, bottom

    def bracket(self, top: int, bottom: int) -> tuple[int, int]:
        """Indices of two hinges that very likely have lambda between them, from an evenly spaced sample.

        A sample of m finds the place of lambda to about sqrt(m)/2 of its hinges; an eighth of them, centred,
        is some four times that for m = 512. No randomness: the same input takes the same way.
        """
        size, step = len(self.keys), len(self.keys) // _SAMPLE + 1
        sample = _Hinges(self.keys[::step], self.values[::step], self.widths[::step])
        m = len(sample.keys)
        order, count, _, _ = sample.walk(top * m // size, bottom * m // size)
        first, last = max(0, count - m // 16), count + m // 16
        return order[min(first, m - 1)] * step, order[min(last, m - 1)] * step

    def median(self) -> int:
        """Index of a hinge with the median key."""
        return self.keys.index(sorted(self.keys)[len(self.keys) // 2])


def _search(rise: int, hinges: _Hinges, *, exact: bool) -> tuple[int, int] | None:
    """The lambda at which the hinges' sum is ``rise``; None where equal keys (not ``exact``) hid an order that matters.

    Each round keeps the hinges strictly between the largest lambda known to give too little and the smallest
    known to give enough. ``top`` is ``rise`` + V and ``bottom`` W of those below. Where a round keeps most,
    the next splits at the true median, so the worst case is n log n.
    """
    below, above = -inf, inf
    top, bottom, misled = rise, 0, False
    while (size := len(hinges.keys)) > _SAMPLE:
        keys, values, widths = hinges
        low, high = (hinges.median(),) * 2 if misled else hinges.bracket(top, bottom)
        low_key, high_key = keys[low], keys[high]
        under = [key <= low_key for key in keys]
        low_top, low_bottom = top + sum(compress(values, under)), bottom + sum(compress(widths, under))
        between = hinges.where([low_key < key < high_key for key in keys])
        high_top, high_bottom = low_top + sum(between.values), low_bottom + sum(between.widths)
        if abs(values[low]) * low_bottom >= low_top * abs(widths[low]):
            above, hinges = low_key, hinges.where([key < low_key for key in keys])
        elif abs(values[high]) * high_bottom >= high_top * abs(widths[high]):
            top, bottom, below, above, hinges = low_top, low_bottom, low_key, high_key, between
        else:
            at_high = hinges.where([key == high_key for key in keys])
            # Where low is high its own hinges are among those under it already.
            again = low_key < high_key
            top, bottom = high_top + again * sum(at_high.values), high_bottom + again * sum(at_high.widths)
            below, hinges = high_key, hinges.where([key > high_key for key in keys])
        misled = 4 * len(hinges.keys) > 3 * size
    order, count, top, bottom = hinges.walk(top, bottom)
    if exact:
        return top, bottom
    if bottom <= 0 or not below < top / bottom < above:
        return None
    ratios = [abs(hinges.values[i]) * bottom - top * abs(hinges.widths[i]) for i in order]
    return (top, bottom) if max(ratios[:count], default=0) <= 0 <= min(ratios[count:], default=0) else None


def _check_numbers(
    reserve_bytes: int,
    page_bytes: int,
    claims: Sequence[Claim],
    weights: Sequence[int],
    floors: Sequence[int],
    caps: Sequence[int | None],
) -> None:
    """Integers in range, or ``ClaimsError``. Columns are checked whole, in C; only a bad one is searched."""
    _whole("reserve_bytes", reserve_bytes, 0, "the reserve")
    _whole("page_bytes", page_bytes, 1, "the page size")
    columns: tuple[tuple[str, Sequence[int], int], ...] = (
        ("weight", weights, 1),
        ("floor_bytes", floors, 0),
        ("cap_bytes", [cap for cap in caps if cap is not None], 0),
    )
    for field, column, least in columns:
        if not column or ({*map(type, column)} == {int} and min(column) >= least and _fit(column)):
            continue
        for claim in claims:
            value = getattr(claim, field)
            if not (field == "cap_bytes" and value is None):
                _whole(field, value, least, f"guest {claim.name!r}")


def _fit(column: Sequence[int]) -> bool:
    """All at most 2^53 - 1; of numbers that are not negative the sum, which is quicker to have, mostly says so."""
    return sum(column) <= MAX_JSON_INT or max(column) <= MAX_JSON_INT


def _whole(field: str, value: object, least: int, where: str) -> None:
    """Raise ``ClaimsError`` unless ``value`` is an integer from ``least`` to 2^53 - 1."""
    if type(value) is int and least <= value <= MAX_JSON_INT:
        return
    raise ClaimsError(
        f"{field} {value!r} is not a whole number from {least} to 2^53 - 1",
        where=where,
        numbers={field: value if isinstance(value, int | float | str) else repr(value)},
        hint=f"give {field} as an integer of at least {least}",
    )


def _check_claims(names: Sequence[str], floors: Sequence[int], caps: Sequence[int | None], page_bytes: int) -> None:
    """No name twice, no cap below its floor, or ``ClaimsError``."""
    if len(set(names)) != len(names):
        twice = next(name for name, times in Counter(names).items() if times > 1)
        raise ClaimsError(f"guest {twice!r} is given twice", where=f"guest {twice!r}", hint="give each guest once")
    if None not in caps and not any(map(lt, caps, floors)):  # type: ignore[arg-type]
        return
    for name, floor, cap in zip(names, floors, caps, strict=True):
        if cap is not None and cap < floor:
            raise ClaimsError(
                f"guest {name!r}: cap_bytes is below floor_bytes",
                where=f"guest {name!r}",
                numbers={"floor_bytes": floor * page_bytes, "cap_bytes": cap * page_bytes, "page_bytes": page_bytes},
                hint="floors round up to pages and caps down; raise the cap or lower the floor",
            )
