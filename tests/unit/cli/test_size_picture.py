"""Policies as bars: lengths are right, and a terminal that can't say blocks gets other letters."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from guestroom.cli.size_picture import bars, stacked_policies
from guestroom.guest import Guest
from guestroom.size import estimate, policies
from guestroom.units import GIB, MIB

GUEST = Guest(ram_bytes=4 * GIB, vcpus=4)
ALL = [estimate(GUEST, name) for name in policies()]
SVG = "{http://www.w3.org/2000/svg}"


def test_bars_are_as_long_as_their_overhead() -> None:
    """48 cells for the largest, the others in proportion, to half a cell."""
    most = max(one.overhead_bytes for one in ALL)
    for one, line in zip(ALL, bars(ALL, encoding="utf-8", coloured=False), strict=False):
        name, bar, size, unit = line.split()
        assert (name, unit) == (one.policy, "MiB")
        assert float(size.replace(",", "")) == pytest.approx(one.overhead_bytes / MIB, abs=0.06)
        assert abs(len(bar) - one.overhead_bytes / most * 48) <= 0.5


def test_the_legend_names_every_kind_that_is_drawn_and_no_other() -> None:
    """Each shade in the bars stands in the legend with its kind."""
    *lines, blank, legend = bars(ALL, encoding="utf-8", coloured=False)
    assert blank == ""
    drawn = {cell for line in lines for cell in line.split()[1]}
    assert drawn <= {word[0] for word in legend.split("  ")}
    assert "not told apart" in legend
    assert "translated code" in legend
    assert "passed through" not in legend


def test_a_terminal_without_blocks_gets_ascii() -> None:
    """Nothing that its encoding can't say is printed."""
    text = "\n".join(bars(ALL, encoding="ascii", coloured=False))
    assert text.isascii()
    assert "#" in text


def test_colours_are_there_only_where_asked_for() -> None:
    """NO_COLOR and pipes get none."""
    assert "\x1b[" in "\n".join(bars(ALL, encoding="utf-8", coloured=True))
    assert "\x1b" not in "\n".join(bars(ALL, encoding="utf-8", coloured=False))


def test_the_picture_is_xml_whose_pieces_add_up() -> None:
    """A name can't break out of it; each policy's pieces are as wide as its share of the largest."""
    root = ElementTree.fromstring(stacked_policies(ALL, "guest <&> 'x'"))
    pieces = [rect for rect in root.iter(f"{SVG}rect") if rect.find(f"{SVG}title") is not None]
    assert len(pieces) == sum(len(one.parts) for one in ALL)
    widths: dict[str, float] = {}
    for rect in pieces:
        widths[str(rect.get("y"))] = widths.get(str(rect.get("y")), 0.0) + float(str(rect.get("width")))
    most = max(one.overhead_bytes for one in ALL)
    assert [round(width) for width in widths.values()] == [round(one.overhead_bytes / most * 660) for one in ALL]
    assert "guest <&> 'x'" in [text.text for text in root.iter(f"{SVG}text")]
