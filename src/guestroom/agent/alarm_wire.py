"""What the agent and its alarm process say to each other: one JSON object a line.

Agent to alarm: ``wall``, ``guest`` (add, or new numbers for one it has), ``adopted``, ``brake``, ``forget``, ``free``,
``ping``. Alarm to agent: ``ready``, ``armed``, ``raised``, ``over``, ``within``, ``holding``, ``held``, ``let_go``,
``thawed``, ``decided``, ``free``, ``growth``, ``reaction``, ``error``, ``pong``. Read strictly: a wrong number here
would hold or free the wrong guest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from guestroom.errors import AgentError
from guestroom.facts import BrakeMark, DriveLimits, Figure, Identity

MAX_LINE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class WallOp:
    """The host wall's numbers; ``guard_bytes`` of headroom left is where holding begins."""

    path: str
    limit_bytes: int
    headroom_bytes: int
    guard_bytes: int


@dataclass(frozen=True, slots=True)
class GuestOp:
    """One guest's numbers. ``held``: a hold made by somebody else is handed over to the alarm."""

    name: str
    memory_path: str
    freezer_path: str | None
    ram_charged_bytes: int
    weight: int
    grant_bytes: int
    limit_bytes: int
    step_bytes: int
    held: bool = False
    hold_at_bytes: int | None = None
    """Overhead at which it is held for its own cap; None: never."""
    cap_bytes: int | None = None
    """Most overhead it may have."""


@dataclass(frozen=True, slots=True)
class ForgetOp:
    """A guest that is gone or no longer under care; what the alarm itself holds of it is let go."""

    name: str


@dataclass(frozen=True, slots=True)
class AdoptedOp:
    """An adopted guest: not watched by the alarm, only let go, its killer restored, if the agent is lost."""

    name: str
    identity: Identity
    cgroup: str
    freezer: str | None
    killer: bool | None
    """Whether its OOM killer was on."""
    held: bool


@dataclass(frozen=True, slots=True)
class FreeOp:
    """Room that the alarm may raise guests from, in place of what it had; answered by ``free`` with the same turn."""

    free_bytes: int
    turn: int


@dataclass(frozen=True, slots=True)
class BrakeOp:
    """A guest that is slowed down through its monitor, or (no mark) no longer: undone if the agent is lost."""

    name: str
    path: str
    mark: BrakeMark | None


@dataclass(frozen=True, slots=True)
class PingOp:
    """Answered by ``pong``."""


Op = WallOp | GuestOp | AdoptedOp | BrakeOp | ForgetOp | FreeOp | PingOp


def parse_op(line: str) -> Op:
    """Return the operation on one line. Raises ``AgentError`` saying what is wrong with it."""
    try:
        fields = json.loads(line)
    except ValueError as error:
        raise AgentError(f"alarm: not JSON ({error}): {line[:80]!r}") from error
    if not isinstance(fields, dict):
        raise AgentError(f"alarm: an object was expected: {line[:80]!r}")
    match fields.get("op"):
        case "wall":
            numbers = (_number(fields, key) for key in ("limit_bytes", "headroom_bytes", "guard_bytes"))
            return WallOp(_text(fields, "path"), *numbers)
        case "guest":
            return GuestOp(
                _text(fields, "name"),
                _text(fields, "memory_path"),
                _text(fields, "freezer_path") if fields.get("freezer_path") is not None else None,
                _number(fields, "ram_charged_bytes"),
                _number(fields, "weight", least=1),
                _number(fields, "grant_bytes"),
                _number(fields, "limit_bytes"),
                _number(fields, "step_bytes", least=4096),
                held=fields.get("held") is True,
                hold_at_bytes=_number(fields, "hold_at_bytes") if fields.get("hold_at_bytes") is not None else None,
                cap_bytes=_number(fields, "cap_bytes") if fields.get("cap_bytes") is not None else None,
            )
        case "free":
            return FreeOp(_number(fields, "free_bytes"), _number(fields, "turn"))
        case "adopted":
            return _adopted(fields)
        case "brake":
            return BrakeOp(_text(fields, "name"), _text(fields, "path"), _mark(fields))
        case "forget":
            return ForgetOp(_text(fields, "name"))
        case "ping":
            return PingOp()
        case other:
            raise AgentError(f"alarm: unknown op {str(other)[:40]!r}: {line[:80]!r}")


def _adopted(fields: Mapping[str, object]) -> AdoptedOp:
    numbers = (_number(fields, key) for key in ("inode", "pid", "start_ticks"))
    killer = fields.get("killer")
    return AdoptedOp(
        _text(fields, "name"),
        Identity(_text(fields, "boot_id"), *numbers),
        _text(fields, "cgroup"),
        _text(fields, "freezer") if fields.get("freezer") is not None else None,
        killer if isinstance(killer, bool) else None,
        held=fields.get("held") is True,
    )


def _mark(fields: Mapping[str, object]) -> BrakeMark | None:
    mark = fields.get("mark")
    if mark is None:
        return None
    try:
        assert isinstance(mark, dict)
        drives = tuple(
            DriveLimits(
                _text(drive, "drive"),
                drive["is_path"] is True,
                drive["group"] if isinstance(drive["group"], str) else None,
                tuple(Figure(_text(figure, "name"), _number(figure, "value")) for figure in drive["values"]),
            )
            for drive in mark["drives"]
        )
        return BrakeMark(_text(mark, "kind"), _number(mark, "iops"), drives)
    except (AssertionError, AttributeError, KeyError, TypeError) as error:
        raise AgentError(f"alarm: brake: no such mark: {str(mark)[:80]!r}") from error


def to_line(fields: Mapping[str, object]) -> bytes:
    """Return ``fields`` as one line of JSON."""
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def from_line(line: bytes) -> dict[str, object]:
    """Return an event of the alarm process. Raises ``AgentError`` for anything but an object with ``event``."""
    try:
        fields = json.loads(line)
    except ValueError as error:
        raise AgentError(f"the alarm process said {line[:80]!r}, which is not JSON") from error
    if not isinstance(fields, dict) or not isinstance(fields.get("event"), str):
        raise AgentError(f"the alarm process said {line[:80]!r}, which is no event")
    return fields


def _text(fields: Mapping[str, object], key: str) -> str:
    value = fields.get(key)
    if not isinstance(value, str) or not value:
        raise AgentError(f"alarm: {fields.get('op')}: {key} must be a text, found {str(value)[:40]!r}")
    return value


def _number(fields: Mapping[str, object], key: str, *, least: int = 0) -> int:
    value = fields.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise AgentError(f"alarm: {fields.get('op')}: {key} must be an integer from {least}, found {str(value)[:40]!r}")
    return value
