"""``guestroom run``: ask for room, start QEMU under its limit, stay with it, give the room back."""

from __future__ import annotations

import fcntl
import os
import shlex

import click

from guestroom.cli.client import DEFAULT_SOCKET, AgentClient
from guestroom.cli.inputs import check_argv
from guestroom.cli.output import json_option
from guestroom.cli.running import Running, Wish, read_configs
from guestroom.errors import UsageError
from guestroom.guest import check_name


@click.command(context_settings={"ignore_unknown_options": False})
@click.option("--name", required=True, help="The guest's name: 1 to 63 letters, digits, '-' or '_'.")
@click.option("--on-short", type=click.Choice(["squeeze", "refuse", "recreate"]), help="What to do if room is short.")
@click.option(
    "--helper", "helpers", multiple=True, metavar="CMD", help="A helper (swtpm, virtiofsd) started before QEMU."
)
@click.option(
    "--helper-ready", multiple=True, metavar="PATH", help="Start QEMU when this path (a helper's socket) exists."
)
@click.option("--verdict-fd", type=int, metavar="FD", help="Write the verdict as one JSON line to this descriptor.")
@click.option(
    "--agent-lost",
    "agent_lost_s",
    type=float,
    default=30.0,
    show_default=True,
    help="Seconds a starting guest waits for a lost agent.",
)
@click.option("--socket", "socket_path", default=DEFAULT_SOCKET, show_default=True, help="The agent's socket.")
@json_option
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    name: str,
    on_short: str | None,
    helpers: tuple[str, ...],
    helper_ready: tuple[str, ...],
    verdict_fd: int | None,
    agent_lost_s: float,
    socket_path: str,
    as_json: bool,
    argv: tuple[str, ...],
) -> int:
    """Start QEMU with room of its own: guestroom run --name N -- qemu-system-x86_64 ...

    The verdict goes to stderr (and to --verdict-fd); stdin and stdout are QEMU's. The exit code is QEMU's, 128+n
    for signal n, or 3 when the guest was refused.
    """
    check_name(name)
    check_argv(argv)
    for option in ("-daemonize", "--daemonize"):
        if option in argv:
            raise UsageError(
                f"{option} does not go with guestroom run", where=name, hint="leave it out: run stays with QEMU"
            )
    if verdict_fd is not None:
        _check_writable(verdict_fd)
    if not agent_lost_s >= 0:  # a NaN compares with nothing
        raise UsageError(f"--agent-lost {agent_lost_s} is not a number of seconds", hint="give 0 or more")
    wish = Wish(
        name=name,
        argv=argv,
        readconfig=read_configs(argv),
        helpers=tuple(_words(command) for command in helpers),
        helper_ready=helper_ready,
        on_short=on_short,
        verdict_fd=verdict_fd,
        agent_lost_s=agent_lost_s,
    )
    return Running(wish, AgentClient(socket_path)).go()


def _check_writable(fd: int) -> None:
    """Raise ``UsageError`` unless the verdict can be written to ``fd``: later would be too late to say so."""
    hint = f"redirect it, for example {fd if 2 < fd < 10 else 3}>verdict.json"
    try:
        mode = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
    except (OSError, OverflowError, ValueError) as error:
        raise UsageError(f"--verdict-fd {fd} is not open", hint=hint) from error
    if mode == os.O_RDONLY:
        raise UsageError(f"--verdict-fd {fd} is open for reading only", hint=hint)


def _words(command: str) -> tuple[str, ...]:
    """A helper's command line as words, as a shell splits it. Raises ``UsageError``."""
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise UsageError(
            f"--helper {command!r} is not understood: {str(error).lower()}", hint="quote it as for a shell"
        ) from error
    if not words:
        raise UsageError("--helper has no command", hint="name a program, or leave it out")
    return words
