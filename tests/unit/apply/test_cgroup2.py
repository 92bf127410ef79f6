"""The v2 applier: every answer of the kernel, every step cut short, and never a guest killed."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestroom.actions import Hold, LetGo, MakeGuest, OutcomeKind, SetLimit, SetWall, StartGuest
from guestroom.apply import drop_cache, lift, make_applier, oom_killers, remove_guest, reset_peak, set_up_wall, thaw
from guestroom.apply.cgroup1 import KernelApplier
from guestroom.apply.cgroup2 import KernelApplier2, is_braked, parse_limit, settle_freezer
from guestroom.errors import HostError, ReadError
from guestroom.layout import Layout
from guestroom.testing import ManualClock
from guestroom.testing.simv2 import Crash, SimV2
from guestroom.units import MIB, UNLIMITED

LAYOUT = Layout("/cg/g", "/cg/g", 2)
A, VMM = "/cg/g/a", "/cg/g/a/vmm"
OLD = 400 * MIB
HOLD = Hold("a", 1, 2, 3, "why")


def limit(to_bytes: int, *, floor_bytes: int = 0, name: str = "a") -> SetLimit:
    """A limit write for guest a."""
    return SetLimit(name, OLD, to_bytes, 0, 0, floor_bytes, "why")


@pytest.fixture
def clock() -> ManualClock:
    """Time that passes only by sleeping."""
    return ManualClock()


def made(clock: ManualClock | None = None) -> SimV2:
    """A wall of 1 GiB with guest ``a`` of 400 MiB in it, whose process holds 100 MiB in ``vmm``."""
    sim = SimV2()
    assert set_up_wall(sim, LAYOUT, 1024 * MIB, clock=clock or ManualClock()).ok
    assert KernelApplier2(sim, LAYOUT, clock or ManualClock()).carry_out(MakeGuest("a", OLD, 0, "test")).ok
    sim.write(f"{VMM}/cgroup.procs", "7")
    sim.charge(VMM, 100 * MIB)
    sim.operations.clear()
    return sim


@pytest.fixture
def sim(clock: ManualClock) -> SimV2:
    """The tree."""
    return made(clock)


@pytest.fixture
def applier(sim: SimV2, clock: ManualClock) -> KernelApplier2:
    """The applier on it."""
    return KernelApplier2(sim, LAYOUT, clock)


def writes(sim: SimV2) -> list[str]:
    """What was written, without the mount's path."""
    return [line.removeprefix("write /cg/g/") for line in sim.operations if line.startswith("write")]


# --- the limit ---------------------------------------------------------------------------------------------


def test_the_simulated_kernel_kills() -> None:
    """Control: the naive write below use kills in the simulator as it does in the kernel."""
    sim = made()
    sim.write(f"{A}/memory.max", str(50 * MIB))
    assert sim.killed == {7}


def test_shrink_below_use_is_busy(sim: SimV2, applier: KernelApplier2) -> None:
    """A shrink below use is BUSY with the numbers, writes no limit, does not even freeze, and kills nobody."""
    outcome = applier.carry_out(limit(50 * MIB))
    assert (outcome.kind, outcome.found_bytes) == (OutcomeKind.BUSY, OLD)
    assert str(100 * MIB) in outcome.detail
    assert sim.killed == set()
    assert writes(sim) == []


def test_shrink_freezes_looks_writes_and_thaws(sim: SimV2, applier: KernelApplier2) -> None:
    """A shrink that fits is written while the guest stands still, and it goes on afterwards."""
    outcome = applier.carry_out(limit(150 * MIB + 5))
    assert (outcome.kind, outcome.found_bytes) == (OutcomeKind.DONE, 150 * MIB)
    assert writes(sim) == ["a/cgroup.freeze 1", f"a/memory.max {150 * MIB + 5}", "a/cgroup.freeze 0"]
    assert sim.operations.index(f"read {A}/memory.current", 8) < sim.operations.index(
        f"write {A}/memory.max {150 * MIB + 5}"
    )


def test_exactly_use_fits(sim: SimV2, applier: KernelApplier2) -> None:
    """A limit of exactly what is charged is written; one page less is not."""
    assert applier.carry_out(limit(100 * MIB - 4096)).kind is OutcomeKind.BUSY
    assert applier.carry_out(limit(100 * MIB + 4095 - 4096)).kind is OutcomeKind.BUSY, "the kernel cuts to pages"
    assert applier.carry_out(limit(100 * MIB)).ok
    assert sim.killed == set()


