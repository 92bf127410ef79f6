"""``guestroom run``: ask for room, start QEMU under its limit, stay with it, give the room back."""

from __future__ import annotations

import click

from guestroom.cli.begin import begin
from guestroom.cli.inputs import check_argv
from guestroom.cli.output import json_option
from guestroom.cli.plain import DEFAULT_AGENT_LOST_S, DEFAULT_SOCKET, ON_SHORT, read_time
from guestroom.guest import check_name


def _time(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Seconds of a time as people write it; anything else is wrong usage."""
    found = None if value is None else read_time(value)
    if value is not None and found is None:
        raise click.BadParameter(f"{value!r} is not a time; write 90, 90s, 5min or 2h", ctx, param)
    return found


@click.command(context_settings={"ignore_unknown_options": False})
@click.option("--name", required=True, help="The guest's name: 1 to 63 letters, digits, '-' or '_'.")
@click.option("--on-short", type=click.Choice(ON_SHORT), help="What to do if room is short.")
@click.option(
    "--timeout",
    "timeout_s",
    callback=_time,
    metavar="TIME",
    help="Wait for room at most this long: 90, 90s, 5min, 2h (implies --on-short wait).",
)
@click.option(
    "--helper", "helpers", multiple=True, metavar="CMD", help="A helper (swtpm, virtiofsd) started before QEMU."
)
@click.option(
    "--helper-ready", multiple=True, metavar="PATH", help="Start QEMU when this path (a helper's socket) exists."
)
@click.option("--verdict-fd", type=int, metavar="FD", help="Write the verdict as one JSON line to this descriptor.")
@click.option(
    "--lean", is_flag=True, help="Make QEMU's own memory smaller where its guest can't tell; says what and how much."
)
@click.option(
    "--lean-visible",
    is_flag=True,
    help="As --lean, and also what its guest can see: shorter queues of its disks.",
)
@click.option(
    "--agent-lost",
    "agent_lost_s",
    type=float,
    default=DEFAULT_AGENT_LOST_S,
    show_default=True,
    help="Seconds a starting guest waits for a lost agent.",
)
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
def run(
    name: str,
    on_short: str | None,
    timeout_s: float | None,
    helpers: tuple[str, ...],
    helper_ready: tuple[str, ...],
    verdict_fd: int | None,
    lean: bool,
    lean_visible: bool,
    agent_lost_s: float,
    socket_path: str,
    as_json: bool,
    argv: tuple[str, ...],
) -> int:
    """Start QEMU with room of its own: guestroom run --name N -- qemu-system-x86_64 ...

    The verdict goes to stderr (and to --verdict-fd); stdin and stdout are QEMU's. The exit code is QEMU's, 128+n
    for signal n, or 3 when the guest was refused or waited in vain.
    """
    check_name(name)
    check_argv(argv)
    return begin(
        name=name,
        on_short=on_short,
        timeout_s=timeout_s,
        helpers=helpers,
        helper_ready=helper_ready,
        verdict_fd=verdict_fd,
        agent_lost_s=agent_lost_s,
        socket_path=socket_path,
        argv=argv,
        lean=lean,
        lean_visible=lean_visible,
    )
