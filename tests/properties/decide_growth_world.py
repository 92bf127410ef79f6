"""A host on which guests grow: the world of plans, with growth and giving back judged step by step, and a closed loop.

What is judged beyond the world's own checkers: ``now`` only raises, nobody is raised on guesswork or on an
overcommitted host or above its cap, and asking again changes nothing.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from decide_world import M, World, arrivals, names, reserves
from hypothesis import strategies as st

from guestroom import decide
from guestroom.actions import Action, SetLimit
from guestroom.config import Settings, Sharing
from guestroom.decide import Budget, Growth
from guestroom.facts import GuestFacts, Newcomer
from guestroom.testing.invariants import after, plan_keeps, step_keeps


@dataclass
class GrowthWorld(World):
    """The world, in which growth and giving back happen between starts and stops."""

    since_s: Mapping[str, float] = field(default_factory=dict)
    served: Counter[str] = field(default_factory=Counter)
    """How often it came to which kind of answer, so that a test can tell that it looked at all of them."""

    def budget(self) -> Budget:
        """The budget as the agent has it."""
        return decide.budget(self.host, self.present, self.settings)

    def arrive(self, name: str, **wanted: Any) -> None:
        """As in any world; ``test_decide_plans`` judges it."""
        before = len(self.broken)
        super().arrive(name, **wanted)
        del self.broken[before:]

    def again(self) -> None:
        """As in any world; ``test_decide_plans`` judges it."""
        before = len(self.broken)
        super().again()
        del self.broken[before:]

    def serve(self, grown: Mapping[str, int], *, meanwhile: Callable[[], None] | None = None) -> Growth:
        """Growth is decided and carried out; ``meanwhile`` happens between its two plans."""
        budget = self.budget()
        found = decide.grow(self.present, budget, self.settings, self.now_s, grown=grown)
        self.served["now"] += bool(found.now)
        self.served["cuts"] += bool(found.giving)
        self.served["both"] += bool(found.now and found.giving)
        self.served["lent"] += found.lent_bytes > 0
        self._check(found, budget)
        self._judge(found.now, budget, None)
        self._apply(found.now)
        if meanwhile is not None:
            meanwhile()
        budget = self.budget()
        then = decide.still_good(found.then, self.present, budget, self.settings, self.now_s)
        if meanwhile is None and then != found.then:
            self.broken.append("P4: a plan that nothing disturbed is not good any more")
        self._judge(then, budget, None)
        self._apply(then)
        if meanwhile is None:
            again = decide.grow(self.present, self.budget(), self.settings, self.now_s, grown=grown)
            if again.now or again.then:
                self.broken.append(f"P7: asked again it moves {again.now or again.then}")
        return found

    def give(self) -> None:
        """A look at who has room to spare."""
        budget = self.budget()
        found = decide.give_back(self.present, budget, self.settings, self.now_s, self.since_s)
        self.since_s = found.since_s
        self.served["given back"] += found.given_bytes > 0
        self.served["handed on"] += found.given_bytes > 0 and len(found.actions) > len(found.spare)
        self._check_raises(found.actions, budget)
        self._judge(found.actions, budget, None)
        self._apply(found.actions)

    def _judge(self, actions: tuple[Action, ...], budget: Budget, newcomer: Newcomer | None) -> None:
        """As every plan; where the host wall is below what is promised nothing given can be raised again within P1."""
        if budget.overcommitted_bytes or (isinstance(self.wall_bytes, int) and self.wall_bytes < budget.wall_bytes):
            self.broken += plan_keeps(self.state(budget), actions)
        else:
            World._judge(self, actions, budget, newcomer)

    def _apply(self, actions: tuple[Action, ...]) -> None:
        for action in actions:
            self._carry_out(action, None)

    def _check(self, found: Growth, budget: Budget) -> None:
        for action in found.now:
            if not isinstance(action, SetLimit) or action.is_shrink or action.grant_to_bytes <= action.grant_from_bytes:
                self.broken.append(f"P5: a raise waits for {action}")
        self._check_raises((*found.now, *found.then), budget)
        # In one go, too, where nothing comes in between.
        state = self.state(budget)
        for action in (*found.now, *found.then):
            self.broken += step_keeps(state, action, after(state, action))
            state = after(state, action)

    def _check_raises(self, actions: tuple[Action, ...], budget: Budget) -> None:
        for action in actions:
            assert isinstance(action, SetLimit)
            guest = self.guests[action.name]
            if action.grant_to_bytes < action.grant_from_bytes:
                continue
            if guest.overhead_bytes is None:
                self.broken.append(f"P6: {action.name} is raised on guesswork")
            if budget.overcommitted_bytes:
                self.broken.append(f"P1: {action.name} is raised on an overcommitted host")
            if guest.cap_bytes is not None and action.grant_to_bytes > max(guest.cap_bytes, guest.grant_bytes):
                self.broken.append(f"P7: {action.name} is raised above its cap")


grown = st.dictionaries(names, st.integers(0, 400 * M), max_size=3)
bursts = st.tuples(st.sampled_from([400, 900, 1000]) | st.integers(0, 1000), grown)
seated_guests = st.tuples(
    st.just("arrive"),
    names,
    st.builds(
        lambda ram, more: (
            {"ram_bytes": ram, "ram_charged_bytes": ram, "boot_floor_bytes": 0, "on_short": "squeeze"} | more
        ),
        st.sampled_from([64 * M, 512 * M, 512 * M + 1]),
        st.fixed_dictionaries(
            {
                "weight": st.sampled_from([1, 1, 3]) | st.integers(1, 2**40),
                "need_bytes": st.integers(0, 200 * M),
                "cap_bytes": st.none() | st.none() | st.integers(100 * M, 500 * M),
            }
        ),
    ),
)
growth_events = st.one_of(
    st.tuples(st.just("burst"), names, bursts),
    st.tuples(st.just("burst"), names, bursts),
    st.tuples(st.just("race"), names, st.tuples(names, st.integers(0, 1000))),
    st.tuples(st.just("gone"), names, st.none()),
    st.tuples(st.just("give"), names, st.sampled_from([30.0, 60.0, 200.0])),
    st.one_of(
        arrivals,
        seated_guests,
        st.tuples(st.just("stop"), names, st.none()),
        st.tuples(st.just("blind"), names, st.none()),
        st.tuples(st.just("hold"), names, st.booleans()),
        st.tuples(st.just("forget_peak"), names, st.none()),
        st.tuples(st.just("reserve"), names, reserves),
        st.tuples(st.just("shrunk host"), names, st.integers(500, 9000).map(lambda mib: mib * M)),
    ),
)
growth_histories = st.builds(
    lambda first, rest: [*first, *rest],
    st.lists(seated_guests, min_size=3, max_size=5, unique_by=lambda event: event[1]),
    st.lists(growth_events, min_size=4, max_size=16),
)
growth_settings = st.builds(
    Settings,
    reserve=st.integers(400, 1500).map(lambda mib: mib * M + mib),
    headroom_bytes=st.none() | st.just(0) | st.integers(0, 150 * M),
    system_reserve_bytes=st.just(0),
    settle_s=st.sampled_from([0.0, 0.0, 120.0]),
    sharing=st.sampled_from([Sharing.RESERVE, Sharing.RESERVE, Sharing.STATIC]),
)


def play_growth(settings: Settings, history: list[tuple[str, str, Any]]) -> GrowthWorld:
    """The world after a history; its ``broken`` is what the checkers found."""
    world = GrowthWorld(settings)
    for kind, name, value in history:
        match kind:
            case "arrive":
                world.arrive(name, **value)
            case "burst":
                world.grow(name, value[0])
                world.serve(value[1])
            case "race":
                world.grow(name, 1000)
                world.serve({}, meanwhile=lambda value=value: _meanwhile(world, *value))  # type: ignore[misc]
            case "stop":
                world.stop(name)
            case "gone":
                # Its room is free and not shared yet.
                world.guests.pop(name, None)
            case "blind":
                world.change(name, overhead_bytes=None, overhead_peak_bytes=None)
                world.serve({})
            case "hold":
                world.change(name, held=value)
            case "forget_peak":
                world.forget_peak(name)
            case "give":
                world.give()
                world.now_s += value
                world.give()
            case "reserve":
                world.settings = replace(world.settings, reserve=value)
                world.again()
            case "shrunk host":
                world.total_bytes = value
                world.again()
    return world


def _meanwhile(world: GrowthWorld, name: str, permille: int) -> None:
    """Another guest grows while a plan is unfinished, and its raise does not wait."""
    world.grow(name, permille)
    budget = world.budget()
    found = decide.grow(world.present, budget, world.settings, world.now_s)
    world._judge(found.now, budget, None)
    world._apply(found.now)


@dataclass
class Loop:
    """Guests under a load each, looked at every ``every_s``: peaks over a sliding window, growth, giving back."""

    world: GrowthWorld
    every_s: float = 10.0
    changes: list[float] = field(default_factory=list)
    """When a grant changed."""
    _seen: dict[str, deque[int]] = field(default_factory=dict)

    def run(self, loads: Mapping[str, Callable[[float], int]], for_s: float) -> None:
        """Let time pass."""
        world = self.world
        window = int(world.settings.peak_window_s / self.every_s)
        until_s = world.now_s + for_s
        while world.now_s < until_s:
            world.now_s += self.every_s
            for name, load in loads.items():
                use = load(world.now_s)
                seen = self._seen.setdefault(name, deque(maxlen=window))
                seen.append(use)
                world.change(name, overhead_bytes=use, overhead_peak_bytes=max(seen))
            before = {guest.name: guest.grant_bytes for guest in world.present}
            world.serve({})
            world.give()
            moved = sum(guest.grant_bytes != before[guest.name] for guest in world.present)
            self.changes += [world.now_s] * moved


def seated(settings: Settings, guests: Mapping[str, GuestFacts]) -> GrowthWorld:
    """A world that begins with these guests and a wall that fits."""
    world = GrowthWorld(settings, guests=dict(guests))
    world.wall_bytes = world.budget().wall_bytes
    return world