def test_page_cache_is_reclaimed_first(sim: SimV2, applier: KernelApplier2) -> None:
    """A guest full of page cache is asked to give it back before it is frozen; what falls short is looked at."""
    sim.charge(VMM, 200 * MIB, cache=True)
    assert applier.carry_out(limit(150 * MIB)).ok
    assert writes(sim)[0] == f"a/memory.reclaim {150 * MIB}"
    assert sim.killed == set()
    assert applier.carry_out(limit(90 * MIB)).kind is OutcomeKind.BUSY
    assert sim.current(A) == 100 * MIB
    assert sim.killed == set()


def test_raise_is_one_write(sim: SimV2, applier: KernelApplier2) -> None:
    """Room is given at once: no freeze, no reclaim."""
    assert applier.carry_out(limit(OLD + MIB)).ok
    assert writes(sim) == [f"a/memory.max {OLD + MIB}"]


def test_what_is_a_raise_is_asked_of_the_kernel(sim: SimV2, applier: KernelApplier2) -> None:
    """A plan that is out of date calls a shrink a raise: the kernel's own limit decides."""
    sim.write(f"{A}/memory.max", str(900 * MIB))
    sim.operations.clear()
    assert applier.carry_out(limit(500 * MIB)).ok
    assert "a/cgroup.freeze 1" in writes(sim)


def test_empty_guest_needs_no_freeze(sim: SimV2, applier: KernelApplier2) -> None:
    """Where nobody lives nothing can grow: the limit is just written, but still not below what is charged."""
    sim.groups[VMM].pids.clear()
    assert applier.carry_out(limit(150 * MIB)).ok
    assert writes(sim) == [f"a/memory.max {150 * MIB}"]
    assert applier.carry_out(limit(50 * MIB)).kind is OutcomeKind.BUSY


def test_wall_is_frozen_only_where_its_guests_could_pass_it(sim: SimV2, applier: KernelApplier2) -> None:
    """A wall that all guests' limits together fit under is lowered without holding anybody still; else they are."""
    assert applier.carry_out(SetWall(1, 500 * MIB, "why")).ok
    assert writes(sim) == [f"memory.max {500 * MIB}"]
    assert applier.carry_out(SetWall(1, 200 * MIB, "why")).ok
    assert writes(sim)[1:] == ["cgroup.freeze 1", f"memory.max {200 * MIB}", "cgroup.freeze 0"]
    sim.write("/cg/g/memory.max", str(1024 * MIB))
    sim.groups["/cg/g"].cache_bytes = 150 * MIB  # page cache of a guest that is gone
    sim.operations.clear()
    assert applier.carry_out(SetWall(1, 500 * MIB, "why")).ok
    assert writes(sim)[0] == "cgroup.freeze 1", "400 of its guest and 150 of nobody do not fit under 500"
    assert applier.carry_out(SetWall(1, 60 * MIB, "why")).kind is OutcomeKind.BUSY
    assert sim.killed == set()


def test_guest_that_does_not_stand_still_is_not_shrunk(sim: SimV2, applier: KernelApplier2, clock: ManualClock) -> None:
    """A guest that is not frozen within 20 ms is let go at once: BUSY, the old limit stays."""
    sim.slow_freeze = True
    before_s = clock.monotonic()
    outcome = applier.carry_out(limit(150 * MIB))
    assert (outcome.kind, outcome.found_bytes) == (OutcomeKind.BUSY, OLD)
    assert "20 ms" in outcome.detail
    assert clock.monotonic() - before_s == pytest.approx(0.02, abs=0.002)
    assert writes(sim) == ["a/cgroup.freeze 1", "a/cgroup.freeze 0"]


def test_floor_is_the_last_line(sim: SimV2, applier: KernelApplier2) -> None:
    """P2: nothing is written below RAM + floor, whatever was decided."""
    assert applier.carry_out(limit(150 * MIB, floor_bytes=150 * MIB + 1)).kind is OutcomeKind.FAILED
    assert sim.operations == []


# --- cut short at every step ---------------------------------------------------------------------------------


def steps(action: SetLimit | SetWall) -> int:
    """How many operations the shrink has."""
    sim = made()
    assert KernelApplier2(sim, LAYOUT, ManualClock()).carry_out(action).ok
    return len(sim.operations)


