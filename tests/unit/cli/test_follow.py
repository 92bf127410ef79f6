"""What ``ps`` and ``doctor`` say of headroom and guard."""

from __future__ import annotations

from typing import Any

import pytest

from guestroom.cli import checks
from guestroom.cli.checks import Level
from guestroom.cli.client import AgentClient
from guestroom.cli.ps import follow_lines
from guestroom.errors import AgentError
from guestroom.units import GIB, MIB

HOST: dict[str, Any] = {
    "headroom_bytes": 512 * MIB,
    "headroom_wanted_bytes": 512 * MIB,
    "headroom_because": "web: 256 requests x 2.0 MiB",
    "guard_bytes": 64 * MIB,
    "guard_because": "the least there is; 1.0 GiB/s of web x 12.0 ms measured",
    "growth_bytes_per_s": GIB,
    "reaction": {"reaction_ms": 12.0, "wake_ms": 0.2, "look_ms": 1.5, "hold_ms": None},
    "raise_ms": 3.25,
}


def host(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """The agent answers with this host."""
    monkeypatch.setattr(AgentClient, "get", lambda self, target: HOST | changes)


def test_ps_tells_what_is_more_than_the_least_and_not_set() -> None:
    """A line for a headroom that follows a guest; none for what the operator set or what is the least."""
    assert follow_lines(HOST) == ["headroom 512.0 MiB: web: 256 requests x 2.0 MiB"]
    assert follow_lines(HOST | {"headroom_because": "set; not set it would be 128.0 MiB (the least there is)"}) == []
    assert len(follow_lines(HOST | {"guard_because": "half of the headroom; the least there is"})) == 1
    lines = follow_lines(HOST | {"guard_because": "9.0 GiB/s of web x 12.0 ms measured", "guard_bytes": 111 * MIB})
    assert lines[1] == "guard 111.0 MiB: 9.0 GiB/s of web x 12.0 ms measured"


def test_doctor_says_what_the_headroom_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose burst it is; a warning where not all of it could be given."""
    host(monkeypatch)
    check = checks.check_headroom("socket")
    assert (check.level, check.detail) == (Level.OK, "512.0 MiB: web: 256 requests x 2.0 MiB")
    host(monkeypatch, headroom_bytes=200 * MIB)
    check = checks.check_headroom("socket")
    assert check.level is Level.WARN
    assert check.hint is not None


def test_doctor_says_what_the_guard_is_made_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the measured times; a warning where the fastest guest takes more than the guard before it is held."""
    host(monkeypatch)
    check = checks.check_guard("socket")
    assert check.level is Level.OK
    assert check.detail.endswith("(99th percentiles: wake 0.2 ms, look 1.5 ms, raise 3.2 ms)")
    host(monkeypatch, growth_bytes_per_s=8 * GIB)
    assert checks.check_guard("socket").level is Level.WARN
    host(monkeypatch, reaction=None, raise_ms=None)
    assert checks.check_guard("socket").detail == "64.0 MiB: " + HOST["guard_because"]


def test_without_an_agent_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No agent is no finding about headroom or guard: the agent's own check tells it."""

    def gone(self: AgentClient, target: str) -> None:
        raise AgentError("no agent")

    monkeypatch.setattr(AgentClient, "get", gone)
    assert checks.check_headroom("socket").detail == checks.check_guard("socket").detail == "not known without an agent"
