"""The differential test needs writable v1 memory and freezer cgroups and a C compiler; without them it says so."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from .realhost import make_page_files, own_cgroup

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def helper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The helper, compiled once, its pages already in the cache of this process's own cgroup."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if own_cgroup("memory") is None or own_cgroup("freezer") is None:
        pytest.skip("no writable cgroup v1 memory and freezer hierarchies here")
    if compiler is None:
        pytest.skip("no C compiler for the helper: apt-get install gcc libc6-dev")
    binary = tmp_path_factory.mktemp("helper") / "helper"
    subprocess.run([compiler, "-O1", "-static", "-Wall", "-o", binary, HERE / "helper.c"], check=True)
    binary.read_bytes()
    return binary


@pytest.fixture(scope="session")
def page_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files on a real disk whose pages are in nobody's cache."""
    return make_page_files(tmp_path_factory.mktemp("pages"), 24)