@pytest.mark.parametrize("action", [limit(150 * MIB), SetWall(1, 200 * MIB, "why")])
@pytest.mark.parametrize("number", [errno.EIO, errno.EINTR, errno.ENODEV, errno.EBUSY, errno.EACCES])
def test_any_step_may_fail(action: SetLimit | SetWall, number: int) -> None:
    """Whichever operation fails and how: an outcome, nobody killed, the limit the old or the new one, nobody frozen."""
    for step in range(steps(action)):
        sim = made()
        sim.faults = {step: number}
        outcome = KernelApplier2(sim, LAYOUT, ManualClock()).carry_out(action)
        folder = A if isinstance(action, SetLimit) else "/cg/g"
        assert sim.killed == set()
        assert sim.groups[folder].files["memory.max"] in (str(OLD), str(1024 * MIB), str(action.to_bytes))
        if outcome.ok:
            assert sim.groups[folder].files["memory.max"] == str(action.to_bytes)
        assert not sim.groups[folder].frozen


def test_thaw_that_fails_for_good_is_told(sim: SimV2, applier: KernelApplier2) -> None:
    """A guest that could not be thawed after a shrink is a failure, although its limit holds."""
    sim.faults = dict.fromkeys(range(11, 60), errno.EIO)
    outcome = applier.carry_out(limit(150 * MIB))
    assert sim.groups[A].files["memory.max"] == str(150 * MIB)
    assert sim.groups[A].frozen
    assert outcome.kind is OutcomeKind.FAILED


@pytest.mark.parametrize("action", [limit(150 * MIB), SetWall(1, 200 * MIB, "why")])
def test_crash_at_any_step_is_mended(action: SetLimit | SetWall) -> None:
    """kill -9 between any two operations: nobody killed, and thawing afterwards makes the guest go on."""
    frozen = 0
    for step in range(steps(action)):
        sim = made()
        sim.crash_at = step
        with pytest.raises(Crash):
            # A real crash runs no finally; the sim refuses every later operation instead.
            KernelApplier2(Dead(sim), LAYOUT, ManualClock()).carry_out(action)  # type: ignore[arg-type]
        sim.crash_at = None
        frozen += not sim.runs(VMM)
        assert sim.killed == set()
        assert all(report.ok for report in lift(sim, LAYOUT))
        assert thaw(sim, LAYOUT, "a").ok
        assert sim.runs(VMM)
    assert frozen > 2, "no crash left anything frozen: the test proves nothing"


class Dead:
    """Files of a process that is gone after its first ``Crash``."""

    def __init__(self, sim: SimV2) -> None:
        self.sim = sim
        self.gone = False

    def __getattr__(self, name: str) -> object:
        operation = getattr(self.sim, name)

        def tried(*arguments: str) -> object:
            if self.gone:
                raise Crash("gone")
            try:
                return operation(*arguments)
            except Crash:
                self.gone = True
                raise

        return tried


@given(
    target=st.integers(60, 380),
    rate=st.integers(0, 40),
    cache=st.integers(0, 150),
    stock=st.integers(0, 2),
    swing=st.booleans(),
    fault=st.tuples(st.integers(0, 25), st.sampled_from([errno.EIO, errno.EINTR, errno.EAGAIN, errno.ENODEV])),
)
def test_no_shrink_ever_kills(
    target: int, rate: int, cache: int, stock: int, swing: bool, fault: tuple[int, int]
) -> None:
    """However fast the guest grows or gives back between any two operations, the shrink itself kills nobody.

    A limit just above use is still met by a guest that grows on after it was thawed; that is the floor's part (P2), so
    growth ends here with the thaw.
    """
    sim = made()
    sim.charge(VMM, cache * MIB, cache=True)
    sim.groups[VMM].stock_bytes = stock * 256 * 1024
    sim.faults = dict([fault])
    ticks = 0

    def grow(_: SimV2, folder: str) -> None:
        nonlocal ticks
        ticks += 1
        written = any("memory.max" in line for line in sim.operations if line.startswith("write"))
        if folder == VMM and not written and sim.current(A) + rate * MIB < OLD:
            if swing and ticks % 2:
                sim.give_back(VMM, rate * MIB)
            else:
                sim.charge(VMM, rate * MIB)

    sim.grow = grow
    outcome = KernelApplier2(sim, LAYOUT, ManualClock()).carry_out(limit(target * MIB))
    assert sim.killed == set()
    found = sim.groups[A].files["memory.max"]
    assert found in (str(OLD), str(target * MIB))
    assert not outcome.ok or found == str(target * MIB)


