"""What every command prints with: JSON, errors, tables.

The contract is one place: results go to stdout, complaints to stderr as one line ``guestroom: ...``; with
``--json`` the result (or ``{"error": ...}``) is one JSON document on stdout. A command therefore

* takes ``as_json: bool`` from ``@json_option``,
* prints its result with ``emit_json(obj)`` or ``emit_text`` / ``table``,
* **raises** a ``GuestroomError`` when something is wrong: ``cli.main`` turns it into the line, the JSON and the
  exit code (2 for wrong input, 3 for no room, else 1),
* returns its exit code (``None`` is 0), after ``note(...)`` where a verdict such as "no room" needs its one line.

Nothing here imports more than click; rich is imported only to draw a table on a terminal. What needs no click either
is in ``say`` and passed on from here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from guestroom.cli.say import discard, emit_json, emit_text, fail, note, one_line, stdout
from guestroom.units import MIB, TIB, format_bytes

if TYPE_CHECKING:
    from rich.table import Table

__all__ = [
    "Column",
    "discard",
    "emit_json",
    "emit_text",
    "fail",
    "is_drawn",
    "json_option",
    "note",
    "one_line",
    "place_option",
    "plain_table",
    "size_cell",
    "stdout",
    "table",
]

_F = TypeVar("_F", bound=Callable[..., Any])


def json_option(command: _F) -> _F:
    """Decorator that adds ``--json``; the command receives it as ``as_json: bool``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout, errors included.")(command)


def place_option(command: _F) -> _F:
    """Decorator that adds ``--place``; the command receives it as ``place: str | None``."""
    return click.option(
        "--place",
        envvar="GUESTROOM_PLACE",
        metavar="CGROUP",
        help="The cgroup, as /proc/PID/cgroup shows it, in which guestroom's own is made [default: the agent's own].",
    )(command)


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
    """A size for a table's cell, ``None`` staying unknown.

    In MiB with one decimal up to 1 TiB, so that the columns of a row add up before one's eyes.
    """
    if size_bytes is None:
        return None
    return f"{size_bytes / MIB:,.1f} MiB" if MIB // 20 <= size_bytes < TIB else format_bytes(size_bytes)


def _cell(cell: Cell) -> str:
    return "-" if cell is None else one_line(str(cell))


def is_drawn() -> bool:
    """True where tables are drawn and colours may be used: a terminal that can, and nobody objects (NO_COLOR)."""
    return _is_rich_terminal()


def _is_rich_terminal() -> bool:
    out = stdout()
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
    Console(file=stdout()).print(drawn)
