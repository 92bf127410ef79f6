"""What the story shows: a live table of the guests on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from guestroom.cli.output import plain_table, size_cell
from guestroom.cli.ps import COLUMNS, cells
from guestroom.errors import GuestroomError

if TYPE_CHECKING:
    from rich.live import Live

    from guestroom.lab.host import Host

_PLAIN_EVERY_S = 5.0
"""Without a terminal the table is printed this often, and whenever somebody's grant or state changed."""


class Line(Protocol):
    """A line of the summary."""

    what: str
    figures: str
    ok: bool


class Screen:
    """Story lines, and under them the table of guests kept current."""

    def __init__(self) -> None:
        self._live: Live | None = None
        self._began_s = time.monotonic()
        self._printed_s = 0.0
        self._printed = ""
        if sys.stdout.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(highlight=False), refresh_per_second=4)
            self._live.start()

    def say(self, text: str) -> None:
        """A line of the story, with the seconds since its beginning."""
        line = f"[{time.monotonic() - self._began_s:6.1f} s] {text}"
        if self._live is not None:
            self._live.console.print(line, markup=False)
        else:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    def table(self, host: Host) -> None:
        """Show the guests as they are now."""
        try:
            rows = list(host.ps().values())
        except GuestroomError:
            return
        texts = [["-" if cell is None else str(cell) for cell in cells(row)] for row in rows]
        if self._live is not None:
            from rich.text import Text

            self._live.update(Text("\n".join(plain_table(COLUMNS, texts))))
            return
        key = str([(r["name"], r["state"], r["grant_bytes"], r["held"]) for r in rows])
        if not rows or (key == self._printed and time.monotonic() - self._printed_s < _PLAIN_EVERY_S):
            return
        self._printed, self._printed_s = key, time.monotonic()
        sys.stdout.write("".join(f"           {line}\n" for line in plain_table(COLUMNS, texts)))
        sys.stdout.flush()

    def summary(self, findings: Sequence[Line], took_s: float) -> None:
        """All findings together."""
        self.say("")
        self.say("what was seen, in the kernel's own figures:")
        for finding in findings:
            self.say(f"  {'ok ' if finding.ok else 'NOT'} {finding.what}: {finding.figures}")
        self.say(f"the story is told in {took_s:.0f} s: nobody was killed under guestroom")

    def hint(self, host: Host) -> None:
        """How to look at it from another terminal."""
        self.say("agent and guests stay up; Ctrl-C ends them. From another terminal:")
        self.say(f"  .venv/bin/guestroom ps --socket {host.socket}")
        self.say(f"  .venv/bin/guestroom events --follow --socket {host.socket}")

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._live is not None:
            self._live.stop()


__all__ = ["Line", "Screen", "size_cell"]