# --- holding -------------------------------------------------------------------------------------------------


def test_hold_brakes_then_freezes_and_let_go_undoes_both(sim: SimV2, applier: KernelApplier2) -> None:
    """A hold sets the brake a little above present use and then freezes; letting go takes the brake off first."""
    assert applier.carry_out(HOLD).ok
    assert writes(sim) == [f"a/vmm/memory.high {101 * MIB}", "a/cgroup.freeze 1"]
    assert is_braked(sim, A)
    assert not sim.runs(VMM)
    assert applier.carry_out(LetGo("a", "why")).ok
    assert writes(sim)[2:] == ["a/vmm/memory.high max", "a/cgroup.freeze 0"]
    assert sim.runs(VMM)


def test_hold_that_is_slow_is_told(sim: SimV2, applier: KernelApplier2) -> None:
    """A hold still under way after 100 ms is done, and says that it is still freezing; the brake is on."""
    sim.slow_freeze = True
    outcome = applier.carry_out(HOLD)
    assert outcome.ok
    assert "still freezing after 100 ms" in outcome.detail
    assert is_braked(sim, A)


def test_let_go_under_a_frozen_wall(sim: SimV2, applier: KernelApplier2) -> None:
    """A guest that stays frozen because the wall is frozen was not let go."""
    sim.write("/cg/g/cgroup.freeze", "1")
    assert applier.carry_out(LetGo("a", "why")).kind is OutcomeKind.READ_BACK


def test_shrink_leaves_holds_alone(sim: SimV2, applier: KernelApplier2) -> None:
    """A held guest stays held through a shrink; one frozen by somebody else stays frozen too (P9)."""
    applier.carry_out(HOLD)
    assert applier.carry_out(limit(150 * MIB)).ok
    assert not sim.runs(VMM)
    applier.carry_out(LetGo("a", "why"))
    sim.write(f"{A}/cgroup.freeze", "1")
    assert applier.carry_out(limit(140 * MIB)).ok
    assert not sim.runs(VMM)


@pytest.mark.parametrize("step", range(6))
@pytest.mark.parametrize("holding", [True, False])
def test_alarm_and_shrink_at_the_same_moment(step: int, holding: bool) -> None:
    """Whatever the alarm does between two operations of a shrink's thaw, what it meant is what stands afterwards."""
    sim = made()
    other = KernelApplier2(sim, LAYOUT, ManualClock(), freeze_wait_s=0)
    if not holding:
        other.carry_out(HOLD)
    sim.write(f"{A}/cgroup.freeze", "1")
    sim.operations.clear()
    done = False

    def alarm(_: SimV2, __: str = "") -> None:
        nonlocal done
        if not done and len(sim.operations) > step:
            done = True
            other.carry_out(HOLD if holding else LetGo("a", "why"))

    class Between:
        """The agent's files, with the alarm at work between two operations."""

        def __getattr__(self, name: str) -> object:
            alarm(sim)
            return getattr(sim, name)

    settle_freezer(Between(), A)  # type: ignore[arg-type]
    alarm(sim)
    assert is_braked(sim, A) is (holding if done else not holding)
    assert sim.groups[A].frozen is is_braked(sim, A)


# --- the rest ------------------------------------------------------------------------------------------------


def test_make_guest(sim: SimV2, applier: KernelApplier2) -> None:
    """A newcomer's limit stands before its children, which are under control; all of it dies together if at all."""
    outcome = applier.carry_out(MakeGuest("b", 10 * MIB, 0, "why"))
    assert (outcome.kind, outcome.found_bytes) == (OutcomeKind.DONE, 10 * MIB)
    assert sim.list_dirs("/cg/g/b") == ["ram", "vmm"]
    assert sim.groups["/cg/g/b"].files["memory.oom.group"] == "1"
    assert sim.groups["/cg/g/b/ram"].files["memory.swap.max"] == "0"
    made_at = [line for line in sim.operations if "/b" in line and not line.startswith("read")]
    assert made_at[:2] == ["mkdir /cg/g/b", f"write /cg/g/b/memory.max {10 * MIB}"]
    again = applier.carry_out(MakeGuest("b", 20 * MIB, 0, "why"))
    assert (again.kind, again.found_bytes) == (OutcomeKind.FAILED, 10 * MIB)


