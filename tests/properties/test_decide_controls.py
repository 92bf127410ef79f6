"""Each promise taken away once, and the harm seen: a checker that finds nothing then would prove nothing before."""

from __future__ import annotations

from typing import Any

import pytest
from decide_world import M, all_settings, histories, play
from hypothesis import HealthCheck, Phase, find
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from guestroom.config import Settings
from guestroom.decide import rules

SEARCH = hypothesis_settings(
    max_examples=1500,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def harm(promise: str) -> str:
    """A sentence the checkers say about ``promise``; ``NoSuchExample`` if they never do."""
    seen: list[str] = []

    def broken(case: tuple[Any, Any]) -> bool:
        seen.extend(line for line in play(*case).broken if line.startswith(promise))
        return bool(seen)

    find(st.tuples(all_settings, histories), broken, settings=SEARCH)
    return seen[0]


@pytest.mark.parametrize(
    ("promise", "rule", "without"),
    [
        ("P1: grants + headroom", "room_for_grants", lambda reserve, headroom: reserve),
        ("P1", "short_of_budget", lambda ram, reserve, budget: 0),
        ("P2: the grant", "kept", lambda floor, grant, held: grant if floor is None or held else 0),
        ("P3", "in_order", lambda action: 0),
        ("P3", "shrinks", lambda action: False),
        ("P4", "raised_again", lambda missing, room: 0),
        ("P6", "kept", lambda floor, grant, held: floor or 0),
    ],
    ids=lambda value: value if isinstance(value, str) else "off",
)
def test_a_promise_without_its_rule_is_broken(
    promise: str, rule: str, without: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one rule of ``decide.rules`` taken away the checkers see that very promise broken."""
    monkeypatch.setattr(rules, rule, without)
    assert harm(promise).startswith(promise)


@pytest.mark.parametrize(
    ("promise", "rule", "without", "event"),
    [
        ("P2: the limit", "not_below", lambda wanted, least: wanted, ("grow", "A", 1000)),
        ("P6: the limit", "kept_limit", lambda limit, wanted, may_shrink: wanted, ("hold", "A", True)),
    ],
    ids=lambda value: value if isinstance(value, str) else "off",
)
def test_a_limit_without_its_rule_falls_too_low(
    promise: str, rule: str, without: Any, event: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A guest that has borrowed from the headroom, or is held, keeps its limit when reserve and headroom fall."""
    guest = {"ram_bytes": 512 * M, "ram_charged_bytes": 512 * M, "weight": 1, "need_bytes": 100 * M}
    guest |= {"boot_floor_bytes": 50 * M, "cap_bytes": None, "on_short": "refuse"}
    chosen = Settings(reserve=800 * M, headroom_bytes=150 * M, settle_s=0.0, system_reserve_bytes=0)
    history = [("arrive", "A", guest), ("arrive", "B", guest), event, ("grow", "B", 1000)]
    history += [("reserve", "A", 600 * M), ("headroom", "A", 0)]
    assert play(chosen, history).broken == []
    monkeypatch.setattr(rules, rule, without)
    assert any(line.startswith(promise) for line in play(chosen, history).broken)
