"""Where a key stands in a TOML text, so that an error can name its line."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guestroom.agent.toml_lines import Path, key_lines

DOCUMENT = '''# a comment with [brackets] and key = value
title = "x"   # another

[host]
reserve = "25%"
  headroom="a # b = c" # d = e
text = """
fake = 1
[fake]
\\""" still = 2
"""
raw = \'\'\'
[also.fake]
x = "\'\'\'
"quoted key" = 1
'single.quoted' = 2
sub.deep . er = 3
list = [
  "a", # ] not the end
  [1, 2],
  { inner = 1 },
]
after = {x = 1, y = { z = "}" } }

[ guests . "my guest" ]
weight = 1
[[many]]
a = 1
[[many]]
a = 2
b = 1979-05-27T07:32:00Z
'''

EXPECTED = {
    ("title",): 2,
    ("host",): 4,
    ("host", "reserve"): 5,
    ("host", "headroom"): 6,
    ("host", "text"): 7,
    ("host", "raw"): 12,
    ("host", "quoted key"): 15,
    ("host", "single.quoted"): 16,
    ("host", "sub"): 17,
    ("host", "sub", "deep"): 17,
    ("host", "sub", "deep", "er"): 17,
    ("host", "list"): 18,
    ("host", "list", "inner"): 21,
    ("host", "after"): 23,
    ("host", "after", "x"): 23,
    ("host", "after", "y"): 23,
    ("host", "after", "y", "z"): 23,
    ("guests",): 25,
    ("guests", "my guest"): 25,
    ("guests", "my guest", "weight"): 26,
    ("many",): 27,
    ("many", "a"): 28,
    ("many", "b"): 31,
}


def test_every_key_is_found_on_its_line_and_nothing_else() -> None:
    """Strings, comments and arrays that look like keys are not keys; all real ones have their line."""
    tomllib.loads(DOCUMENT)
    assert key_lines(DOCUMENT) == EXPECTED


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("", (), None),
        ("\n\n a = 1", ("a",), 3),
        ("a = 1\r\nb = 2\r\n", ("b",), 2),
        ('"\\u0061b" = 1', ("ab",), 1),
        ('"a\\"b" = 1\nc = 2', ("c",), 2),
        ('x = """"quoted""""\ny = 1', ("y",), 2),
        ("x = ''''quoted''''\ny = 1", ("y",), 2),
        ('x = ""\ny = 1', ("y",), 2),
        ("x = []\ny = {}\nz = 1", ("z",), 3),
        ("x = [[[]]]\ny = 1", ("y",), 2),
        ('x = ["""\n]""", 1]\ny = 1', ("y",), 3),
        ("[a]\n[a.b]\nc = 1", ("a", "b", "c"), 3),
        ("[a.b]\n[a]\nc = 1", ("a",), 1),
        ("1234 = 1\n-_- = 2", ("-_-",), 2),
        ("x = -inf # c\ny = 1", ("y",), 2),
    ],
)
def test_the_corners_of_toml(text: str, path: Path, line: int | None) -> None:
    """Each way TOML has of writing keys and values is walked over without losing count."""
    tomllib.loads(text)
    assert key_lines(text).get(path) == line


KEYS = st.text("ab.-_ #=[\"'é", min_size=1, max_size=4)
VALUES = st.one_of(
    st.integers(),
    st.booleans(),
    st.text("ab\n\"'#=[]{},\\ ", max_size=8),
    st.lists(st.text('a\n"]#,', max_size=4), max_size=3),
)


def quoted(text: str) -> str:
    """A TOML basic string."""
    return '"' + "".join(f"\\u{ord(c):04x}" if c in '"\\\n' else c for c in text) + '"'


def written(value: object) -> str:
    """A value as TOML; texts with newlines over several lines where TOML allows it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and "\n" in value and "'''" not in value and not value.endswith("'"):
        return f"'''\n{value}'''"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list):
        return "[\n" + "".join(f"  {written(item)}, # ] }}\n" for item in value) + "]"
    return str(value)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=4), max_size=4),
    st.lists(st.sampled_from(["", "# [x] y = 1", "  "]), max_size=3),
)
def test_every_key_of_any_document_is_found_where_it_was_written(
    document: dict[str, dict[str, Any]], filler: list[str]
) -> None:
    """Whatever stands between them, a key's line is the line it was written on."""
    lines: list[str] = []
    expected: dict[Path, int] = {}
    for table, entries in document.items():
        lines += filler
        expected[(table,)] = len(lines) + 1
        lines.append(f"[{quoted(table)}] # {table!r}")
        for key, value in entries.items():
            lines += filler
            expected[(table, key)] = len(lines) + 1
            lines += f"{quoted(key)} = {written(value)}".split("\n")
    text = "\n".join(lines)
    assert tomllib.loads(text) == document
    assert key_lines(text) == expected
