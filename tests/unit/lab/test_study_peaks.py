"""What the kernel's own peak says of a guest's overhead, and where it says nothing."""

from __future__ import annotations

import pytest

from guestroom.lab.study.peaks import true_peak
from guestroom.units import MIB


@pytest.mark.parametrize(
    ("before", "after", "away", "mib"),
    [
        (0, 400, (3, 4), 140),
        (390, 400, (3, 4), 140),
        (400, 400, (3, 4), 0),
        (0, 400, (3, 40), 0),
        (0, 400, (), 0),
        (None, 400, (3,), 0),
        (0, None, (3,), 0),
    ],
)
def test_the_kernels_peak_is_told_only_where_nothing_blurs_it(
    before: int | None, after: int | None, away: tuple[int, ...], mib: int
) -> None:
    """RAM and the most that was seen beside it come off; cache that moved, or a peak of the start, tell nothing."""

    def size(value: int | None) -> int | None:
        return None if value is None else value * MIB

    found = true_peak(size(before), size(after), [one * MIB for one in away], 256 * MIB)
    assert found == mib * MIB
