"""The import contracts hold, and each one catches a violation that is planted for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import tree

VIOLATIONS = {
    "vocabulary": ("units.py", "import guestroom.decide"),
    "pure": ("decide/__init__.py", "def _late():\n    import time"),
    "thinkers": ("size/__init__.py", "import guestroom.describe"),
    "thinkers-alone": ("attribute/__init__.py", "from guestroom.observe import cgroup1 as _cgroup1"),
    "hands": ("apply/__init__.py", "import guestroom.record"),
    "hands-do-not-decide": ("observe/__init__.py", "from guestroom import decide as _decide"),
    "attribute-is-for-observe": ("apply/__init__.py", "import guestroom.attribute"),
    "agent": ("agent/__init__.py", "import guestroom.observe.cgroup1"),
    "api": ("api/__init__.py", "import guestroom.decide"),
    "simulator": ("testing/__init__.py", "import guestroom.apply"),
    "no-fakes": ("lab/__init__.py", "import guestroom.testing"),
}


def contract_ids() -> list[str]:
    """The contracts in ``pyproject.toml``."""
    settings = tomllib.loads((tree.ROOT / "pyproject.toml").read_text())
    return [contract["id"] for contract in settings["tool"]["importlinter"]["contracts"]]


def lint(root: Path, *contracts: str) -> subprocess.CompletedProcess[str]:
    """import-linter over the package below ``root``, with the settings there."""
    chosen = [option for contract in contracts for option in ("--contract", contract)]
    argv = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache", *chosen]
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), "COLUMNS": "200"}
    return subprocess.run(argv, cwd=root, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package and its settings, to be spoiled."""
    shutil.copytree(tree.SRC, tmp_path / "src" / "guestroom", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(tree.ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    return tmp_path


def test_data_flows_one_way() -> None:
    """Every import contract holds in the tree as it is."""
    done = lint(tree.ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(VIOLATIONS)} kept, 0 broken" in done.stdout


def test_every_contract_has_its_violation() -> None:
    """No contract is believed that was not seen to catch something."""
    assert sorted(VIOLATIONS) == sorted(contract_ids())


@pytest.mark.parametrize("contract", sorted(VIOLATIONS))
def test_a_planted_violation_is_caught(copy: Path, contract: str) -> None:
    """One forbidden import, also inside a function, breaks the contract that forbids it."""
    name, line = VIOLATIONS[contract]
    spoiled = copy / "src" / "guestroom" / name
    spoiled.write_text(f"{spoiled.read_text()}\n{line}\n")
    done = lint(copy, contract)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "0 kept, 1 broken" in done.stdout


def test_every_package_is_under_a_contract() -> None:
    """A package that is added must be placed in the house: none stands outside all contracts as a source."""
    settings = tomllib.loads((tree.ROOT / "pyproject.toml").read_text())
    sources = {
        module
        for contract in settings["tool"]["importlinter"]["contracts"]
        for module in contract.get("source_modules", contract.get("modules", []))
    }
    packages = {f"guestroom.{path.parent.name}" for path in tree.SRC.glob("*/__init__.py")}
    modules = {f"guestroom.{path.stem}" for path in tree.SRC.glob("*.py") if path.stem not in ("__init__", "__main__")}
    # kernelfs is the Files port onto the real kernel: it may touch the outside, that is its purpose.
    assert (packages | modules) - sources == {"guestroom.kernelfs"}
