"""Adopted guests: no prefix of what is due for one puts limits above the budget or below a floor."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from guestroom.actions import Action, Hold, LetGo, SetLimit, SetWall
from guestroom.config import Percent, Reserve, Rest, Settings
from guestroom.decide import budget
from guestroom.decide.floor import JOINT_MARGIN_BYTES, floor_bytes
from guestroom.decide.joint import in_alarm, most_raise, raise_by, spare_bytes, take_back, tend
from guestroom.facts import Accounting, GuestFacts, GuestState, HostFacts
from guestroom.units import MIB

NOW = 1e6
M = MIB
SMALL = st.integers(0, 600 * M)
RESERVES = st.one_of(st.integers(64 * M, 2048 * M), st.integers(100, 9_000).map(Percent), st.just(Rest.REST))


@st.composite
def guests(draw: st.DrawFn, name: str, accounting: Accounting) -> GuestFacts:
    """Any guest that runs, within its limit."""
    ram, grant = draw(st.integers(0, 2048 * M)), draw(SMALL)
    use = draw(st.one_of(st.none(), st.integers(0, 700 * M)))
    peak = None if use is None else use + draw(st.sampled_from([0, 1, 50 * M]))
    return GuestFacts(
        name=name,
        state=GuestState.RUNNING,
        ram_bytes=ram,
        ram_charged_bytes=ram,
        weight=max(1, ram),
        need_bytes=200 * M,
        boot_floor_bytes=64 * M,
        cap_bytes=draw(st.one_of(st.none(), SMALL)),
        grant_bytes=grant,
        admitted_grant_bytes=grant,
        limit_bytes=-(-ram // 4096) * 4096 + grant,
        overhead_bytes=use,
        overhead_peak_bytes=peak,
        started_s=0.0,
        accounting=accounting,
        held=draw(st.booleans()),
    )


@st.composite
def worlds(draw: st.DrawFn) -> tuple[GuestFacts, tuple[GuestFacts, ...], HostFacts, Settings]:
    """One adopted guest, others of both kinds, and a host that may have room or not."""
    one = draw(guests("J", Accounting.JOINT))
    others = [draw(guests("K", Accounting.JOINT))] if draw(st.booleans()) else []
    others += [draw(guests(name, Accounting.SPLIT)) for name in draw(st.sampled_from(["", "A", "AB"]))]
    reserve: Reserve = draw(RESERVES)
    chosen = Settings(reserve=reserve, headroom_bytes=draw(st.integers(0, 200 * M)), system_reserve_bytes=0)
    everybody = (one, *others)
    spread = draw(st.integers(-64 * M, 1024 * M))
    total = sum(g.ram_charged_bytes + g.grant_bytes for g in everybody) + 1024 * M + spread
    host = HostFacts(total, None, 0, 0)
    wall = budget(host, everybody, chosen).wall_bytes
    wall += draw(st.sampled_from([0, 0, 64 * M, -16 * M]))
    return one, everybody, replace(host, wall_limit_bytes=max(0, wall)), chosen


def overrun(host: HostFacts, everybody: tuple[GuestFacts, ...]) -> int:
    """By how much the wall and the limits outside of it are above what the host has."""
    outside = sum(
        g.limit_bytes for g in everybody if g.accounting is Accounting.JOINT and isinstance(g.limit_bytes, int)
    )
    wall = host.wall_limit_bytes if isinstance(host.wall_limit_bytes, int) else 0
    return max(0, outside + wall - host.total_bytes)


def after(
    host: HostFacts, everybody: tuple[GuestFacts, ...], action: Action
) -> tuple[HostFacts, tuple[GuestFacts, ...]]:
    """The world when one step was carried out."""
    if isinstance(action, SetWall):
        return replace(host, wall_limit_bytes=action.to_bytes), everybody
    if isinstance(action, SetLimit):
        everybody = tuple(
            replace(g, limit_bytes=action.to_bytes, grant_bytes=action.grant_to_bytes) if g.name == action.name else g
            for g in everybody
        )
    return host, everybody


@settings(max_examples=300, deadline=None)
@given(worlds())
def test_no_step_raises_the_sum_above_the_budget(
    world: tuple[GuestFacts, tuple[GuestFacts, ...], HostFacts, Settings],
) -> None:
    """P1 after every prefix: the overrun never grows, and an overcommitted host raises nobody."""
    one, everybody, host, chosen = world
    before = overrun(host, everybody)
    over = budget(host, everybody, chosen).overcommitted_bytes
    for action in tend(one, everybody, host, chosen, NOW).actions:
        host, everybody = after(host, everybody, action)
        assert overrun(host, everybody) <= before
        assert not (over and isinstance(action, SetLimit) and action.name == "J")
    assert over or budget(host, everybody, chosen).overcommitted_bytes == 0


@settings(max_examples=300, deadline=None)
@given(worlds())
def test_who_comes_near_its_limit_is_raised_or_held(
    world: tuple[GuestFacts, tuple[GuestFacts, ...], HostFacts, Settings],
) -> None:
    """Afterwards it stands still or has a margin; it is never shrunk, nor held with room to spare, nor blindly."""
    one, everybody, host, chosen = world
    actions = tend(one, everybody, host, chosen, NOW).actions
    last, held = one, one.held
    for action in actions:
        host, everybody = after(host, everybody, action)
        held = (held or isinstance(action, Hold)) and not isinstance(action, LetGo)
        if isinstance(action, SetLimit) and action.name == "J":
            assert isinstance(last.limit_bytes, int)
            assert action.to_bytes > last.limit_bytes
            assert action.floor_bytes <= action.to_bytes
        if isinstance(action, Hold):
            assert in_alarm(one)
            assert not one.held
    last = next(g for g in everybody if g.name == "J")
    if in_alarm(last):
        assert held
    if one.overhead_bytes is None:
        assert not held
    if held and not one.held:
        assert in_alarm(last)


@settings(max_examples=300, deadline=None)
@given(worlds())
def test_the_most_is_room_that_is_there(world: tuple[GuestFacts, tuple[GuestFacts, ...], HostFacts, Settings]) -> None:
    """A raise by the most, with the steps before it, leaves no promise broken that held."""
    one, everybody, host, chosen = world
    total = budget(host, everybody, chosen)
    most = most_raise(total, everybody, chosen, NOW) // 4096 * 4096
    if most == 0:
        return
    before = overrun(host, everybody)
    for action in raise_by(one, most, "test", everybody, host, chosen, NOW):
        host, everybody = after(host, everybody, action)
        assert overrun(host, everybody) <= before
    now = budget(host, everybody, chosen)
    assert now.overcommitted_bytes == 0
    least = sum(
        min(g.grant_bytes, g.grant_bytes if (f := floor_bytes(g, chosen, NOW)) is None else f)
        for g in everybody
        if g.accounting is Accounting.SPLIT
    )
    if least + total.headroom_bytes <= total.reserve_bytes:
        assert least + total.headroom_bytes <= now.reserve_bytes


@settings(max_examples=200, deadline=None)
@given(worlds(), st.integers(0, 2048 * M))
def test_what_is_taken_back_leaves_what_must_be_kept(
    world: tuple[GuestFacts, tuple[GuestFacts, ...], HostFacts, Settings], kept: int
) -> None:
    """P2: never below RAM + floor + what it keeps, never below the limit it came with, and no alarm follows from it."""
    one, _, _, chosen = world
    spare = spare_bytes(one, chosen, NOW, kept)
    if spare == 0:
        return
    (action,) = take_back(one, chosen, NOW, spare).actions
    assert isinstance(action, SetLimit)
    floor = floor_bytes(one, chosen, NOW)
    assert floor is not None
    assert action.to_bytes >= max(kept, one.ram_charged_bytes + floor + chosen.giveback_keep_bytes)
    assert action.floor_bytes <= action.to_bytes
    assert not in_alarm(replace(one, grant_bytes=action.grant_to_bytes))
    assert action.grant_to_bytes - (one.overhead_bytes or 0) >= 2 * JOINT_MARGIN_BYTES
