"""What ``doctor`` says of guests with memory that has no name."""

from __future__ import annotations

from typing import Any

import pytest

from guestroom.attribute.mappings import Hints
from guestroom.attribute.parts import Charge, explain
from guestroom.cli.checks import Level
from guestroom.cli.client import AgentClient
from guestroom.cli.explain import Looked
from guestroom.cli.unexplained import check_explained
from guestroom.errors import AgentError, HostError, InputError, VanishedError
from guestroom.units import MIB

ROWS = [{"name": "web", "pid": 7}, {"name": "db", "pid": 8}, {"name": "late", "pid": None}]


def planted(unknown_bytes: int) -> Looked:
    """A guest of 200 MiB page cache whose kernel charges for something more that no figure tells of."""
    charge = Charge(200 * MIB + unknown_bytes, 0, 0, 200 * MIB, 0)
    return Looked(explain(charge, (), (), Hints(), cpus=1), (), "/c", 1.0)


@pytest.fixture
def _guests(monkeypatch: pytest.MonkeyPatch) -> None:
    def get(_self: AgentClient, path: str) -> list[dict[str, Any]]:
        assert path == "/v1/guests"
        return ROWS

    monkeypatch.setattr(AgentClient, "get", get)


@pytest.mark.usefixtures("_guests")
def test_an_unknown_part_is_a_warning_with_guest_and_bytes() -> None:
    """The guest with the planted part is named with its bytes, the other is fine, one without a process is left out."""
    fine, warned = check_explained("s", lambda pid: planted(MIB if pid == 7 else 8 * MIB))
    assert (fine.name, fine.level) == ("explained: web", Level.OK)
    assert (warned.name, warned.level) == ("explained: db", Level.WARN)
    # 64 pages of a CPU's stock are known.
    assert "db: 7.8 MiB of 208.0 MiB" in warned.detail
    assert "no name for" in warned.detail
    assert "explain db" in str(warned.hint)


@pytest.mark.usefixtures("_guests")
@pytest.mark.parametrize(
    ("error", "level"),
    [(VanishedError("gone"), Level.OK), (HostError("no right"), Level.WARN), (InputError("no RAM"), Level.WARN)],
)
def test_a_guest_that_cant_be_looked_at_does_not_end_the_rest(error: Exception, level: Level) -> None:
    """Ended meanwhile is fine, anything else is said; the next guest is looked at all the same."""

    def look(pid: int) -> Looked:
        if pid == 7:
            raise error
        return planted(0)

    first, second = check_explained("s", look)
    assert (first.level, second.level) == (level, Level.OK)


def test_without_an_agent_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No socket: one line that says so, and no failure of its own."""

    def get(_self: AgentClient, _path: str) -> None:
        raise AgentError("nobody answers")

    monkeypatch.setattr(AgentClient, "get", get)
    (only,) = check_explained("s")
    assert (only.level, only.detail) == (Level.OK, "not known without an agent")
