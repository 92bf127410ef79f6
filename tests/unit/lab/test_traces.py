"""The text of a trace: read back as written, and refused with its line where it is wrong."""

from __future__ import annotations

import pytest

from guestroom.errors import InputError
from guestroom.lab.traces import Shape, Trace, bursts, merge, read_trace, write_trace
from guestroom.units import MIB

SHAPE = Shape(256 * MIB, 130 * MIB, 96 * MIB, 64 * MIB)
HEAD = write_trace(Trace({"a": SHAPE}, {"a": ()})).strip()


def test_a_trace_is_read_back_as_it_was_written() -> None:
    """Text and trace say the same."""
    samples = merge(
        [
            bursts("a", base_mib=70, burst_mib=30, every_s=2, last_s=1, length_s=4),
            bursts("b", base_mib=60, burst_mib=0, every_s=1, last_s=1, length_s=2),
        ]
    )
    trace = Trace({"a": SHAPE, "b": SHAPE}, samples)
    again = read_trace(write_trace(trace))
    assert again.shapes == trace.shapes
    assert {n: [(round(at, 3), size) for at, size in p] for n, p in trace.samples.items()} == {
        n: list(p) for n, p in again.samples.items()
    }
    assert again.length_s == 4.0


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("nonsense", "not a sample"),
        ("[1, 2]", "not a sample"),
        ('[-1, "a", 5]', "not a sample"),
        ('[NaN, "a", 5]', "not a sample"),
        ('[1, "a", -5]', "not a number of bytes"),
        ('[1, "a", 5.5]', "not a number of bytes"),
        ('[1, "a", true]', "not a number of bytes"),
        ('[1, "stranger", 5]', "not among the guests"),
        ('[0.5, "a", 5]', "before the sample above"),
    ],
)
def test_a_wrong_line_is_named(line: str, word: str) -> None:
    """Each error quotes what is wrong and says on which line it stands."""
    with pytest.raises(InputError, match=word) as caught:
        read_trace(f'{HEAD}\n[1, "a", 5]\n{line}\n', "t.jsonl")
    assert caught.value.where == "t.jsonl:3"


@pytest.mark.parametrize(
    "head",
    [
        "",
        "[]",
        "{}",
        '{"guestroom_trace": 7, "guests": {}}',
        '{"guestroom_trace": 1, "guests": {"a": {}}}',
        '{"guestroom_trace": 1, "guests": {"a": 3}}',
        HEAD.replace(str(256 * MIB), "-1"),
        HEAD.replace(str(256 * MIB), '"1G"'),
    ],
)
def test_a_first_line_that_describes_no_guests_is_refused(head: str) -> None:
    """The first line is held to its form like any other."""
    with pytest.raises(InputError) as caught:
        read_trace(head, "t.jsonl")
    assert caught.value.where == "t.jsonl:1"


def test_a_guest_that_is_there_twice_is_refused() -> None:
    """Merged traces may not share a name."""
    one = bursts("a", base_mib=1, burst_mib=0, every_s=1, last_s=1, length_s=1)
    with pytest.raises(InputError, match="twice"):
        merge([one, one])