def test_make_guest_without_swap_accounting(sim: SimV2, applier: KernelApplier2) -> None:
    """A kernel without memory.swap.max makes guests all the same."""
    number = len(sim.operations)
    applier.carry_out(MakeGuest("b", 10 * MIB, 0, "why"))
    swap = next(i for i, line in enumerate(sim.operations) if "swap" in line) - number
    assert remove_guest(sim, LAYOUT, "b").ok
    sim.faults = {len(sim.operations) + swap: errno.ENOENT}
    assert applier.carry_out(MakeGuest("b", 10 * MIB, 0, "why")).ok


def test_make_guest_leaves_nothing_half_made() -> None:
    """P4: a newcomer whose making fails anywhere leaves no folder behind."""
    for step in range(40):
        sim = made()
        sim.faults = {step: errno.ENOMEM}
        outcome = KernelApplier2(sim, LAYOUT, ManualClock()).carry_out(MakeGuest("b", 10 * MIB, 0, "why"))
        if outcome.ok:
            break
        assert "/cg/g/b" not in sim.groups or step > len(sim.operations) - 3
    else:
        raise AssertionError("it never succeeded")
    assert step > 8


def test_answers(sim: SimV2, applier: KernelApplier2, clock: ManualClock) -> None:
    """Gone is VANISHED, nonsense is INVALID or a failure, no name of a guest's is FAILED, a start writes nothing."""
    assert applier.carry_out(limit(MIB, name="nobody")).kind is OutcomeKind.VANISHED
    assert applier.carry_out(Hold("nobody", 1, 2, 3, "why")).kind is OutcomeKind.VANISHED
    assert applier.carry_out(limit(-1, floor_bytes=-2)).kind is OutcomeKind.INVALID
    assert applier.carry_out(limit(MIB, name="../x")).kind is OutcomeKind.FAILED
    assert applier.carry_out(StartGuest("a", 0, 0, "why")).ok
    reborn = KernelApplier2(sim, LAYOUT, clock, expected_inodes={"a": 999})
    assert reborn.carry_out(limit(150 * MIB)).kind is OutcomeKind.VANISHED
    sim.groups[A].files["memory.max"] = "nonsense"
    outcome = applier.carry_out(limit(150 * MIB))
    assert (outcome.kind, outcome.found_bytes) == (OutcomeKind.FAILED, None)
    assert sim.killed == set()


def test_parse_limit() -> None:
    """``max`` is UNLIMITED, a number is bytes, anything else an error with the text."""
    assert parse_limit("f", "max\n") is UNLIMITED
    assert parse_limit("f", "4096\n") == 4096
    for text in ("", "-1", "MAX", "1 2"):
        with pytest.raises(ReadError):
            parse_limit("f", text)


def test_upkeep(sim: SimV2) -> None:
    """Removing thaws first, dropping the cache asks for what can be taken, no killers or peaks are there to set."""
    sim.charge(VMM, 50 * MIB, cache=True)
    assert drop_cache(sim, VMM, 2).ok
    assert sim.current(A) == 100 * MIB
    assert drop_cache(sim, "/cg/g/nobody", 2).kind is OutcomeKind.VANISHED
    sim.operations.clear()
    assert reset_peak(sim, VMM, 2).ok
    assert oom_killers(sim, LAYOUT, ["a"], enabled=False) == ()
    assert sim.operations == []
    sim.write(f"{A}/cgroup.freeze", "1")
    assert not remove_guest(sim, LAYOUT, "a", clock=ManualClock(), patience_s=0.1).ok
    assert sim.runs(VMM)
    sim.groups[VMM].pids.clear()
    assert remove_guest(sim, LAYOUT, "a", clock=ManualClock()).ok
    assert thaw(sim, LAYOUT, "a").ok, "gone already is fine"


def test_applier_follows_the_layout(sim: SimV2, clock: ManualClock) -> None:
    """Each version gets its own applier."""
    assert isinstance(make_applier(sim, LAYOUT, clock), KernelApplier2)
    assert isinstance(make_applier(sim, Layout("/m", "/f"), clock, freeze_wait_s=0), KernelApplier)
    with pytest.raises(HostError):
        KernelApplier2(sim, LAYOUT, clock)._limit("/cg/g/nobody/memory.max")
