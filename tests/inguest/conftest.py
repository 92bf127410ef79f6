"""Tests that need a kernel with cgroup v2: collected only inside the guest that ``tools/inguest.py`` boots.

``make test`` boots it, so outside they are left out, not skipped: nothing here could run there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

INSIDE = os.environ.get("GUESTROOM_INGUEST") == "1"
UNDER_SYSTEMD = os.environ.get("GUESTROOM_INGUEST") == "systemd"
collect_ignore_glob = [*([] if INSIDE else ["test_*.py"]), *([] if UNDER_SYSTEMD else ["systemd/test_*.py"])]

if INSIDE:
    from tests.inguest.v2_cgroups import Lab, made_lab

    @pytest.fixture
    def lab() -> Iterator[Lab]:
        """A host wall of 1 GiB with nothing in it."""
        with made_lab() as made:
            made.wall(1 << 30)
            yield made


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies in this folder, so that a run which tested nothing is noticed."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker("inguest")
