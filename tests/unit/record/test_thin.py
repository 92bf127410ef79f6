"""Readings are thinned without losing a change that matters."""

from __future__ import annotations

import pytest

from guestroom.record.thin import Thinner
from guestroom.units import GIB, MIB, UNLIMITED, Limit

from .samples import reading

LIMIT = 2 * GIB
GRANT = 500 * MIB


def after_one(limit: Limit | None = LIMIT, grant_bytes: int | None = GRANT) -> Thinner:
    """A thinner that has kept one reading of ``a`` at 1000 s."""
    thinner = Thinner(10.0)
    thinner.kept(reading(), limit, grant_bytes)
    return thinner


def test_the_first_reading_is_kept() -> None:
    """A guest is in the ledger from its first sweep on."""
    assert Thinner(10.0).is_news(reading(), LIMIT, GRANT)


def test_a_quiet_guest_is_kept_once_per_period() -> None:
    """The same figures again are dropped until the period went by."""
    thinner = after_one()
    assert not thinner.is_news(reading(at_s=1009.9), LIMIT, GRANT)
    assert thinner.is_news(reading(at_s=1010.0), LIMIT, GRANT)


@pytest.mark.parametrize(("moved_bytes", "news"), [(MIB, False), (-MIB, False), (MIB + 1, True), (-MIB - 1, True)])
def test_a_small_guests_band_is_one_mib(moved_bytes: int, news: bool) -> None:
    """Of 100 MiB overhead one percent is 1 MiB: only more than that is worth a row."""
    later = reading(at_s=1001.0, overhead_bytes=100 * MIB + moved_bytes)
    assert after_one().is_news(later, LIMIT, GRANT) is news


def test_a_large_guests_band_is_one_percent() -> None:
    """Of 500 MiB grant a change of 5 MiB is within the band, more is not."""
    assert not after_one().is_news(reading(at_s=1001.0), LIMIT, GRANT + 5 * MIB)
    assert after_one().is_news(reading(at_s=1001.0), LIMIT, GRANT + 5 * MIB + 1)


@pytest.mark.parametrize("limit", [None, UNLIMITED, LIMIT * 2])
def test_a_changed_limit_is_news(limit: Limit | None) -> None:
    """A limit that moved, vanished or became unknown is always written."""
    assert after_one().is_news(reading(at_s=1001.0), limit, GRANT)


def test_becoming_unknown_is_news() -> None:
    """Overhead that can't be told any more is not the same as overhead that stayed."""
    assert after_one().is_news(reading(at_s=1001.0, overhead_bytes=None), LIMIT, GRANT)


def test_a_clock_that_began_anew_is_news() -> None:
    """A reading from before the last kept one belongs to another time base and starts a new period."""
    assert after_one().is_news(reading(at_s=5.0), LIMIT, GRANT)


def test_another_guest_is_not_thinned_by_this_one() -> None:
    """Each guest has its own period."""
    assert after_one().is_news(reading("b", at_s=1001.0), LIMIT, GRANT)


def test_a_guest_started_again_is_news() -> None:
    """A guest of the same name after the first one ended begins its own series."""
    thinner = after_one()
    thinner.forget("a")
    thinner.forget("never seen")
    assert thinner.is_news(reading(at_s=1001.0), LIMIT, GRANT)
