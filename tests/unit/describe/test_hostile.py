"""Descriptions made to hurt their reader: each ends at once, in a guest or in one error."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from guestroom.describe import from_kubevirt, from_libvirt, from_qemu_argv, from_readconfig
from guestroom.errors import DescribeError, GuestroomError
from guestroom.guest import Guest
from guestroom.units import MIB

HUGE = "x" * (100 * MIB)
WIDE_JSON = "{" + ",".join(f'"k{i}":1' for i in range(80_000)) + ',"k79999":2}'
BOMB = "<!DOCTYPE l [<!ENTITY a 'aaaaaaaaaa'>" + "".join(f"<!ENTITY a{i} '&a;&a;'>" for i in range(9)) + "]>"
MOST_S = 3.0
"""Of the processor's time; each takes less than a second, a quadratic reader took 4 s to minutes."""


def argv(text: str) -> Guest:
    """The guest of one device."""
    return from_qemu_argv(["-device", text])


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (from_libvirt, HUGE),
        (from_kubevirt, HUGE),
        (from_readconfig, HUGE),
        (argv, HUGE),
        (from_libvirt, "<domain>" + ("x" * 30 + "<b/>") * 99_000 + "</domain>"),
        (from_libvirt, "<a>" * 100_000),
        (from_libvirt, f"{BOMB}<domain>&a8;</domain>"),
        (from_libvirt, "<domain " + " ".join(f"a{i}='1'" for i in range(200_000)) + "/>"),
        (from_kubevirt, WIDE_JSON),
        (argv, WIDE_JSON),
        (from_kubevirt, "[" * 1_000_000),
        (from_kubevirt, '{"a":' * 200_000),
        (from_kubevirt, '{"a":' + "9" * 1_000_000 + "}"),
        (from_kubevirt, "? " * 500_000),
        (from_kubevirt, "a: b\n" * 200_000),
        (from_kubevirt, "x: &a [" + "1," * 1000 + "]\n" + "".join(f"y{i}: [*a, *a]\n" for i in range(1000))),
        (argv, '{"driver":' + "[" * 500_000),
        (argv, "," * 1_000_000),
        (from_readconfig, "[device]\n" * 110_000),
        (from_readconfig, "\x00" * 1000),
        (from_libvirt, "\x00\x01\x02\xff" * 1000),
        (from_kubevirt, "\x00\x01\x02\xff" * 1000),
    ],
    ids=lambda value: None if isinstance(value, str) else getattr(value, "__name__", None),
)
def test_nothing_takes_long_or_crashes(read: Callable[[str], Guest], text: str) -> None:
    """100 MB, bombs, depth, width, binary: a guest or one error of one line, in seconds."""
    refused: GuestroomError | None = None
    began = time.process_time()
    try:
        read(text)
    except GuestroomError as error:
        refused = error
    assert time.process_time() - began < MOST_S
    if refused is not None:
        assert refused.exit_code == 2
        assert "\n" not in refused.line()
        assert len(refused.line()) < 1000


@pytest.mark.parametrize(
    "encoding", ["foo", "base64", "idna", "utf-16", "utf-7", "shift_jis", "unicode_escape", "undefined", "x" * 1000]
)
def test_what_a_domain_says_of_its_encoding_chooses_no_codec(encoding: str) -> None:
    """The text is decoded already: the same name comes out, whatever codec the document names."""
    text = f'<?xml version="1.0" encoding="{encoding}"?><domain><name>caf\u00e9</name></domain>'
    assert from_libvirt(text).name == "caf\u00e9"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('{\n"a": 1,\n"b": }', "line 3"),
        ('{"a":\n' + "[" * 40, "line 2"),
        ("{", "line 1"),
    ],
)
def test_json_of_a_file_is_refused_with_its_line(text: str, where: str) -> None:
    """Not with the line of its beginning."""
    with pytest.raises(DescribeError) as caught:
        from_kubevirt(text)
    assert caught.value.where == where
