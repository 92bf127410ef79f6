"""Held-out evaluation: what is asked about was not learnt from."""

from dataclasses import replace

import pytest
from tests.unit.lab.fitted_runs import chance_bytes, run, study

from guestroom.lab.study import evaluate as module
from guestroom.lab.study.cases import cases
from guestroom.lab.study.evaluate import KNOWN, PEERS, Answer, Score, evaluate
from guestroom.lab.study.fit import fit_cases
from guestroom.units import MIB


def test_each_sizing_answers_for_each_configuration_once() -> None:
    """Ours and the peers' answer for the same guests, each configuration once."""
    found = cases(study())
    scores = {score.name: score for score in evaluate(found, 0.95)}
    for name in (KNOWN, *PEERS):
        assert [one.config for one in scores[name].answers] == [case.config for case in found]
    assert scores["fixed"].promised is None
    assert scores[KNOWN].promised == 0.95
    assert {one.said_bytes for one in scores["fixed"].answers} == {600 * MIB}


def test_guests_like_the_model_are_covered_tightly() -> None:
    """Where costs are what the model says and chance adds up to 5 MiB, unseen guests are covered by little more."""
    noisy = [replace(case, peak_bytes=case.peak_bytes + chance_bytes(case.config)) for case in cases(study())]
    summary = evaluate(noisy, 0.95)[0].summary()
    assert summary["coverage"] >= 0.9
    assert summary["ratio_median"] < 1.1


def test_a_configuration_is_never_asked_of_a_model_that_saw_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest that is like no other is missed: a model that had seen it would have known."""
    asked = []

    def spy(train: object) -> object:
        asked.append({case.config for case in train})  # type: ignore[attr-defined]
        return fit_cases(train)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "fit_cases", spy)
    strange = run("strange", off_bytes=500 * MIB)
    score = evaluate(cases([*study(), strange]), 0.95)[0]
    assert "strange" in score.summary()["misses"]
    assert sum("strange" not in train for train in asked) == 1


def test_a_summary_counts_misses_and_what_is_short() -> None:
    """Coverage, ratios and the largest miss are of the answers, to the byte."""
    score = Score("x", 0.95, (Answer("a", 100, 100), Answer("b", 90, 100), Answer("c", 150, 100)))
    summary = score.summary()
    assert (summary["covered"], summary["configurations"], summary["misses"]) == (2, 3, ["b"])
    assert (summary["short_most_bytes"], summary["ratio_median"]) == (10, 1.0)
    assert summary["coverage_low"] < 2 / 3 < summary["coverage_high"]
