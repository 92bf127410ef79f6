"""The lines between agent and alarm."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from guestroom.agent.alarm_wire import (
    AdoptedOp,
    BrakeOp,
    ForgetOp,
    GuestOp,
    PingOp,
    WallOp,
    from_line,
    parse_op,
    to_line,
)
from guestroom.errors import AgentError
from guestroom.facts import BrakeMark, DriveLimits, Figure, Identity

GUEST = {
    "op": "guest",
    "name": "a",
    "memory_path": "/m/a",
    "freezer_path": "/f/a",
    "ram_charged_bytes": 1,
    "weight": 2,
    "grant_bytes": 3,
    "limit_bytes": 4,
    "step_bytes": 4096,
}
WALL = {"op": "wall", "path": "/m", "limit_bytes": 3, "headroom_bytes": 2, "guard_bytes": 1}


ADOPTED = {
    "op": "adopted",
    "name": "a",
    "boot_id": "b",
    "inode": 1,
    "pid": 2,
    "start_ticks": 3,
    "cgroup": "/m/a",
    "freezer": "/f/a",
    "killer": True,
    "held": True,
}


def test_an_adopted_guest_is_read() -> None:
    """Who it is, where, and what was there; unknown killer and no freezer are None, not guessed."""
    identity = Identity("b", 1, 2, 3)
    assert parse_op(json.dumps(ADOPTED)) == AdoptedOp("a", identity, "/m/a", "/f/a", True, held=True)
    bare = ADOPTED | {"freezer": None, "killer": None, "held": False}
    assert parse_op(json.dumps(bare)) == AdoptedOp("a", identity, "/m/a", None, None, held=False)
    for key, value in (("pid", "2"), ("inode", None), ("start_ticks", -1), ("cgroup", ""), ("boot_id", 7)):
        with pytest.raises(AgentError, match=key):
            parse_op(json.dumps(ADOPTED | {key: value}))


def test_every_op_is_read() -> None:
    """Each operation arrives with its numbers where they belong."""
    assert parse_op(json.dumps(WALL)) == WallOp("/m", 3, 2, 1)
    assert parse_op(json.dumps(GUEST)) == GuestOp("a", "/m/a", "/f/a", 1, 2, 3, 4, 4096)
    assert parse_op(json.dumps(GUEST | {"freezer_path": None, "held": True})) == GuestOp(
        "a", "/m/a", None, 1, 2, 3, 4, 4096, held=True
    )
    assert parse_op('{"op":"forget","name":"a"}') == ForgetOp("a")
    assert parse_op('{"op":"ping"}') == PingOp()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("grant_bytes", -1),
        ("grant_bytes", 1.5),
        ("grant_bytes", True),
        ("grant_bytes", "3"),
        ("grant_bytes", None),
        ("weight", 0),
        ("step_bytes", 1),
        ("name", ""),
        ("name", 7),
        ("memory_path", None),
    ],
)
def test_wrong_fields(key: str, value: object) -> None:
    """A wrong field is refused by its name, never guessed."""
    with pytest.raises(AgentError, match=key):
        parse_op(json.dumps(GUEST | {key: value}))


@pytest.mark.parametrize("line", ["", "{", "[]", '"x"', '{"op":"nonsense"}', "{}", '{"op":"wall"}', "NaN"])
def test_wrong_lines(line: str) -> None:
    """Nonsense is an AgentError that quotes it."""
    with pytest.raises(AgentError):
        parse_op(line)


def test_events_there_and_back() -> None:
    """An event is one line whatever is in it, and reads as it was."""
    event: dict[str, object] = {"event": "error", "name": None, "message": "two\nlines \N{SNOWMAN}"}
    line = to_line(event)
    assert line.count(b"\n") == 1
    assert from_line(line) == event


@pytest.mark.parametrize("line", [b"", b"[]\n", b"{}\n", b'{"event":1}\n', b"Traceback\n"])
def test_wrong_events(line: bytes) -> None:
    """What is no event is an AgentError."""
    with pytest.raises(AgentError):
        from_line(line)


def test_the_mark_before_a_cap() -> None:
    """Where a guest is held for its own cap: a number of bytes or none."""
    op = parse_op(json.dumps(GUEST | {"hold_at_bytes": 5}))
    assert isinstance(op, GuestOp)
    assert op.hold_at_bytes == 5
    none = parse_op(json.dumps(GUEST | {"hold_at_bytes": None}))
    assert isinstance(none, GuestOp)
    assert none.hold_at_bytes is None
    with pytest.raises(AgentError):
        parse_op(json.dumps(GUEST | {"hold_at_bytes": -1}))


def test_a_brake_arrives_with_all_that_undoes_it() -> None:
    """A mark is the same on the other side; without one the brake is off."""
    mark = BrakeMark("throttle", 64, (DriveLimits("/machine/x", True, None, (Figure("bps", 5),)),))
    fields = {"op": "brake", "name": "A", "path": "/run/qmp", "mark": asdict(mark)}
    assert parse_op(to_line(fields).decode()) == BrakeOp("A", "/run/qmp", mark)
    assert parse_op(to_line(fields | {"mark": None}).decode()) == BrakeOp("A", "/run/qmp", None)


@pytest.mark.parametrize(
    "mark", [7, {}, {"kind": "stop"}, {"kind": "stop", "iops": 1, "drives": [7]}, {"kind": "", "iops": 1, "drives": []}]
)
def test_a_mark_that_is_none_is_refused(mark: object) -> None:
    """What can't be undone exactly is not taken."""
    with pytest.raises(AgentError, match="alarm"):
        parse_op(to_line({"op": "brake", "name": "A", "path": "/run/qmp", "mark": mark}).decode())
