"""``guestroom adopt``: take a QEMU that runs already under care."""

from __future__ import annotations

import click

from guestroom.cli.client import DEFAULT_SOCKET, AgentClient
from guestroom.cli.inputs import SIZE
from guestroom.cli.output import emit_json, emit_text, json_option, note
from guestroom.cli.ps import limit_text
from guestroom.errors import UsageError
from guestroom.guest import check_name
from guestroom.units import format_bytes


@click.command()
@click.argument("pid", type=click.IntRange(1, (1 << 22) - 1), required=False)
@click.option("--libvirt", metavar="DOMAIN", help="A running domain of libvirt's, instead of a pid.")
@click.option("--name", help="What to call it [default: libvirt's name for it, or its own -name].")
@click.option(
    "--limit", type=SIZE, help="Limit it gets, e.g. 2GiB; needed where it has none. Never below the one it has."
)
@click.option("--watch", is_flag=True, help="Only look at it: nothing of it is ever written.")
@click.option("--ram", type=SIZE, help="Its RAM, where its arguments don't say (-readconfig).")
@click.option(
    "--socket",
    "socket_path",
    envvar="GUESTROOM_SOCKET",
    default=DEFAULT_SOCKET,
    show_default=True,
    help="The agent's socket.",
)
@json_option
def adopt(
    pid: int | None,
    libvirt: str | None,
    name: str | None,
    limit: int | None,
    watch: bool,
    ram: int | None,
    socket_path: str,
    as_json: bool,
) -> None:
    """Take the QEMU with this PID, or a libvirt domain, under care: its limit is kept, and raised when it needs more.

    It stays where it is: its memory cgroup must hold it and its helpers only. guestroom release puts back what was
    there before.
    """
    if (pid is None) == (libvirt is None):
        raise UsageError("name one guest: a PID or --libvirt DOMAIN", hint="see 'guestroom adopt --help'")
    if watch and limit is not None:
        raise UsageError("--watch writes nothing, so it goes without --limit", hint="leave one of them out")
    body = {"pid": pid, "libvirt": libvirt, "name": check_name(name) if name is not None else None}
    client = AgentClient(socket_path)
    row = client.post("/v1/adopt", body | {"limit_bytes": limit, "watch": watch, "ram_bytes": ram})
    over = client.get("/v1/host")["overcommitted_bytes"]
    if over > 0:
        note(f"the host is overcommitted by {format_bytes(over)}: no admissions and no raises until room comes back")
    if as_json:
        emit_json(row)
    else:
        how = "is only looked at" if row["watched"] else "is under care"
        emit_text(f"{row['name']} (process {row['pid']}) {how}; its limit is {limit_text(row['limit_bytes'])}")
