"""How long ``divide`` takes for 10 to a million guests, beside the textbook way on the same input in the same run.

    .venv/bin/python benchmarks/divide.py [--guests 10000 ...] [--repeat 15] [--json]

The textbook way sorts the 2n hinges as fractions scaled to integers and sweeps them with running sums; it is exact
as well and gives only page counts, no validated input and no grant objects. Both are timed by the processor time of
this process, so that other load on the machine disturbs little, and the best and the median of the runs are shown.
Nothing is asserted here: ``tests/performance`` judges ratios.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable

from guestroom.decide import Claim, divide
from guestroom.units import MIB, PAGE_BYTES, pages_down, pages_up

SCALE = 110
"""Bits that keep different fractions of 53-bit parts apart."""


def some_claims(count: int, *, capped: float = 1.0, seed: int = 1) -> tuple[int, list[Claim]]:
    """``count`` guests of 64 MiB to 64 GiB with floors of 30 to 400 MiB and caps above, and half of what they claim."""
    pick = random.Random(seed)
    claims = []
    for i in range(count):
        floor = pick.randrange(30 * MIB, 400 * MIB)
        cap = floor + pick.randrange(PAGE_BYTES * 2, 600 * MIB) if pick.random() < capped else None
        claims.append(Claim(f"guest-{i}", pick.randrange(64, 65536) * MIB, floor, cap))
    low = sum(claim.floor_bytes for claim in claims)
    high = sum(claim.floor_bytes + 300 * MIB if claim.cap_bytes is None else claim.cap_bytes for claim in claims)
    return (low + high) // 2, claims


def textbook(reserve_bytes: int, claims: list[Claim]) -> list[int]:
    """Pages of each grant by sorting all hinges; the floors must fit and some guest must be able to grow."""
    floors = [pages_up(claim.floor_bytes) for claim in claims]
    caps = [None if claim.cap_bytes is None else pages_down(claim.cap_bytes) for claim in claims]
    hinges = [((floor << SCALE) // c.weight, floor, c.weight) for c, floor in zip(claims, floors, strict=True)]
    hinges += [
        ((cap << SCALE) // c.weight, -cap, -c.weight) for c, cap in zip(claims, caps, strict=True) if cap is not None
    ]
    hinges.sort()
    top, bottom = pages_down(reserve_bytes) - sum(floors), 0
    for _, value, width in hinges:
        if abs(value) * bottom >= top * abs(width):
            break
        top, bottom = top + value, bottom + width
    shares = (max(floor, top * c.weight // bottom) for c, floor in zip(claims, floors, strict=True))
    return [share if cap is None else min(share, cap) for share, cap in zip(shares, caps, strict=True)]


def best_and_median_ms(work: Callable[[], object], repeat: int) -> tuple[float, float]:
    """Processor time of ``work`` in milliseconds."""
    took = []
    for _ in range(repeat):
        start = time.process_time()
        work()
        took.append((time.process_time() - start) * 1e3)
    return min(took), statistics.median(took)


def measure(count: int, repeat: int) -> dict[str, float | int]:
    """One row of the table."""
    reserve, claims = some_claims(count)
    fast = [grant.grant_bytes // PAGE_BYTES for grant in divide(reserve, claims).grants]
    if fast != textbook(reserve, claims):
        raise SystemExit(f"divide and the textbook way disagree for {count} guests")
    best, median = best_and_median_ms(lambda: divide(reserve, claims), repeat)
    base_best, base_median = best_and_median_ms(lambda: textbook(reserve, claims), repeat)
    return {
        "guests": count,
        "divide_best_ms": round(best, 3),
        "divide_median_ms": round(median, 3),
        "textbook_best_ms": round(base_best, 3),
        "textbook_median_ms": round(base_median, 3),
        "textbook_over_divide": round(base_best / best, 2),
        "us_per_guest": round(best * 1e3 / count, 3),
    }


def main() -> None:
    """Print the series."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--guests", type=int, nargs="+", default=[10, 100, 1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [measure(count, options.repeat if count <= 100_000 else 3) for count in options.guests]
    if options.json:
        print(json.dumps(rows))
        return
    print(f"{'guests':>9} {'divide ms':>20} {'textbook ms':>20} {'ratio':>6} {'us/guest':>9}")
    for row in rows:
        fast = f"{row['divide_best_ms']:.3f} / {row['divide_median_ms']:.3f}"
        base = f"{row['textbook_best_ms']:.3f} / {row['textbook_median_ms']:.3f}"
        print(f"{row['guests']:>9} {fast:>20} {base:>20} {row['textbook_over_divide']:>6} {row['us_per_guest']:>9}")


if __name__ == "__main__":
    main()
