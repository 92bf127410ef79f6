"""Lists of key=value and JSON."""

from __future__ import annotations

import pytest

from guestroom.describe.keyval import MAX_DEPTH, flatten, load_json, parse_keyval, parse_values, split_parts
from guestroom.errors import DescribeError


@pytest.mark.parametrize(
    ("text", "implied", "values"),
    [
        ("512", "size", {"size": "512"}),
        ("size=1G,slots=2", "size", {"size": "1G", "slots": "2"}),
        ("q35,usb=on", "type", {"type": "q35", "usb": "on"}),
        ("file=a,,b.img,if=none", None, {"file": "a,b.img", "if": "none"}),
        ("a,,b", "type", {"type": "a,b"}),
        ("x=a,,,y=1", None, {"x": "a,", "y": "1"}),
        ("x=,y=1", None, {"x": "", "y": "1"}),
        ("512,", "size", {"size": "512"}),
        ("", "size", {}),
        ("server,nowait", None, {"server": "on", "wait": "off"}),
        ("size=1,size=2", None, {"size": "2"}),
        ("name=a=b", None, {"name": "a=b"}),
        ("no", "x", {"x": "no"}),
    ],
)
def test_lists_are_read_as_qemu_does(text: str, implied: str | None, values: dict[str, str]) -> None:
    """Doubled commas, left-out first keys, bare keys and repeated keys mean what they mean to QEMU."""
    assert parse_keyval(text, implied) == values


def test_parts_keep_their_commas() -> None:
    """Cutting into parts leaves doubled commas as they are written."""
    assert split_parts("a=1,,2,b,") == ["a=1,,2", "b"]


def test_json_becomes_the_same_dotted_keys() -> None:
    """The JSON form gives the keys and texts of the list form."""
    value = {"driver": "qcow2", "read-only": True, "size": 3, "file": {"driver": "file", "x": [1, None]}}
    assert flatten(value) == {
        "driver": "qcow2",
        "read-only": "on",
        "size": "3",
        "file.driver": "file",
        "file.x.0": "1",
        "file.x.1": "",
    }
    assert parse_values('{"driver": "a"}', "driver", "") == parse_values("a", "driver", "")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"a": 1, "a": 2}',
        '{"a": NaN}',
        '{"a": Infinity}',
        "{}}",
        '{"a":' * (MAX_DEPTH + 1),
        '{"a": ' + "[" * 100_000,
        '{"a": ' + "9" * 10_000 + "}",
    ],
    ids=["open", "twice", "nan", "infinity", "trailing", "deep", "deeper", "long number"],
)
def test_bad_json_is_an_error(text: str) -> None:
    """JSON that QEMU could not read, or that is nested without end, is an error and not a crash."""
    with pytest.raises(DescribeError) as caught:
        load_json(text, "argument 1")
    assert caught.value.where == "argument 1"


def test_brackets_inside_strings_are_no_depth() -> None:
    """Only brackets outside strings count as nesting."""
    assert load_json('{"a": "' + "[" * 100 + '\\"{"}', "") == {"a": "[" * 100 + '"{'}
