"""The ``guestroom`` command: finds the subcommand, and turns every error into the contract's line and exit code.

Subcommands are imported only when they are called, because the heavy ones (agent: FastAPI, pydantic) would
cost each ``guestroom size`` half a second. The table below is therefore also where their one-line summaries
live: ``guestroom --help`` imports none of them.

Exit codes: 0 done, 1 failed, 2 wrong usage or input, 3 no room, 130 interrupted.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

import click

from guestroom import __version__
from guestroom.cli.say import INTERRUPTED as INTERRUPTED
from guestroom.cli.say import guarded, wants_json
from guestroom.errors import UsageError

COMMANDS: dict[str, tuple[str, str]] = {
    "size": ("guestroom.cli.size:size", "How much memory a guest needs beside its RAM, by policy and part."),
    "describe": ("guestroom.cli.describe:describe", "The guest a description describes, as guestroom understands it."),
    "divide": ("guestroom.cli.divide:divide", "Share a reserve among guests by weight, floor and cap."),
    "agent": ("guestroom.cli.agent:agent", "Run the host agent in the foreground."),
    "run": ("guestroom.cli.run:run", "Start QEMU with room of its own and stay with it."),
    "adopt": ("guestroom.cli.adopt:adopt", "Take a QEMU that runs already under care."),
    "release": ("guestroom.cli.release:release", "Let a guest go from guestroom's care."),
    "ps": ("guestroom.cli.ps:ps", "List the guests under care."),
    "top": ("guestroom.cli.top:top", "Watch the guests: overhead, grant, history and main parts."),
    "explain": ("guestroom.cli.explain:explain", "Where every charged byte of a guest is, by part."),
    "study": ("guestroom.cli.study:study", "Measure real guests and report what each thing costs."),
    "replay": ("guestroom.cli.replay:replay", "Play recorded or made-up hosts under policies and settings."),
    "plan": ("guestroom.cli.plan:plan", "Dry run: the verdict and every limit that would change."),
    "events": ("guestroom.cli.events:events", "What was decided and what happened."),
    "metrics": ("guestroom.cli.metrics:metrics", "Figures for Prometheus: printed once, or served."),
    "doctor": ("guestroom.cli.doctor:doctor", "Check whether this host is fit for guestroom."),
}
"""Subcommand -> (``module:attribute``, summary). A new command is one module and one line here."""


class GuestroomGroup(click.Group):
    """A click group that imports a subcommand when it is called and speaks the contract's errors."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the table's order: the most used first."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one subcommand; ``None`` where there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands from the table, importing none of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> NoReturn:
        """Run and exit. Used by the console script and by click's ``CliRunner`` alike."""
        given = list(sys.argv[1:] if args is None else args)
        extra["standalone_mode"] = False
        run = partial(super().main, given, *rest, **extra)
        sys.exit(guarded(lambda: _translated(run), wants_json(given)))


def _translated(run: Callable[[], object]) -> object:
    """Call ``run``; what click raises becomes an error of ours, except its help, which is shown."""
    try:
        return run()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.UsageError as error:
        raise _usage(error) from error
    except click.ClickException as error:
        raise UsageError(error.format_message()) from error
    except click.Abort as error:
        raise KeyboardInterrupt from error


def _usage(error: click.UsageError) -> UsageError:
    command = error.ctx.command_path if error.ctx is not None else "guestroom"
    return UsageError(error.format_message().rstrip("."), hint=f"see '{command} --help'")


@click.command(cls=GuestroomGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="guestroom")
def cli() -> None:
    """Room for every guest: the memory QEMU/KVM needs beside the guest's RAM.

    Sizes, shares and safely applies it. Every command has --json; sizes are plain bytes or KiB, MiB, GiB, TiB.
    """
