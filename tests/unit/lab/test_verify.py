"""Decisions made again: what is compared, and what can't be."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from tests.unit.record.samples import HOLD, LET_GO, RAISE

from guestroom.actions import Action
from guestroom.decide import Excess, hold
from guestroom.errors import LedgerError
from guestroom.lab.verify import verify
from guestroom.record.reader import Made
from guestroom.units import MIB

EXCESSES = (Excess("a", 1, 100 * MIB, 190 * MIB, held=False), Excess("b", 1, 100 * MIB, 150 * MIB, held=False))
DUE = hold(EXCESSES, 150 * MIB, 64 * MIB)
INPUTS = {
    "rule": "hold",
    "excesses": [asdict(one) for one in EXCESSES],
    "headroom_bytes": 150 * MIB,
    "guard_bytes": 64 * MIB,
}


def made(*actions: Action, number: int = 7, inputs: object = INPUTS) -> Made:
    """A recorded decision."""
    return Made(number, 1e9, "hold a", inputs if isinstance(inputs, str) else json.dumps(inputs), actions)


def test_the_same_steps_are_the_same() -> None:
    """Two holds, made again from what the alarm saw."""
    assert len(DUE) == 2
    found = verify([made(*DUE)])
    assert (found.same, found.differences, found.checked) == ({"hold": 1}, (), 1)


@pytest.mark.parametrize(
    ("recorded", "step"),
    [(DUE[::-1], 1), ((DUE[0], LET_GO), 2), (DUE[:1], 2), ((*DUE, HOLD), 3), ((), 1)],
    ids=["another order", "another step", "one less", "one more", "none"],
)
def test_the_first_difference_is_named(recorded: tuple[Action, ...], step: int) -> None:
    """Order, number and figures of the steps all count."""
    difference = verify([made(*DUE, number=6), made(*recorded)]).differences[0]
    assert (difference.decision, difference.rule, difference.step) == (7, "hold", step)
    assert (difference.recorded is None) == (step > len(recorded))
    assert (difference.again is None) == (step > len(DUE))


def test_what_was_not_written_down_is_counted_and_not_guessed() -> None:
    """Decisions of an older guestroom, of rules this one does not know, and those that no rule made."""
    older = made(RAISE, inputs={"guests": [], "host": None, "budget": {"reserve_bytes": 1}})
    newer = made(RAISE, inputs={"rule": "oracle"})
    thaw = made(LET_GO, inputs={"reason": "the agent started"})
    balloon = made(RAISE, inputs={"guests": [], "host": None, "budget": None})
    found = verify([older, newer, thaw, balloon])
    assert (found.incomplete, found.no_rule, found.checked) == (2, 2, 0)


@pytest.mark.parametrize(
    "inputs",
    [
        "no json",
        "[]",
        {"rule": "hold"},
        {"rule": "hold", "excesses": [{}], "headroom_bytes": 1, "guard_bytes": 1},
        {"rule": "quick"},
        {"rule": "undo", "now_s": 1},
        {"rule": "grow", "guests": "many"},
        {"rule": "admit", "now_s": "noon"},
    ],
)
def test_inputs_that_say_nothing_are_an_error(inputs: object) -> None:
    """A hand that changed the ledger is told so, never a traceback."""
    with pytest.raises(LedgerError):
        verify([made(*DUE, inputs=inputs)])
