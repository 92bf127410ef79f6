"""Traces: what guests' overhead did over time, recorded or made up, in one small text format.

JSON Lines. The first line describes the guests, each further line is one sample; seconds count from the trace's start
and a guest begins with its first sample and ends with its last. Kept small enough to be read by eye and committed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from guestroom.errors import InputError
from guestroom.guest import Guest
from guestroom.units import MIB

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Shape:
    """What is known of a guest before it runs; bytes."""

    ram_bytes: int
    need_bytes: int
    boot_floor_bytes: int
    burst_bytes: int = 0
    guest: Guest | None = None
    """Its description, for sizing it by another policy; None: no more is known than its RAM."""
    own_name: str | None = None
    """What it was called, where the trace has several runs of it; None: as in the trace."""
    ram_charged_bytes: int | None = None
    """The part of its RAM that memory cgroups are charged; None: all."""
    weight: int | None = None
    """As it was recorded; None: its RAM."""
    fixed_overhead: bool = False
    """Its need was set by the operator: its grant is that, no more."""

    def described(self) -> Guest:
        """The guest as far as it is known."""
        return self.guest if self.guest is not None else Guest(ram_bytes=self.ram_bytes)


@dataclass(frozen=True, slots=True)
class Trace:
    """Guests by name, and each one's overhead as (seconds, bytes), in order of time."""

    shapes: Mapping[str, Shape]
    samples: Mapping[str, tuple[tuple[float, int], ...]]

    @property
    def length_s(self) -> float:
        """Seconds from the start to the last sample."""
        return max((points[-1][0] for points in self.samples.values() if points), default=0.0)


def write_trace(trace: Trace) -> str:
    """The trace as text."""
    head = {
        "guestroom_trace": _FORMAT,
        "guests": {
            name: {
                "ram_bytes": shape.ram_bytes,
                "need_bytes": shape.need_bytes,
                "boot_floor_bytes": shape.boot_floor_bytes,
                "burst_bytes": shape.burst_bytes,
            }
            for name, shape in trace.shapes.items()
        },
    }
    rows = sorted((at, name, size) for name, points in trace.samples.items() for at, size in points)
    lines = [json.dumps(head), *(json.dumps([round(at, 3), name, size]) for at, name, size in rows)]
    return "\n".join(lines) + "\n"


def read_trace(text: str, where: str = "trace") -> Trace:
    """A trace from its text. Raises ``InputError`` with the line that is wrong."""
    lines = text.splitlines()
    shapes = _shapes(lines[0] if lines else "", where)
    samples: dict[str, list[tuple[float, int]]] = {name: [] for name in shapes}
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        at, name, size = _sample(line, f"{where}:{number}")
        if name not in samples:
            raise InputError(f"guest {name!r} is not among the guests of the first line", where=f"{where}:{number}")
        if samples[name] and at < samples[name][-1][0]:
            raise InputError(f"its time {at:g} s is before the sample above it", where=f"{where}:{number}")
        samples[name].append((at, size))
    return Trace(shapes, {name: tuple(points) for name, points in samples.items()})


def _shapes(line: str, where: str) -> dict[str, Shape]:
    try:
        head = json.loads(line)
        if head["guestroom_trace"] != _FORMAT:
            raise InputError(
                f"its format is {head['guestroom_trace']!r}, this guestroom reads {_FORMAT}", where=f"{where}:1"
            )
        return {name: _shape(name, entry, where) for name, entry in head["guests"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            "the first line is not that of a trace",
            where=f"{where}:1",
            hint='it begins {"guestroom_trace": 1, "guests": {...}}',
        ) from error


def _shape(name: str, entry: Mapping[str, Any], where: str) -> Shape:
    sizes = {key: entry[key] for key in ("ram_bytes", "need_bytes", "boot_floor_bytes")}
    sizes["burst_bytes"] = entry.get("burst_bytes", 0)
    for key, size in sizes.items():
        if type(size) is not int or not 0 <= size < 1 << 53:
            raise InputError(f"{key} of guest {name!r} is {size!r}, not a number of bytes", where=f"{where}:1")
    return Shape(**sizes)


def _sample(line: str, where: str) -> tuple[float, str, int]:
    try:
        at, name, size = json.loads(line)
    except ValueError as error:
        raise InputError(f"{line[:60]!r} is not a sample", where=where, hint="[seconds, guest, bytes]") from error
    if type(at) not in (int, float) or not 0 <= at < 1e10 or type(name) is not str:
        raise InputError(f"{line[:60]!r} is not a sample", where=where, hint="[seconds, guest, bytes]")
    if type(size) is not int or not 0 <= size < 1 << 53:
        raise InputError(f"{size!r} is not a number of bytes", where=where)
    return float(at), name, size


def bursts(
    name: str, *, base_mib: int, burst_mib: int, every_s: float, last_s: float, length_s: float, step_s: float = 0.2
) -> dict[str, tuple[tuple[float, int], ...]]:
    """A made-up guest that needs ``burst_mib`` more for ``last_s`` seconds in every ``every_s``."""
    count = int(length_s / step_s)
    points = ((n * step_s, base_mib + (burst_mib if n * step_s % every_s < last_s else 0)) for n in range(count + 1))
    return {name: tuple((at, size * MIB) for at, size in points)}


def merge(traces: Iterable[Mapping[str, tuple[tuple[float, int], ...]]]) -> dict[str, tuple[tuple[float, int], ...]]:
    """Several guests' samples as one mapping. Raises ``InputError`` for a name that is there twice."""
    found: dict[str, tuple[tuple[float, int], ...]] = {}
    for trace in traces:
        for name, points in trace.items():
            if name in found:
                raise InputError(f"guest {name!r} is in the trace twice", where="trace")
            found[name] = points
    return found
