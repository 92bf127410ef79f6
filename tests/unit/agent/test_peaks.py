"""The largest overhead of a window: from the kernel where it is exact, bounded where it is not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from guestroom.agent.peaks import PeakWindow
from guestroom.units import MIB


def test_the_kernels_peak_counts_where_no_page_cache_blurs_it() -> None:
    """What grew and shrank between two samples is in the kernel's peak, and so in ours."""
    window = PeakWindow(600)
    window.add(0.0, 60 * MIB, 311 * MIB, 0)
    assert window.peak_bytes == 311 * MIB


def test_page_cache_makes_the_kernels_peak_a_bound_only() -> None:
    """With page cache the largest gap between samples is added, up to the kernel's peak."""
    window = PeakWindow(600)
    window.add(0.0, 60 * MIB, 900 * MIB, 500 * MIB)
    window.add(1.0, 100 * MIB, 900 * MIB, 500 * MIB)
    assert window.peak_bytes == 140 * MIB
    window.add(2.0, 500 * MIB, 510 * MIB, 5 * MIB)
    assert window.peak_bytes == 510 * MIB


def test_records_of_dropped_cache_leave_the_peaks_that_held_them() -> None:
    """A peak seen with as much cache is lower by its records, one with half of it by half, one without any not."""
    for cache, expected in ((500 * MIB, 70 * MIB), (900 * MIB, 70 * MIB), (250 * MIB, 80 * MIB), (0, 90 * MIB)):
        window = PeakWindow(600)
        window.add(0.0, 90 * MIB, 90 * MIB, cache)
        window.cache_gone(500 * MIB, 20 * MIB)
        assert window.peak_bytes == expected
        window.add(1.0, 60 * MIB, 95 * MIB, 0)
        assert window.peak_bytes == 95 * MIB, "the kernel's peak was reset with the cache: it is exact again"


def test_without_a_kernel_peak_the_gap_is_added() -> None:
    """Where the kernel tells no peak the samples and their largest gap stand for it."""
    window = PeakWindow(600)
    window.add(0.0, 10 * MIB, None, None)
    window.add(1.0, 30 * MIB, None, None)
    assert window.peak_bytes == 50 * MIB


def test_a_peak_is_forgotten_after_its_window() -> None:
    """After one and a half windows without it, a peak no longer counts; before half a window it always does."""
    window = PeakWindow(600)
    assert window.add(0.0, 500 * MIB, 500 * MIB, 0) is False
    assert window.add(299.0, 50 * MIB, 500 * MIB, 0) is False
    assert window.add(301.0, 50 * MIB, 50 * MIB, 0) is True, "a new half begins: the kernel's peak is to be reset"
    assert window.peak_bytes == 500 * MIB
    window.add(602.0, 50 * MIB, 50 * MIB, 0)
    assert window.peak_bytes == 50 * MIB


def test_a_recorded_peak_is_kept_over_a_restart() -> None:
    """A new agent begins with the peak the ledger has."""
    window = PeakWindow(600)
    window.restore(0.0, 300 * MIB)
    window.add(1.0, 50 * MIB, 50 * MIB, 0)
    assert window.peak_bytes == 300 * MIB


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=30))
def test_a_peak_is_never_below_a_sample_of_its_window(samples: list[int]) -> None:
    """Whatever was sampled within half a window is at most the peak."""
    window = PeakWindow(1000.0)
    for number, sample in enumerate(samples):
        window.add(float(number), sample, None, None)
    assert (window.peak_bytes or 0) >= max(samples)


def test_an_old_peak_of_the_kernel_is_a_bound_only() -> None:
    """A peak that can't be reset (v2) and did not move says nothing of this window, but the truth is not above it."""
    window = PeakWindow(600)
    window.add(0.0, 60 * MIB, 311 * MIB, 0)
    window.add(400.0, 50 * MIB, 311 * MIB, 0, peak_is_old=True)
    window.add(800.0, 60 * MIB, 311 * MIB, 0, peak_is_old=True)
    window.add(801.0, 65 * MIB, 311 * MIB, 0, peak_is_old=True)
    assert window.peak_bytes == 75 * MIB - 5 * MIB
    window.add(802.0, 310 * MIB, 311 * MIB, 0, peak_is_old=True)
    assert window.peak_bytes == 311 * MIB
