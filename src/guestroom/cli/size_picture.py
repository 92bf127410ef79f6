"""Policies side by side as stacked bars: in a terminal, and as SVG that needs no plotting library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from guestroom.size import Estimate
from guestroom.size.kinds import Kind, by_kind, kind_of
from guestroom.units import MIB

_CELLS = 48
"""Width of the longest bar in a terminal."""
_SHADES = "█▓▒░▚▞▤▥◆◇●○#"
_PLAIN = "#=+-:.%*@oxvn"
_TERMINAL = ("red", "yellow", "blue", "green", "magenta", "cyan", "bright_green", "bright_black")
_COLOURS = (
    "#e45756",
    "#f58518",
    "#4c78a8",
    "#72b7b2",
    "#54a24b",
    "#88d27a",
    "#b279a2",
    "#9d755d",
    "#d67195",
    "#ff9da6",
    "#eeca3b",
    "#bab0ac",
    "#79706e",
)
_WIDTH, _LEFT, _RIGHT, _BAR, _GAP, _TOP = 860, 110, 90, 20, 8, 40


def bars(estimates: Sequence[Estimate], *, encoding: str, coloured: bool) -> list[str]:
    """Lines of a plot for a terminal: a bar for each policy, a shade (and colour) for each kind, the legend below."""
    most = max((one.overhead_bytes for one in estimates), default=0)
    shades = _SHADES if _can_say(_SHADES, encoding) else _PLAIN
    width = max(len(one.policy) for one in estimates)
    lines, seen = [], []
    for one in estimates:
        kinds = by_kind(one)
        seen += [kind for kind in kinds if kind not in seen]
        bar = "".join(
            _paint(shades[_place(kind)] * cells, kind, coloured) for kind, cells in _cells(kinds, most).items()
        )
        lines.append(f"{one.policy:<{width}}  {bar} {one.overhead_bytes / MIB:,.1f} MiB")
    legend = (f"{_paint(shades[_place(kind)], kind, coloured)} {kind.value}" for kind in Kind if kind in seen)
    return [*lines, "", "  ".join(legend)]


def _can_say(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _cells(kinds: Mapping[Kind, int], most: int) -> dict[Kind, int]:
    """Cells of each kind; their ends are rounded, so that a bar's length is right to half a cell."""
    cells, total, drawn = {}, 0, 0
    for kind, size in kinds.items():
        total += size
        end = (total * _CELLS * 2 + most) // (most * 2)
        cells[kind] = end - drawn
        drawn = end
    return cells


def _place(kind: Kind) -> int:
    return list(Kind).index(kind)


def _paint(text: str, kind: Kind, coloured: bool) -> str:
    if not coloured or not text:
        return text
    from click import style

    return style(text, fg=_TERMINAL[_place(kind) % len(_TERMINAL)])


def stacked_policies(estimates: Sequence[Estimate], title: str) -> str:
    """The same as a picture; each piece has its parts as its tooltip."""
    most = max(1, *(one.overhead_bytes for one in estimates))
    room = _WIDTH - _LEFT - _RIGHT
    body: list[str] = []
    y = _TOP
    for one in estimates:
        body.append(f'<text x="{_LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(one.policy)}</text>')
        x = float(_LEFT)
        for part in sorted(one.parts, key=lambda part: _place(kind_of(part.name))):
            width = part.bytes / most * room
            kind = kind_of(part.name)
            tip = escape(f"{part.name} ({kind.value}): {part.bytes / MIB:,.1f} MiB")
            body.append(
                f'<rect x="{x:.1f}" y="{y}" width="{width:.2f}" height="{_BAR}" fill="{_COLOURS[_place(kind)]}">'
                f"<title>{tip}</title></rect>"
            )
            x += width
        body.append(f'<text x="{x + 6:.1f}" y="{y + 15}">{one.overhead_bytes / MIB:,.1f} MiB</text>')
        y += _BAR + _GAP
    y = _legend(body, {kind_of(part.name) for one in estimates for part in one.parts}, y + 20)
    style = "text{font:13px sans-serif;fill:#222}.h{font-weight:bold}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y}" viewBox="0 0 {_WIDTH} {y}">'
    heading = f'<text x="10" y="22" class="h">{escape(title)}</text>'
    return f'{head}<style>{style}</style><rect width="100%" height="100%" fill="#fff"/>{heading}{"".join(body)}</svg>\n'


def _legend(body: list[str], seen: set[Kind], y: int) -> int:
    """Boxes with their kinds, four in a row; where the next line would be."""
    shown = [kind for kind in Kind if kind in seen]
    for number, kind in enumerate(shown):
        x, line = 10 + number % 4 * 210, y + number // 4 * 22
        body.append(f'<rect x="{x}" y="{line - 11}" width="12" height="12" fill="{_COLOURS[_place(kind)]}"/>')
        body.append(f'<text x="{x + 20}" y="{line}">{escape(kind.value)}</text>')
    return y + (len(shown) + 3) // 4 * 22
