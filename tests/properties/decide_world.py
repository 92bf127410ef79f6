"""A host played forward: guests come, grow, are held, go unseen and leave, and every plan is judged step by step.

Nothing here decides. It keeps what the kernel would keep (grants, limits, the wall, use), asks ``decide`` for a
plan, carries it out one step at a time and lets ``guestroom.testing.invariants`` judge every prefix, and, for every
step that could fail, what is put back.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

from guestroom import decide
from guestroom.actions import Action, MakeGuest, Outcome, OutcomeKind, SetLimit, SetWall, StartGuest, StopGuest
from guestroom.config import Percent, Rest, Settings, Sharing
from guestroom.decide import Budget
from guestroom.facts import GuestFacts, GuestState, HostFacts, Newcomer
from guestroom.testing.invariants import Seat, State, after, plan_keeps, put_back
from guestroom.units import MIB, Limit

M = MIB
NAMES = "ABCDEF"


@dataclass
class World:
    """What is, and what was found wrong so far."""

    settings: Settings
    total_bytes: int = 8192 * M
    guests: dict[str, GuestFacts] = field(default_factory=dict)
    wall_bytes: Limit | None = None
    now_s: float = 0.0
    broken: list[str] = field(default_factory=list)
    steps_seen: int = 0

    @property
    def host(self) -> HostFacts:
        """The host as it is read now."""
        return HostFacts(self.total_bytes, None, 0, 0, wall_limit_bytes=self.wall_bytes)

    def arrive(self, name: str, **wanted: Any) -> None:
        """A newcomer asks; what is decided is judged and carried out."""
        if name in self.guests:
            return
        newcomer = Newcomer(name=name, **wanted)
        plan = decide.plan(newcomer, self.present, self.host, self.settings, self.now_s)
        self._judge(plan.actions, plan.budget, newcomer)
        for action in plan.actions:
            self._carry_out(action, newcomer)

    def again(self) -> None:
        """Whatever changed: shared again."""
        plan = decide.plan_again(self.present, self.host, self.settings, self.now_s)
        self._judge(plan.actions, plan.budget, None)
        for action in plan.actions:
            self._carry_out(action, None)

    @property
    def present(self) -> tuple[GuestFacts, ...]:
        """All guests."""
        return tuple(self.guests.values())

    def stop(self, name: str) -> None:
        """A guest ends."""
        if self.guests.pop(name, None) is not None:
            self.again()

    def grow(self, name: str, permille: int) -> None:
        """A guest takes this share of what its wall and the host wall let it take."""
        guest = self.guests.get(name)
        if guest is None or guest.overhead_bytes is None or not isinstance(guest.limit_bytes, int):
            return
        others = sum(g.ram_charged_bytes + (g.overhead_bytes or g.grant_bytes) for g in self.present if g is not guest)
        wall = self.wall_bytes if isinstance(self.wall_bytes, int) else 0
        most = max(0, min(guest.limit_bytes, wall - others) - guest.ram_charged_bytes)
        use = most * permille // 1000
        self.guests[name] = replace(
            guest, overhead_bytes=use, overhead_peak_bytes=max(use, guest.overhead_peak_bytes or 0)
        )

    def change(self, name: str, **changes: Any) -> None:
        """Its use can't be read, it is held, its peak is forgotten, ..."""
        if name in self.guests:
            self.guests[name] = replace(self.guests[name], **changes)

    def forget_peak(self, name: str) -> None:
        """The window passed: the peak is the use."""
        if name in self.guests:
            self.change(name, overhead_peak_bytes=self.guests[name].overhead_bytes)

    def state(self, budget: Budget) -> State:
        """The promises as the checker sees them."""
        seats = {g.name: self._seat(g) for g in self.present}
        return State(budget.budget_bytes, budget.reserve_bytes, budget.headroom_bytes, self.wall_bytes, seats)

    def _seat(self, guest: GuestFacts) -> Seat:
        """The floor by DESIGN's words, computed here once more."""
        floor = None
        if guest.overhead_bytes is not None and guest.overhead_peak_bytes is not None:
            floor = max(guest.overhead_bytes, guest.overhead_peak_bytes)
            if self.now_s < guest.started_s + self.settings.settle_s:
                need = guest.need_bytes if guest.cap_bytes is None else min(guest.need_bytes, guest.cap_bytes)
                floor = max(floor, guest.admitted_grant_bytes if guest.squeezed else need)
        return Seat(guest.ram_charged_bytes, guest.grant_bytes, guest.limit_bytes, floor, guest.held)

    def _judge(self, actions: tuple[Action, ...], budget: Budget, newcomer: Newcomer | None) -> None:
        """Every prefix, and for every step that could fail what is put back."""
        start = self.state(budget)
        ram = newcomer.ram_charged_bytes if newcomer else 0
        self.broken += plan_keeps(start, actions, newcomer_ram_bytes=ram)
        self.steps_seen += len(actions)
        state = start
        for count, action in enumerate(actions):
            outcomes = [Outcome(done, OutcomeKind.DONE, "") for done in actions[:count]]
            outcomes += [Outcome(action, OutcomeKind.BUSY, "EBUSY")]
            outcomes += [Outcome(left, OutcomeKind.SKIPPED, "") for left in actions[count + 1 :]]
            back = decide.undo(outcomes, self.present, budget, self.settings, now_s=self.now_s)
            gone = replace(state, seats={n: s for n, s in state.seats.items() if n in start.seats})
            if isinstance(self.settings.reserve, Rest):
                gone = replace(gone, reserve_bytes=gone.reserve_bytes + ram)
            self.broken += put_back(start, gone, back)
            state = after(state, action, newcomer_ram_bytes=ram)

    def _carry_out(self, action: Action, newcomer: Newcomer | None) -> None:
        match action:
            case SetLimit():
                self.change(action.name, grant_bytes=action.grant_to_bytes, limit_bytes=action.to_bytes)
            case SetWall():
                self.wall_bytes = action.to_bytes
            case StopGuest():
                # It is back at once, under the grant that was kept for it.
                ram = self.guests[action.name].ram_charged_bytes
                self.change(
                    action.name,
                    grant_bytes=action.grant_bytes,
                    admitted_grant_bytes=action.grant_bytes,
                    squeezed=True,
                    limit_bytes=ram + action.grant_bytes,
                    overhead_bytes=0,
                    overhead_peak_bytes=0,
                    started_s=self.now_s,
                    recreated_s=self.now_s,
                    held=False,
                )
            case MakeGuest():
                assert newcomer is not None
                self.guests[action.name] = _made(newcomer, action, self.now_s)
            case StartGuest():
                self.change(action.name, state=GuestState.RUNNING)
            case _:
                raise AssertionError(f"no plan has {action}")


