"""On which line of a TOML text each key is.

``tomllib`` gives no places for values that are well-formed but not allowed, and an error without a line
sends the operator searching. This scanner only finds keys in a text ``tomllib`` has already accepted, so it
knows where strings, arrays and comments end and nothing more (toml.io/en/v1.0.0).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping

Path = tuple[str, ...]

_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""")
_DOT = re.compile(r"[ \t]*\.[ \t]*")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})' + r"|'''.*?'''(?:'{0,2})" + r"""|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""", re.DOTALL
)
_BARE = re.compile(r"[^,\]}\n#]*")


def key_lines(text: str) -> Mapping[Path, int]:
    """Line (from 1) of each key and table of ``text``, which must be valid TOML; the first place of each.

    Tables inside arrays count as keys of the array: they have no path of their own.
    """
    return _Scanner(text).scan()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._counted_to = 0
        self._line = 1
        self._found: dict[Path, int] = {}

    def scan(self) -> Mapping[Path, int]:
        table: Path = ()
        self._skip(_SPACE)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                self._at += 2 if self._text.startswith("[[", self._at) else 1
                table = self._key(())
                self._at = self._text.index("]", self._at)
                while self._text.startswith("]", self._at):
                    self._at += 1
            else:
                self._pair(table)
            self._skip(_SPACE)
        return self._found

    def _pair(self, table: Path) -> None:
        path = self._key(table)
        self._at = self._text.index("=", self._at) + 1
        self._value(path)

    def _key(self, table: Path) -> Path:
        """Read a dotted key, note where it and the tables it opens are, and return its path."""
        self._skip(_SPACE)
        line, path = self._line_here(), table
        while True:
            match = _KEY.match(self._text, self._at)
            if match is None:  # not reached for valid TOML
                raise ValueError(f"no key at line {line}")
            self._at = match.end()
            path = (*path, _unquote(match[0]))
            self._found.setdefault(path, line)
            if not self._skip(_DOT):
                return path

    def _value(self, path: Path) -> None:
        """Skip a value; inline tables bring keys of their own."""
        self._skip(_SPACE)
        if self._skip(_STRING):
            return
        if self._text[self._at] not in "[{":
            self._skip(_BARE)
            return
        closing = "]" if self._text[self._at] == "[" else "}"
        self._at += 1
        self._skip(_SPACE)
        while self._text[self._at] != closing:
            if closing == "}":
                self._pair(path)
            else:
                self._value(path)
            self._skip(_SPACE)
            if self._text[self._at] == ",":
                self._at += 1
                self._skip(_SPACE)
        self._at += 1

    def _skip(self, pattern: re.Pattern[str]) -> bool:
        """Move past ``pattern``; True where it was there."""
        match = pattern.match(self._text, self._at)
        if match is None:
            return False
        self._at = match.end()
        return True

    def _line_here(self) -> int:
        self._line += self._text.count("\n", self._counted_to, self._at)
        self._counted_to = self._at
        return self._line


def _unquote(key: str) -> str:
    """The text of a bare or quoted key."""
    if key[0] not in "\"'":
        return key
    return next(iter(tomllib.loads(f"{key} = 0")))
