"""The seed's story on v2, as ``make run`` plays it, from a cgroup that holds a shell as a login's does."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path("/sys/fs/cgroup")
SESSION = ROOT / "session"
PATIENCE = "4"
"""An emulated machine in an emulated machine."""


@pytest.fixture
def session() -> Iterator[Path]:
    """A cgroup under the root whose processes are in the way of any child with a limit."""
    (ROOT / "cgroup.subtree_control").write_text("+memory")
    SESSION.mkdir()
    yield SESSION
    SESSION.rmdir()


@pytest.mark.timeout(560)
def test_the_story_ends_with_both_alive(session: Path) -> None:
    """`make run ONCE=1`'s command plays every chapter on v2, with the naive write killing in the control run."""
    words = [sys.executable, "-u", "-m", "guestroom.lab.story", "--once", "--firmware", "--patience", PATIENCE]
    line = f'echo $$ > {session}/cgroup.procs && "$@"; exit $?'
    began_s = time.monotonic()
    with subprocess.Popen(
        ["sh", "-c", line, "sh", *words],
        env=os.environ | {"TMPDIR": "/root"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for text in process.stdout:
            print(f"{time.monotonic() - began_s:6.1f} {text}", end="", file=sys.__stderr__, flush=True)
    assert process.returncode == 0
