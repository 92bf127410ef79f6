"""Writes a fitted model down: as the package's own module (``size/measured_model.py``), or as JSON for anybody else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path

from guestroom.size.measured_cost import Model

_HEAD = '''"""The model of the ``measured`` policy: data, written by ``make fit`` from docs/study/runs.jsonl.gz.

Not to be edited. What one unit of each term costs (``measured_terms``), and margins by coverage (``measured_cost``).
"""

from __future__ import annotations

from guestroom.size.measured_cost import Cost, Group, Margin, Model

MODEL = '''


def write_model(path: Path, model: Model) -> None:
    """A Python module where the name ends in ``.py``, JSON otherwise."""
    path.write_text(module(model) if path.suffix == ".py" else json.dumps(asdict(model), indent=1) + "\n")


def module(model: Model) -> str:
    """The module's text, in the house's format."""
    return f"{_HEAD}{_shown(model, 0)}\n"


def _shown(value: object, depth: int) -> str:
    """An expression that gives the value: one field or entry a line."""
    pad, end = "    " * (depth + 1), "    " * depth
    if is_dataclass(value):
        lines = [f"{pad}{one.name}={_shown(getattr(value, one.name), depth + 1)},\n" for one in fields(value)]
        return f"{type(value).__name__}(\n{''.join(lines)}{end})"
    if isinstance(value, Mapping):
        lines = [f"{pad}{_shown(key, 0)}: {_shown(each, depth + 1)},\n" for key, each in value.items()]
        return f"{{\n{''.join(lines)}{end}}}"
    if isinstance(value, tuple) and any(is_dataclass(each) for each in value):
        return f"(\n{''.join(f'{pad}{_shown(each, depth + 1)},{chr(10)}' for each in value)}{end})"
    if isinstance(value, tuple):
        return f"({', '.join(map(repr, value))}{',' if len(value) == 1 else ''})"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
