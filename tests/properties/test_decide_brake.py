"""Whatever the guests are: nobody within its grant is slowed down, and nobody who could not drain above the guard."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from guestroom.config import Brake
from guestroom.decide.brake import BrakeOff, BrakeOn, Ease, Flow, brake, brake_line, trim
from guestroom.decide.hold import Excess, hold
from guestroom.units import MIB

SIZES = st.integers(0, 1024).map(lambda size: size * MIB)
TIMES = st.floats(0, 120)


@st.composite
def flows(draw: st.DrawFn) -> tuple[Flow, ...]:
    """Up to six guests in any condition."""
    found = []
    for name in draw(st.sets(st.sampled_from("abcdef"), min_size=1)):
        braked = draw(st.sampled_from((None, Brake.THROTTLE, Brake.STOP)))
        flow = Flow(
            name,
            draw(st.integers(1, 8)),
            draw(SIZES),
            draw(st.none() | SIZES),
            draw(st.none() | SIZES),
            draw(SIZES),
            draw(st.sampled_from(Brake)),
            held=draw(st.booleans()),
            runs=draw(st.booleans()),
            braked=braked,
            iops=draw(st.sampled_from((64, 256, 1024, 4096))) if braked is Brake.THROTTLE else 0,
            braked_for_s=draw(TIMES),
            rested_s=draw(st.none() | TIMES),
            lately=draw(st.integers(0, 9)),
            rising_bytes=draw(SIZES),
            trimmed_ago_s=draw(st.none() | TIMES),
            in_vain=draw(st.integers(0, 9)),
        )
        found.append(flow)
    return tuple(sorted(found, key=lambda flow: flow.name))


WORLD = st.tuples(flows(), SIZES, SIZES)


@settings(max_examples=300)
@given(WORLD)
def test_nobody_within_its_grant_is_braked_or_held(world: tuple[tuple[Flow, ...], int, int]) -> None:
    """Only a guest known to be above its grant is slowed down or trimmed, and the same numbers hold nobody else."""
    present, headroom, guard = world
    left = headroom - sum(flow.over_bytes for flow in present)
    by_name = {flow.name: flow for flow in present}
    touched = [step.name for step in brake(present, left, headroom, guard) if isinstance(step, BrakeOn)]
    touched += trim(present)
    excesses = [Excess(f.name, f.weight, f.grant_bytes, f.overhead_bytes, f.held) for f in present]
    touched += [step.name for step in hold(excesses, headroom, guard) if type(step).__name__ == "Hold"]
    for name in touched:
        flow = by_name[name]
        assert flow.overhead_bytes is not None
        assert flow.overhead_bytes > flow.grant_bytes


@settings(max_examples=300)
@given(WORLD, SIZES)
def test_all_that_drains_fits_above_the_guard(world: tuple[tuple[Flow, ...], int, int], left: int) -> None:
    """Whoever is braked now and whoever drains already may together take all they still can: the guard stays."""
    present, headroom, guard = world
    by_name = {flow.name: flow for flow in present}
    new = [step for step in brake(present, left, headroom, guard) if isinstance(step, BrakeOn)]
    if not new:
        return
    assert left <= brake_line(headroom, guard)
    young = [f for f in present if f.braked is not None and f.braked_for_s < 0.6]
    still = sum(step.drain_bytes for step in new) + sum(flow.drain_bytes for flow in young)
    assert left - still >= guard
    for step in new:
        flow = by_name[step.name]
        assert not flow.held
        assert flow.braked is None
        assert step.kind is flow.choice is not Brake.NONE


@settings(max_examples=300)
@given(WORLD, SIZES)
def test_one_step_for_each_and_the_order_of_asking_does_not_matter(
    world: tuple[tuple[Flow, ...], int, int], left: int
) -> None:
    """Each guest gets at most one step, only a braked one is let go, a held one is left alone, in whatever order."""
    present, headroom, guard = world
    steps = brake(present, left, headroom, guard)
    assert len({step.name for step in steps}) == len(steps)
    by_name = {flow.name: flow for flow in present}
    for step in steps:
        assert not by_name[step.name].held
        if isinstance(step, Ease | BrakeOff):
            assert by_name[step.name].braked is not None
    assert set(brake(present[::-1], left, headroom, guard)) == set(steps)


@settings(max_examples=300)
@given(WORLD, SIZES)
def test_no_stop_lasts(world: tuple[tuple[Flow, ...], int, int], left: int) -> None:
    """Whatever is known or not, a guest that stood still for a second and is not held goes on."""
    present, headroom, guard = world
    off = {step.name for step in brake(present, left, headroom, guard) if isinstance(step, BrakeOff)}
    for flow in present:
        if flow.braked is Brake.STOP and flow.braked_for_s >= 1.0 and not flow.held:
            assert flow.name in off
