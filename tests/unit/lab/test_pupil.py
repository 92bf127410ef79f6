"""A replayed host that learns: the next guest is sized by what those before it came to."""

from __future__ import annotations

from dataclasses import replace

from guestroom.config import GuestSettings, Settings
from guestroom.guest import Disk, Guest
from guestroom.lab.pupil import Pupil
from guestroom.lab.traces import Shape
from guestroom.size import estimate
from guestroom.units import MIB

GUEST = Guest(ram_bytes=256 * MIB, vcpus=1, accelerator="tcg", machine="q35", disks=(Disk(format="qcow2"),))
SHAPE = Shape(256 * MIB, 0, 0, guest=GUEST)
SETTINGS = Settings(policy="learned")


def lived(pupil: Pupil, name: str, peak_bytes: int, *, ended: bool = True, ran_s: float = 100.0) -> None:
    """One guest's life, from its sizing to now."""
    shape = pupil.sized(name, SHAPE, 0.0)
    pupil.saw(name, shape, 0.0, ran_s, peak_bytes=peak_bytes, grant_bytes=shape.need_bytes, ended=ended)


def test_without_a_history_it_is_the_policy_learned_begins_with() -> None:
    """The first guest of a host is sized by what was measured elsewhere."""
    assert Pupil(SETTINGS).sized("a", SHAPE, 0.0).need_bytes == estimate(GUEST, "learned").overhead_bytes


def test_a_miss_is_answered_at_the_next_start() -> None:
    """One like it gets at least what the missed one took, and 100 MiB more."""
    pupil = Pupil(SETTINGS)
    lived(pupil, "a", 400 * MIB)
    assert pupil.sized("b", SHAPE, 200.0).need_bytes >= 500 * MIB


def test_a_guest_that_is_young_and_kept_its_promise_says_nothing_yet() -> None:
    """As the agent, which reports no life before it ran for a minute, unless it missed."""
    pupil = Pupil(SETTINGS)
    lived(pupil, "a", 30 * MIB, ended=False, ran_s=10.0)
    assert len(pupil.history) == 0
    lived(pupil, "b", 400 * MIB, ended=False, ran_s=10.0)
    lived(pupil, "c", 30 * MIB, ended=False, ran_s=100.0)
    assert len(pupil.history) == 2


def test_settings_come_before_what_was_learned() -> None:
    """An operator's figure is the figure, and a cap is one."""
    guests = {"a": GuestSettings(overhead_bytes=77 * MIB), "b": GuestSettings(cap_bytes=60 * MIB)}
    pupil = Pupil(replace(SETTINGS, guests=guests))
    fixed = pupil.sized("a", SHAPE, 0.0)
    assert (fixed.need_bytes, fixed.fixed_overhead) == (77 * MIB, True)
    assert pupil.sized("b#2", replace(SHAPE, own_name="b"), 0.0).need_bytes == 60 * MIB
