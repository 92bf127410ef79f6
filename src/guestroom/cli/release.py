"""``guestroom release``: let a guest go from care."""

from __future__ import annotations

import click

from guestroom.cli.client import DEFAULT_SOCKET, AgentClient
from guestroom.cli.output import emit_json, emit_text, json_option
from guestroom.cli.ps import limit_text
from guestroom.guest import check_name
from guestroom.units import format_bytes


@click.command()
@click.argument("name")
@click.option(
    "--socket",
    "socket_path",
    envvar="GUESTROOM_SOCKET",
    default=DEFAULT_SOCKET,
    show_default=True,
    help="The agent's socket.",
)
@json_option
def release(name: str, socket_path: str, as_json: bool) -> None:
    """Let guest NAME go: it keeps its limit, which still counts; its OOM killer is as it was.

    An adopted guest gets its former limit back, unless it uses more by now.
    """
    row = AgentClient(socket_path).post("/v1/release", {"name": check_name(name)})
    if as_json:
        emit_json(row)
    elif row["adopted"]:
        emit_text(f"{name} is let go; its limit is {limit_text(row['limit_bytes'])}")
    else:
        emit_text(f"{name} is let go; it keeps its limit of {format_bytes(row['limit_bytes'])}, which still counts")
