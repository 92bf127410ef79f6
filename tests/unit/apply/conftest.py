"""A scripted kernel with a wall and one guest, a clock moved by sleeping, and an applier on both."""

from __future__ import annotations

import pytest

from guestroom.actions import MakeGuest
from guestroom.apply import KernelApplier, set_up_wall
from guestroom.testing import ManualClock

from .scripted import LAYOUT, ScriptedFiles


@pytest.fixture
def clock() -> ManualClock:
    """Time that passes only by sleeping."""
    return ManualClock()


@pytest.fixture
def files(clock: ManualClock) -> ScriptedFiles:
    """A wall of 1000 pages with guest ``a`` of 100 pages in it; what was written for that is forgotten."""
    made = ScriptedFiles()
    assert set_up_wall(made, LAYOUT, 1000 * 4096, clock=clock).ok
    assert KernelApplier(made, LAYOUT, clock).carry_out(MakeGuest("a", 100 * 4096, 0, "test")).ok
    made.done.clear()
    return made


@pytest.fixture
def applier(files: ScriptedFiles, clock: ManualClock) -> KernelApplier:
    """The applier on the scripted kernel."""
    return KernelApplier(files, LAYOUT, clock)
