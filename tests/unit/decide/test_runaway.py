"""What becomes of a guest that stays held."""

from __future__ import annotations

import pytest

from guestroom.config import GuestSettings, OnRunaway
from guestroom.decide import runaway
from guestroom.facts import Accounting

from .samples import M, guest, settings

HELD = guest("A", use_bytes=500 * M, held=True)


@pytest.mark.parametrize("choice", [OnRunaway.STOP, OnRunaway.WALL])
def test_it_is_held_until_its_time_is_over(choice: OnRunaway) -> None:
    """One second before it stands still, with what is left; at the mark the choice is due."""
    chosen = settings(on_runaway=choice, runaway_after_s=60.0)
    before, after = runaway(HELD, 59.0, chosen), runaway(HELD, 60.0, chosen)
    assert before is not None
    assert after is not None
    assert (before.choice, before.left_s, before.over_bytes) == (OnRunaway.HOLD, 1.0, 100 * M)
    assert (after.choice, after.left_s, after.held_for_s) == (choice, None, 60.0)
    assert "100.0 MiB above its grant of 400.0 MiB" in after.reason


def test_an_adopted_guest_runs_away_within_its_margin() -> None:
    """It is held one margin before its grant, so from there on it counts; below that margin it is no runaway."""
    chosen = settings(on_runaway=OnRunaway.STOP, runaway_after_s=60.0)
    for use, choice in ((369 * M, OnRunaway.STOP), (368 * M, OnRunaway.HOLD)):
        found = runaway(guest("A", use_bytes=use, held=True, accounting=Accounting.JOINT), 60.0, chosen)
        assert found is not None
        assert found.choice is choice


def test_by_default_it_is_held_without_end() -> None:
    """Nothing is lost but time, and the time is told."""
    found = runaway(HELD, 1e6, settings())
    assert found is not None
    assert (found.choice, found.left_s, found.held_for_s) == (OnRunaway.HOLD, None, 1e6)


def test_the_guest_s_own_choice_comes_before_the_host_s() -> None:
    """One guest may be too dear to stop on a host that stops runaways."""
    chosen = settings(on_runaway=OnRunaway.STOP, guests={"A": GuestSettings(on_runaway=OnRunaway.HOLD)})
    found = runaway(HELD, 1e6, chosen)
    assert found is not None
    assert found.choice is OnRunaway.HOLD


def test_only_a_held_guest_above_its_grant_is_a_runaway() -> None:
    """Not held: no question. Within its grant or of unknown use: nothing is ended for it."""
    stop = settings(on_runaway=OnRunaway.STOP)
    assert runaway(guest("A", use_bytes=500 * M), 1e6, stop) is None
    for one in (guest("A", held=True), guest("A", held=True, overhead_bytes=None)):
        found = runaway(one, 1e6, stop)
        assert found is not None
        assert found.choice is OnRunaway.HOLD


def test_one_held_for_its_own_cap_is_a_runaway_within_its_grant() -> None:
    """Only a guest with a cap is held there, and what becomes of it is asked all the same; its cap is told."""
    stop = settings(on_runaway=OnRunaway.STOP, runaway_after_s=60.0)
    found = runaway(guest("A", use_bytes=390 * M, cap_bytes=400 * M, held=True), 60.0, stop)
    assert found is not None
    assert found.choice is OnRunaway.STOP
    assert "its cap is 400.0 MiB" in found.reason
