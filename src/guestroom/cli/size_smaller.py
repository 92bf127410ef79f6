"""What would make a guest's overhead smaller: each change to its description, sized again by every policy.

The gain on this guest is a difference of two estimates, so a policy that does not look at a thing shows no gain from
it. What was measured apart from any policy stands beside it (QEMU 7.2, TCG; docs/study/report.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from guestroom.describe import burst_bytes
from guestroom.describe.lean import TB_GAIN_BYTES
from guestroom.guest import Disk, Guest
from guestroom.queues import has_clusters, requests_in_flight
from guestroom.size import Estimate, estimate
from guestroom.size.registry import DEFAULT_COVERAGE
from guestroom.units import MIB, format_bytes

TB_BYTES = 8 * MIB
"""The smallest code buffer that was measured to boot and run a guest."""
TB_TOUCHED_BYTES = TB_BYTES + TB_GAIN_BYTES
"""What a small guest touches of a larger one."""
QUEUE_SIZE = 32
L2_BYTES = MIB
LEAST_BYTES = MIB // 20
"""Gains that would be shown as 0.0 MiB are none."""
MEASURED = "measured"


@dataclass(frozen=True, slots=True)
class Knob:
    """One change."""

    what: str
    cost: str
    gains: tuple[tuple[str, int], ...]
    """Policy and bytes it sizes the guest smaller by; without those that don't."""
    burst_bytes: int
    """What the guest's largest burst becomes smaller by."""
    known_bytes: int | None
    """What it saved where it was measured; None where that was not, or depends on the guest."""
    known: str

    @property
    def best_bytes(self) -> int:
        """The most that it is worth by a measurement; formulas don't count."""
        measured = dict(self.gains).get(MEASURED, 0)
        return max(measured, self.known_bytes or 0)


@dataclass(frozen=True, slots=True)
class _Change:
    what: str
    cost: str
    made: Callable[[Guest], Guest]
    known_bytes: int | None = None
    known: str = ""


def smaller(guest: Guest, estimates: Sequence[Estimate], *, coverage: float = DEFAULT_COVERAGE) -> tuple[Knob, ...]:
    """Changes that any of the estimates' policies, a measurement, or the burst gains from; the best first.

    ``measured`` is asked whether it is among them or not: a formula's gain is bookkeeping. ``learned`` is not asked: it
    corrects a figure by peaks of guests as they are and can't tell what a change would do.
    """
    names = [one.policy for one in estimates if one.policy not in ("setting", "learned", MEASURED)]
    sized = {name: _overhead(guest, name, coverage) for name in (*names, MEASURED)}
    found = []
    for change in _changes(guest):
        other = change.made(guest)
        gains = tuple(
            (name, gain)
            for name, size in sized.items()
            if (gain := size - _overhead(other, name, coverage)) >= LEAST_BYTES
        )
        burst = max(0, burst_bytes(guest) - burst_bytes(other))
        if gains or burst or change.known_bytes:
            found.append(Knob(change.what, change.cost, gains, burst, change.known_bytes, change.known))
    return tuple(sorted(found, key=lambda knob: (-knob.best_bytes, -knob.burst_bytes, knob.what)))


def _overhead(guest: Guest, policy: str, coverage: float) -> int:
    return estimate(guest, policy, coverage=coverage).overhead_bytes


def _changes(guest: Guest) -> Iterator[_Change]:
    yield from _processor(guest)
    yield from _disks(guest)
    yield from _rest(guest)


def _processor(guest: Guest) -> Iterator[_Change]:
    tcg = guest.accelerator == "tcg" or (guest.accelerator is None and guest.arch in (None, "x86_64", "i386"))
    buffer = min(guest.tb_bytes or TB_TOUCHED_BYTES, TB_TOUCHED_BYTES)
    if tcg and buffer > TB_BYTES:
        yield _Change(
            f"-accel tcg,tb-size={TB_BYTES // MIB}",
            "translated code is thrown away and made again sooner",
            lambda one: replace(one, accelerator="tcg", tb_bytes=TB_BYTES),
            buffer - TB_BYTES,
            "39-43 MiB against 83-88 of the same guest",
        )
    if guest.max_vcpus and guest.vcpus and guest.max_vcpus > guest.vcpus:
        yield _Change(
            f"maxcpus={guest.vcpus}: no vCPUs to be plugged in",
            "it can't be given more while it runs",
            lambda one: replace(one, max_vcpus=one.vcpus),
        )
    if not guest.hugepages:
        yield _Change(
            "huge pages for its RAM",
            "a pool must be kept for them; KSM can't merge page by page",
            lambda one: replace(one, hugepages=True),
        )


