"""What a decision was made from, written down and read back as it was."""

from __future__ import annotations

import json
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from tests.unit.decide.samples import guest, host, newcomer, settings

from guestroom import decide
from guestroom.actions import LetGo, Outcome, OutcomeKind, SetLimit
from guestroom.agent.inputs import Inputs, plain, plain_action, plain_outcome, written
from guestroom.config import Brake, GuestSettings, OnShort, Percent, Rest, Settings
from guestroom.decide import Budget
from guestroom.facts import AncestorFacts, GuestFacts, HostFacts, Newcomer, OutsiderFacts
from guestroom.record import encode
from guestroom.units import MIB, UNLIMITED

HOST = host(
    ancestors=(AncestorFacts("/a", UNLIMITED, None), AncestorFacts("/b", 7, 3)),
    outsiders=(OutsiderFacts(4711, None, 5, 6),),
    wall_limit_bytes=UNLIMITED,
)
SETTINGS = settings(
    reserve=Rest.REST,
    giveback_step=Percent(1250),
    guests=MappingProxyType(
        {"web": GuestSettings(cap_bytes=9, on_short=OnShort.SQUEEZE, brake=Brake.NONE), "db": GuestSettings()}
    ),
)
GUESTS = (guest("A", limit_bytes=UNLIMITED, overhead_bytes=None), guest("B", held=True))
BUDGET = decide.budget(HOST, GUESTS, SETTINGS)
INPUTS = Inputs("grow", 12.000000000000002, SETTINGS, GUESTS, BUDGET, HOST).given(grown={"A": 7}, newcomer=newcomer())


def read(key: str, kind: Any) -> Any:
    """One of the inputs as it is read back."""
    return encode.restore(json.loads(INPUTS.text())[key], kind, key)


def test_every_fact_is_read_back_as_it_was() -> None:
    """Unlimited, unknown, enums, percentages, per-guest settings and the last digit of the time."""
    assert read("now_s", float) == INPUTS.now_s
    assert read("host", HostFacts) == HOST
    assert read("guests", tuple[GuestFacts, ...]) == GUESTS
    assert read("budget", Budget) == BUDGET
    assert read("newcomer", Newcomer) == newcomer()
    assert read("settings", Settings) == SETTINGS
    for reserve in (Percent(2500), 800 * MIB, Rest.REST):
        one = replace(SETTINGS, reserve=reserve)
        assert encode.restore(json.loads(json.dumps(plain(one))), Settings, "settings") == one


def test_settings_say_only_what_is_set_for_a_guest() -> None:
    """A thousand guests with one override each don't make each decision a book."""
    assert json.loads(INPUTS.text())["settings"]["guests"] == {
        "web": {"cap_bytes": 9, "on_short": "squeeze", "brake": "none"},
        "db": {},
    }


def test_outcomes_keep_their_actions() -> None:
    """What is put back is decided from how each step ended."""
    action = SetLimit("a", UNLIMITED, 5, 1, 2, 3, "why")
    outcome = Outcome(action, OutcomeKind.BUSY, "EBUSY", UNLIMITED)
    text = json.loads(json.dumps(plain_outcome(outcome)))
    assert encode.action_from_json(json.dumps(text.pop("action"))) == action
    assert encode.outcome_from_json(action, json.dumps(text)) == outcome
    assert plain_action(LetGo("a", "b")) == {"type": "LetGo", "name": "a", "reason": "b"}


def test_what_no_rule_decided_keeps_its_few_numbers() -> None:
    """A thaw has a reason, no facts."""
    assert json.loads(written({"reason": "x", "limit": UNLIMITED}))["reason"] == "x"
    assert written(INPUTS) == INPUTS.text()
