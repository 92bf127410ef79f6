"""The seed's story on v2, as ``make run`` plays it, from a cgroup that holds a shell as a login's does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path("/sys/fs/cgroup")
PATIENCE = "6"
"""An emulated machine in an emulated machine."""
CHAPTERS = [
    "A alone has what it may have at most: 600.0 MiB",
    "A's overhead in total: ",
    "guestroom's answer to 656.0 MiB for A: EBUSY; A keeps 856.0 MiB",
    # 500 and what was missed between two samples, far apart where time is slow; B gets all the rest, it checks.
    "squeeze: A keeps 5",
    "refuse: exit code 3, B never ran",
    "recreate: A 400.0 MiB, B 400.0 MiB",
    "A's limit: shown and the kernel's: 656.0 MiB and 656.0 MiB",
    "killed by the OOM killer: 0",
    "without guestroom the guest is lost: the write was taken; ended with -9, the kernel counts 1 kill",
]


@pytest.fixture
def session() -> Iterator[Path]:
    """A cgroup under the root whose processes are in the way of any child with a limit."""
    (ROOT / "cgroup.subtree_control").write_text("+memory")
    path = ROOT / "session"
    path.mkdir()
    yield path
    path.rmdir()


@pytest.mark.timeout(400)
def test_the_story_ends_with_both_alive(session: Path) -> None:
    """`make run ONCE=1`'s command plays every chapter on v2, the naive write kills in the control run, nothing is left.

    The guests are real QEMUs that run their firmware: a Linux guest needs minutes to boot here.
    """
    words = [sys.executable, "-u", "-m", "guestroom.lab.story", "--once", "--firmware", "--patience", PATIENCE]
    # A disk, not /tmp: what lies in a tmpfs is charged to whoever wrote it.
    done = subprocess.run(
        ["sh", "-c", f'echo $$ > {session}/cgroup.procs && "$@"; exit $?', "sh", *words],
        env=os.environ | {"TMPDIR": "/root"},
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    summary = done.stdout[done.stdout.index("what was seen") :]
    print(f"\n{summary}")
    for chapter in CHAPTERS:
        assert any(chapter in line and "  ok " in line for line in summary.splitlines()), chapter
    assert "NOT" not in summary
    assert sum("alive:" in line for line in summary.splitlines()) == 7
    assert list(ROOT.glob("guestroom-*")) == []
    assert list(Path("/root").glob("guestroom-*")) == []
