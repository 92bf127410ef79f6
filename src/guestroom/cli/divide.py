"""``guestroom divide``: shares a reserve among guests by weight, floor and cap. Needs no host."""

from __future__ import annotations

import sys

import click

from guestroom.cli.claims import Given, parse_claims
from guestroom.cli.inputs import STDIN, read_text
from guestroom.cli.output import Column, emit_json, emit_text, json_option, note, size_cell, table
from guestroom.decide import Claim, Division
from guestroom.decide import divide as solve
from guestroom.errors import NoRoomError
from guestroom.units import MIB, format_bytes

MOST_BYTES = 256 * MIB
"""Room for a million guests and more."""


@click.command()
@click.argument("file", default="-")
@json_option
def divide(file: str, as_json: bool) -> int:
    """Share a reserve among guests by weight, between each one's floor and cap.

    Reads JSON from FILE or stdin: {"reserve_bytes": N, "guests": [{"name": "a", "weight": 1, "floor_bytes": N,
    "cap_bytes": N or null}]}, optionally "page_bytes" (4096). Integers only. Exits with 3 when the floors do not fit.
    """
    source = STDIN if file == "-" else file
    if file == "-" and sys.stdin is not None and sys.stdin.isatty():
        note("reading claims from the terminal; end with Ctrl-D")
    given = parse_claims(read_text(file, most_bytes=MOST_BYTES), source)
    claims = [Claim(one.name, one.weight, one.floor_bytes, one.cap_bytes) for one in given.claims]
    division = solve(given.reserve_bytes, claims, given.page_bytes)
    if as_json:
        emit_json(as_dict(division))
    elif division.feasible:
        _print(given, division)
    if division.feasible:
        return 0
    note(_no_room(given, division).line())
    return NoRoomError.exit_code


def as_dict(division: Division) -> dict[str, object]:
    """The contract's JSON of a division."""
    return {
        "feasible": division.feasible,
        "short_bytes": division.short_bytes,
        "unused_bytes": division.unused_bytes,
        "grants": [
            {"name": grant.name, "grant_bytes": grant.grant_bytes, "bound": grant.bound.value}
            for grant in division.grants
        ],
    }


def _print(given: Given, division: Division) -> None:
    columns = (
        Column("guest"),
        Column("weight", right=True),
        Column("floor", right=True),
        Column("cap", right=True),
        Column("grant", right=True),
        Column("bound"),
    )
    rows = [
        (
            claim.name,
            claim.weight,
            size_cell(claim.floor_bytes),
            "none" if claim.cap_bytes is None else size_cell(claim.cap_bytes),
            size_cell(grant.grant_bytes),
            grant.bound.value,
        )
        for claim, grant in zip(given.claims, division.grants, strict=True)
    ]
    table(columns, rows)
    emit_text(f"unused: {format_bytes(division.unused_bytes)} of {format_bytes(given.reserve_bytes)}")


def _no_room(given: Given, division: Division) -> NoRoomError:
    return NoRoomError(
        f"the floors of {len(given.claims)} guest(s) are {format_bytes(division.short_bytes)} "
        f"({division.short_bytes} bytes) more than the reserve of {format_bytes(given.reserve_bytes)}",
        hint="raise the reserve, lower floors, or have fewer guests",
    )
