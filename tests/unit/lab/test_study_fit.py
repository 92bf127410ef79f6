"""The fit: known costs are found, and margins come from guests a fit has not seen."""

import importlib
from dataclasses import replace

import pytest
from tests.unit.lab.fitted_runs import HOST, KERNEL, chance_bytes, run, study

from guestroom.errors import InputError
from guestroom.lab.study import fit as module
from guestroom.lab.study.cases import cases
from guestroom.lab.study.fit import FOLDS, fit, fit_cases, folds, solve
from guestroom.size.measured_cost import predict
from guestroom.units import MIB


def test_known_costs_are_found() -> None:
    """From guests whose every cost is known, the fit finds each within five hundredths, and never a negative one."""
    terms = fit(study()).terms
    wanted = {"vCPUs": 2 * MIB, "network": 3 * MIB, "page tables, anonymous RAM": 1 / 512}
    for name, bytes_each in wanted.items():
        assert terms[name].bytes_per_unit[0] == pytest.approx(bytes_each, rel=0.05), name
    assert terms["copy of the kernel image"].bytes_per_unit == (KERNEL,)
    assert terms["clusters in flight"].bytes_per_unit[0] == pytest.approx(1.5, rel=0.1)
    assert all(slope >= 0 for cost in terms.values() for slope in cost.bytes_per_unit)


def test_every_case_is_predicted_by_the_sum_of_its_parts() -> None:
    """On exact data the sum of the parts is the peak, within a MiB."""
    found = cases(study())
    model = solve(found)
    for case in found:
        assert predict(model, case.guest, case.ram_bytes, case.load).bytes == pytest.approx(case.peak_bytes, abs=MIB)


def test_one_wild_run_does_not_bend_the_costs() -> None:
    """A guest that took a gibibyte for no reason moves no cost: the loss is absolute, not squared."""
    wild = [*study(), run("wild", off_bytes=1024 * MIB, vcpus=9)]
    assert solve(cases(wild)).terms["vCPUs"].bytes_per_unit[0] == pytest.approx(2 * MIB, rel=0.05)


def test_a_model_says_where_it_comes_from() -> None:
    """Day, host, QEMU, accelerator and how many configurations and runs are in the model."""
    model = fit(study())
    assert (model.study, model.qemu, model.accelerator) == ("2026-11-25", "7.2.22", "tcg")
    assert (model.configurations, model.runs) == (50, 52)
    assert HOST["kernel"] in model.host


def test_folds_leave_each_configuration_out_once_with_all_its_repetitions() -> None:
    """No configuration is learnt from and asked about in the same fold, and each is asked about once."""
    found = cases(study())
    held = []
    for train, left_out in folds(found):
        assert not {case.config for case in train} & {case.config for case in left_out}
        assert len(train) + len(left_out) == len(found)
        held += [case.config for case in left_out]
    assert sorted(held) == [case.config for case in found]


def test_margins_grow_with_what_is_promised() -> None:
    """Of noisy guests the margin for 99.9 % is no less than that for 95 %, and both are above 0."""
    noisy = [replace(case, peak_bytes=case.peak_bytes + chance_bytes(case.config)) for case in cases(study())]
    for group in fit_cases(noisy).groups.values():
        sizes = [margin.size for margin in group.margins]
        assert sizes == sorted(sizes)
    assert fit_cases(noisy).groups["plain"].margins[0].size > 0


def test_a_host_that_works_on_guests_does_not_widen_the_others_margin() -> None:
    """Guests that are copied or moved meanwhile miss by more: they are a group of their own."""
    jobs = ("mirror", "backup", "migrate", "savevm")
    worked_on = [run(f"job-{job}", load=job, off_bytes=90 * MIB) for job in jobs]
    alone, both = (fit_cases(cases(runs)).groups for runs in (study(), [*study(), *worked_on]))
    assert both["worked on"].samples == len(jobs)
    assert both["worked on"].margins[0].size > 80 * MIB
    assert both["plain"].margins[0].size < alone["plain"].margins[0].size + MIB


def test_a_buffer_that_nobody_filled_tells_what_is_touched() -> None:
    """Where tb-size is larger than what was used of it, that use is what other guests with room are given."""
    found = cases(study())
    assert solve(found).touched_bytes == 64 * MIB, "all of them filled their 32 MiB: twice that"
    roomy = replace(found[0], guest=replace(found[0].guest, tb_bytes=None), code_bytes=48 * MIB)
    assert solve([*found, roomy]).touched_bytes == 48 * MIB


def test_too_few_configurations_are_refused() -> None:
    """A study of a handful of guests is no base for a promise, and is told so with the number needed."""
    with pytest.raises(InputError, match="too few") as caught:
        fit_cases(cases(study())[: 2 * FOLDS - 1])
    assert caught.value.numbers == {"configurations": 2 * FOLDS - 1, "needed": 2 * FOLDS}


def test_without_scipy_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who fits without the extra gets one line with the command, not a traceback."""

    def missing(name: str) -> object:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(InputError, match="numpy is not installed") as caught:
        module.solve(cases(study()))
    assert "guestroom[fit]" in str(caught.value.hint)
