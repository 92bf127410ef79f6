"""``guestroom events``: what was decided and what happened, for people and for a control plane."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import click

from guestroom.cli.client import DEFAULT_SOCKET, AgentClient
from guestroom.cli.output import emit_json, emit_text, json_option, one_line

_BEFORE = 10
"""How many events from before are shown when events are followed, as tail(1) does."""


@click.command()
@click.option("--follow", is_flag=True, help="Go on as events happen.")
@click.option(
    "--after", type=click.IntRange(min=0), help="The first events after this number, instead of the last ones."
)
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=1000,
    show_default=True,
    help="At most this many: the last ones, or with --after the first.",
)
@click.option("--guest", help="Only this guest's.")
@click.option(
    "--socket",
    "socket_path",
    envvar="GUESTROOM_SOCKET",
    default=DEFAULT_SOCKET,
    show_default=True,
    help="The agent's socket.",
)
@json_option
def events(follow: bool, after: int | None, limit: int, guest: str | None, socket_path: str, as_json: bool) -> None:
    """Print the last events, oldest first; with --follow go on with each as it happens.

    With --json one list, or with --follow one JSON object a line.
    """
    client = AgentClient(socket_path)
    if follow:
        for event in _as_they_happen(client, after):
            if guest is None or event["guest"] == guest:
                emit_text(json.dumps(event) if as_json else _line(event))
        return
    only = f"&guest={quote(guest)}" if guest is not None else ""
    found = client.get(f"/v1/events?limit={limit}{only}" + (f"&after={after}" if after is not None else "&last=true"))
    if as_json:
        emit_json(found)
    else:
        for event in found:
            emit_text(_line(event))


def _as_they_happen(client: AgentClient, after: int | None) -> Iterator[dict[str, Any]]:
    """The few before now (or all after a number), then each as it happens."""
    if after is None:
        before = client.get(f"/v1/events?last=true&limit={_BEFORE}")
        yield from before
        after = before[-1]["number"] if before else 0
    yield from client.stream("GET", f"/v1/events?after={after}&follow=true").lines()


def _line(event: dict[str, Any]) -> str:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event["at_wall_s"]))
    return one_line(f"{event['number']:>6}  {at}  {event['kind']:<12}  {event['guest'] or '-':<12}  {event['message']}")
