"""Order, and what is left undone after a failure."""

from __future__ import annotations

import pytest

from guestroom.actions import (
    Action,
    Hold,
    LetGo,
    MakeGuest,
    Outcome,
    OutcomeKind,
    SetLimit,
    SetWall,
    StartGuest,
    StopGuest,
)
from guestroom.apply.execute import carry_out_all

SHRINK = SetLimit("a", 200, 100, 0, 0, 0, "why")
FROM_UNKNOWN = SetLimit("a", None, 100, 0, 0, 0, "why")
RAISE = SetLimit("b", 100, 200, 0, 0, 0, "why")
START = StartGuest("c", 0, 0, "why")


class FakeApplier:
    """Notes what it is asked, fails what it is told to fail."""

    def __init__(self, *failing: Action) -> None:
        self.failing = failing
        self.asked: list[Action] = []

    def carry_out(self, action: Action) -> Outcome:
        """One outcome."""
        self.asked.append(action)
        return Outcome(action, OutcomeKind.BUSY if action in self.failing else OutcomeKind.DONE, "")


def test_all_in_order() -> None:
    """Without failures everything is done once, in the order given."""
    applier = FakeApplier()
    actions = [SHRINK, SetWall(1, 2, ""), RAISE, START]
    assert [outcome.action for outcome in carry_out_all(actions, applier)] == actions == applier.asked


@pytest.mark.parametrize(
    "broken",
    [SHRINK, FROM_UNKNOWN, SetWall(1, 2, ""), SetWall(2, 1, ""), MakeGuest("c", 1, 0, ""), StopGuest("a", 0, "")],
)
def test_nothing_after_a_failed_ground(broken: Action) -> None:
    """P3: after a failed shrink, wall, newcomer or stop nothing grows and nobody starts."""
    applier = FakeApplier(broken)
    outcomes = carry_out_all([broken, RAISE, START], applier)
    assert [outcome.kind for outcome in outcomes] == [OutcomeKind.BUSY, OutcomeKind.SKIPPED, OutcomeKind.SKIPPED]
    assert applier.asked == [broken]
    assert "busy" in outcomes[1].detail


@pytest.mark.parametrize("failed", [RAISE, Hold("a", 0, 0, 0, ""), LetGo("a", "")])
def test_a_failed_raise_stops_nobody(failed: Action) -> None:
    """A raise, hold or let-go that fails takes nothing from the others: they go on."""
    outcomes = carry_out_all([failed, SHRINK, START], FakeApplier(failed))
    assert [outcome.kind for outcome in outcomes] == [OutcomeKind.BUSY, OutcomeKind.DONE, OutcomeKind.DONE]


def test_told_at_once() -> None:
    """Each outcome, skipped ones too, is told when it is known, not at the end."""
    applier = FakeApplier(SHRINK)
    told: list[tuple[OutcomeKind, int]] = []
    carry_out_all([RAISE, SHRINK, START], applier, on_outcome=lambda o: told.append((o.kind, len(applier.asked))))
    assert told == [(OutcomeKind.DONE, 1), (OutcomeKind.BUSY, 2), (OutcomeKind.SKIPPED, 2)]


def test_fault_points() -> None:
    """Crash tests can stop before and after every step, by name; skipped steps have no point."""
    points: list[str] = []
    carry_out_all([SetWall(1, 2, ""), SHRINK, START], FakeApplier(SHRINK), fault=points.append)
    assert points == ["before:SetWall:wall", "after:SetWall:wall", "before:SetLimit:a", "after:SetLimit:a"]


def test_fault_stops_before_the_step() -> None:
    """A fault raised before a step leaves that step undone."""
    applier = FakeApplier()

    def fault(point: str) -> None:
        if point == "before:StartGuest:c":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carry_out_all([RAISE, START], applier, fault=fault)
    assert applier.asked == [RAISE]
