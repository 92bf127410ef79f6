"""YAML that strangers wrote, as a plain tree of texts: no objects, no aliases, no depth and no size beyond a machine's.

PyYAML only takes the text apart; the tree is made here from its events, so that nothing is constructed by tags and
nothing is guessed: ``no`` and ``010`` stay the texts they are, and whoever knows the field decides. This is the one
module of the thinking packages that imports a third party, late: JSON and every other format need none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guestroom.errors import DescribeError, InputError
from guestroom.units import MIB, format_bytes

if TYPE_CHECKING:
    from yaml.events import Event

Tree = Mapping[str, "Tree"] | list["Tree"] | str | int | float | bool | None
"""What YAML and JSON say. YAML gives texts only; an empty value and ``null`` are None."""

MOST_BYTES = MIB
MOST_DEPTH = 64
MOST_NODES = 50_000
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file with the line it begins at."""

    tree: Tree
    line: int


def parse_yaml(text: str) -> list[Document]:
    """The documents of ``text``, in order.

    Raises ``DescribeError`` with the line for what is no YAML, for anchors, aliases and tags, for keys given twice, and
    for more bytes, depth or values than any machine has; ``InputError`` where PyYAML is not installed.
    """
    check_size(text)
    try:
        import yaml
    except ImportError as error:
        raise InputError("reading YAML needs PyYAML", hint="pip install 'guestroom[kubevirt]', or give JSON") from error
    try:
        return _Builder().documents(yaml.parse(text, Loader=yaml.BaseLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}" if mark is not None else None
        raise DescribeError(f"this is no YAML: {error.problem or error.context}", where=where) from error
    except yaml.YAMLError as error:  # a character that YAML does not allow
        raise DescribeError(f"this is no YAML: {' '.join(str(error).split())[:200]}") from error
    except (ValueError, OverflowError) as error:  # an escape or a directive whose number is beyond any
        raise DescribeError(f"this is no YAML: {str(error)[:200]}") from error


def check_size(text: str) -> None:
    """Raise ``DescribeError`` for a text larger than any machine's description."""
    if len(text) > MOST_BYTES:
        raise DescribeError(f"the description is larger than {format_bytes(MOST_BYTES)}")


class _Builder:
    """Makes trees of events; counts what it makes."""

    def __init__(self) -> None:
        self._nodes = 0

    def documents(self, events: Iterator[Event]) -> list[Document]:
        found = []
        for event in events:
            if type(event).__name__ == "DocumentStartEvent":
                node = next(events)
                found.append(Document(self._node(node, events, 1), _line(node)))
        return found

    def _node(self, event: Event, events: Iterator[Event], depth: int) -> Tree:
        self._check(event, depth)
        match type(event).__name__:
            case "MappingStartEvent":
                return self._mapping(events, depth)
            case "SequenceStartEvent":
                return self._sequence(events, depth)
            case _:
                plain = getattr(event, "style", None) is None
                value = str(getattr(event, "value", ""))
                return None if plain and value in _NULLS else value

    def _check(self, event: Event, depth: int) -> None:
        self._nodes += 1
        where = f"line {_line(event)}"
        if self._nodes > MOST_NODES:
            raise DescribeError(f"the description has more than {MOST_NODES} values", where=where)
        if depth > MOST_DEPTH:
            raise DescribeError(f"the description is nested deeper than {MOST_DEPTH}", where=where)
        if getattr(event, "anchor", None) is not None:
            raise DescribeError(
                "anchors and aliases are not read", where=where, hint="write the value out where it is used"
            )
        if getattr(event, "tag", None) is not None:
            raise DescribeError("tags are not read", where=where, hint="write the value without its tag")

    def _mapping(self, events: Iterator[Event], depth: int) -> Tree:
        found: dict[str, Tree] = {}
        for event in events:
            if type(event).__name__ == "MappingEndEvent":
                break
            key = self._node(event, events, depth + 1)
            if not isinstance(key, str):
                raise DescribeError("a key is not a text", where=f"line {_line(event)}")
            if key in found:
                raise DescribeError(f"{key[:40]!r} is given twice", where=f"line {_line(event)}")
            found[key] = self._node(next(events), events, depth + 1)
        return found

    def _sequence(self, events: Iterator[Event], depth: int) -> Tree:
        found: list[Tree] = []
        for event in events:
            if type(event).__name__ == "SequenceEndEvent":
                break
            found.append(self._node(event, events, depth + 1))
        return found


def _line(event: Event) -> int:
    mark = event.start_mark
    return mark.line + 1 if mark is not None else 1
