"""``guestroom events``: what was decided and what happened, for people and for a control plane."""

from __future__ import annotations

import json
import time
from typing import Any

import click

from guestroom.cli.client import DEFAULT_SOCKET, AgentClient
from guestroom.cli.output import emit_json, emit_text, json_option, one_line


@click.command()
@click.option("--follow", is_flag=True, help="Go on as events happen.")
@click.option(
    "--after", type=click.IntRange(min=0), default=0, show_default=True, help="Only events after this number."
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=1000, show_default=True, help="At most this many.")
@click.option("--guest", help="Only this guest's.")
@click.option("--socket", "socket_path", default=DEFAULT_SOCKET, show_default=True, help="The agent's socket.")
@json_option
def events(follow: bool, after: int, limit: int, guest: str | None, socket_path: str, as_json: bool) -> None:
    """Print events, oldest first; with --follow one per line as they happen (JSON lines with --json)."""
    client = AgentClient(socket_path)
    if follow:
        for event in client.stream("GET", f"/v1/events?after={after}&follow=true").lines():
            if guest is None or event["guest"] == guest:
                emit_text(json.dumps(event) if as_json else _line(event))
        return
    found = [e for e in client.get(f"/v1/events?after={after}&limit={limit}") if guest is None or e["guest"] == guest]
    if as_json:
        emit_json(found)
    else:
        for event in found:
            emit_text(_line(event))


def _line(event: dict[str, Any]) -> str:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event["at_wall_s"]))
    return one_line(f"{event['number']:>6}  {at}  {event['kind']:<12}  {event['guest'] or '-':<12}  {event['message']}")
