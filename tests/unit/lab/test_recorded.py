"""A trace out of a ledger: who ran when, with the peaks that no reading saw."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
from tests.unit.record.samples import record

from guestroom.errors import InputError
from guestroom.facts import Accounting, GuestRecord, HostFacts
from guestroom.lab.recorded import history
from guestroom.ports import EndedGuest
from guestroom.record.reader import Made, Recorded, Sample
from guestroom.units import GIB, MIB

HOST = HostFacts(8 * GIB, 5 * GIB, 0, 0, wall_limit_bytes=3 * GIB)


def ledger(
    *ended: tuple[GuestRecord, float], samples: tuple[Sample, ...] = (), present: tuple[GuestRecord, ...] = ()
) -> Recorded:
    """What was read of one."""
    decisions = (
        Made(1, 0.0, "of another version", "[]", ()),
        Made(2, 0.0, "of another version", '{"host": {"future": 1}}', ()),
        Made(3, 0.0, "a starts", json.dumps({"host": asdict(HOST)}, default=str), ()),
    )
    return Recorded(
        "x/ledger.db", present, tuple(EndedGuest(one, at, "ended") for one, at in ended), samples, decisions
    )


def test_guests_run_from_their_starts_to_their_ends() -> None:
    """Times count from the first start; a name that ran twice is two guests of one name."""
    found = history(
        ledger(
            (record("a", started_wall_s=100.0), 160.0),
            (record("a", started_wall_s=200.0), 260.0),
            samples=(Sample("a", 110.0, 50), Sample("a", 150.0, 70), Sample("a", 230.0, 60)),
        )
    )
    assert found.trace.samples == {
        "a": ((0.0, 50), (10.0, 50), (50.0, 70), (60.0, 70)),
        "a#2": ((100.0, 60), (130.0, 60), (160.0, 60)),
    }
    assert found.trace.shapes["a#2"].own_name == "a"


def test_a_peak_no_reading_saw_is_put_at_the_highest() -> None:
    """The kernel saw 300, the readings 70 at most."""
    one = record("a", started_wall_s=0.0, overhead_peak_bytes=300)
    found = history(ledger((one, 30.0), samples=(Sample("a", 10.0, 70), Sample("a", 20.0, 50))))
    assert found.trace.samples["a"] == ((0.0, 300), (10.0, 300), (20.0, 50), (30.0, 50))


def test_who_lives_still_ends_with_the_last_reading() -> None:
    """A ledger read beside its agent goes up to now."""
    found = history(ledger(present=(record("a", started_wall_s=5.0),), samples=(Sample("a", 45.0, 9),)))
    assert found.trace.samples["a"][-1] == (40.0, 9)


def test_what_it_was_promised_is_what_it_asks_for_again() -> None:
    """RAM, need, weight and the burst that was seen come from the record."""
    one = record("a", started_wall_s=0.0, ram_charged_bytes=9 * MIB, burst_bytes=4, burst_seen_bytes=7, weight=3)
    shape = history(ledger((one, 30.0), samples=(Sample("a", 10.0, 70),))).trace.shapes["a"]
    assert (shape.ram_charged_bytes, shape.need_bytes, shape.weight) == (9 * MIB, one.need_bytes, 3)
    assert shape.burst_bytes == 7


def test_the_host_is_the_first_that_was_seen() -> None:
    """What was free at that moment says nothing of a replay, and its wall is the replay's own."""
    found = history(ledger((record("a"), 1e12), samples=(Sample("a", 1.8e9, 1),)))
    assert found.host == replace(HOST, available_bytes=None, wall_limit_bytes=None)
    assert found.settings is None


def test_who_can_not_be_replayed_is_named() -> None:
    """An adopted guest had no share; one that was never read is not zero."""
    adopted = record("b", accounting=Accounting.JOINT)
    unread = record("c")
    found = history(ledger((record("a"), 1e12), (adopted, 1e12), (unread, 1e12), samples=(Sample("a", 1.8e9, 1),)))
    assert list(found.trace.shapes) == ["a"]
    assert [line.split(":")[0] for line in found.left_out] == ["b", "c"]
    with pytest.raises(InputError, match="b: it was adopted"):
        history(ledger((adopted, 1e12)))


def test_an_empty_ledger_is_wrong_input() -> None:
    """There is nothing to replay, and it says so."""
    with pytest.raises(InputError, match="no guest of this ledger"):
        history(ledger())
