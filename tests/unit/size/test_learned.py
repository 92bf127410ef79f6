"""``learned``: it starts from its prior, moves with samples, answers a miss at once and promises what it can."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from guestroom.guest import Guest
from guestroom.size import History, Learned, estimate, learn
from guestroom.size.history import FORGET_S, FULL_S, HALF_S, Level
from guestroom.size.learned import MISS_LIVES, after_miss, reference
from guestroom.units import MIB, PAGE_BYTES

from .lives import DAY_S, GUEST, NOW_S, life, many, named

PRIOR = estimate(GUEST, "eve")
PRIOR_MIB = PRIOR.overhead_bytes / MIB


def learned(lives: list[object] | History, guest: Guest = GUEST, **kept: object) -> Learned:
    """What is learned from lives by a prior that promises nothing, on the QEMU they ran on unless said."""
    history = lives if isinstance(lives, History) else History(lives)  # type: ignore[arg-type]
    return learn(guest, history, NOW_S, **({"qemu": "7.2.22", "prior": "eve"} | kept))  # type: ignore[arg-type]


def mib(found: Learned) -> float:
    """Its figure."""
    return found.estimate.overhead_bytes / MIB


def test_without_a_sample_it_is_its_prior() -> None:
    """To the byte, part by part; and nothing is promised."""
    found = learned([])
    assert found.estimate.overhead_bytes == PRIOR.overhead_bytes
    assert found.estimate.parts == PRIOR.parts
    assert found.estimate.policy == "learned"
    assert found.promise.coverage is None
    assert learned([], prior="kata").estimate.overhead_bytes == estimate(GUEST, "kata").overhead_bytes


def test_enough_samples_replace_the_prior() -> None:
    """60 guests of this shape up to 109.5 MiB: their largest, whatever the prior says, and 19 of 20 is promised."""
    found = learned(many([80 + i / 2 for i in range(60)], None), named("new"))
    assert 109 <= mib(found) <= 110
    assert found.promise.is_kept
    assert found.promise.level == Level.SHAPE
    assert found.promise.samples == 60


def test_with_few_samples_it_moves_in_proportion() -> None:
    """More samples of the same low peak move it further down, never below them, one step after another."""
    figures = [mib(learned(many([80.0] * n, None), named("new"))) for n in (0, 1, 5, 20, 40, 59)]
    assert figures[0] == pytest.approx(PRIOR_MIB, abs=0.01)
    assert all(one > other for one, other in pairwise(figures))
    assert figures[-1] == pytest.approx(80, abs=0.01)


def test_few_samples_say_what_they_can_promise() -> None:
    """With 22 of the 59 that 19 of 20 takes, at most 6 of 7."""
    found = learned(many([80.0] * 22, None), named("new"))
    assert not found.promise.is_kept
    assert found.promise.counted == 22
    assert "at most 6 of 7 can be promised" in found.promise.words
    assert found.why()[-1] == found.promise.words


@pytest.mark.parametrize(("coverage", "n"), [(0.95, 59), (0.99, 299), (0.999, 2995)])
def test_a_higher_share_takes_more_samples(coverage: float, n: int) -> None:
    """The promise is kept from 59, 299 or 2,995 samples on, not with one less."""
    lives = many([80.0 + i % 10 for i in range(n)], None)
    assert learned(lives, named("new"), coverage=coverage).promise.is_kept
    assert not learned(lives[1:], named("new"), coverage=coverage).promise.is_kept


def test_a_rare_peak_is_left_out_only_where_the_samples_allow_it() -> None:
    """One peak of 400 among 93 samples is outside 19 of 20; among 59 it is not."""
    assert mib(learned(many([400.0, *[80.0] * 92], None), named("new"))) < 81
    assert mib(learned(many([400.0, *[80.0] * 58], None), named("new"))) >= 400


def test_the_very_same_guest_never_gets_less_than_its_own_recent_peak() -> None:
    """However many others of its shape peaked lower, and however short that life was."""
    others = many([80.0] * 300, None)
    own = life(300.0, ran_s=5.0, promised_mib=301)
    assert mib(learned([*others, own])) >= 300
    assert learned([*others, own]).recent == own
    assert mib(learned([*others, own], named("another"))) < 300
    old = replace(own, at_wall_s=NOW_S - FULL_S - DAY_S)
    assert mib(learned([*others, old])) < 300


def test_a_miss_is_answered_at_once_by_a_fifth_or_100_mib() -> None:
    """200 where 150 were promised: 300 for the next one; 800: 960."""
    assert mib(learned([life(200.0, promised_mib=150)], prior="libvirt-2013")) >= 300
    assert after_miss(life(200.0)) == 300 * MIB
    assert after_miss(life(800.0)) == 960 * MIB
    calm = many([80.0] * 40, None)
    found = learned([*calm, life(200.0, "x", promised_mib=80)], named("new"))
    assert mib(found) == 300
    assert found.miss is not None
    assert found.miss.guest == "x"
    assert any("x peaked at 200.0 MiB where 80.0 MiB were promised" in line for line in found.why())


def test_misses_in_a_row_do_not_multiply() -> None:
    """Five misses at 200 MiB, each above what the last correction gave, ask for no more than the largest peak does."""
    calm = many([80.0] * 100, None)
    row = [life(peak, "x", at_s=NOW_S - 50 + i, promised_mib=80) for i, peak in enumerate((180, 190, 200, 195, 185))]
    assert mib(learned([*calm, *row], named("new"))) == 300


def test_where_samples_are_enough_a_rare_miss_is_no_news_for_others() -> None:
    """Of a hundred guests one missed: it gets more itself, the others not. When four of the last twenty did, all do."""
    calm = many([80.0] * 100, None)
    miss = [life(200.0, f"x{i}", at_s=NOW_S - 30 + i, promised_mib=80) for i in range(4)]
    assert mib(learned([*calm, miss[0]], named("x0"))) == 300
    assert mib(learned([*calm, miss[0]], named("new"))) < 81
    assert mib(learned([*calm, *miss[:3]], named("new"))) < 201
    assert mib(learned([*calm, *miss], named("new"))) == 300


def test_a_miss_is_answered_until_enough_lives_stayed_within_it() -> None:
    """The tenth later life within the missed peak ends the surcharge; the guest's own peak it keeps."""
    calm = [life(80.0, f"c{i}", at_s=NOW_S - 5000 + i) for i in range(200)]
    miss = life(200.0, "x", at_s=NOW_S - 1000, promised_mib=80)
    later = [life(90.0, f"n{i}", at_s=NOW_S - 900 + i) for i in range(MISS_LIVES)]
    assert mib(learned([*calm, miss, *later[1:]], named("x"))) == 300
    assert mib(learned([*calm, miss, *later[1:], life(201.0, "y", at_s=NOW_S - 50)], named("x"))) == 300
    assert mib(learned([*calm, miss, *later], named("x"))) == 200


