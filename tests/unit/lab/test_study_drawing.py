"""Charts put values where they belong and label round numbers."""

from __future__ import annotations

import pytest

from guestroom.lab.study.drawing import Chart, Scale


def test_a_scale_puts_values_in_proportion() -> None:
    """Linear by difference, logarithmic by ratio, and what lies outside at the edge."""
    linear = Scale(0, 100, 50, 250)
    assert [linear.at(value) for value in (0, 50, 100, 900)] == [50, 150, 250, 250]
    log = Scale(0.1, 1000, 0, 400, log=True)
    assert [log.at(value) for value in (0.1, 1, 1000, 0.001)] == pytest.approx([0, 100, 400, 0])


def test_ticks_are_round_numbers_inside() -> None:
    """About six on a linear scale, the powers of ten on a logarithmic one, none outside."""
    assert Scale(0, 262, 0, 1).ticks() == [0, 50, 100, 150, 200, 250]
    assert Scale(-11, 12.4, 0, 1).ticks() == [-10, -5, 0, 5, 10]
    assert Scale(0.05, 1000, 0, 1, log=True).ticks() == pytest.approx([0.1, 1, 10, 100, 1000])


def test_words_from_outside_are_quoted() -> None:
    """What a study's files say can't become markup."""
    chart = Chart("<title>", 100)
    chart.text(0, 0, "a<b & c")
    chart.bar(0, 0, 1, 1, "#000", "</rect>")
    svg = chart.svg()
    assert "a&lt;b &amp; c" in svg
    assert "<title>&lt;/rect&gt;</title>" in svg
    assert "<title>&lt;title&gt;</title>" in svg
