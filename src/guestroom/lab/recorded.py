"""A trace out of an agent's ledger: who ran when, what it needed, and what its overhead did.

Readings are thinned when they are written, and a burst between two of them is seen only by the kernel's own peak, which
the guest's record keeps: where that is above every reading it is put at the highest of them, so that a replay meets
each peak at least once.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

from guestroom.config import Settings
from guestroom.errors import InputError, LedgerError
from guestroom.facts import Accounting, GuestRecord, HostFacts
from guestroom.lab.traces import Shape, Trace
from guestroom.record import encode
from guestroom.record.reader import Recorded, Sample


@dataclass(frozen=True, slots=True)
class History:
    """What a ledger lets a replay begin with."""

    trace: Trace
    host: HostFacts | None
    """The host as it was first seen; None where no decision kept it."""
    settings: Settings | None
    """The settings of the last decision that kept them."""
    left_out: tuple[str, ...]
    """Guests the trace does not have, each with the reason."""


def history(found: Recorded) -> History:
    """The recorded guests as a trace that begins with the first start. Raises ``InputError`` where there is none."""
    runs = [(one.record, one.ended_wall_s) for one in found.ended]
    last_s = max((sample.at_wall_s for sample in found.samples), default=0.0)
    runs += [(record, max(last_s, record.started_wall_s)) for record in found.present]
    runs.sort(key=lambda run: (run[0].started_wall_s, run[0].name))
    by_name: dict[str, list[Sample]] = {}
    for sample in found.samples:
        by_name.setdefault(sample.guest, []).append(sample)
    shapes: dict[str, Shape] = {}
    samples: dict[str, tuple[tuple[float, int], ...]] = {}
    left_out: list[str] = []
    began_s = runs[0][0].started_wall_s if runs else 0.0
    for record, ended_s in runs:
        points = _points(record, ended_s, by_name.get(record.name, []))
        if record.accounting is not Accounting.SPLIT:
            left_out.append(f"{record.name}: it was adopted, so it had no share of the reserve")
        elif not points:
            left_out.append(f"{record.name}: nothing was read of its overhead")
        else:
            name = _unique(record.name, shapes)
            shapes[name] = _shape(record)
            samples[name] = tuple((max(0.0, at_s - began_s), size) for at_s, size in points)
    if not shapes:
        why = f": {'; '.join(left_out)}" if left_out else ""
        raise InputError(f"no guest of this ledger can be replayed{why}", where=found.path)
    host, settings = _circumstances(found)
    return History(Trace(shapes, samples), host, settings, tuple(left_out))


def _points(record: GuestRecord, ended_s: float, readings: Sequence[Sample]) -> list[tuple[float, int]]:
    """Its overhead from its start to its end, the peak that no reading saw included."""
    first = bisect_left(readings, record.started_wall_s, key=lambda one: one.at_wall_s)
    own = [(one.at_wall_s, one.overhead_bytes) for one in readings[first:] if one.at_wall_s <= ended_s]
    peak = record.overhead_peak_bytes
    if not own and peak is None:
        return []
    own = own or [(record.started_wall_s, peak or 0)]
    if peak is not None:
        highest = max(range(len(own)), key=lambda place: own[place][1])
        own[highest] = (own[highest][0], max(own[highest][1], peak))
    if own[0][0] > record.started_wall_s:
        own.insert(0, (record.started_wall_s, own[0][1]))
    return [*own, (max(ended_s, own[-1][0]), own[-1][1])]


def _unique(name: str, taken: dict[str, Shape]) -> str:
    number = 2
    found = name
    while found in taken:
        found, number = f"{name}#{number}", number + 1
    return found


def _shape(record: GuestRecord) -> Shape:
    return Shape(
        record.ram_bytes,
        record.need_bytes,
        record.boot_floor_bytes,
        max(record.burst_bytes, record.burst_seen_bytes or 0),
        own_name=record.name,
        ram_charged_bytes=record.ram_charged_bytes,
        weight=record.weight,
        fixed_overhead=record.fixed_overhead,
    )


def _circumstances(found: Recorded) -> tuple[HostFacts | None, Settings | None]:
    """The first host and the last settings that decisions were made from, as far as they kept them."""
    host: HostFacts | None = None
    settings: Settings | None = None
    for made in found.decisions:
        try:
            inputs = json.loads(made.inputs)
            if host is None and inputs.get("host") is not None:
                host = encode.restore(inputs["host"], HostFacts, "host")
            if inputs.get("settings") is not None:
                settings = encode.restore(inputs["settings"], Settings, "settings")
        except (ValueError, AttributeError, LedgerError):
            continue  # of another version: what it kept is another's to read
    if host is not None:
        # What was free then says nothing of a moment in another history; the wall is this replay's own.
        host = replace(host, available_bytes=None, wall_limit_bytes=None, wall_unreclaimable_bytes=None)
    return host, settings
