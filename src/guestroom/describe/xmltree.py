"""XML that strangers wrote, as a small tree: no DTD, no entities, no depth and no size beyond what a guest needs.

expat reads it; what makes XML dangerous is refused before it can do anything: a document type (entity bombs, files
and networks behind entities), nesting deeper than any domain, texts and counts beyond any. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

from guestroom.errors import DescribeError
from guestroom.units import MIB, format_bytes

MOST_BYTES = 4 * MIB
"""A domain with a thousand devices is below 1 MiB."""
MOST_DEPTH = 64
MOST_ELEMENTS = 100_000


@dataclass(slots=True)
class Element:
    """One element; names without their namespace's prefix."""

    name: str
    attributes: dict[str, str]
    line: int
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def all(self, name: str) -> Iterator[Element]:
        """Children of that name, in order."""
        return (child for child in self.children if child.name == name)

    def first(self, *names: str) -> Element | None:
        """The first child of the first name, its first child of the second, and so on; None where one is missing."""
        found: Element | None = self
        for name in names:
            found = next(found.all(name), None) if found is not None else None
        return found

    def get(self, name: str) -> str | None:
        """An attribute; None where it is missing or empty."""
        return self.attributes.get(name) or None


def parse_xml(text: str) -> Element:
    """The root of ``text``. Raises ``DescribeError`` with the line for anything that is not a plain document."""
    if len(text) > MOST_BYTES:
        raise DescribeError(
            f"the XML is {format_bytes(len(text))} long, more than {format_bytes(MOST_BYTES)}",
            hint="give one domain's XML (virsh dumpxml NAME)",
        )
    reader = _Reader()
    try:
        reader.parser.Parse(text.encode(), True)
    except expat.ExpatError as error:
        raise DescribeError(
            f"it is not well-formed XML: {expat.errors.messages.get(error.code, 'unknown error')}",
            where=f"line {error.lineno}",
            hint="give one domain's XML (virsh dumpxml NAME)",
        ) from error
    except UnicodeEncodeError as error:
        raise DescribeError("it is not text: it holds characters that no encoding has") from error
    assert reader.root is not None  # expat refuses a document without an element
    return reader.root


class _Reader:
    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._texts: list[list[str]] = []
        """Pieces of text of each open element: joined once, where adding each would take quadratic time."""
        self._count = 0
        # The text is decoded already: what the document says of its encoding must not choose a codec.
        self.parser = expat.ParserCreate(encoding="utf-8")
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text

    def _where(self) -> str:
        return f"line {self.parser.CurrentLineNumber}"

    def _doctype(self, *_: object) -> None:
        raise DescribeError("a document type is not accepted", where=self._where(), hint="leave <!DOCTYPE ...> out")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if len(self._open) >= MOST_DEPTH:
            raise DescribeError(f"it is nested deeper than {MOST_DEPTH} elements", where=self._where())
        if self._count > MOST_ELEMENTS:
            raise DescribeError(f"it has more than {MOST_ELEMENTS} elements", where=self._where())
        element = Element(name.rpartition(":")[2], attributes, self.parser.CurrentLineNumber)
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)
        self._texts.append([])

    def _end(self, _: str) -> None:
        self._open.pop().text = "".join(self._texts.pop())

    def _text(self, text: str) -> None:
        self._texts[-1].append(text)  # expat lets no text stand outside of the root
