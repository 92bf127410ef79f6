"""What ``guestroom explain`` prints, and how it refuses."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from guestroom.attribute.parts import Explanation, Part, PartKind
from guestroom.cli.explain import Looked, as_dict, changed
from guestroom.cli.main import cli
from guestroom.cli.picture import stacked_bar, write_png
from guestroom.errors import HostError
from guestroom.units import MIB

FOUND = Explanation(
    100 * MIB,
    (
        Part("guest RAM", 64 * MIB, "smaps", PartKind.RAM),
        Part("heap <&>", 30 * MIB, "smaps", PartKind.OVERHEAD),
        Part("page cache, clean", 5 * MIB, "stat", PartKind.RECLAIMABLE),
        Part("unexplained", MIB, "rest", PartKind.UNKNOWN),
    ),
    0,
    7,
)


def test_json_keeps_the_contract() -> None:
    """Parts sum to what is charged, and what is unexplained is not counted as explained."""
    found = as_dict(Looked(FOUND, (), "/c", 1.0))
    parts = found["parts"]
    assert isinstance(parts, list)
    assert sum(part["bytes"] for part in parts) == found["charged_bytes"]
    assert found["explained_bytes"] == 99 * MIB
    assert found["overhead_bytes"] == 31 * MIB
    assert set(parts[0]) == {"name", "bytes", "source", "kind"}


def test_a_difference_names_what_moved() -> None:
    """Parts that grew, shrank, came or went, the largest first; the others are left out."""
    assert changed({"a": 5, "b": 9, "c": 1}, {"a": 5, "b": 2, "d": 3}) == {"b": -7, "d": 3, "c": -1}


def test_the_picture_is_whole_and_escaped() -> None:
    """The SVG parses, draws every part, and a name is text."""
    root = ElementTree.fromstring(stacked_bar(FOUND, "guest <x>"))
    texts = " ".join("".join(node.itertext()) for node in root.iter())
    assert "heap <&>" in texts
    assert "guest <x>" in texts
    assert len([node for node in root.iter() if node.tag.endswith("rect")]) == 1 + 4 + 2 + 4


def test_the_png_has_the_size_of_its_parts(tmp_path: Path) -> None:
    """A PNG as wide as the SVG, with one line more for each part; a name with a ``$`` is text and not a formula."""
    pytest.importorskip("matplotlib")
    more = Explanation(101 * MIB, (*FOUND.parts, Part("a$b$", MIB, "smaps", PartKind.OVERHEAD)), 0, 0)
    sizes = []
    for number, found in enumerate((FOUND, more)):
        write_png(found, "guest $x", path := tmp_path / f"{number}.png")
        head = path.read_bytes()[:24]
        assert head.startswith(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR")
        sizes.append(struct.unpack(">II", head[16:]))
    assert sizes[0][0] == sizes[1][0] == 860
    assert sizes[1][1] == sizes[0][1] + 20


def test_without_matplotlib_the_png_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No traceback and no empty file: the extra is named."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(HostError, match="needs matplotlib") as caught:
        write_png(FOUND, "x", path := tmp_path / "x.png")
    assert "pip install guestroom[plots]" in caught.value.line()
    assert not path.exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "name one guest"),
        (["a", "--pid", "5"], "name one guest"),
        (["--pid", "5", "--watch", "1", "--diff", "1"], "two things"),
        (["--pid", "x"], "not a valid integer"),
        (["../etc"], "is not allowed"),
    ],
)
def test_wrong_usage_is_one_line(words: list[str], expected: str) -> None:
    """Exit code 2 and what to do."""
    done = CliRunner().invoke(cli, ["explain", *words])
    assert done.exit_code == 2
    assert expected in done.stderr


def test_a_process_that_is_no_qemu_is_refused() -> None:
    """This very test is no QEMU, and a pid nobody has is not there."""
    done = CliRunner().invoke(cli, ["explain", "--pid", str(os.getpid())])
    assert done.exit_code == 2
    assert "is no QEMU" in done.stderr
    gone = CliRunner().invoke(cli, ["explain", "--pid", "4194303"])
    assert gone.exit_code == 1
    assert len(gone.stderr.strip().splitlines()) == 1
