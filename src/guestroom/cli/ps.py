"""``guestroom ps``: the guests under care, with what each is promised, uses and is limited to."""

from __future__ import annotations

from typing import Any

import click

from guestroom.cli.client import DEFAULT_SOCKET, AgentClient
from guestroom.cli.output import Column, emit_json, emit_text, json_option, size_cell, table
from guestroom.cli.promises import kept_lines

COLUMNS = (
    Column("NAME"),
    Column("PID", right=True),
    Column("STATE"),
    Column("RAM", right=True),
    Column("OVERHEAD", right=True),
    Column("PEAK", right=True),
    Column("FLOOR", right=True),
    Column("GRANT", right=True),
    Column("LIMIT", right=True),
    Column("NEED", right=True),
)


_BRAKES = {"throttle": "throttled", "stop": "stopped"}


def state_text(row: dict[str, Any]) -> str:
    """A guest's state with what is unusual about it."""
    marks = [_BRAKES[row["braked"]]] if row.get("braked") in _BRAKES else []
    marks += [mark for mark in ("held", "warned", "squeezed", "released", "adopted", "watched") if row.get(mark)]
    if row.get("place") is not None:
        marks.append(f"place {row['place']}")
    return str(row["state"]) + (f" ({', '.join(marks)})" if marks else "")


def limit_text(limit: int | str | None) -> str | None:
    """A limit as JSON has it, for people."""
    return limit if isinstance(limit, str) else size_cell(limit)


def cells(row: dict[str, Any]) -> tuple[str | int | None, ...]:
    """One guest's row of the table."""
    return (
        row["name"],
        row["pid"],
        state_text(row),
        size_cell(row["ram_bytes"]),
        size_cell(row["overhead_bytes"]),
        size_cell(row["overhead_peak_bytes"]),
        size_cell(row["floor_bytes"]),
        size_cell(row["grant_bytes"]),
        limit_text(row["limit_bytes"]),
        size_cell(row["need_bytes"]),
    )


@click.command()
@click.option(
    "--socket",
    "socket_path",
    envvar="GUESTROOM_SOCKET",
    default=DEFAULT_SOCKET,
    show_default=True,
    help="The agent's socket.",
)
@json_option
def ps(socket_path: str, as_json: bool) -> None:
    """List the guests under care: promised RAM, overhead in use and at its peak, floor, grant and limit."""
    client = AgentClient(socket_path)
    rows = client.get("/v1/guests")
    if as_json:
        emit_json(rows)
        return
    if rows:
        table(COLUMNS, [cells(row) for row in rows])
    else:
        emit_text("no guests under care; start one with: guestroom run --name N -- qemu-system-x86_64 ...")
    host = client.get("/v1/host")
    emit_text(host_line(host))
    for line in follow_lines(host):
        emit_text(line)
    for line in kept_lines(client.get("/v1/learning")["groups"]):
        emit_text(line)


def host_line(host: dict[str, Any]) -> str:
    """The host in one line under the table: what is left to give and whether anything went wrong."""
    free = host["reserve_bytes"] - host["headroom_bytes"] - host["granted_bytes"]
    parts = [
        f"reserve {size_cell(host['reserve_bytes'])}",
        f"granted {size_cell(host['granted_bytes'])}",
        f"free {size_cell(max(0, free))}",
        f"headroom {size_cell(max(0, host['headroom_left_bytes']))} of {size_cell(host['headroom_bytes'])} left",
        f"walls hit {host['walls_hit']}",
    ]
    if host["waiting"]:
        parts.append(f"{host['waiting']} waiting for room")
    if host["overcommitted_bytes"]:
        parts.append(f"OVERCOMMITTED by {size_cell(host['overcommitted_bytes'])}")
    return "host: " + ", ".join(parts)


def follow_lines(host: dict[str, Any]) -> list[str]:
    """What headroom and guard follow, a line each, where that is more than the least there is and was not set."""
    lines = []
    for what in ("headroom", "guard"):
        why = str(host[f"{what}_because"])
        if not why.startswith(("set", "the least there is", "half of the headroom")):
            lines.append(f"{what} {size_cell(host[f'{what}_bytes'])}: {why}")
    return lines
