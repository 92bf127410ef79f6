"""What a fit learns from: configurations, not repetitions."""

from dataclasses import replace

import pytest
from tests.unit.lab.fitted_runs import run, true_bytes

from guestroom.errors import InputError
from guestroom.lab.study.cases import cases, load_of
from guestroom.lab.study.matrix import DEFAULTS
from guestroom.units import GIB, KIB, MIB


def test_repetitions_are_one_case_with_the_largest_peak() -> None:
    """Three runs of a configuration are one case; accounting apart or together makes no difference."""
    apart = replace(run("base", repetition=2, off_bytes=9), run_id="base/split/1", accounting="split")
    (case,) = cases([run("base", off_bytes=5), apart, run("base", repetition=3, off_bytes=1)])
    assert (case.config, case.runs) == ("base", 3)
    assert case.peak_bytes == true_bytes(dict(run("base").factors)) + 9


def test_the_guest_is_read_from_the_command_line_and_completed_from_the_factors() -> None:
    """Devices come from the argv; cluster and virtual size, which no argv says, from the factors."""
    (case,) = cases([run("x", disks=2, cluster_kib=512, virtual_gib=64)])
    assert [disk.cluster_bytes for disk in case.guest.disks] == [512 * KIB] * 2
    assert case.guest.disks[0].virtual_bytes == 64 * GIB
    assert case.ram_bytes == 512 * MIB


def test_a_run_in_another_environment_is_left_out() -> None:
    """What only the process environment changes is not in any description, so it is not learnt."""
    assert [case.config for case in cases([run("base"), run("arenas", env_arena_max=1)])] == ["base"]


def test_runs_without_figures_are_left_out() -> None:
    """A failed run teaches nothing; a study of nothing else is refused."""
    failed = replace(run("bad"), error="QEMU ended with 1", figures={})
    assert [case.config for case in cases([run("base"), failed])] == ["base"]
    with pytest.raises(InputError, match="no run with figures"):
        cases([failed])


def test_loads_are_what_the_guest_did() -> None:
    """Requests in flight are jobs x depth; an idle guest has none; a load nobody taught the model is refused."""
    given = {**DEFAULTS, "load": "randwrite", "jobs": 4, "depth": 64}
    assert load_of(given).requests == 256
    assert load_of({**given, "load": "idle"}).requests == 0
    assert load_of({**given, "load": "mirror"}).job == "mirror"
    with pytest.raises(InputError, match="'bitcoin'"):
        load_of({**given, "load": "bitcoin"})
