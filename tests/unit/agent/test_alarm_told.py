"""What the alarm process decided by itself reaches the ledger with all it was decided from."""

from __future__ import annotations

import json

import pytest

from guestroom.agent.alarm_told import as_decision, decided, raised
from guestroom.decide import Asking, Excess, hold, quick
from guestroom.errors import AgentError
from guestroom.lab.verify import verify
from guestroom.record.reader import Made
from guestroom.units import MIB

OVER = Excess("a", 1, 100 * MIB, 250 * MIB, held=False)
WITHIN = Excess("b", 1, 100 * MIB, 50 * MIB, held=False)
UNKNOWN = Excess("c", 1, 100 * MIB, None, held=True)


def over_the_wire(news: dict[str, object]) -> dict[str, object]:
    """As the agent reads it."""
    found = json.loads(json.dumps(news))
    assert isinstance(found, dict)
    return found


def test_holds_are_told_so_that_they_can_be_made_again() -> None:
    """Only those that matter are told, and the steps come out the same from them."""
    actions = hold((OVER, WITHIN, UNKNOWN), 200 * MIB, 64 * MIB)
    news = decided((OVER, WITHIN, UNKNOWN), 200 * MIB, 64 * MIB, actions)
    assert news is not None
    reason, inputs, outcomes = as_decision(over_the_wire(news))
    assert reason == "hold a"
    assert [one["name"] for one in json.loads(inputs)["excesses"]] == ["a", "c"]
    made = Made(1, 0.0, reason, inputs, tuple(one.action for one in outcomes))
    assert verify([made]).same == {"hold": 1}


def test_a_raise_is_told_so_that_it_can_be_made_again() -> None:
    """From its own figures alone, whoever else asked at that moment."""
    askings = [Asking(n, 256 * MIB, 110 * MIB, 100 * MIB, 500 * MIB, None, 20 * MIB) for n in ("a", "b")]
    actions = quick(askings, 300 * MIB, 128 * MIB)
    assert len(actions) == 2
    for action, asking in zip(actions, askings, strict=True):
        news = raised(action, asking, 300 * MIB, 128 * MIB, woken=True, woke_s=1.0, at_s=1.1)
        made = Made(1, 0.0, action.reason, json.dumps(news), (action,))
        assert verify([made]).same == {"quick": 1}


def test_a_line_has_its_length() -> None:
    """Where hundreds are above their grants at once the holds are told one by one, without their inputs."""
    many = [Excess(f"g{n}", 1, MIB, 2 * MIB, held=False) for n in range(201)]
    assert decided(many, MIB, MIB, ()) is None
    assert decided(many[:200], MIB, MIB, ()) is not None


@pytest.mark.parametrize("news", [{}, {"actions": [{"type": "Nap", "name": "a"}]}, {"actions": [{"type": "Hold"}]}])
def test_what_can_not_be_read_is_an_error(news: dict[str, object]) -> None:
    """Another version's alarm is no traceback of the agent's."""
    with pytest.raises(AgentError):
        as_decision(news)
