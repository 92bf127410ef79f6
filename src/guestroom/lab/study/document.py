"""A report before it is a page: headings, paragraphs, lists, tables and pictures, written as Markdown.

Texts know two marks of Markdown, `code` and **strong**, and nothing else: what is quoted needs no escaping but
the bars of a table. ``page`` writes the same blocks as HTML.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import assert_never


@dataclass(frozen=True, slots=True)
class Heading:
    """Of a section; level 1 is the report's own."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Some sentences."""

    text: str


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of as many cells as there are columns."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    folded: bool = False
    """Long and rarely read: a page shows it when asked to."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as SVG, with what it shows in words for whoever can't see it."""

    name: str
    """Of its file, without an ending."""
    says: str
    svg: str


Block = Heading | Paragraph | Bullets | Table | Picture


def bullets(items: Iterable[str]) -> tuple[Block, ...]:
    """A list, or nothing where there are no items."""
    kept = tuple(items)
    return (Bullets(kept),) if kept else ()


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, folded: bool = False) -> tuple[Block, ...]:
    """A table, or nothing where there are no rows."""
    kept = tuple(tuple(row) for row in rows)
    return (Table(tuple(columns), kept, folded),) if kept else ()


def pictures(blocks: Iterable[Block]) -> tuple[Picture, ...]:
    """The pictures, each to be a file beside the Markdown that shows it."""
    return tuple(block for block in blocks if isinstance(block, Picture))


def markdown(blocks: Iterable[Block]) -> str:
    """The report as Markdown; pictures are files beside it, ``NAME.svg``."""
    return "\n\n".join(_written(block) for block in blocks) + "\n"


def _written(block: Block) -> str:
    match block:
        case Heading():
            return f"{'#' * block.level} {block.text}"
        case Paragraph():
            return block.text
        case Bullets():
            return "\n".join(f"- {item}" for item in block.items)
        case Table():
            rule = ["---"] * len(block.columns)
            lines = (block.columns, rule, *block.rows)
            text = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
            if not block.folded:
                return text
            return f"<details><summary>{len(block.rows)} rows</summary>\n\n{text}\n\n</details>"
        case Picture():
            says = block.says.replace("[", "(").replace("]", ")")
            return f"![{says}]({block.name}.svg)"
        case _:
            assert_never(block)
