"""The memory of lives: one sample a life, weighted to the recent, the same in any order, bounded."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from guestroom.size import History, likeness
from guestroom.size import history as module
from guestroom.size.history import FORGET_S, FULL_S, HALF_S, Level, weight
from guestroom.units import MIB

from .lives import DAY_S, GUEST, NOW_S, life, many

LIKE = likeness(GUEST, "7.2.22")


def test_a_sample_counts_less_with_age_and_is_forgotten() -> None:
    """In full for 14 days, half after 30 more, an eighth at 104 days, then nothing; the future counts in full."""
    assert [weight(age) for age in (-DAY_S, 0.0, FULL_S, FULL_S + HALF_S, FORGET_S, FORGET_S + 1)] == [
        1.0,
        1.0,
        1.0,
        0.5,
        0.125,
        0.0,
    ]


def test_one_life_is_one_sample() -> None:
    """A running guest reported every minute is counted once, with its newest peak."""
    reports = [life(90 + i, at_s=NOW_S - 600 + i, started_s=5.0) for i in range(10)]
    history = History(reports)
    assert len(history) == 1
    assert history.group(Level.GUEST, "web", LIKE, NOW_S)[0].peak_bytes == 99 * MIB
    history.add(reports[3])
    assert history.lives() == (reports[9],), "an older report that comes late changes nothing"


def test_groups_are_by_likeness() -> None:
    """The guest's own, its shape's, its kind's and its host's samples, and its kin's on another QEMU apart."""
    other_kind = replace(GUEST, tpm=True)
    history = History(
        [
            life(90),
            life(91, "db", at_s=NOW_S - 50),
            life(92, "big", guest=replace(GUEST, ram_bytes=200 * MIB), at_s=NOW_S - 40),
            life(93, "tpm", guest=other_kind, at_s=NOW_S - 30),
            life(94, "old", qemu="7.1.0", at_s=NOW_S - 20),
            life(95, "kvm", guest=replace(GUEST, accelerator="kvm"), at_s=NOW_S - 10),
        ]
    )
    found = {level: [one.guest for one in history.group(level, "web", LIKE, NOW_S)] for level in Level}
    assert found == {
        Level.GUEST: ["web"],
        Level.SHAPE: ["web", "db"],
        Level.KIND: ["web", "db", "big"],
        Level.HOST: ["web", "db", "big", "tpm"],
        Level.KIN_SHAPE: ["old", "kvm"],
        Level.KIN_KIND: ["old", "kvm"],
    }


def test_short_lives_count_only_where_they_needed_more() -> None:
    """A guest that was ended in its boot says nothing about its peak, unless that was above its promise already."""
    history = History([life(40, ran_s=10), life(60, ran_s=10, promised_mib=50, at_s=NOW_S - 10), life(50)])
    assert history.measured(Level.SHAPE, None, LIKE, "eve", NOW_S).scores == (50.0 * MIB, 60.0 * MIB)


def test_rough_likeness_compares_by_the_prior() -> None:
    """Guests of several sizes compare as multiples of what the prior said of each; another prior's are left out."""
    history = History([life(100, prior_mib=400), life(100, "b", prior_mib=200), life(9, "c", prior="kata")])
    assert history.measured(Level.HOST, "web", LIKE, "eve", NOW_S).scores == (0.25, 0.5)
    assert len(history.measured(Level.SHAPE, "web", LIKE, "eve", NOW_S).scores) == 3


def test_old_samples_weigh_less_in_a_quantile() -> None:
    """Three old high peaks and five recent low ones: the half of the weight lies with the recent."""
    aged = [life(300.0, f"old{i}", at_s=NOW_S - FULL_S - HALF_S) for i in range(3)]
    history = History([*aged, *many([100.0, 101.0, 102.0, 103.0, 104.0], None)])
    measured = history.measured(Level.SHAPE, None, LIKE, "eve", NOW_S)
    assert measured.counted == pytest.approx(6.5, abs=0.01)
    assert measured.at(0.5) == 103 * MIB
    assert measured.at(1.0) == 300 * MIB
    assert measured.within(104 * MIB) == pytest.approx(5.0)


def test_a_guest_that_is_restarted_all_day_says_little_of_others() -> None:
    """Of itself each of its lives is a sample; for its shape all are one, for its kind the shape is."""
    history = History([*many([90.0 + i for i in range(50)]), *many([80.0, 81.0], None)])
    counted = {level: history.measured(level, "web", LIKE, "eve", NOW_S).counted for level in Level if not level.is_kin}
    assert counted == {
        Level.GUEST: pytest.approx(50),
        Level.SHAPE: pytest.approx(3),
        Level.KIND: pytest.approx(1),
        Level.HOST: pytest.approx(1),
    }
    shape = history.measured(Level.SHAPE, None, LIKE, "eve", NOW_S)
    assert shape.within(81 * MIB) == pytest.approx(2)
    assert shape.within(114.5 * MIB) == pytest.approx(2.5)


def test_the_order_lives_come_in_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any order, also beyond what is kept: the same lives stay and every group measures the same."""
    monkeypatch.setattr(module, "MOST_LIVES", 30)
    lives = many([90.0 + i % 7 for i in range(40)], None)
    shuffled = list(lives)
    random.Random(5).shuffle(shuffled)
    one, other = History(lives), History(shuffled)
    assert one.lives() == other.lives() == tuple(lives[10:])
    for level in Level:
        assert one.measured(level, "g35", LIKE, "eve", NOW_S) == other.measured(level, "g35", LIKE, "eve", NOW_S)


def test_what_is_measured_follows_at_once() -> None:
    """A new life is in the very next answer, and an hour later the samples are weighed anew."""
    history = History([life(90)])
    assert history.measured(Level.SHAPE, None, LIKE, "eve", NOW_S).scores == (90.0 * MIB,)
    history.add(life(99, "b"))
    assert history.measured(Level.SHAPE, None, LIKE, "eve", NOW_S).scores == (90.0 * MIB, 99.0 * MIB)
    assert history.measured(Level.SHAPE, None, LIKE, "eve", NOW_S + FULL_S + HALF_S).counted == pytest.approx(
        1, abs=0.01
    )
    assert history.measured(Level.SHAPE, None, LIKE, "eve", NOW_S + FORGET_S + DAY_S).scores == ()


def test_the_version_of_a_command_is_the_last_one_heard() -> None:
    """Before QEMU runs nobody can ask it: what that command ran last is what is expected."""
    history = History([life(90, qemu="7.2.0", at_s=NOW_S - 99), life(90, "b", qemu="8.0.0"), life(90, "c", qemu=None)])
    assert history.qemu_of("qemu-system-x86_64") == "8.0.0"
    assert history.qemu_of("/opt/other/qemu") is None
