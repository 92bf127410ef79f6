"""SimHost against the kernel: one sequence of steps on both, compared after every step.

What is compared: the errno of every write, mkdir and rmdir, how every order to a process ended (done, asleep, killed,
which errno), usage, limit, anonymous, cache, shmem and kernel memory (own and hierarchical), ``under_oom``, OOM kills,
and the freezer's state; for a guest's cgroup and its children ``ram`` and ``vmm``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from guestroom.testing import SimHost

from .beliefs import WRONG_BELIEFS
from .compare import DivergenceError, Pair
from .steps import PLACES, Step, Verb

pytestmark = pytest.mark.kernel

FILES_A_SEQUENCE = 6
_WHO = st.sampled_from((0, 0, 0, 1))
_ANON = st.sampled_from(("small", "small", "huge"))
_ANY = st.sampled_from(("small", "small", "huge", "shm"))
_EVEN = st.sampled_from((2, 4, 6, 8))
_MIB = st.integers(1, 8)


def _step(verb: Verb, **parts: st.SearchStrategy[object]) -> st.SearchStrategy[Step]:
    return st.builds(Step, st.just(verb), **parts)


_TOUCH = st.one_of(
    _step(Verb.TOUCH, who=_WHO, region=_ANY, mib=_EVEN),
    _step(Verb.TOUCH, who=_WHO, region=st.just("small"), mib=_MIB),
)
_MOVE = _step(Verb.MOVE, who=_WHO, place=st.sampled_from(("g/ram", "g/vmm", "g/vmm")))
_LIMIT = st.one_of(
    _step(Verb.LIMIT, mib=st.integers(3, 32)),
    _step(Verb.LIMIT, place=st.sampled_from(PLACES), mib=st.integers(3, 32) | st.none()),
)
_ORDER = st.one_of(
    _TOUCH,
    _TOUCH,
    _step(Verb.SYSCALL, who=_WHO, mib=_MIB),
    _step(Verb.FREE, who=_WHO, region=_ANY, mib=_EVEN),
    _step(Verb.DISCARD, who=_WHO, region=_ANY, mib=_MIB),
    _step(Verb.RETOUCH, who=_WHO, region=_ANY),
    _step(Verb.COLLAPSE, who=_WHO),
    _step(Verb.CACHE, who=_WHO),
    _step(Verb.PIPES, who=_WHO, mib=st.integers(1, 3)),
    _step(Verb.UNPIPE, who=_WHO),
)
_ODD = st.one_of(
    _step(Verb.OOM, place=st.sampled_from(PLACES), mib=st.integers(0, 1)),
    _step(Verb.FORCE_EMPTY, place=st.sampled_from(PLACES)),
    _step(Verb.KILL, who=_WHO),
    _step(Verb.SPAWN, place=st.sampled_from(PLACES)),
    _step(Verb.RMDIR, place=st.sampled_from(("g/ram", "g/vmm"))),
    _step(Verb.MKDIR, place=st.sampled_from(("g/ram", "g/vmm"))),
)


def _scene(*steps: st.SearchStrategy[Step] | Step) -> st.SearchStrategy[list[Step]]:
    return st.tuples(*(step if isinstance(step, st.SearchStrategy) else st.just(step) for step in steps)).map(list)


_SCENES = st.one_of(
    _scene(_ORDER),
    _scene(_ORDER),
    _scene(_TOUCH, _LIMIT),
    _scene(_LIMIT),
    _scene(_ODD),
    _scene(_MOVE),
    _scene(Step(Verb.MOVE, place="g/vmm"), Step(Verb.COLLAPSE)),
    _scene(Step(Verb.MOVE, place="g/vmm"), Step(Verb.RMDIR, place="g/ram"), _ORDER, _ORDER),
    _scene(Step(Verb.KILL), Step(Verb.RMDIR, place="g/ram"), Step(Verb.SPAWN, place="g/vmm")),
    _scene(Step(Verb.FREEZE), st.one_of(_ORDER, _LIMIT, _MOVE, _ODD), Step(Verb.THAW)),
)
"""Steps that belong together, so that what is rare by chance (a cgroup removed with something left in it) is common."""

SEQUENCES = st.builds(
    lambda limit, killer_off, scenes: [Step(Verb.LIMIT, mib=limit), Step(Verb.OOM, mib=killer_off), *chain(*scenes)],
    st.integers(8, 32),
    st.sampled_from((1, 1, 0)),
    st.lists(_SCENES, min_size=6, max_size=12),
)
"""Under a limit from the beginning, mostly with the OOM killer off, as guestroom's guests are."""

RAM_APART = [
    Step(Verb.LIMIT, mib=48),
    Step(Verb.OOM, mib=1),
    Step(Verb.TOUCH, region="small", mib=8),
    Step(Verb.CACHE),
    Step(Verb.MOVE, place="g/vmm"),
    Step(Verb.FORCE_EMPTY, place="g/ram"),
    Step(Verb.TOUCH, region="huge", mib=4),
    Step(Verb.PIPES, mib=2),
    Step(Verb.DISCARD, region="small", mib=3),
    Step(Verb.RETOUCH, region="small"),
    Step(Verb.COLLAPSE),
    Step(Verb.LIMIT, mib=12),
    Step(Verb.TOUCH, region="shm", mib=4),
    Step(Verb.FREEZE),
    Step(Verb.TOUCH, region="small", mib=2),
    Step(Verb.LIMIT, mib=20),
    Step(Verb.THAW),
    Step(Verb.RMDIR, place="g/ram"),
    Step(Verb.KILL),
    Step(Verb.RMDIR, place="g/vmm"),
]
"""Split accounting as guestroom does it: RAM in ``ram``, moved, then all that makes RAM wander or the limit bite."""


def _settings(examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )


def compare(steps: list[Step], helper: Path, files: list[Path], make_sim: Callable[[], SimHost] = SimHost) -> None:
    """Run ``steps`` on both hosts; raise ``DivergenceError`` where they differ."""
    with contextlib.closing(Pair(helper, iter(files), make_sim)) as pair:
        pair.run(steps)


@_settings(300)
@given(steps=SEQUENCES)
@example(steps=RAM_APART)
def test_simulator_and_kernel_agree(helper: Path, page_files: list[Path], steps: list[Step]) -> None:
    """Whatever small processes do under limits, the simulated host says what the kernel says."""
    compare(steps, helper, page_files)


@pytest.mark.parametrize("belief", WRONG_BELIEFS)
def test_wrong_beliefs_are_found_out(helper: Path, page_files: list[Path], belief: type[SimHost]) -> None:
    """A simulator that believes something else about the kernel does not pass the same generated sequences."""
    found: list[DivergenceError] = []

    @_settings(120)
    @given(steps=SEQUENCES)
    def trial(steps: list[Step]) -> None:
        if not found:
            try:
                compare(steps, helper, page_files, belief)
            except DivergenceError as error:
                found.append(error)

    trial()
    assert found, f"{belief.__name__} passed: the differential test is blind to it"
