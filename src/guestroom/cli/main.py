"""The ``guestroom`` command: finds the subcommand, and turns every error into the contract's line and exit code.

Subcommands are imported only when they are called, because the heavy ones (agent: FastAPI, pydantic) would
cost each ``guestroom size`` half a second. The table below is therefore also where their one-line summaries
live: ``guestroom --help`` imports none of them.

Exit codes: 0 done, 1 failed, 2 wrong usage or input, 3 no room, 130 interrupted.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from guestroom import __version__
from guestroom.cli.output import discard, fail, note
from guestroom.errors import GuestroomError, HostError, UsageError

COMMANDS: dict[str, tuple[str, str]] = {
    "size": ("guestroom.cli.size:size", "How much memory a guest needs beside its RAM, by policy and part."),
    "divide": ("guestroom.cli.divide:divide", "Share a reserve among guests by weight, floor and cap."),
    "agent": ("guestroom.cli.agent:agent", "Run the host agent in the foreground."),
    "run": ("guestroom.cli.run:run", "Start QEMU with room of its own and stay with it."),
    "release": ("guestroom.cli.release:release", "Let a guest go from guestroom's care."),
    "ps": ("guestroom.cli.ps:ps", "List the guests under care."),
    "plan": ("guestroom.cli.plan:plan", "Dry run: the verdict and every limit that would change."),
    "events": ("guestroom.cli.events:events", "What was decided and what happened."),
    "doctor": ("guestroom.cli.doctor:doctor", "Check whether this host is fit for guestroom."),
}
"""Subcommand -> (``module:attribute``, summary). A new command is one module and one line here."""

INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""


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
        sys.exit(_guarded(lambda: super(GuestroomGroup, self).main(given, *rest, **extra), wants_json(given)))


def wants_json(args: Sequence[str]) -> bool:
    """True when ``--json`` is among guestroom's own arguments (after ``--`` they are QEMU's).

    Read from the bare arguments because wrong usage is found before any option was parsed.
    """
    own = args[: args.index("--")] if "--" in args else args
    return "--json" in own


def _guarded(run: Any, as_json: bool) -> int:
    """Call ``run`` and return the exit code; every expected error is reported, a bug keeps its traceback."""
    try:
        try:
            result = run()
            code = result if isinstance(result, int) else 0
        except GuestroomError as error:
            code = fail(error, as_json)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            code = error.exit_code
        except click.UsageError as error:
            code = fail(_usage(error), as_json)
        except click.ClickException as error:
            code = fail(UsageError(error.format_message()), as_json)
        if sys.stdout is not None:
            sys.stdout.flush()
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has gone (``guestroom ps | head``): nobody is left to tell.
        discard(sys.stdout)
        return 1
    except OSError as error:
        discard(sys.stdout)
        place = str(error.filename) if error.filename is not None else None
        note(HostError(f"failed: {error.strerror or error}", where=place).line())
        return 1
    return code


def _usage(error: click.UsageError) -> UsageError:
    command = error.ctx.command_path if error.ctx is not None else "guestroom"
    return UsageError(error.format_message().rstrip("."), hint=f"see '{command} --help'")


def _occupy_standard_descriptors() -> None:
    """Open /dev/null where descriptor 0, 1 or 2 is closed.

    Otherwise the next socket or pipe of ours would get that number, and QEMU's output would go into it. What
    Python thinks of its streams stays: a command still finds that it has no stdout.
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number: fd


@click.command(cls=GuestroomGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="guestroom")
def cli() -> None:
    """Room for every guest: the memory QEMU/KVM needs beside the guest's RAM.

    Sizes, shares and safely applies it. Every command has --json; sizes are plain bytes or KiB, MiB, GiB, TiB.
    """


def main() -> NoReturn:
    """Entry point of the console script and of ``python -m guestroom``."""
    _occupy_standard_descriptors()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            # A terminal that can't show a character gets its escape, never a traceback.
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    cli.main(prog_name="guestroom")
