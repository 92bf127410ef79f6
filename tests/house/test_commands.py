"""What README promises to type is what is there, and CI types the same."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import tree

README = (tree.ROOT / "README.md").read_text()
MAKEFILE = (tree.ROOT / "Makefile").read_text()
CONTRIBUTING = (tree.ROOT / "CONTRIBUTING.md").read_text()


def recipe(target: str) -> tuple[list[str], str]:
    """What a Makefile target depends on, and its commands."""
    found = re.search(rf"^{target}:([^#\n]*)(?:#[^\n]*)?\n((?:\t[^\n]*\n)*)", MAKEFILE, re.MULTILINE)
    assert found, f"no target {target}"
    return found[1].split(), found[2]


@pytest.mark.parametrize("command", ["make test", "make run"])
def test_readme_names_the_two_commands(command: str) -> None:
    """README shows the command for the tests and the one for the story."""
    assert re.search(rf"\b{command}\b", README)


def test_ci_runs_the_readme_command() -> None:
    """CI runs exactly the test command of README, with nobody to answer questions."""
    script = tree.ROOT / ".ci" / "run"
    commands = [line for line in script.read_text().splitlines() if line and not line.startswith("#")]
    assert commands[0] == "set -euo pipefail"
    assert commands[-1] == "exec make test </dev/null"
    assert os.access(script, os.X_OK)


@pytest.mark.parametrize("target", ["run", "test", "test-unit", "lint", "format", "bench", "lock"])
def test_every_command_sets_up_first(target: str) -> None:
    """Any target may be the first command typed in a fresh clone."""
    assert recipe(target)[0] == ["setup"]


def test_every_make_command_written_down_exists() -> None:
    """README and CONTRIBUTING name no target that the Makefile does not have."""
    written = set(re.findall(r"`make ([a-z-]+)", README + CONTRIBUTING)) | set(
        re.findall(r"^\s*(?:\$ )?make ([a-z-]+)", README + CONTRIBUTING, re.MULTILINE)
    )
    assert written
    for target in written:
        recipe(target)


def test_help_lists_every_target() -> None:
    """Plain ``make`` changes nothing and explains every target."""
    shown = subprocess.run(["make", "--no-print-directory"], cwd=tree.ROOT, capture_output=True, text=True, check=True)
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony
    assert re.findall(r"make ([a-z-]+) ", shown.stdout) == phony[1].split()


def test_once_is_passed_on() -> None:
    """``make run ONCE=1`` runs the story once, plain ``make run`` keeps it up."""

    def story(*variables: str) -> list[str]:
        argv = ["make", "--no-print-directory", "-n", "run", *variables]
        done = subprocess.run(argv, cwd=tree.ROOT, capture_output=True, text=True, check=True)
        return next(line.split() for line in done.stdout.splitlines() if "guestroom.lab.story" in line)

    assert story("ONCE=1")[-1] == "--once"
    assert story()[-1] == "guestroom.lab.story"


def test_every_locked_version_is_hashed_and_addressless() -> None:
    """The lock file pins versions with hashes, names no index, and covers every declared dependency."""
    lock = (tree.ROOT / "requirements" / "dev.txt").read_text()
    entries = re.findall(r"^([A-Za-z0-9._-]+)==\S+(.*(?:\n    .*)*)", lock, re.MULTILINE)
    assert all("--hash=sha256:" in rest for _, rest in entries)
    assert not re.search(r"https?://|--index|--extra-index|--find-links", lock)
    project = tomllib.loads((tree.ROOT / "pyproject.toml").read_text())["project"]
    declared = project["dependencies"] + project["optional-dependencies"]["dev"]
    names = {re.split(r"[<>=!~\[ ;]", text)[0].lower().replace(".", "-") for text in declared}
    assert names <= {name.lower().replace(".", "-") for name, _ in entries}


def test_the_installed_command_answers() -> None:
    """The environment's command is the one of this tree."""
    command = Path(sys.executable).with_name("guestroom")
    done = subprocess.run([command, "--version"], capture_output=True, text=True)
    assert done.returncode == 0
    assert tomllib.loads((tree.ROOT / "pyproject.toml").read_text())["project"]["version"] in done.stdout
