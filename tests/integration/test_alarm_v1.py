"""The alarm process on the real v1 kernel: holds in time, lets go, bothers nobody else, and fails open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.alarm_cases import *  # noqa: F403  (the cases are what this module consists of)
from tests.integration.alarm_cases import furnish
from tests.integration.v1_cgroups import Lab, made_lab

pytestmark = pytest.mark.kernel


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Two guests, a and b, under a wall of both grants and one headroom."""
    with made_lab() as made:
        furnish(made)
        yield made


@pytest.fixture
def cache_file(tmp_path: Path) -> Path:
    """A file to fill the page cache with."""
    return tmp_path / "file"
