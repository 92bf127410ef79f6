"""Somebody else thaws a guest that the alarm holds."""

from __future__ import annotations

from tests.unit.agent.test_alarm_watch import GRANT, Scene

from guestroom.actions import Hold
from guestroom.units import MIB


def test_a_hold_that_somebody_undoes_is_seen_and_not_fought() -> None:
    """Thawed from outside it is told and held again at once; the next time only when it takes more, or later."""
    scene, freezer = Scene(), "/f/g/a/freezer.state"
    scene.kernel.charge("a", vmm=GRANT + 100 * MIB)
    assert [type(action) for action in scene.look()] == [Hold]
    scene.kernel.texts[freezer] = "THAWED"
    assert [type(action) for action in scene.look()] == [Hold]
    assert scene.kinds().count("thawed") == 1
    scene.kernel.texts[freezer] = "THAWED"
    assert scene.look() == []
    assert scene.look() == []
    assert [news["times"] for news in scene.said if news["event"] == "thawed"] == [1, 2]
    scene.kernel.charge("a", vmm=GRANT + 105 * MIB)
    assert [type(action) for action in scene.look()] == [Hold]
    scene.kernel.texts[freezer] = "THAWED"
    assert scene.look() == []
    scene.clock.advance(10.0)
    assert [type(action) for action in scene.look()] == [Hold]
