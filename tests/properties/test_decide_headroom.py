"""The headroom follows what is present, and P1 holds through any sequence of its changes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from decide_growth_world import growth_events, seated_guests
from decide_world import M, World
from hypothesis import given
from hypothesis import strategies as st

from guestroom import decide
from guestroom.config import Settings
from guestroom.decide import Burst
from guestroom.decide.budget import LEAST_HEADROOM_BYTES
from guestroom.facts import Newcomer
from guestroom.testing.invariants import after, plan_keeps

settings = st.builds(
    Settings,
    reserve=st.integers(400, 1500).map(lambda mib: mib * M + mib),
    headroom_bytes=st.none(),
    system_reserve_bytes=st.just(0),
    settle_s=st.sampled_from([0.0, 120.0]),
)
bursts = st.tuples(st.just("headroom"), st.just(""), st.integers(0, 900).map(lambda mib: mib * M))
histories = st.builds(
    lambda first, rest: [*first, *rest],
    st.lists(seated_guests, min_size=2, max_size=4, unique_by=lambda event: event[1]),
    st.lists(st.one_of(bursts, bursts, growth_events), min_size=4, max_size=14),
)


@dataclass
class HeadroomWorld(World):
    """The world, whose headroom is what was given last."""

    given_bytes: int = LEAST_HEADROOM_BYTES
    changes: int = 0
    refused: int = 0

    def arrive(self, name: str, **wanted: Any) -> None:
        """Admitted under the headroom there is."""
        if name not in self.guests:
            newcomer = Newcomer(name=name, **wanted)
            plan = decide.plan(
                newcomer, self.present, self.host, self.settings, self.now_s, burst_bytes=self.given_bytes
            )
            for action in plan.actions:
                self._carry_out(action, newcomer)

    def again(self) -> None:
        """Shared again under the headroom there is."""
        plan = decide.plan_again(self.present, self.host, self.settings, self.now_s, burst_bytes=self.given_bytes)
        for action in plan.actions:
            self._carry_out(action, None)

    def follow(self, burst_bytes: int) -> None:
        """A guest's burst was seen, or the guest is gone: the headroom follows, and every step is judged."""
        before = decide.budget(self.host, self.present, self.settings, burst_bytes=self.given_bytes)
        fits = self.granted() + before.headroom_bytes <= before.reserve_bytes
        want = decide.headroom_wanted([Burst("A", burst_bytes)], self.given_bytes).headroom_bytes
        found = decide.headroom_given(want, self.given_bytes, self.present, before, self.settings, self.now_s)
        self.changes += found.headroom_bytes != self.given_bytes
        self.refused += found.refused_bytes > 0
        if found.headroom_bytes + found.refused_bytes != want:
            self.broken.append("P10: what is given and what is refused are not what was wanted")
        plan = decide.plan_again(self.present, self.host, self.settings, self.now_s, burst_bytes=found.headroom_bytes)
        # While it runs the headroom is the smaller one: a larger one is there once every step held.
        smaller = min(self.given_bytes, found.headroom_bytes)
        start = self.state(replace(plan.budget, headroom_bytes=min(smaller, plan.budget.reserve_bytes)))
        self.broken += plan_keeps(start, plan.actions)
        state = start
        for action in plan.actions:
            state = after(state, action)
            self._carry_out(action, None)
        self.given_bytes = found.headroom_bytes
        if fits and self.granted() + plan.budget.headroom_bytes > plan.budget.reserve_bytes:
            self.broken.append(
                f"P1: grants {self.granted()} + headroom {plan.budget.headroom_bytes} after {burst_bytes}"
            )

    def granted(self) -> int:
        """All grants together."""
        return sum(guest.grant_bytes for guest in self.present)


def play(chosen: Settings, history: list[tuple[str, str, Any]]) -> HeadroomWorld:
    """The world after a history."""
    world = HeadroomWorld(chosen)
    for kind, name, value in history:
        match kind:
            case "headroom":
                world.follow(value)
            case "arrive":
                world.arrive(name, **value)
            case "burst":
                world.grow(name, value[0])
            case "stop" | "gone":
                world.stop(name)
            case "blind":
                world.change(name, overhead_bytes=None, overhead_peak_bytes=None)
            case "hold":
                world.change(name, held=value)
            case "forget_peak":
                world.forget_peak(name)
            case _:
                world.now_s += 10.0
    return world


@given(settings, histories)
def test_the_sum_holds_through_any_sequence_of_headroom_changes(
    chosen: Settings, history: list[tuple[str, str, Any]]
) -> None:
    """P1: no step of a change breaks the sum, and after it grants and the new headroom fit the reserve."""
    assert play(chosen, history).broken == []


def test_histories_come_to_changes_and_to_refusals() -> None:
    """The property looked at both: headrooms that were given and such that guests' use refused."""
    seat = {"ram_bytes": 512 * M, "ram_charged_bytes": 512 * M, "boot_floor_bytes": 0, "on_short": "squeeze"}
    arrive = ("arrive", "A", seat | {"weight": 1, "need_bytes": 100 * M, "cap_bytes": None})
    world = play(
        Settings(reserve=600 * M, system_reserve_bytes=0, settle_s=0.0),
        [arrive, ("headroom", "", 256 * M), ("burst", "A", (1000, {})), ("headroom", "", 512 * M), ("headroom", "", 0)],
    )
    assert (world.broken, world.changes, world.refused) == ([], 2, 1)


def test_a_headroom_taken_from_use_breaks_the_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: given all that is wanted, grants and headroom are more than the reserve."""

    def greedy(wanted: int, *_: object) -> decide.HeadroomGiven:
        return decide.HeadroomGiven(wanted, 0)

    monkeypatch.setattr(decide, "headroom_given", greedy)
    seat = {"ram_bytes": 512 * M, "ram_charged_bytes": 512 * M, "boot_floor_bytes": 0, "on_short": "squeeze"}
    arrive = ("arrive", "A", seat | {"weight": 1, "need_bytes": 100 * M, "cap_bytes": None})
    history = [arrive, ("burst", "A", (700, {})), ("headroom", "", 512 * M)]
    broken = play(Settings(reserve=600 * M, system_reserve_bytes=0, settle_s=0.0), history).broken
    assert any(line.startswith("P1") for line in broken)


@given(st.integers(0, 2000), st.integers(0, 2000), st.integers(0, 2000), st.floats(0, 1e10), st.floats(0, 10))
def test_what_is_set_always_wins(headroom: int, guard: int, burst: int, speed: float, reaction_s: float) -> None:
    """Whatever was seen and measured: the operator's headroom and guard hold, within the reserve and the headroom."""
    chosen = Settings(reserve=1000 * M, headroom_bytes=headroom * M, guard_bytes=guard * M, system_reserve_bytes=0)
    host = World(chosen).host
    total = decide.guarded(decide.budget(host, (), chosen, burst_bytes=burst * M), chosen, speed, reaction_s, burst * M)
    assert total.headroom_bytes == min(headroom, 1000) * M
    assert total.guard_bytes == min(guard * M, total.headroom_bytes)
