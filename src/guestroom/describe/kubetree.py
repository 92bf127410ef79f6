"""Fields of a Kubernetes object, each read as what its schema says, or refused with its path."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from guestroom.describe.yamltree import Tree
from guestroom.errors import DescribeError, SizeError
from guestroom.units import Dialect, parse_size

MOST_COUNT = 65_536
_CPU = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,9}))?(m?)\Z")
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


class Node:
    """A mapping with the path it was found at; a missing one is empty."""

    def __init__(self, tree: Tree, path: str) -> None:
        if tree is not None and not isinstance(tree, Mapping):
            raise DescribeError(f"{path} is not a mapping", where=path)
        self.fields: Mapping[str, Tree] = tree or {}
        self.path = path

    def has(self, name: str) -> bool:
        """True where the field is there and not null, were it empty."""
        return self.fields.get(name) is not None

    def at(self, *names: str) -> Node:
        """The mapping below, an empty one where it is missing."""
        found = self
        for name in names:
            found = Node(found.fields.get(name), f"{found.path}.{name}".lstrip("."))
        return found

    def all(self, name: str) -> Iterator[Node]:
        """The mappings of a list, in order; none where it is missing."""
        path = self._path(name)
        found = self.fields.get(name)
        if found is not None and not isinstance(found, list):
            raise DescribeError(f"{path} is not a list", where=path)
        return (Node(one, f"{path}[{number}]") for number, one in enumerate(found or ()))

    def text(self, name: str) -> str | None:
        """A text; None where it is missing or empty."""
        found = self.fields.get(name)
        if found is None:
            return None
        if isinstance(found, Mapping | list | bool):
            raise DescribeError(f"{self._path(name)} is not a text", where=self._path(name))
        return str(found) or None

    def flag(self, name: str) -> bool | None:
        """``true`` or ``false``. YAML 1.1's other words for them mean different things to different readers."""
        found = self.fields.get(name)
        if found is None or isinstance(found, bool):
            return found
        value = _BOOLS.get(found) if isinstance(found, str) else None
        if value is None:
            raise self._wrong(name, "neither true nor false")
        return value

    def count(self, name: str) -> int | None:
        """A count up to 65536. ``010`` is 8 to some readers and 10 to others: refused."""
        text = self.text(name)
        if text is None:
            return None
        digits = text.isascii() and text.isdecimal() and len(text) <= 5
        if not digits or (text.startswith("0") and text != "0") or int(text) > MOST_COUNT:
            raise self._wrong(name, f"not a count from 0 to {MOST_COUNT}")
        return int(text)

    def size(self, name: str) -> int | None:
        """Bytes of a Kubernetes quantity: ``1Gi`` is 2^30, ``1G`` 10^9."""
        text = self.text(name)
        if text is None:
            return None
        try:
            return parse_size(text, Dialect.KUBERNETES)
        except SizeError as error:
            raise DescribeError(str(error), where=self._path(name)) from error

    def cpus(self, name: str) -> float | None:
        """CPUs of a Kubernetes quantity: ``2``, ``0.5``, ``500m``."""
        text = self.text(name)
        match = _CPU.match(text) if text is not None else None
        if text is None:
            return None
        if match is None:
            raise self._wrong(name, "not a quantity of CPUs such as 2, 0.5 or 500m")
        number = float(f"{match[1]}.{match[2] or 0}")
        return number / 1000 if match[3] else number

    def _path(self, name: str) -> str:
        return f"{self.path}.{name}".lstrip(".")

    def _wrong(self, name: str, why: str) -> DescribeError:
        path = self._path(name)
        return DescribeError(f"{path} {str(self.fields.get(name))[:40]!r} is {why}", where=path)
