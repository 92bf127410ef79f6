"""Planted costs come back, each told in the right words: a slope, a saving, nothing, or not known."""

from __future__ import annotations

import pytest
from tests.unit.lab.study_runs import run

from guestroom.lab.study.costs import costs, in_flight, negligible, tables, undecided
from guestroom.lab.study.dataset import Run
from guestroom.lab.study.knobs import foremost, gains, listed
from guestroom.lab.study.samples import Samples
from guestroom.lab.study.undefined import EVE_MIB, shares


def a_base() -> list[Run]:
    """Five repetitions, 0.1 MiB apart at most."""
    return [run("base", 20 + 0.05 * (step - 3), step, iops=1000 + step) for step in range(1, 6)]


def test_a_unit_s_cost_is_its_slope() -> None:
    """Disks that cost 2 MiB each are found to, with an interval that is no wider than the repetitions are."""
    found = {one.unit: one for one in costs(Samples([*a_base(), run("two", 22, disks=2), run("four", 26, disks=4)]))}
    assert found["disk"].found.value == pytest.approx(2, abs=0.05)
    assert found["disk"].found.half_width == pytest.approx(0.05, abs=0.05)
    assert "vCPU" not in found


def test_ram_is_told_by_its_backing() -> None:
    """Anonymous RAM and memfd RAM have a slope each, in MiB for a GiB."""
    runs = [*a_base(), run("more", 23, ram_mib=1024)]
    runs += [run("m1", 21, ram_mib=256, memory="memfd"), run("m2", 24, ram_mib=1024, memory="memfd")]
    found = {one.unit: one.found.value for one in costs(Samples(runs))}
    assert found["GiB of RAM (anon)"] == pytest.approx(4, abs=0.01)
    assert found["GiB of RAM (memfd)"] == pytest.approx(4)


def test_qcow2_costs_its_tables_and_not_its_size() -> None:
    """Images of 16 GiB to 1 TiB whose tables cost 1 MiB a MiB give that slope, told apart from 0, as the cache is "
    "full."""
    runs = [
        run(f"v{gib}", 70 + min(gib / 8, 32), idle_mib=69, virtual_gib=gib, allocated=True, load="randread")
        for gib in (16, 64, 256, 1024)
    ]
    found = tables(Samples([*a_base(), *runs, run("v1b", 71, idle_mib=70, virtual_gib=8, allocated=True)]))
    assert found is not None
    assert found.slope.value == pytest.approx(1)
    assert found.slope.may_be_zero is False
    assert tables(Samples(a_base())) is None


def test_requests_in_flight_have_a_slope_for_each_image() -> None:
    """The same depths on two kinds of image are two slopes, each named by what the image is."""
    runs = [run(f"plain-{depth}", 20 + depth / 100, depth=depth) for depth in (1, 64)]
    runs += [run(f"cow-{depth}", 20 + depth, depth=depth, backing=True, cluster_kib=1024) for depth in (1, 64)]
    found = {one.unit: one.found.value for one in in_flight(Samples([*a_base(), *runs]))}
    assert found["qcow2, 64 KiB clusters, randwrite"] == pytest.approx(0.01, abs=0.005)
    assert found["qcow2, 1024 KiB clusters, randwrite, backing file"] == pytest.approx(1)


def test_what_does_not_matter_is_shown_not_assumed() -> None:
    """A factor within the bound is negligible where repetitions show it, and undecided where they are too few."""
    same = run("uring", 20.1, aio="io_uring")
    large = run("usb", 24, usb=True)
    told = Samples([*a_base(), same, large])
    assert [one.names for one in negligible(told)] == [("aio",)]
    assert undecided(told) == ()
    one_large = Samples([*a_base(), same, run("native", 24, aio="native")])
    assert negligible(one_large) == ()
    unsure = Samples([run("base", 19, 1), run("base", 21, 2), same, run("usb", 90, usb=True)])
    assert negligible(unsure) == ()
    assert [one.names for one in undecided(unsure)] == [("aio",)]


def test_knobs_are_ranked_by_what_they_save() -> None:
    """A knob counts where it saves most; one that saves nothing told apart from chance is not among the foremost."""
    runs = [
        *a_base(),
        run("trim", 19.95, some_trim=1),
        run("arena", 15, env_arena_max=1, iops=2000),
        run("big", 60, cluster_kib=1024),
        run("big-arena", 50, cluster_kib=1024, env_arena_max=1),
    ]
    found = gains(Samples(runs))
    assert [(one.before, one.after) for one in foremost(found, 5)] == [("big", "base"), ("big", "big-arena")]
    arena = next(one for one in found if one.after == "big-arena" and one.before == "big")
    assert arena.saved_mib.value == pytest.approx(10)
    assert any(one.after == "trim" for one in listed(found))


def test_a_set_of_knobs_counts_where_it_saves_more_than_its_members() -> None:
    """Two knobs that were only measured together are told together; two that merely add up are not."""
    both = run("ab", 14, env_arena_max=1, tb_mib=8)
    assert foremost(gains(Samples([*a_base(), both])), 1)[0].knobs == {"env_arena_max", "tb_mib"}
    runs = [*a_base(), run("a", 19, env_arena_max=1), run("b", 15, tb_mib=8), both]
    assert {one.knobs for one in foremost(gains(Samples(runs)), 5)} == {
        frozenset({"env_arena_max"}),
        frozenset({"tb_mib"}),
    }


def test_eve_s_undefined_is_added_up_until_it_is_reached() -> None:
    """What other terms of EVE's stand for is left out, and further images are added only while the sum falls short."""
    base = run("base", 60, parts={"heap": 10, "TCG code buffer": 32, "page tables": 2})
    cow = run("cow", 160, idle_mib=60, backing=True)
    image = run("image", 100, idle_mib=60, allocated=True)
    found = shares(Samples([base, cow, image]))
    assert found[0].size_mib == pytest.approx(10)
    assert (found[1].config, found[1].size_mib) == ("cow", pytest.approx(100))
    assert (found[2].config, found[2].size_mib) == ("image", pytest.approx(40))
    total = sum(one.size_mib for one in found)
    assert EVE_MIB <= total < EVE_MIB + 40
    assert shares(Samples([cow])) == ()
    spread = [run("base", 60 + step / 10, step, parts={"heap": 10}) for step in (1, 2, 3)]
    others = [run("usb", 64, usb=True), run("aio", 61, aio="native"), run("lift", 66, ram_mib=512)]
    assert [one.what for one in shares(Samples([*spread, *others]))][1:] == ["usb"]
