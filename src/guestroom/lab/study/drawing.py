"""Charts as SVG text: no plotting library, the same bytes for the same numbers, legible on light and dark ground.

Colours are those of Okabe and Ito (2008), told apart by the colour-blind; series also differ in shape.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b8a800", "#8a8f94")
_SHAPES = 4
WIDTH = 860
_STYLE = (
    ".plot text{font:12px system-ui,sans-serif;fill:#1b1f24}.plot .title{font-weight:bold;font-size:14px}"
    ".plot .soft{fill:#5a6470}.plot .ground{fill:#fff}.plot .grid{stroke:#dde2e7}.plot .axis{stroke:#5a6470}"
    ".plot .mark{stroke:#fff;stroke-width:.7}.plot .wall{stroke:#1b1f24;stroke-dasharray:5 4}"
    ".plot .line{fill:none;stroke-width:2}"
    ".plot .whisker{stroke:#1b1f24;stroke-width:1.5;fill:none}"
    "@media (prefers-color-scheme:dark){.plot text{fill:#e4e8ec}.plot .soft{fill:#a2acb6}.plot .ground{fill:#14171b}"
    ".plot .grid{stroke:#2c333b}.plot .axis{stroke:#a2acb6}.plot .mark{stroke:#14171b}.plot .wall{stroke:#e4e8ec}"
    ".plot .whisker{stroke:#e4e8ec}}"
)


@dataclass(frozen=True, slots=True)
class Scale:
    """From a number to its place, linear or logarithmic."""

    low: float
    high: float
    start: float
    """Place of ``low``, in pixels."""
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """The place of a value; one outside is put at the edge."""
        value = min(max(value, self.low), self.high)
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round numbers along it."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            return [10.0**power for power in range(first, last + 1)]
        step = _round_step((self.high - self.low) / 6)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return power * next(each for each in (1, 2, 5, 10) if each * power >= step * (1 - 1e-9))


class Chart:
    """A picture that is added to, with its title, what it shows in words, and its size."""

    def __init__(self, title: str, height: int) -> None:
        self.title, self.height = title, height
        self.body: list[str] = []

    def text(self, x: float, y: float, words: str, *, anchor: str = "start", kind: str = "") -> None:
        """A line of text; ``y`` is its base line."""
        self.body.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(words)}</text>')

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        """A straight line of a kind: ``grid``, ``axis``, ``wall``, ``whisker``."""
        self.body.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>')

    def curve(self, places: Sequence[tuple[float, float]], colour: str) -> None:
        """A line through some places."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        self.body.append(f'<polyline points="{path}" class="line" stroke="{colour}"/>')

    def bar(self, x: float, y: float, width: float, height: float, colour: str, tip: str = "") -> None:
        """A filled box that says ``tip`` when pointed at."""
        self.body.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{height:.1f}" fill="{colour}" '
            f'class="mark"><title>{escape(tip)}</title></rect>'
        )

    def mark(self, x: float, y: float, series: int, tip: str = "") -> None:
        """A point of a series, by colour and shape."""
        shape, colour = series % _SHAPES, COLOURS[series % len(COLOURS)]
        body = f'fill="{colour}" class="mark"><title>{escape(tip)}</title>'
        if shape == 0:
            self.body.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" {body}</circle>')
        elif shape == 1:
            self.body.append(f'<rect x="{x - 4.5:.1f}" y="{y - 4.5:.1f}" width="9" height="9" {body}</rect>')
        else:
            corners = ((0, -6), (6, 5), (-6, 5)) if shape == 2 else ((0, -6.5), (6.5, 0), (0, 6.5), (-6.5, 0))
            path = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
            self.body.append(f'<polygon points="{path}" {body}</polygon>')

    def across(self, scale: Scale, top: float, bottom: float, label: str) -> None:
        """An axis at the bottom, its grid up to ``top``."""
        for tick in scale.ticks():
            self.line(scale.at(tick), top, scale.at(tick), bottom, "grid")
            self.text(scale.at(tick), bottom + 16, f"{tick:g}", anchor="middle", kind="soft")
        self.line(scale.start, bottom, scale.end, bottom, "axis")
        self.text((scale.start + scale.end) / 2, bottom + 34, label, anchor="middle")

    def upward(self, scale: Scale, left: float, right: float, label: str) -> None:
        """An axis at the left, its grid up to ``right``."""
        for tick in scale.ticks():
            self.line(left, scale.at(tick), right, scale.at(tick), "grid")
            self.text(left - 8, scale.at(tick) + 4, f"{tick:g}", anchor="end", kind="soft")
        self.line(left, scale.start, left, scale.end, "axis")
        self.text(14, scale.end - 12, label)

    def svg(self) -> str:
        """The picture."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" width="{WIDTH}" height="{self.height}" '
            f'viewBox="0 0 {WIDTH} {self.height}">\n<title>{escape(self.title)}</title><style>{_STYLE}</style>\n'
            f'<rect width="100%" height="100%" class="ground"/>\n'
            f'<text x="14" y="22" class="title">{escape(self.title)}</text>\n' + "\n".join(self.body) + "\n</svg>\n"
        )
