"""Made-up traces by kind and seed: hosts full of guests whose overhead moves as measured guests' overhead moves.

The sizes are those of the study (``docs/study``): 66 to 110 MiB idle, a few MiB of sway under load, and bursts of as
much as the requests in flight of an image with large clusters can take (``describe.burst``), within a tenth of a
second. Nothing here is random but by the seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from guestroom.describe import burst_bytes
from guestroom.guest import Disk, Guest, Nic
from guestroom.lab.traces import Shape, Trace
from guestroom.size import boot_floor_bytes
from guestroom.units import MIB

Points = tuple[tuple[float, int], ...]

_RAMS_MIB = (128, 128, 256, 256, 512)
_CLUSTER = 64 << 10
_LARGE_CLUSTER = MIB


@dataclass(frozen=True, slots=True)
class _Life:
    """One guest's time on the host and what it is like."""

    dice: random.Random
    from_s: float
    to_s: float
    idle_mib: int


def made_up(kind: str, *, seed: int, guests: int, length_s: float) -> Trace:
    """``guests`` that arrive within the first half of ``length_s`` seconds and stay a while, all of one ``KIND``.

    The same arguments give the same trace, on every machine: ``random.Random`` promises that for ``random()``.
    """
    shapes: dict[str, Shape] = {}
    samples: dict[str, Points] = {}
    for number in range(guests):
        name = f"g{number:03d}"
        dice = random.Random(f"{kind} {seed} {number}")  # noqa: S311 - a repeatable history, no secret
        wild = kind in ("bursty", "mixed") and dice.random() < 0.5
        guest = _guest(name, dice, wild=wild)
        assert guest.ram_bytes is not None
        burst = burst_bytes(guest)
        shapes[name] = Shape(guest.ram_bytes, 0, boot_floor_bytes(guest), burst_bytes=burst, guest=guest)
        from_s = number * length_s / 2 / guests
        to_s = min(length_s, from_s + length_s * (0.3 + 0.7 * dice.random()))
        life = _Life(dice, from_s, to_s, 66 + int(dice.random() * 44))
        samples[name] = _whole_pages(_KINDS[kind](life, burst // MIB))
    return Trace(shapes, samples)


def _guest(name: str, dice: random.Random, *, wild: bool) -> Guest:
    ram_bytes = _RAMS_MIB[int(dice.random() * len(_RAMS_MIB))] * MIB
    vcpus = 1 << int(dice.random() * 3)
    disk = Disk(
        format="qcow2",
        interface="virtio-blk",
        cluster_bytes=_LARGE_CLUSTER if wild else _CLUSTER,
        virtual_bytes=64 << 30,
        queues=1,
        queue_size=256,
    )
    return Guest(
        name=name,
        ram_bytes=ram_bytes,
        boot_ram_bytes=ram_bytes,
        vcpus=vcpus,
        machine="q35",
        arch="x86_64",
        accelerator="kvm",
        disks=(disk,),
        nics=(Nic(model="virtio-net", backend="tap"),),
    )


def _calm(life: _Life, burst_mib: int) -> Points:
    """It sways by a few MiB each minute."""
    return _steps(life, lambda at_s: life.idle_mib + life.dice.random() * 6, every_s=60)


def _bursty(life: _Life, burst_mib: int) -> Points:
    """For 2 to 20 seconds, every few minutes, it takes up to all its requests in flight can take."""
    points, at_s = [(life.from_s, life.idle_mib * MIB)], life.from_s
    while True:
        at_s += 30 + 400 * life.dice.random()
        until_s = at_s + 2 + 18 * life.dice.random()
        if until_s >= life.to_s:
            break
        size = life.idle_mib + burst_mib * (0.3 + 0.7 * life.dice.random())
        points += [(at_s, int(size * MIB)), (until_s, life.idle_mib * MIB)]
    points.append((life.to_s, points[-1][1]))
    return tuple(points)


def _growing(life: _Life, burst_mib: int) -> Points:
    """It gains 50 to 350 MiB over its life and never gives any back: a leak, or caches that fill."""
    gain_mib = 50 + 300 * life.dice.random()
    length_s = max(1.0, life.to_s - life.from_s)
    return _steps(life, lambda at_s: life.idle_mib + gain_mib * (at_s - life.from_s) / length_s, every_s=20)


def _phases(life: _Life, burst_mib: int) -> Points:
    """It works for a third of the time, 40 to 160 MiB above idle."""
    more, period_s = 40 + 120 * life.dice.random(), 300 + 900 * life.dice.random()
    return _steps(
        life, lambda at_s: life.idle_mib + (more if (at_s - life.from_s) % period_s < period_s / 3 else 0), every_s=30
    )


def _mixed(life: _Life, burst_mib: int) -> Points:
    """One of the other kinds each."""
    if burst_mib > 100:
        return _bursty(life, burst_mib)
    return (_calm, _growing, _phases)[int(life.dice.random() * 3)](life, burst_mib)


def _steps(life: _Life, size_mib: Callable[[float], float], every_s: float) -> Points:
    count = int((life.to_s - life.from_s) / every_s)
    times = [*(life.from_s + n * every_s for n in range(count + 1)), life.to_s]
    return tuple((at_s, int(size_mib(at_s) * MIB)) for at_s in times)


def _whole_pages(points: Points) -> Points:
    return tuple((round(at_s, 3), size - size % 4096) for at_s, size in points)


_KINDS: Mapping[str, Callable[[_Life, int], Points]] = {
    "calm": _calm,
    "bursty": _bursty,
    "growing": _growing,
    "phases": _phases,
    "mixed": _mixed,
}
KINDS = tuple(_KINDS)
"""Names of the kinds."""
