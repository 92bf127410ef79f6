"""``guestroom plan``: what would happen if this guest were started now, without doing it."""

from __future__ import annotations

from typing import Any

import click

from guestroom.cli.client import DEFAULT_SOCKET, AgentClient
from guestroom.cli.inputs import check_argv
from guestroom.cli.output import Column, emit_json, emit_text, json_option, note, size_cell, table
from guestroom.cli.plain import ON_SHORT
from guestroom.cli.running import read_configs
from guestroom.errors import NoRoomError
from guestroom.guest import check_name
from guestroom.units import format_bytes

_STEPS = {
    "SetLimit": "set limit",
    "SetWall": "set host wall",
    "MakeGuest": "make cgroups with limit",
    "StartGuest": "start",
    "StopGuest": "stop, comes back with overhead",
}


_ASKED = {
    "cache": "before this stands, page cache is asked of",
    "swap": "before this stands, memory is swapped out of",
    "balloon": "before this stands, RAM is asked of",
}


@click.command()
@click.option("--name", default="new", show_default=True, help="The guest's name (its settings count).")
@click.option("--on-short", type=click.Choice(ON_SHORT), help="What to do if room is short.")
@click.option(
    "--socket",
    "socket_path",
    envvar="GUESTROOM_SOCKET",
    default=DEFAULT_SOCKET,
    show_default=True,
    help="The agent's socket.",
)
@json_option
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED)
def plan(name: str, on_short: str | None, socket_path: str, as_json: bool, argv: tuple[str, ...]) -> int:
    """Dry run: guestroom plan -- qemu-system-x86_64 ... prints the verdict and every limit that would change."""
    check_name(name)
    check_argv(argv)
    body = {"name": name, "argv": list(argv), "readconfig": read_configs(argv), "on_short": on_short}
    answer: dict[str, Any] = AgentClient(socket_path).post("/v1/plan", body)
    refused = answer["verdict"] == "refuse"
    if as_json:
        emit_json(answer)
    else:
        emit_text(answer["message"])
        for advice in answer["advice"]:
            emit_text(f"  - {advice}")
        for ask in answer["reclaim"]:
            emit_text(f"  - {_ASKED[ask['means']]} {ask['name']}: up to {format_bytes(ask['bytes'])} ({ask['why']})")
        rows = [_cells(action) for action in answer["actions"]]
        if rows:
            table((Column("STEP"), Column("GUEST"), Column("FROM", right=True), Column("TO", right=True)), rows)
    if refused:
        note(answer["message"])
    return NoRoomError.exit_code if refused else 0


def _cells(action: dict[str, Any]) -> tuple[str, str, str | None, str | None]:
    source, target = action.get("from_bytes"), action.get("to_bytes", action.get("limit_bytes"))
    if action["type"] == "StopGuest":
        target = action["grant_bytes"]
    return (
        _STEPS.get(str(action["type"]), str(action["type"])),
        str(action.get("name", "(all guests)")),
        source if isinstance(source, str) else size_cell(source),
        size_cell(target),
    )