def test_what_an_operator_fixed_is_no_miss() -> None:
    """A guest above its fixed overhead proves no estimate wrong; its peak counts as any other."""
    found = learned([*many([80.0] * 100, None), life(200.0, "x", promised_mib=80, fixed=True)], named("new"))
    assert found.miss is None
    assert mib(found) < 81


def test_a_new_qemu_borrows_with_wider_bounds_and_promises_nothing_of_it() -> None:
    """After an update the old version's peaks move the figure half the way at most, a quarter wider, unpromised."""
    lives = many([80.0] * 500, None)
    found = learned(lives, named("new"), qemu="9.0.0")
    assert 100 < mib(found) < PRIOR_MIB
    assert [step.level for step in found.steps] == [Level.KIN_KIND, Level.KIN_SHAPE]
    kind, shape = found.steps
    assert kind.bytes == pytest.approx(PRIOR_MIB * 80 / 400 * 1.25 * MIB, abs=1)
    assert shape.bytes == kind.bytes, "both by the prior: nothing in bytes is borrowed"
    assert shape.moved_to_bytes == pytest.approx((kind.moved_to_bytes + shape.bytes) / 2, abs=1)
    assert kind.counted == pytest.approx(1), "five hundred guests, but one shape of that kind"
    assert found.promise.coverage is None
    assert mib(learned(lives, named("new"))) == pytest.approx(80, abs=0.01)
    known = learned([*lives, *many([90.0] * 59, None, qemu="9.0.0")], named("new"), qemu="9.0.0")
    assert mib(known) == pytest.approx(90, abs=0.01)
    assert known.promise.is_kept


def test_another_accelerator_is_another_group() -> None:
    """What TCG came to promises nothing of KVM."""
    found = learned(many([80.0] * 100, None), replace(GUEST, name="new", accelerator="kvm"))
    assert found.promise.coverage is None
    assert all(step.level.is_kin for step in found.steps)


def test_guests_of_other_sizes_teach_by_proportion() -> None:
    """A shape never seen is corrected as the prior was wrong for all others on this QEMU."""
    bigger = replace(GUEST, name="big", ram_bytes=4096 * MIB, max_vcpus=8, tpm=True)
    prior = estimate(bigger, "eve").overhead_bytes
    others = [life(100.0, guest=replace(GUEST, ram_bytes=(200 + i) * MIB), started_s=i) for i in range(100)]
    found = learned(others, bigger)
    assert found.promise.level == Level.HOST
    assert found.estimate.overhead_bytes == pytest.approx(prior / 4, rel=0.01)


