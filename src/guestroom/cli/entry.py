"""Where the ``guestroom`` command begins: as little as possible, then the subcommand.

Every import is time a guest waits for. ``guestroom run`` in its usual form is recognised here and started without
click, which would cost more than everything else; whatever is written in another way, or wrongly, goes to click.
"""

from __future__ import annotations

import os
import sys

from guestroom.cli.plain import plain_run
from guestroom.cli.say import guarded, wants_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> NoReturn:
    """Entry point of the console script and of ``python -m guestroom``."""
    _occupy_standard_descriptors()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            # A terminal that can't show a character gets its escape, never a traceback.
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    options = plain_run(sys.argv[1:], os.environ)
    if options is None:
        from guestroom.cli.main import cli

        cli.main(prog_name="guestroom")
    from guestroom.cli.begin import begin

    sys.exit(guarded(lambda: begin(**options), wants_json(sys.argv[1:])))


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
