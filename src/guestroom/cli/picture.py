"""A picture of a guest's parts: one stacked bar with its legend, as SVG and without a plotting library."""

from __future__ import annotations

from html import escape

from guestroom.attribute.parts import Explanation, PartKind
from guestroom.units import format_bytes

_COLOURS = {
    PartKind.RAM: ("#4c78a8",),
    PartKind.OVERHEAD: ("#e45756", "#f58518", "#eeca3b", "#b279a2", "#ff9da6", "#9d755d", "#d67195", "#fcbf49"),
    PartKind.RECLAIMABLE: ("#54a24b", "#88d27a", "#b9ecab"),
    PartKind.UNKNOWN: ("#bab0ac",),
}
_WIDTH, _BAR_Y, _BAR, _LINE = 860, 40, 46, 20


def stacked_bar(found: Explanation, title: str) -> str:
    """The parts side by side, as wide as they are large; overhead is drawn a second time without the RAM."""
    overhead = [part for part in found.parts if part.kind in (PartKind.OVERHEAD, PartKind.UNKNOWN)]
    colours = _colours(found)
    rows = [(f"all: {format_bytes(found.charged_bytes)}", list(found.parts))]
    rows.append((f"overhead: {format_bytes(found.overhead_bytes)}", overhead))
    body: list[str] = []
    y = _BAR_Y
    for label, parts in rows:
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


def _colours(found: Explanation) -> dict[str, str]:
    seen: dict[PartKind, int] = {}
    chosen: dict[str, str] = {}
    for part in found.parts:
        place = seen.get(part.kind, 0)
        seen[part.kind] = place + 1
        chosen[part.name] = _COLOURS[part.kind][place % len(_COLOURS[part.kind])]
    return chosen
