"""QEMU's ``key=value,key=value`` lists and their JSON form.

The rules are those of util/qemu-option.c and util/keyval.c: a doubled comma is a comma, the first part may
leave its key out, a bare key means on and ``nokey`` off, the last of two equal keys counts. JSON is
flattened to the dotted keys that the other form uses, so one reader serves both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import NoReturn

from guestroom.errors import DescribeError

MAX_DEPTH = 32
_PART = re.compile(r"(?:[^,]|,,)+")


def split_parts(text: str) -> list[str]:
    """Cut ``text`` at single commas; doubled ones stay as written inside their part."""
    return _PART.findall(text)


def part_key(part: str) -> str:
    """Key a part sets: of ``prealloc=off`` and ``prealloc`` it is ``prealloc``; of ``noprealloc`` itself."""
    return part.partition("=")[0]


def parse_keyval(text: str, implied: str | None = None) -> dict[str, str]:
    """Read a list into a dict of texts.

    ``implied`` names the key the first part has when it is written without ``=``. Later keys win. Nothing
    is an error here: what a value may be is known only where it is used.
    """
    values: dict[str, str] = {}
    for position, part in enumerate(split_parts(text)):
        key, equals, value = part.partition("=")
        if equals:
            values[key] = value.replace(",,", ",")
        elif position == 0 and implied is not None:
            values[implied] = part.replace(",,", ",")
        elif part.startswith("no") and len(part) > 2:
            values[part[2:]] = "off"
        else:
            values[part] = "on"
    return values


def load_json(text: str, where: str | None) -> dict[str, object]:
    """Read one JSON object as QEMU accepts it: no duplicate keys, no NaN, at most 32 levels deep.

    ``where`` is the place of the whole text for errors; None stands for a file, whose line is told then.
    """
    deep = _too_deep(text)
    if deep is not None:
        raise DescribeError(f"JSON is nested deeper than {MAX_DEPTH} levels", where=where or _line(text, deep))
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise DescribeError(f"JSON is not understood: {error}", where=where or f"line {error.lineno}") from error
    except ValueError as error:
        raise DescribeError(f"JSON is not understood: {str(error)[:200]}", where=where) from error
    if not isinstance(value, dict):
        raise DescribeError("JSON is not an object", where=where or "line 1")
    return value


def _line(text: str, place: int) -> str:
    newline = "\n"
    return f"line {text.count(newline, 0, place) + 1}"


def flatten(value: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Dotted keys and texts of a JSON object: ``{"file": {"driver": "nbd"}}`` gives ``file.driver=nbd``."""
    flat: dict[str, str] = {}
    for key, item in value.items():
        name = f"{prefix}{key}"
        match item:
            case dict():
                flat |= flatten(item, f"{name}.")
            case list():
                flat |= flatten({str(i): each for i, each in enumerate(item)}, f"{name}.")
            case bool():
                flat[name] = "on" if item else "off"
            case None:
                flat[name] = ""
            case _:
                flat[name] = str(item)
    return flat


def parse_values(text: str, implied: str | None, where: str) -> dict[str, str]:
    """Read a list in either form."""
    return flatten(load_json(text, where)) if text.startswith("{") else parse_keyval(text, implied)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"duplicate key {name[:60]!r}")
            seen.add(name)
    return values


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _too_deep(text: str) -> int | None:
    """Where more brackets than allowed are open at once; counted first, since the decoder itself recurses."""
    depth = 0
    in_string = escaped = False
    for place, character in enumerate(text):
        if in_string:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                in_string = False
        elif character == '"':
            in_string = True
        elif character in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                return place
        elif character in "]}":
            depth -= 1
    return None
