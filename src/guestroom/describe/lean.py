"""A command line that runs the same guest with less beside its RAM: what ``guestroom run --lean`` changes.

Only what the guest can't see unless that is asked for, and only what its user left open: an option or a variable that
is set is never touched. Each change says what it saves, by measurement, and what it costs. Pure: an argv and an
environment in, the same out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from guestroom.describe.keyval import parse_keyval
from guestroom.describe.options import Option, split_argv
from guestroom.units import MIB

TB_MIB = 8
"""TCG code buffer in MiB. Beside stock guests of the same work, three turns each on a busy machine: 8 leaves 0.46 of
the overhead, 16 leaves 0.55; boot took 0.94 and 0.90 of the stock guest's time, IOPS were 0.93 and 1.09, no more than
stock guests differed by there (benchmarks/lean.py)."""
TB_GAIN_BYTES = 44 * MIB
"""83 to 88 MiB against 39 to 43 of the same guest (QEMU 7.2, 256 MiB of RAM, after its boot)."""
QUEUE_SIZE = 64
"""Requests of a virtqueue where the guest may see it: QEMU's own 256 (hw/block/virtio-blk.c) let 256 clusters be copied
at once. Overlay with 1 MiB clusters, 256 random writes: 242 MiB of overhead, with 64 132, with 16 98 (docs/study)."""
_QUEUES: Mapping[str, str] = {
    **dict.fromkeys(("virtio-blk-pci", "virtio-blk-device", "virtio-blk-ccw", "virtio-blk"), "queue-size"),
    **dict.fromkeys(("virtio-scsi-pci", "virtio-scsi-device", "virtio-scsi-ccw", "virtio-scsi"), "virtqueue_size"),
}
"""Devices that carry disks' requests, and the property that says how many."""
ALLOCATOR: Mapping[str, str] = {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "131072"}
"""Variables of glibc (mallopt(3)): one arena for all threads, and what is freed at the top of the heap goes back from
128 KiB on, which is glibc's own first value, kept from growing with the largest allocation."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that was changed."""

    what: str
    gain: str
    """What it saves, and how that is known."""
    cost: str


@dataclass(frozen=True, slots=True)
class Lean:
    """A leaner way to run the same guest."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    """Variables to be set beside those there are."""
    changes: tuple[Change, ...]
    kept: tuple[str, ...]
    """What was left as it is though it could be smaller, and why: a sentence each."""


def lean(argv: Sequence[str], environment: Mapping[str, str], *, visible: bool = False) -> Lean:
    """The leaner form of ``argv`` (with the program in front) run in ``environment``.

    With ``visible`` also what its guest can see: shorter queues of its disks.

    Raises ``DescribeError`` for a command line that QEMU could not read either.
    """
    changes: list[Change] = []
    kept: list[str] = []
    words = _code_buffer(argv, changes, kept)
    if visible:
        _queues(words, changes, kept)
    fresh = {name: value for name, value in ALLOCATOR.items() if name not in environment}
    if fresh:
        shown = " ".join(f"{name}={value}" for name, value in fresh.items())
        gain = "0 to 1 MiB of a plain guest, 23 of 110 with 64 compressed reads of 1 MiB in flight"
        changes.append(Change(shown, gain, "threads wait for each other's allocations"))
    kept += [f"{name}={environment[name]} is set by you" for name in ALLOCATOR if name in environment]
    return Lean(tuple(words), fresh, tuple(changes), tuple(kept))


def _code_buffer(argv: Sequence[str], changes: list[Change], kept: list[str]) -> list[str]:
    """``argv`` with a small code buffer where TCG is asked for by ``-accel tcg`` and nobody said how large."""
    words, options = list(argv), split_argv(argv).options
    emulated = [one for one in options if one.name == "accel" and _accelerator(one) == "tcg"]
    if any(_sets_size(one) for one in options):
        kept.append("tb-size is set by you")
    elif any(one.name == "readconfig" for one in options):
        kept.append("tb-size may be set in the -readconfig file")
    elif not emulated:
        if not _has_accelerator(options):
            kept.append(f"no accelerator is named: under TCG, -accel tcg,tb-size={TB_MIB} saves about 44 MiB")
    else:
        place = emulated[-1].index + 1
        words[place] = f"{words[place]},tb-size={TB_MIB}"
        gain = f"about {TB_GAIN_BYTES // MIB} MiB of a small guest: QEMU touches 49 MiB and more of its own 1 GiB"
        cost = "translated code is thrown away and made again sooner"
        changes.append(Change(f"-accel {words[place]}", gain, cost))
    return words


def _queues(words: list[str], changes: list[Change], kept: list[str]) -> None:
    """Give every disk's queue a size that nobody set; ``words`` are changed in place."""
    elsewhere = [word for word in words if any(f".{key}" in word for key in _QUEUES.values())]
    for option in split_argv(words).options:
        value = option.value or ""
        if option.name == "drive" and parse_keyval(value, "").get("if") == "virtio":
            kept.append(f"the queue of {value}: write its disk as -device virtio-blk-pci")
        if option.name != "device":
            continue
        if value.startswith("{"):
            if any(f'"{driver}"' in value for driver in _QUEUES):
                kept.append("the queue of a -device in JSON form: set queue-size there")
            continue
        properties = parse_keyval(value, "driver")
        key = _QUEUES.get(properties.get("driver", ""))
        if key is None:
            continue
        if elsewhere or key in properties or key.replace("-", "_") in properties or key.replace("_", "-") in properties:
            kept.append(f"{key} of {properties.get('id') or properties['driver']} is set by you")
            continue
        place = option.index + 1
        words[place] = f"{words[place]},{key}={QUEUE_SIZE}"
        gain = f"at most {QUEUE_SIZE} clusters in flight instead of 256: 110 of 242 MiB with clusters of 1 MiB"
        changes.append(Change(f"-device {words[place]}", gain, "the guest sees a shorter queue; fewer IOPS at depth"))


def _accelerator(option: Option) -> str | None:
    return parse_keyval(option.value or "", "accel").get("accel")


def _sets_size(option: Option) -> bool:
    if option.name == "tb-size":
        return True
    return option.name == "accel" and "tb-size" in parse_keyval(option.value or "", "accel")


def _has_accelerator(options: Sequence[Option]) -> bool:
    named = any(one.name in ("accel", "enable-kvm") for one in options)
    machines = (one for one in options if one.name in ("machine", "M"))
    return named or any("accel" in parse_keyval(one.value or "", "type") for one in machines)
