"""The guard against test groups that silently run nothing, tried on small suites of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"


def run_suite(folder: Path, body: str, *options: str) -> subprocess.CompletedProcess[str]:
    """A suite of one module with this project's conftest."""
    (folder / "conftest.py").write_text(CONFTEST.read_text())
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n    real: a marker\n")
    (folder / "test_it.py").write_text(f"import pytest\n{body}\n")
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "xdist", *options, str(folder)]
    # Only the plug-in that matters: loading all of them takes longer than everything else here.
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


RAN = "@pytest.mark.real\ndef test_it():\n    pass"
SKIPPED = "@pytest.mark.real\ndef test_it():\n    pytest.skip('no cgroup')"
UNMARKED = "def test_it():\n    pass"


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_group_that_ran_passes(tmp_path: Path, workers: str) -> None:
    """A marked test that ran satisfies the guard, in one process and in two."""
    assert run_suite(tmp_path, RAN, "--must-run", "real", "-n", workers).returncode == 0


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize("body", [SKIPPED, UNMARKED])
def test_a_group_that_ran_nothing_fails(tmp_path: Path, body: str, workers: str) -> None:
    """A suite whose marked tests were all skipped, or are not there, fails and says which group it was."""
    done = run_suite(tmp_path, body, "--must-run", "real", "-n", workers)
    assert done.returncode == 1
    assert "no test marked 'real' ran" in done.stdout


def test_an_empty_run_fails_when_any_test_was_asked_for(tmp_path: Path) -> None:
    """Deselecting everything is not a success."""
    assert run_suite(tmp_path, RAN, "--must-run-any", "-m", "not real").returncode == 1


def test_without_the_option_a_skipped_suite_stays_green(tmp_path: Path) -> None:
    """The guard acts only where it is asked to: a developer may run a group that skips."""
    assert run_suite(tmp_path, SKIPPED).returncode == 0
