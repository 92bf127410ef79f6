"""A model written down."""

import json
from dataclasses import asdict
from pathlib import Path

from tests.unit.lab.fitted_runs import study

from guestroom.lab.study.fit import fit
from guestroom.lab.study.model_file import module, write_model
from guestroom.size.measured_cost import Model


def test_the_module_gives_the_model_back() -> None:
    """The text of the module, run, holds an equal model."""
    model = fit(study())
    found: dict[str, object] = {}
    exec(compile(module(model), "model", "exec"), found)
    assert found["MODEL"] == model
    assert isinstance(found["MODEL"], Model)


def test_json_has_every_field(tmp_path: Path) -> None:
    """A name that does not end in .py gives JSON with all of the model."""
    model = fit(study())
    write_model(tmp_path / "model.json", model)
    assert json.loads((tmp_path / "model.json").read_text()) == json.loads(json.dumps(asdict(model)))
    write_model(tmp_path / "model.py", model)
    assert (tmp_path / "model.py").read_text() == module(model)
