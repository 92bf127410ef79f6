"""P1 to P4 and P6 hold after every single step of every plan, and after everything that is put back."""

from __future__ import annotations

from typing import Any

from decide_world import all_settings, histories, play
from hypothesis import HealthCheck, given, settings

from guestroom.config import Settings


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(chosen=all_settings, history=histories)
def test_every_prefix_of_every_plan_keeps_the_promises(chosen: Settings, history: list[tuple[str, str, Any]]) -> None:
    """Whatever comes, grows, is held, goes unseen or leaves: no step breaks the budget, a floor or the order."""
    assert play(chosen, history).broken == []
