"""The rule gives planted coefficients back, and its record on configurations it has not seen is counted right."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from tests.unit.lab.study_runs import BASE, run

from guestroom.lab.study.disks import FILLED_MIB
from guestroom.lab.study.rule import (
    Judged,
    Point,
    distinct,
    fit,
    flying_mib,
    judge,
    points,
    requests,
    sureness,
    tables_mib,
    verdicts,
)
from guestroom.lab.study.samples import Samples

PLANTED = (60.0, 5.0, 0.9, 0.0, 0.01, 0.05, 1.0)


def planted(config: str, over_mib: float = 0.0, **factors: object) -> Point:
    """A configuration whose peak follows the planted rule, but for ``over_mib``."""
    whole = {**BASE, **factors}
    cluster_mib, flying = whole["cluster_kib"] / 1024, requests(whole)  # type: ignore[operator]
    copied = distinct(flying, FILLED_MIB / cluster_mib) * cluster_mib if whole["backing"] else 0.0
    values = (1.0, cluster_mib, copied, 0.0, flying, flying * bool(whole["backing"]), tables_mib(whole))
    peak = over_mib + sum(a * x for a, x in zip(PLANTED, values, strict=True))
    return Point(config, whole, peak, peak)


def a_study(over_mib: float = 0.0) -> list[Point]:
    """Configurations that tell all coefficients apart; one of them ``over_mib`` higher than the rule has it."""
    found = [planted(f"depth-{depth}", depth=depth) for depth in (1, 16, 64, 256)]
    found += [planted(f"virtual-{gib}", virtual_gib=gib) for gib in (16, 64, 256, 1024)]
    for kib in (64, 256, 1024):
        found.append(planted(f"cluster-{kib}", cluster_kib=kib))
        found += [
            planted(f"cow-{kib}-{depth}", cluster_kib=kib, backing=True, depth=depth) for depth in (1, 16, 64, 256)
        ]
    return [*found, planted("odd", over_mib, cluster_kib=512, backing=True, depth=64)]


def test_planted_coefficients_come_back() -> None:
    """Peaks that follow the rule give its coefficients back, without any margin."""
    found = fit(a_study())
    assert found is not None
    assert found.coefficients == pytest.approx(PLANTED, abs=0.02)
    assert found.spare_mib == pytest.approx(0, abs=0.01)
    assert found.copied_times == pytest.approx(1, abs=0.01)


def test_held_out_misses_are_counted() -> None:
    """A guest above what the others foretell is a miss: found when it is left out, covered when it is not."""
    study = a_study(over_mib=40)
    judged = {one.point.config: one for one in judge(study)}
    odd = judged["odd"]
    assert odd.point.peak_mib > odd.at_most_mib
    whole = fit(study)
    assert whole is not None
    assert all(point.peak_mib <= whole.at_most_mib(point.factors) + 1e-6 for point in study)


def test_coefficients_are_as_sure_as_the_study() -> None:
    """Peaks that scatter around the rule give intervals that hold the planted coefficients; exact ones give none."""
    exact = a_study()
    rule = fit(exact)
    assert rule is not None
    assert all((one.half_width or 0) < 0.05 for one in sureness(rule, judge(exact)))
    chance = random.Random(2)
    noisy = [replace(point, mean_mib=point.mean_mib * chance.gauss(1, 0.03)) for point in exact]
    rule = fit(noisy)
    assert rule is not None
    found = sureness(rule, judge(noisy))
    held = [abs(one.value - value) <= (one.half_width or 0) for one, value in zip(found, PLANTED, strict=True)]
    assert held[:3] == [True, True, True]
    assert (found[2].half_width or 0) > 0.05


def test_verdicts_against_a_wall() -> None:
    """False fits and false exceeds are told apart, and those called right are neither."""

    def one(config: str, peak: float, at_most: float) -> Judged:
        return Judged(Point(config, BASE, peak, peak), at_most, at_most, ())

    found = verdicts([one("miss", 210, 190), one("scare", 150, 220), one("yes", 250, 300), one("no", 90, 95)], 200)
    assert (found.really_above, found.false_fits, found.false_exceeds) == (2, ("miss",), ("scare",))


def test_too_few_configurations_give_no_rule() -> None:
    """With as many coefficients as configurations nothing can be said."""
    assert fit(a_study()[:5]) is None
    assert judge(a_study()[:5]) == ()


def test_what_is_in_flight() -> None:
    """The queue limits the depth, an image the distinct clusters, the cache the tables."""
    assert requests({**BASE, "jobs": 4, "depth": 128}) == 256
    assert requests({**BASE, "depth": 128, "queue_size": 16, "queues": 2}) == 32
    assert requests({**BASE, "load": "idle"}) == 0
    assert distinct(256, 1e9) == pytest.approx(256, rel=1e-3)
    assert distinct(256, 128) == pytest.approx(128 * (1 - (127 / 128) ** 256))
    assert distinct(1000, 4) == pytest.approx(4)
    copied = {**BASE, "backing": True, "cluster_kib": 2048, "depth": 256}
    assert flying_mib(copied) == pytest.approx(2 * distinct(256, FILLED_MIB / 2))
    assert flying_mib({**copied, "backing": False, "compressed": True}) == 512
    assert tables_mib({**BASE, "virtual_gib": 64}) == pytest.approx(8)
    assert tables_mib({**BASE, "virtual_gib": 1024}) == 32
    assert tables_mib({**BASE, "virtual_gib": 1024, "l2_cache_mib": 128}) == 128
    assert tables_mib({**BASE, "virtual_gib": 1024, "cluster_kib": 1024}) == pytest.approx(8)


def test_only_guests_of_the_base_s_shape_are_the_rule_s() -> None:
    """A guest with other devices, or another kind of load, is not fitted on."""
    samples = Samples(
        [run("base", 20), run("usb", 24, usb=True), run("deep", 30, depth=64), run("net", 40, load="network")]
    )
    assert [point.config for point in points(samples)] == ["base", "deep"]
