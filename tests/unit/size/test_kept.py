"""Whether promises were kept: counted by who promised and where, with what it wasted."""

from __future__ import annotations

import pytest

from guestroom.size import kept
from guestroom.size.promise import supported
from guestroom.units import MIB

from .lives import life, many


def test_realised_coverage_and_waste_are_by_policy_and_qemu() -> None:
    """18 of 20 within it is 90 %, surely only less; waste is what was granted above the peak, by the mean."""
    lives = [*many([80.0] * 18, None, promised_mib=100, coverage=0.9), *many([120.0, 130.0], "x", promised_mib=100)]
    lives += many([50.0], "old", promised_mib=100, policy="eve", qemu="7.1")
    eve, learned = kept(lives)
    assert (eve.policy, eve.qemu, eve.lives, eve.missed, eve.coverage) == ("eve", "7.1", 1, 0, 1.0)
    assert (learned.policy, learned.qemu, learned.accelerator) == ("learned", "7.2.22", "tcg")
    assert (learned.lives, learned.missed, learned.coverage) == (20, 2, 0.9)
    assert learned.coverage_at_least == supported(20, 18)
    assert learned.promised_coverage == pytest.approx(0.9)
    assert learned.waste_bytes == (18 * 420 + 380 + 370) * MIB // 20
    assert learned.largest_miss_bytes == 30 * MIB
    assert learned.peak_bytes == 80 * MIB


def test_who_was_not_promised_anything_is_not_judged() -> None:
    """An operator's figure is nobody's estimate; a guest ended in its boot kept no promise, but can break one."""
    assert kept([life(200.0, promised_mib=80, fixed=True), life(10.0, "b", ran_s=5)]) == ()
    (one,) = kept([life(200.0, promised_mib=80, ran_s=5)])
    assert (one.lives, one.missed, one.promised_coverage) == (1, 1, None)
