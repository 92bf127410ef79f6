"""How much of a core the alarm process may take."""

from __future__ import annotations

from guestroom.agent.alarm_breath import CREDIT_S, SHARE, Breath


def busy_share(work_s: float, idle_s: float, rounds: int) -> float:
    """Part of the time that is work, when ``work_s`` of it is always waiting and comes after ``idle_s``."""
    breath, now_s, worked_s = Breath(), 100.0, 0.0
    for _ in range(rounds):
        now_s += idle_s
        began_s, now_s = now_s, now_s + work_s
        worked_s += work_s
        now_s += breath.wait_s(began_s, now_s)
    return worked_s / (now_s - 100.0)


def test_a_storm_gets_its_share_and_no_more() -> None:
    """Work that never ends takes a quarter of a core in the long run, however long each piece is."""
    for work_s in (0.0001, 0.002, 0.05):
        assert abs(busy_share(work_s, 0.0, 20_000) - SHARE) < 0.01


def test_who_is_woken_now_and_then_waits_for_nothing() -> None:
    """Work that fits the share is never put off, and neither is a burst within the credit."""
    assert abs(busy_share(0.001, 0.004, 1000) - 0.2) < 1e-6
    breath, now_s = Breath(), 5.0
    for _ in range(int(CREDIT_S / 0.001)):
        assert breath.wait_s(now_s, now_s + 0.001) == 0.0
        now_s += 0.001
