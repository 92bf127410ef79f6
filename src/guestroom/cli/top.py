"""``guestroom top``: the guests, live: how full each grant is, how that went, and what the overhead is made of.

Rows and host figures are the agent's; the parts are looked up here (``explain``), a few guests a frame, because a look
costs some 50 ms and nobody reads faster. On a terminal a key sorts; without one each frame is plain lines.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import sys
import termios
import time
import tty
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from guestroom.attribute.parts import PartKind
from guestroom.cli.client import DEFAULT_SOCKET, AgentClient
from guestroom.cli.explain import look_at_row
from guestroom.cli.output import Column, emit_json, emit_text, json_option, plain_table, size_cell
from guestroom.cli.ps import host_line, state_text
from guestroom.cli.say import stdout
from guestroom.errors import GuestroomError

HISTORY = 24
"""Samples of a guest's overhead that are drawn."""
LOOKS_A_FRAME = 4
MAIN_PARTS = 3
_BARS = "▁▂▃▄▅▆▇█"
_KEYS = {"o": "overhead", "g": "grant", "f": "full", "r": "ram", "n": "name"}
COLUMNS = (
    Column("NAME"),
    Column("STATE"),
    Column("RAM", right=True),
    Column("OVERHEAD", right=True),
    Column("GRANT", right=True),
    Column("FULL", right=True),
    Column("HISTORY"),
    Column("MAIN PARTS"),
)

Row = dict[str, Any]


@dataclass(slots=True)
class Memory:
    """What is kept from frame to frame."""

    history: dict[str, deque[int | None]] = field(default_factory=dict)
    parts: dict[str, str] = field(default_factory=dict)
    turn: int = 0

    def take(self, rows: Sequence[Row], parts_of: Callable[[Row], str]) -> None:
        """Take one frame in: a sample of everybody, and the parts of the next few guests."""
        names = {row["name"] for row in rows}
        for gone in [name for name in self.history if name not in names]:
            del self.history[gone]
            self.parts.pop(gone, None)
        for row in rows:
            self.history.setdefault(row["name"], deque(maxlen=HISTORY)).append(row["overhead_bytes"])
        for step in range(min(LOOKS_A_FRAME, len(rows))):
            row = rows[(self.turn + step) % len(rows)]
            self.parts[row["name"]] = parts_of(row)
        self.turn = (self.turn + LOOKS_A_FRAME) % max(1, len(rows))