def _disks(guest: Guest) -> Iterator[_Change]:
    writable = [disk for disk in guest.disks if has_clusters(disk) and not disk.read_only]
    if any(requests_in_flight(replace(disk, queues=1), 1) > QUEUE_SIZE for disk in writable):
        yield _Change(
            f"queue-size={QUEUE_SIZE} of its disks",
            "fewer IOPS with many small requests",
            lambda one: _with_disks(one, lambda disk: replace(disk, queue_size=QUEUE_SIZE)),
            None,
            "242 > 112 MiB with clusters of 1 MiB and 256 writes",
        )
    if any((disk.queues or guest.vcpus or 1) > 1 for disk in writable):
        yield _Change(
            "num-queues=1 of its disks",
            "fewer IOPS where several vCPUs use one disk",
            lambda one: _with_disks(one, lambda disk: replace(disk, queues=1)),
        )
    if any(disk.l2_cache_bytes is None or disk.l2_cache_bytes > L2_BYTES for disk in writable):
        yield _Change(
            "l2-cache-size=1M of its images",
            "slow random reads beyond 8 GiB of each image",
            lambda one: _with_disks(one, lambda disk: replace(disk, l2_cache_bytes=L2_BYTES)),
            None,
            "126 MiB less than the whole map of 1 TiB",
        )
    if any((disk.cluster_bytes or 0) > 64 * 1024 for disk in writable):
        yield _Change(
            "clusters of 64 KiB",
            "larger maps of each image",
            lambda one: _with_disks(one, lambda disk: replace(disk, cluster_bytes=64 * 1024)),
        )
    if writable:
        yield _Change(
            "raw instead of qcow2",
            "no snapshots, backing files or compression",
            lambda one: _with_disks(one, lambda disk: replace(disk, format="raw")),
        )
    if any(disk.cache in (None, "writeback", "unsafe", "writethrough") for disk in writable):
        yield _Change(
            "cache=none of its disks",
            "the host caches nothing; the disk's own speed shows",
            lambda one: _with_disks(one, lambda disk: replace(disk, cache="none")),
        )


def _with_disks(guest: Guest, change: Callable[[Disk], Disk]) -> Guest:
    """Every disk that is an image with clusters and written to, changed."""
    return replace(
        guest,
        disks=tuple(change(disk) if has_clusters(disk) and not disk.read_only else disk for disk in guest.disks),
    )


def _rest(guest: Guest) -> Iterator[_Change]:
    if guest.videos:
        yield _Change(
            "no graphics: -vga none, a serial console",
            "no picture",
            lambda one: replace(one, videos=(), displays=(), graphics_off=True),
        )
    if guest.displays and guest.videos:
        yield _Change("no VNC or SPICE server", "nobody can look", lambda one: replace(one, displays=()))
    if guest.usb_controllers or guest.usb_devices:
        yield _Change("no USB", "no tablet, no USB storage", lambda one: replace(one, usb_controllers=0, usb_devices=0))
    if guest.kernel:
        yield _Change(
            "boot from the disk instead of -kernel",
            "the guest needs a boot loader",
            lambda one: replace(one, kernel=None),
        )
    spare = sum(one.size_bytes or 0 for one in guest.memory_backends if not one.backs_ram)
    if spare:
        yield _Change(
            f"take out memory objects of {format_bytes(spare)}",
            "whoever uses them misses them",
            lambda one: replace(one, memory_backends=tuple(each for each in one.memory_backends if each.backs_ram)),
            spare,
            "their size",
        )


def as_dict(knob: Knob) -> dict[str, object]:
    """For JSON."""
    return {
        "what": knob.what,
        "cost": knob.cost,
        "gain_bytes": dict(knob.gains),
        "burst_gain_bytes": knob.burst_bytes,
        "known_gain_bytes": knob.known_bytes,
        "known": knob.known or None,
    }
