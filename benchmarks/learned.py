"""What it takes ``learned`` to take one new peak in, and to size a guest by all that are remembered.

Processor time of this process. A new peak is measured one by one, with the largest of them; a size the first time after
a peak (its groups are sorted anew) and again. The ratio is to the prior's own estimate. Goal: 1 ms for a peak.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable

from benchmarks.series import Row
from guestroom.guest import Disk, Guest
from guestroom.lives import Life, Promised
from guestroom.size import History, estimate, learn, likeness
from guestroom.size.learned import PRIOR, reference
from guestroom.units import MIB

GUEST = Guest(
    name="g0",
    ram_bytes=256 * MIB,
    vcpus=1,
    machine="q35",
    accelerator="tcg",
    disks=(Disk(format="qcow2", interface="virtio-blk"),),
)


def measure(rounds: int) -> list[Row]:
    """For histories of a host's first days, of a busy one, and of as many lives as are ever kept; milliseconds."""
    return [_row(count, max(rounds, 50)) for count in (60, 3000, 20_000)]


def _row(count: int, rounds: int) -> Row:
    chance = random.Random(count)
    like, (prior, prior_bytes) = likeness(GUEST, "7.2"), reference(GUEST)
    promised = Promised("learned", 400 * MIB, like, prior, prior_bytes)

    def life(number: int) -> Life:
        peak = chance.randrange(60 * MIB, 120 * MIB)
        return Life(f"g{number % 100}", 1e9 + number, 1e9 + number + 600, 600.0, True, peak, 400 * MIB, promised)

    history = History(life(number) for number in range(count))
    added, first, again = [], [], []
    for number in range(count, count + rounds):
        new, now_s = life(number), 1e9 + number + 600
        added.append(_ms(lambda new=new: history.add(new)))  # type: ignore[misc]
        first.append(_ms(lambda now_s=now_s: learn(GUEST, history, now_s, qemu="7.2")))  # type: ignore[misc]
        again.append(_ms(lambda now_s=now_s: learn(GUEST, history, now_s, qemu="7.2")))  # type: ignore[misc]
    prior_ms = statistics.median(_ms(lambda: estimate(GUEST, PRIOR)) for _ in range(rounds))
    return {
        "lives": count,
        "peak_ms": round(statistics.median(added), 4),
        "peak_max_ms": round(max(added), 4),
        "size_ms": round(statistics.median(first), 3),
        "size_again_ms": round(statistics.median(again), 3),
        "again_over_prior": round(statistics.median(again) / prior_ms, 1),
    }


def _ms(work: Callable[[], object]) -> float:
    began_ns = time.process_time_ns()
    work()
    return (time.process_time_ns() - began_ns) / 1e6