def _made(newcomer: Newcomer, action: MakeGuest, now_s: float) -> GuestFacts:
    return GuestFacts(
        name=newcomer.name,
        state=GuestState.STARTING,
        ram_bytes=newcomer.ram_bytes,
        ram_charged_bytes=newcomer.ram_charged_bytes,
        weight=newcomer.weight,
        need_bytes=newcomer.need_bytes,
        boot_floor_bytes=newcomer.boot_floor_bytes,
        cap_bytes=newcomer.cap_bytes,
        grant_bytes=action.grant_bytes,
        admitted_grant_bytes=action.grant_bytes,
        limit_bytes=action.limit_bytes,
        overhead_bytes=0,
        overhead_peak_bytes=0,
        started_s=now_s,
        squeezed=action.grant_bytes < newcomer.need_bytes,
        recreatable=newcomer.recreatable,
        recreate_need_bytes=newcomer.recreate_need_bytes,
    )


sizes = st.sampled_from([100 * M, 400 * M]) | st.integers(0, 600 * M)
reserves = st.one_of(
    st.integers(200, 1200).map(lambda mib: mib * M + mib), st.integers(0, 3000).map(Percent), st.just(Rest.REST)
)
names = st.sampled_from(NAMES)
arrivals = st.tuples(
    st.just("arrive"),
    names,
    st.builds(
        lambda ram, more: {"ram_bytes": ram, "ram_charged_bytes": ram} | more,
        st.sampled_from([64, 512, 1024, 2048, 4096]).map(lambda mib: mib * M),
        st.fixed_dictionaries(
            {
                "weight": st.sampled_from([1, 3, 512 * M, 1024 * M]) | st.integers(1, 2**40),
                "need_bytes": sizes,
                "boot_floor_bytes": st.integers(0, 100 * M),
                "cap_bytes": st.none() | st.integers(100 * M, 800 * M),
                "on_short": st.sampled_from(["squeeze", "refuse", "recreate", "recreate"]),
                "recreatable": st.sampled_from([True, True, False]),
                "recreate_need_bytes": st.sampled_from([None, 50 * M, 100 * M]) | sizes,
            }
        ),
    ),
)
events = st.one_of(
    arrivals,
    arrivals,
    st.tuples(st.just("grow"), names, st.sampled_from([0, 300, 800, 1000]) | st.integers(0, 1000)),
    st.tuples(st.just("stop"), names, st.none()),
    st.tuples(st.just("blind"), names, st.none()),
    st.tuples(st.just("hold"), names, st.booleans()),
    st.tuples(st.just("forget_peak"), names, st.none()),
    st.tuples(st.just("pass"), names, st.sampled_from([1.0, 60.0, 200.0, 4000.0])),
    st.tuples(st.just("reserve"), names, reserves),
    st.tuples(st.just("headroom"), names, st.none() | st.integers(0, 300 * M)),
)
histories = st.builds(
    lambda first, rest: [*first, *rest], st.lists(arrivals, min_size=1, max_size=3), st.lists(events, max_size=14)
)
all_settings = st.builds(
    Settings,
    reserve=reserves,
    headroom_bytes=st.none() | st.just(0) | st.integers(0, 150 * M),
    system_reserve_bytes=st.just(0),
    settle_s=st.sampled_from([0.0, 120.0]),
    sharing=st.sampled_from([Sharing.RESERVE, Sharing.RESERVE, Sharing.STATIC]),
)


def play(settings: Settings, history: list[tuple[str, str, Any]]) -> World:
    """The world after a history; its ``broken`` is what the checkers found."""
    world = World(settings)
    for kind, name, value in history:
        match kind:
            case "arrive":
                world.arrive(name, **value)
            case "stop":
                world.stop(name)
            case "grow":
                world.grow(name, value)
            case "blind":
                world.change(name, overhead_bytes=None, overhead_peak_bytes=None)
            case "hold":
                world.change(name, held=value)
            case "forget_peak":
                world.forget_peak(name)
            case "pass":
                world.now_s += value
            case "reserve":
                world.settings = replace(world.settings, reserve=value)
            case "headroom":
                world.settings = replace(world.settings, headroom_bytes=value)
        world.again()
    return world
