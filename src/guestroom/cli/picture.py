"""A picture of a guest's parts, two stacked bars with their legend: SVG needs no plotting library, PNG one."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from guestroom.attribute.parts import Explanation, Part, PartKind
from guestroom.errors import HostError
from guestroom.units import format_bytes

_COLOURS = {
    PartKind.RAM: ("#4c78a8",),
    PartKind.OVERHEAD: ("#e45756", "#f58518", "#eeca3b", "#b279a2", "#ff9da6", "#9d755d", "#d67195", "#fcbf49"),
    PartKind.RECLAIMABLE: ("#54a24b", "#88d27a", "#b9ecab"),
    PartKind.UNKNOWN: ("#bab0ac",),
}
_WIDTH, _BAR_Y, _BAR, _LINE = 860, 40, 46, 20
_DPI = 100


def stacked_bar(found: Explanation, title: str) -> str:
    """The parts side by side, as wide as they are large; overhead is drawn a second time without the RAM."""
    colours = _colours(found)
    body: list[str] = []
    y = _BAR_Y
    for label, parts in _bars(found):
        total = max(1, sum(part.size_bytes for part in parts))
        body.append(f'<text x="10" y="{y}" class="h">{escape(label)}</text>')
        x = 10.0
        for part in parts:
            width = part.size_bytes / total * (_WIDTH - 20)
            tip = escape(f"{part.name}: {format_bytes(part.size_bytes)}")
            body.append(
                f'<rect x="{x:.1f}" y="{y + 8}" width="{width:.2f}" height="{_BAR}" fill="{colours[part.name]}">'
                f"<title>{tip}</title></rect>"
            )
            x += width
        y += _BAR + 44
    for part in found.parts:
        body.append(f'<rect x="10" y="{y - 11}" width="12" height="12" fill="{colours[part.name]}"/>')
        body.append(f'<text x="30" y="{y}">{escape(part.name)} ({part.kind.value})</text>')
        body.append(f'<text x="{_WIDTH - 20}" y="{y}" text-anchor="end">{format_bytes(part.size_bytes)}</text>')
        y += _LINE
    style = "text{font:13px sans-serif;fill:#222}.h{font-weight:bold}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y}" viewBox="0 0 {_WIDTH} {y}">'
    heading = f'<text x="10" y="18" class="h">{escape(title)}</text>'
    return f'{head}<style>{style}</style><rect width="100%" height="100%" fill="#fff"/>{heading}{"".join(body)}</svg>\n'


def write_png(found: Explanation, title: str, path: Path) -> None:
    """The same bars as a PNG, which needs matplotlib. Raises ``HostError`` without it, ``OSError`` of the file."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.patches import Patch
    except ImportError as error:
        raise HostError(
            "--png needs matplotlib, which is not installed",
            where=str(path),
            hint="pip install guestroom[plots]; --svg needs nothing",
        ) from error
    colours = _colours(found)
    height = 3 * _BAR_Y + 2 * (_BAR + 44) + _LINE * len(found.parts)
    figure = Figure(figsize=(_WIDTH / _DPI, height / _DPI), dpi=_DPI)
    FigureCanvasAgg(figure)
    figure.suptitle(title.replace("$", r"\$"), x=0.02, y=1 - 8 / height, ha="left", va="top", fontsize=10)
    for number, (label, parts) in enumerate(_bars(found)):
        bottom = height - _BAR_Y - (number + 1) * (_BAR + 44)
        axes = figure.add_axes((0.02, bottom / height, 0.96, _BAR / height))
        axes.set_axis_off()
        axes.set_title(label, loc="left", fontsize=9)
        left, total = 0.0, max(1, sum(part.size_bytes for part in parts))
        for part in parts:
            axes.barh(0, part.size_bytes / total, left=left, color=colours[part.name])
            left += part.size_bytes / total
        axes.set_xlim(0, 1)
    legend = [Patch(color=colours[part.name], label=_line(part)) for part in found.parts]
    figure.legend(handles=legend, loc="lower left", bbox_to_anchor=(0.01, 0.0), frameon=False, fontsize=9)
    figure.savefig(path, format="png")


def _line(part: Part) -> str:
    return f"{part.name} ({part.kind.value}): {format_bytes(part.size_bytes)}".replace("$", r"\$")


def _bars(found: Explanation) -> tuple[tuple[str, Sequence[Part]], ...]:
    """What is drawn: everything, and overhead once more without the RAM."""
    overhead = [part for part in found.parts if part.kind in (PartKind.OVERHEAD, PartKind.UNKNOWN)]
    return (
        (f"all: {format_bytes(found.charged_bytes)}", found.parts),
        (f"overhead: {format_bytes(found.overhead_bytes)}", overhead),
    )


def _colours(found: Explanation) -> dict[str, str]:
    seen: dict[PartKind, int] = {}
    chosen: dict[str, str] = {}
    for part in found.parts:
        place = seen.get(part.kind, 0)
        seen[part.kind] = place + 1
        chosen[part.name] = _COLOURS[part.kind][place % len(_COLOURS[part.kind])]
    return chosen
