"""What every command prints with: JSON, errors, tables.

The contract is one place: results go to stdout, complaints to stderr as one line ``guestroom: ...``; with
``--json`` the result (or ``{"error": ...}``) is one JSON document on stdout. A command therefore

* takes ``as_json: bool`` from ``@json_option``,
* prints its result with ``emit_json(obj)`` or ``emit_text`` / ``table``,
* **raises** a ``GuestroomError`` when something is wrong: ``cli.main`` turns it into the line, the JSON and the
  exit code (2 for wrong input, 3 for no room, else 1),
* returns its exit code (``None`` is 0), after ``note(...)`` where a verdict such as "no room" needs its one line.

Nothing here imports more than click, which is loaded anyway; rich is imported only to draw a table on a terminal.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

from guestroom.errors import GuestroomError, HostError
from guestroom.units import format_bytes

if TYPE_CHECKING:
    from rich.table import Table

_F = TypeVar("_F", bound=Callable[..., Any])


def json_option(command: _F) -> _F:
    """Decorator that adds ``--json``; the command receives it as ``as_json: bool``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout, errors included.")(command)


def emit_text(text: str) -> None:
    """Print ``text`` and a newline on stdout, at once: whoever follows events through a pipe sees each as it happens.

    Raises ``HostError`` without a stdout, ``OSError`` when writing fails.
    """
    out = _stdout()
    out.write(text + "\n")
    out.flush()


def emit_json(obj: object) -> None:
    """Print ``obj`` as one JSON document on stdout: one line, or indented when a person looks at a terminal.

    ASCII only, and NaN or infinity is a programming error (``ValueError``), so that every JSON reader takes it.
    """
    emit_text(json.dumps(obj, allow_nan=False, indent=2 if _stdout().isatty() else None))


def note(text: str) -> None:
    """Print one line ``guestroom: text`` on stderr; silent where stderr is closed, full or read by nobody.

    What is said here goes with an exit code, or beside a guest that runs: neither may change because it can't be said.
    """
    if sys.stderr is not None:
        try:
            sys.stderr.write(f"guestroom: {one_line(text)}\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            discard(sys.stderr)


def discard(stream: TextIO | None) -> None:
    """Point a stream that can't be written at /dev/null, so that Python's own flush at exit does not fail again."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())  # type: ignore[union-attr]
        os.close(null)
    except (OSError, ValueError, AttributeError):  # a stream without a descriptor: nothing to silence
        return


def fail(error: GuestroomError, as_json: bool) -> int:
    """Report ``error`` by the contract and return the exit code it stands for.

    The line always goes to stderr; with ``as_json`` the object goes to stdout as well, if that takes it: a stdout
    that does not is no second complaint and no other exit code.
    """
    note(error.line())
    if as_json:
        try:
            emit_json(error.to_dict())
        except (OSError, HostError):
            discard(sys.stdout)
    return error.exit_code


def one_line(text: str) -> str:
    """``text`` on one line: control characters are shown as escapes, so that a name can't forge output."""
    return "".join(ch if ch.isprintable() else ch.encode("unicode_escape").decode() for ch in text)


@dataclass(frozen=True, slots=True)
class Column:
    """A table's column: its title, and whether its cells are aligned right (numbers, sizes)."""

    title: str
    right: bool = False


Cell = str | int | None
"""A cell: text, a count, or ``None`` for what is not known (shown as ``-``)."""


def table(columns: Sequence[Column], rows: Iterable[Sequence[Cell]]) -> None:
    """Print a table on stdout: plain aligned text, or drawn by rich on a terminal that can show it.

    Colours and lines are left out when NO_COLOR is set (no-color.org) or the terminal is dumb.
    """
    texts = [[_cell(cell) for cell in row] for row in rows]
    if _is_rich_terminal():
        _rich_table(columns, texts)
    else:
        emit_text("\n".join(plain_table(columns, texts)))


def plain_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table in plain text: two spaces between columns, no trailing spaces."""
    lines = [[column.title for column in columns], *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return [
        "  ".join(
            text.rjust(width) if column.right else text.ljust(width)
            for text, width, column in zip(line, widths, columns, strict=True)
        ).rstrip()
        for line in lines
    ]


def size_cell(size_bytes: int | None) -> str | None:
    """A size for a table's cell, ``None`` staying unknown."""
    return None if size_bytes is None else format_bytes(size_bytes)


def _cell(cell: Cell) -> str:
    return "-" if cell is None else one_line(str(cell))


def _is_rich_terminal() -> bool:
    out = _stdout()
    return out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


def _rich_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn: Table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        drawn.add_column(column.title, justify="right" if column.right else "left", no_wrap=column.right)
    for row in rows:
        # Text, not str: a name such as "[red]" is a name, not markup.
        drawn.add_row(*(Text(text) for text in row))
    Console(file=_stdout()).print(drawn)


def _stdout() -> TextIO:
    if sys.stdout is None:
        raise HostError("there is no standard output to print on", hint="do not start guestroom with stdout closed")
    return sys.stdout
