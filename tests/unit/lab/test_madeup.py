"""Made-up hosts: the same by seed, and guests as measured ones are."""

from __future__ import annotations

import pytest

from guestroom.lab.madeup import KINDS, made_up
from guestroom.units import MIB

PINNED = {"g000": ((0.0, 69206016), (162.409, 77234176)), "g001": ((150.0, 110100480), (401.119, 116178944))}


@pytest.mark.parametrize("kind", KINDS)
def test_a_made_up_host_is_the_same_by_its_seed(kind: str) -> None:
    """The same arguments give the same trace, another seed another."""
    one = made_up(kind, seed=3, guests=6, length_s=1800)
    assert one == made_up(kind, seed=3, guests=6, length_s=1800)
    assert one.samples != made_up(kind, seed=4, guests=6, length_s=1800).samples


@pytest.mark.parametrize("kind", KINDS)
def test_made_up_guests_are_like_measured_ones(kind: str) -> None:
    """Times go forward within the length, overhead is of whole pages, above a bare QEMU's and within a burst."""
    trace = made_up(kind, seed=1, guests=12, length_s=3600)
    for name, points in trace.samples.items():
        times = [at_s for at_s, _ in points]
        assert times == sorted(times)
        assert 0 <= times[0] < times[-1] <= 3600
        assert all(size % 4096 == 0 for _, size in points)
        assert all(60 * MIB < size < 60 * MIB + 450 * MIB for _, size in points)
        assert trace.shapes[name].described().ram_bytes == trace.shapes[name].ram_bytes


def test_a_seed_stays_what_it_was() -> None:
    """A figure that was quoted by its seed can be had again."""
    trace = made_up("bursty", seed=1, guests=2, length_s=600)
    assert {name: points[:2] for name, points in trace.samples.items()} == PINNED