def sparkline(values: Sequence[int | None], most: int) -> str:
    """Values as bars from 0 to ``most``; a dot where a value is not known."""
    top = max(1, most)
    return "".join("·" if value is None else _BARS[min(7, max(0, value * 8 // top))] for value in values)


def full(row: Row) -> float | None:
    """Overhead as a share of the grant; None where it is not known."""
    overhead, grant = row["overhead_bytes"], row["grant_bytes"]
    return overhead / grant if overhead is not None and grant else None


def in_order(rows: Sequence[Row], key: str) -> list[Row]:
    """Rows by name, or the largest first; what is not known comes last."""
    if key == "name":
        return sorted(rows, key=lambda row: str(row["name"]))
    if key == "full":
        return sorted(rows, key=lambda row: (full(row) is None, -(full(row) or 0), row["name"]))
    figure = f"{key}_bytes"
    return sorted(rows, key=lambda row: (row[figure] is None, -(row[figure] or 0), row["name"]))


def frame(rows: Sequence[Row], host: Row, memory: Memory, key: str, *, interactive: bool) -> list[str]:
    """The lines of one picture."""
    cells = [_cells(row, memory) for row in in_order(rows, key)]
    lines = [host_line(host), ""]
    lines += (
        plain_table(COLUMNS, [[cell or "-" for cell in row] for row in cells]) if cells else ["no guests under care"]
    )
    if interactive:
        keys = "  ".join(f"{letter} {name}" for letter, name in _KEYS.items())
        lines += ["", f"sorted by {key}; keys: {keys}  q quit"]
    return lines


def _cells(row: Row, memory: Memory) -> list[str | None]:
    share = full(row)
    history = memory.history.get(row["name"], deque())
    most = max([row["grant_bytes"] or 0, *(value for value in history if value is not None)])
    return [
        row["name"],
        state_text(row),
        size_cell(row["ram_bytes"]),
        size_cell(row["overhead_bytes"]),
        size_cell(row["grant_bytes"]),
        f"{share:.0%}" if share is not None else None,
        sparkline(list(history), most),
        memory.parts.get(row["name"]),
    ]


def main_parts(row: Row) -> str:
    """The largest parts of a guest's overhead in a few words; ``-`` where it may not be looked at."""
    if row["pid"] is None:
        return "-"
    try:
        found = look_at_row(row).explanation
    except GuestroomError:
        return "-"
    parts = [part for part in found.parts if part.kind in (PartKind.OVERHEAD, PartKind.UNKNOWN)]
    return ", ".join(f"{part.name} {size_cell(part.size_bytes)}" for part in parts[:MAIN_PARTS])


@click.command()
@click.option("--interval", "interval_s", type=click.FloatRange(0.2, 3600), default=2.0, show_default=True)
@click.option("--count", type=click.IntRange(1), help="End after so many frames.")
@click.option("--sort", "key", type=click.Choice([*_KEYS.values()]), default="overhead", show_default=True)
@click.option("--no-parts", is_flag=True, help="Don't look into the guests' memory.")
@click.option(
    "--socket",
    "socket_path",
    envvar="GUESTROOM_SOCKET",
    default=DEFAULT_SOCKET,
    show_default=True,
    help="The agent's socket.",
)
@json_option
def top(interval_s: float, count: int | None, key: str, no_parts: bool, socket_path: str, as_json: bool) -> None:
    """Watch the guests: overhead, grant, how full it is, its history, and the largest parts.

    On a terminal the picture stays in place and a key sorts it; otherwise each frame is printed. With --json one
    object with host and guests a frame.
    """
    client, memory = AgentClient(socket_path), Memory()
    interactive = not as_json and sys.stdin is not None and sys.stdin.isatty() and stdout().isatty()
    with _screen() if interactive else contextlib.nullcontext():
        shown = 0
        while True:
            rows, host = client.get("/v1/guests"), client.get("/v1/host")
            memory.take(rows, (lambda row: "-") if no_parts or as_json else main_parts)
            if as_json:
                emit_json({"host": host, "guests": in_order(rows, key)})
            else:
                _draw(frame(rows, host, memory, key, interactive=interactive), interactive=interactive)
            shown += 1
            if shown == count:
                return
            pressed = _wait(interval_s, interactive=interactive)
            if pressed == "q":
                return
            key = _KEYS.get(pressed, key)


def _draw(lines: Sequence[str], *, interactive: bool) -> None:
    if not interactive:
        emit_text("\n".join([*lines, ""]))
        return
    size = shutil.get_terminal_size()  # 80 x 24 where the terminal does not say
    visible = [line[: size.columns] for line in lines[: size.lines - 1]]
    # Home, each line with its old rest wiped, then everything below.
    emit_text("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in visible) + "\x1b[J")


def _wait(seconds: float, *, interactive: bool) -> str:
    """The key that was pressed meanwhile; empty for none."""
    if not interactive:
        time.sleep(seconds)
        return ""
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    if not ready:
        return ""
    pressed = os.read(sys.stdin.fileno(), 1).decode(errors="replace")
    return pressed or "q"


@contextlib.contextmanager
def _screen() -> Iterator[None]:
    """The terminal's other screen and single keys; everything as it was at the end, whatever ends it."""
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)
        emit_text("\x1b[?1049h\x1b[?25l")
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
        emit_text("\x1b[?25h\x1b[?1049l")