def test_old_samples_count_less_and_support_less() -> None:
    """Sixty samples of today promise 19 of 20; the same sixty seen 44 days later count half and do not."""
    history = History(many([80.0] * 60, None))
    assert learned(history, named("new")).promise.is_kept
    later = learn(named("new"), history, NOW_S + FULL_S + HALF_S, qemu="7.2.22", prior="eve")
    assert not later.promise.is_kept
    assert later.promise.counted == pytest.approx(30, abs=0.1)
    forgotten = learn(named("new"), history, NOW_S + FORGET_S + DAY_S, qemu="7.2.22", prior="eve")
    assert forgotten.estimate.overhead_bytes == PRIOR.overhead_bytes


def test_parts_sum_exactly_and_say_what_was_learned() -> None:
    """Above the prior a part of its own, below it the prior's parts to scale; whole pages, to the byte."""
    for peaks in ([80.0] * 100, [900.0] * 100, [80.0]):
        one = learned(many(peaks, None), named("new")).estimate
        assert sum(part.bytes for part in one.parts) == one.overhead_bytes
        assert all(part.bytes > 0 for part in one.parts)
        assert one.overhead_bytes % PAGE_BYTES == 0
    assert "learned" in {part.name for part in learned(many([900.0] * 100, None), named("new")).estimate.parts}


def test_it_says_what_it_follows_from() -> None:
    """Every likeness that moved the figure is named with its samples, from the rough to the fine."""
    found = learned([*many([80.0] * 30, None), *many([95.0, 96.0])])
    lines = found.why()
    assert lines[0].startswith("eve without any sample")
    assert any(line.startswith("this very guest: 2 samples say 96.0 MiB") for line in lines)
    assert [step.level for step in found.steps] == [Level.HOST, Level.KIND, Level.SHAPE, Level.GUEST]


def test_what_was_promised_is_written_down_whole() -> None:
    """The figure, its prior, its likeness and its share: all that judging it later takes."""
    found = learned(many([80.0] * 60, None), named("new"))
    kept = found.promised("qemu-system-x86_64")
    assert kept.overhead_bytes == found.estimate.overhead_bytes
    assert (kept.policy, kept.prior, kept.prior_bytes) == ("learned", "eve", PRIOR.overhead_bytes)
    assert (kept.wanted_coverage, kept.coverage, kept.samples) == (0.95, 0.95, 60)
    assert (kept.likeness.qemu, kept.binary, kept.level) == ("7.2.22", "qemu-system-x86_64", "guests of this shape")


# --- from a prior that promises ----------------------------------------------------------------------------

MEASURED = estimate(GUEST, "measured")


def test_a_promise_of_the_study_is_not_given_up_for_a_guess() -> None:
    """58 guests below it lower nothing, and it still promises what the study supports; the 59th does, by this host."""
    assert MEASURED.promise is not None
    low = MEASURED.overhead_bytes / MIB - 10
    for n in (0, 1, 22, 58):
        found = learned(many([low] * n, None), named("new"), prior="measured")
        assert found.estimate.overhead_bytes == MEASURED.overhead_bytes
        assert found.promise == MEASURED.promise
    found = learned(many([low] * 59, None), named("new"), prior="measured")
    assert mib(found) == pytest.approx(low, abs=0.01)
    assert (found.promise.is_kept, found.promise.level) == (True, Level.SHAPE)


def test_what_is_seen_here_above_the_study_raises_it_and_ends_its_promise() -> None:
    """A few guests of this shape above it are enough for the figure; for a promise this host speaks for itself."""
    high = MEASURED.overhead_bytes / MIB + 30
    name, unit_bytes = reference(GUEST)
    shape = [life(high, f"g{i}", prior=name, prior_mib=unit_bytes / MIB, started_s=i) for i in range(15)]
    found = learned(shape, named("new"), prior="measured")
    assert mib(found) >= high
    assert found.promise == MEASURED.promise, "all are within the raised figure"
    other = life(9 * high, "x", guest=replace(GUEST, tpm=True), prior=name, prior_mib=unit_bytes / MIB)
    above = learned([*shape, other], named("new"), prior="measured")
    assert mib(above) < 9 * high
    assert above.promise.level == Level.SHAPE, "one of another kind is above it: the study does not hold here"


def test_a_higher_share_never_gets_less() -> None:
    """Whatever was seen, and from either prior: 999 of 1000 get at least what 19 of 20 get."""
    for prior in ("eve", "measured"):
        for peaks in ([], [50.0] * 30, [50.0] * 100, [90.0 + i % 40 for i in range(400)]):
            lives = many(peaks, None)
            figures = [mib(learned(lives, named("new"), prior=prior, coverage=c)) for c in (0.95, 0.99, 0.999)]
            assert figures == sorted(figures), (prior, len(peaks))


def test_peaks_are_held_against_the_usual_share_of_one_study() -> None:
    """Whatever share was asked for, the ratio is to one figure; a later study is another measure."""
    for coverage in (0.95, 0.999):
        kept = learned([], prior="measured", coverage=coverage).promised()
        assert kept.prior_bytes == MEASURED.overhead_bytes
        assert kept.prior.startswith("measured, study of 20")
