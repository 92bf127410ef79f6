"""How many vCPUs ``-smp`` means.

``machine_parse_smp_config`` (hw/core/machine-smp.c): of cpus and maxcpus the missing one equals the given
one; without either, both are the product of the topology. Zero counts as not given, as in QEMU 7.2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod

from guestroom.describe.settings import Settings, Value
from guestroom.errors import DescribeError

_LEVELS = ("drawers", "books", "sockets", "dies", "clusters", "modules", "cores", "threads")
_COMPUTED = ("sockets", "cores", "threads")
"""Levels QEMU fills in when they are left out; the others are then 1."""
_CPU_DEVICE = re.compile(r"-(?:x86_64|i386|s390x|arm|riscv(?:32|64)|loongarch64?)-cpu\Z|-la464-cpu\Z")
"""A vCPU plugged on the command line beside those of ``-smp`` (``query-hotpluggable-cpus``), one each; the cores that
POWER machines plug are several at once and are not counted."""
MAX_VCPUS = 1 << 16
"""More than any QEMU machine takes (at most 4096 in 2026); beyond it the number is a mistake."""


@dataclass(frozen=True, slots=True)
class Cpus:
    """vCPUs present at the start and at most; None where an unread file may say otherwise."""

    vcpus: int | None
    max_vcpus: int | None


def read_cpus(settings: Settings) -> Cpus:
    """Read them. Raises ``DescribeError`` for what is no number or no possible topology."""
    given: dict[str, int] = {}
    last: Value | None = None
    for key in ("cpus", "maxcpus", *_LEVELS):
        # -machine smp.cpus= sets the same property; -smp merges into it, the later one counts.
        value = _latest(settings, key)
        if value is None or not value.text:
            continue
        number = value.number()
        if number > MAX_VCPUS:
            raise DescribeError(
                f"{key} {value.text!r} is more than {MAX_VCPUS}", where=value.where, numbers={key: number}
            )
        if number:
            given[key], last = number, value
    if not given and settings.partial:
        return Cpus(None, None)
    cpus = Cpus(1, 1) if last is None else _topology(given, last)
    plugged = sum(_CPU_DEVICE.search(entry.get("driver") or "") is not None for entry in settings.of("device"))
    return Cpus(min((cpus.vcpus or 0) + plugged, cpus.max_vcpus or 0), cpus.max_vcpus) if plugged else cpus


def _latest(settings: Settings, key: str) -> Value | None:
    found = None
    for entry in settings.of("smp-opts", "machine"):
        found = entry.value(key if entry.group == "smp-opts" else f"smp.{key}") or found
    return found


def _topology(given: dict[str, int], last: Value) -> Cpus:
    product = prod(given.get(level, 1) for level in _LEVELS)
    maximum = given.get("maxcpus") or given.get("cpus") or product
    vcpus = given.get("cpus") or maximum
    # A level QEMU fills in is maxcpus divided, rounded down, by the others: right only if it divides.
    fits = maximum == product if all(level in given for level in _COMPUTED) else maximum % product == 0
    levels = " x ".join(f"{level} {given[level]}" for level in _LEVELS if level in given)
    numbers: dict[str, int | float | str | None] = {"vcpus": vcpus, "max_vcpus": maximum, "product": product}
    if levels and not fits:
        raise DescribeError(
            f"no CPU topology has {levels} and {maximum} vCPUs",
            where=last.where,
            numbers=numbers,
            hint="the product of the topology must be maxcpus",
        )
    if maximum < vcpus:
        raise DescribeError(
            f"maxcpus {maximum} is less than cpus {vcpus}",
            where=last.where,
            numbers=numbers,
            hint="raise maxcpus, or leave it out",
        )
    return Cpus(vcpus, maximum)
