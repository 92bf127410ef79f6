"""Estimates for people: side by side, by kind, in words, with what fits and what would make them smaller."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence

from guestroom.cli.output import Column, emit_text, one_line, table
from guestroom.guest import Guest
from guestroom.size import Estimate
from guestroom.size.kinds import Kind, by_kind, words_of
from guestroom.units import MIB, format_bytes

MAIN_PARTS = 3
"""Parts shown side by side with other policies; ``--policy`` shows all."""


def mib(size_bytes: int) -> str:
    """A size in MiB whatever it is, so that figures below each other compare at a glance."""
    return f"{size_bytes / MIB:,.1f} MiB"


def headline(guest: Guest) -> str:
    """The guest in one line."""
    vcpus = "vCPUs not known" if guest.vcpus is None else f"{guest.vcpus} vCPU{'s' if guest.vcpus > 1 else ''}"
    grown = f" (up to {guest.max_vcpus})" if guest.max_vcpus is not None and guest.max_vcpus != guest.vcpus else ""
    ram = "RAM not known" if guest.ram_bytes is None else f"{format_bytes(guest.ram_bytes)} RAM"
    return one_line(f"{guest.name or 'guest'}: {ram}, {vcpus}{grown}")


def side_by_side(estimates: Sequence[Estimate], fits: Mapping[str, int] | None = None) -> None:
    """A line for each policy; with ``fits`` also how many such guests there is room for."""
    columns = [Column("policy"), Column("overhead", right=True), Column("limit", right=True)]
    columns += [Column("guests", right=True)] if fits is not None else []
    rows = [
        (
            one.policy,
            mib(one.overhead_bytes),
            mib(one.limit_bytes),
            *((f"{fits[one.policy]:,}",) if fits is not None else ()),
            _main_parts(one),
        )
        for one in estimates
    ]
    table([*columns, Column("main parts")], rows)


def _main_parts(one: Estimate) -> str:
    largest = sorted(one.parts, key=lambda part: -part.bytes)
    shown = ", ".join(f"{part.name} {mib(part.bytes)}" for part in largest[:MAIN_PARTS])
    return shown + (", ..." if len(largest) > MAIN_PARTS else "")


def all_parts(one: Estimate) -> None:
    """Every part of one policy with its source."""
    rows = [(part.name, mib(part.bytes), part.source) for part in one.parts]
    rows.append(("overhead", mib(one.overhead_bytes), f"sum of the parts, by policy {one.policy}"))
    rows.append(("limit", mib(one.limit_bytes), "guest RAM + overhead"))
    table((Column("part"), Column("size", right=True), Column("source")), rows)


def parts_by_kind(estimates: Sequence[Estimate]) -> None:
    """Kinds of parts as rows, policies as columns, in as many tables as the terminal's width takes; MiB throughout."""
    sums = {one.policy: by_kind(one) for one in estimates}
    kinds = [kind for kind in Kind if any(kind in found for found in sums.values())]
    first = max(len(name) for name in ("overhead", *(kind.value for kind in kinds)))
    group: list[Estimate] = []
    used, room = first, shutil.get_terminal_size().columns
    for one in estimates:
        width = 2 + max(len(one.policy), len(f"{one.overhead_bytes / MIB:,.1f}"))
        if group and used + width > room:
            _kinds_table(group, sums, kinds)
            emit_text("")
            group, used = [], first
        group.append(one)
        used += width
    _kinds_table(group, sums, kinds)


def _kinds_table(group: Sequence[Estimate], sums: Mapping[str, Mapping[Kind, int]], kinds: Sequence[Kind]) -> None:
    columns = [Column("MiB"), *(Column(one.policy, right=True) for one in group)]
    rows = [[kind.value, *(_cell(sums[one.policy].get(kind)) for one in group)] for kind in kinds]
    rows.append(["overhead", *(_cell(one.overhead_bytes) for one in group)])
    table(columns, rows)


def _cell(size_bytes: int | None) -> str | None:
    return None if size_bytes is None else f"{size_bytes / MIB:,.1f}"


def in_words(estimates: Sequence[Estimate]) -> None:
    """Why each part is needed, a table for each policy."""
    for one in estimates:
        emit_text(f"\n{one.policy}: {mib(one.overhead_bytes)}")
        rows = [(mib(part.bytes), part.name, words_of(part.name)) for part in one.parts]
        table((Column("size", right=True), Column("part"), Column("why")), rows)
        if one.promise is not None:
            emit_text(one_line(f"promise: {one.promise.words}"))


def warnings(guest: Guest, estimates: Sequence[Estimate]) -> None:
    """Each warning once, with the policies it holds for, and what of the description was not understood."""
    holders: dict[str, list[str]] = {}
    for one in estimates:
        for warning in one.warnings:
            holders.setdefault(warning, []).append(one.policy)
    for warning, names in holders.items():
        emit_text(one_line(f"warning: {', '.join(names)}: {warning}"))
    if guest.unknown:
        emit_text(one_line(f"note: not understood and not counted: {' '.join(guest.unknown)}"))
