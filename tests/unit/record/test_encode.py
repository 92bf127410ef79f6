"""Actions, outcomes and records as JSON text and back, unchanged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import get_args

import pytest
from hypothesis import given

from guestroom.actions import Action, Outcome
from guestroom.errors import EntryError, LedgerError
from guestroom.facts import GuestRecord
from guestroom.record import encode
from guestroom.turns import QueueEntry
from guestroom.units import UNLIMITED

from .samples import ACTIONS, ENTRIES, OUTCOMES, RAISE, RECORDS, done, record


@given(ACTIONS)
def test_every_action_comes_back_as_it_was(action: Action) -> None:
    """What the ledger gives back about a step is the step, to the last byte and type."""
    assert encode.action_from_json(encode.action_to_json(action)) == action


@given(OUTCOMES)
def test_every_outcome_comes_back_as_it_was(outcome: Outcome) -> None:
    """How a step ended is given back exactly, the limit found included."""
    text = encode.outcome_detail_to_json(outcome)
    back = encode.outcome_from_json(outcome.action, text)
    assert back == outcome
    assert type(back.found_bytes) is type(outcome.found_bytes)


@given(ENTRIES)
def test_a_place_in_the_queue_survives(place: QueueEntry) -> None:
    """Whoever waits is asked about after a restart with the very figures it came with."""
    assert encode.entry_from_json(encode.entry_to_json(place)) == place


@given(RECORDS)
def test_every_record_comes_back_as_it_was(one: GuestRecord) -> None:
    """A guest is taken back after a crash with every fact it had."""
    assert encode.record_from_json(encode.record_to_json(one)) == one


def test_an_action_is_written_as_people_read_it() -> None:
    """The text names its type and says ``unlimited`` in words: the ledger can be read without guestroom."""
    assert json.loads(encode.action_to_json(RAISE)) == {
        "type": "SetLimit",
        "name": "b",
        "from_bytes": "unlimited",
        "to_bytes": 943718400,
        "grant_from_bytes": 104857600,
        "grant_to_bytes": 419430400,
        "floor_bytes": 471859200,
        "reason": "more room",
    }


def test_every_action_of_the_union_is_known_by_name() -> None:
    """A new kind of action can be read back the day it is added."""
    assert set(encode._ACTIONS) == {kind.__name__ for kind in get_args(Action)}
    assert len(encode._ACTIONS) >= 7


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("to_bytes", True),
        ("to_bytes", "5"),
        ("to_bytes", None),
        ("to_bytes", 1.0),
        ("from_bytes", "infinite"),
        ("from_bytes", [1]),
        ("name", 7),
        ("colour", "red"),
    ],
)
def test_an_action_of_wrong_shape_is_refused(field: str, value: object) -> None:
    """A text changed by hand becomes an error that names the field, never a wrong fact."""
    broken = json.loads(encode.action_to_json(RAISE)) | {field: value}
    with pytest.raises(LedgerError, match=field) as caught:
        encode.action_from_json(json.dumps(broken))
    assert caught.value.hint is not None


@pytest.mark.parametrize("text", ["", "[]", "7", "{}", '{"type":"Explode"}', '{"type":"SetWall"}', "{nan"])
def test_a_text_that_is_no_action_is_refused(text: str) -> None:
    """Anything but an action of a known type is an error of the ledger, not a traceback."""
    with pytest.raises(LedgerError):
        encode.action_from_json(text)


def test_a_record_written_before_a_field_existed_is_read() -> None:
    """Yesterday's guests survive an upgrade: a missing field with a default takes it."""
    old = json.loads(encode.record_to_json(record(held=True)))
    del old["burst_bytes"], old["qmp_path"], old["ram_block_bytes"]
    assert encode.record_from_json(json.dumps(old)) == record(held=True, ram_block_bytes=())


def test_a_record_without_a_needed_field_is_refused() -> None:
    """A guest without its RAM is unknown, not one with no RAM."""
    broken = json.loads(encode.record_to_json(record()))
    del broken["ram_bytes"]
    with pytest.raises(LedgerError, match="ram_bytes"):
        encode.record_from_json(json.dumps(broken))


def test_numbers_json_cannot_say_are_named() -> None:
    """A ratio over nothing neither breaks the event nor becomes a zero."""
    text = encode.numbers_to_json({"ratio": float("nan"), "most": float("inf"), "none": None, "n": 3})
    assert encode.numbers_from_json(text) == {"ratio": "nan", "most": "inf", "none": None, "n": 3}


def test_what_json_cannot_hold_is_refused_for_good() -> None:
    """A value of no JSON type is an entry error: trying again would not help."""
    with pytest.raises(EntryError):
        encode.numbers_to_json({"odd": object()})  # type: ignore[dict-item]


def test_limits_of_columns_keep_their_three_kinds() -> None:
    """Bytes, unlimited and unknown stay three different things in the database."""
    for limit in (0, 5, UNLIMITED, None):
        assert encode.limit_from_column(encode.limit_to_column(limit)) is limit


def test_file_names_that_are_not_utf8_can_be_stored() -> None:
    """A path in an odd encoding shows as an escape instead of failing the write."""
    assert encode.clean("disk-\udcff") == "disk-\\udcff"
    assert encode.clean("häuschen") == "häuschen"


def test_outcomes_of_a_detail_with_unknown_kind_are_refused() -> None:
    """An outcome of no known kind is an error, not a success."""
    with pytest.raises(LedgerError, match="kind"):
        encode.outcome_from_json(RAISE, '{"kind":"splendid","detail":"","found_bytes":null}')
    assert encode.outcome_from_json(RAISE, '{"kind":"done","detail":""}') == done(RAISE)


def test_pairs_and_mappings_are_read_back_by_their_kinds() -> None:
    """A tuple of as many kinds as it has items, of any number of one, and a mapping by name."""
    assert encode.restore([["a", 1], ["b", 2]], tuple[tuple[str, int], ...], "t") == (("a", 1), ("b", 2))
    assert encode.restore({"a": 1.5}, Mapping[str, float], "m") == {"a": 1.5}
    for value, kind in (([["a"]], tuple[tuple[str, int], ...]), (["a", 1, 2], tuple[str, int]), ([1], Mapping)):
        with pytest.raises(LedgerError, match="t"):
            encode.restore(value, kind, "t")
