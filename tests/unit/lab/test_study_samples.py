"""Each configuration is compared with the one that tells most of it, and its spread is that of its kind."""

from __future__ import annotations

import pytest
from tests.unit.lab.study_runs import run

from guestroom.lab.study.samples import Samples


def test_a_configuration_is_compared_with_its_next_of_kin() -> None:
    """What differs from the base in many factors is held against the one that has all but one of them."""
    samples = Samples(
        [
            run("base", 20),
            run("overlay", 90, backing=True, cluster_kib=1024, depth=256),
            run("overlay-queue", 40, backing=True, cluster_kib=1024, depth=256, queue_size=16),
        ]
    )
    found = {one.config: one for one in samples.contrasts}
    assert found["overlay-queue"].against == "overlay"
    assert found["overlay-queue"].changed == (("queue_size", 0, 16),)
    assert found["overlay-queue"].overhead_mib.value == pytest.approx(-50)
    assert found["overlay"].against == "base"


def test_a_heavy_guest_s_spread_is_not_that_of_calm_ones() -> None:
    """Those that copy clusters spread by a share of what they grow by, and leave the calm ones' spread alone."""
    calm = [run("base", 20 + step / 10, step, vcpus=1) for step in (1, 2, 3)]
    heavy = [run("copy", 90 + 20 * step, step, idle_mib=20, backing=True) for step in (1, 2, 3)]
    samples = Samples([*calm, *heavy, run("other", 100, idle_mib=20, backing=True, depth=4)])
    assert samples.spread("base") is not None
    assert samples.spread("base").deviation == pytest.approx(0.1)  # type: ignore[union-attr]
    assert samples.spread("copy").deviation == pytest.approx(20)  # type: ignore[union-attr]
    assert samples.spread("other").deviation == pytest.approx(20 * 80 / 110)  # type: ignore[union-attr]


def test_other_accounting_and_second_looks_stand_apart() -> None:
    """Split runs and those measured again alone are no repetitions of the study's own."""
    samples = Samples(
        [run("base", 20), run("base", 30, accounting="split"), run("base", 40, "alone1"), run("x", 1, error="no boot")]
    )
    assert samples.peaks("base") == [20]
    assert "x" not in samples


def test_a_factor_of_later_studies_has_its_default_in_earlier_runs() -> None:
    """Runs that lack a factor are not different from those that have its default."""
    samples = Samples([run("base", 20), run("new", 25, depth=16, some_new_factor=3)])
    assert samples.changed("new", "base") == (("some_new_factor", None, 3),)
    assert samples.contrasts[0].against == "base"
