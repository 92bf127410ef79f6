"""Without root: the agent of an ordinary user in a cgroup that was delegated to them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

UID = 1000
GROWTH = "tests/inguest/test_agent_v2.py::test_growing_guest_takes_room_and_is_held_before_the_wall"


@pytest.fixture
def delegated() -> Iterator[Path]:
    """A cgroup that user 1000 may make children in, and move its own processes about in: nothing else is theirs."""
    root, mine = Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/mine")
    (root / "cgroup.subtree_control").write_text("+memory")
    (mine / "agent").mkdir(parents=True)
    for folder in (mine, mine / "agent"):
        os.chown(folder, UID, UID)
    for file in ("cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "agent/cgroup.procs"):
        os.chown(mine / file, UID, UID)
    yield mine
    (mine / "agent").rmdir()
    mine.rmdir()


def as_user(delegated: Path, *words: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
    """A command of user 1000 in the delegated cgroup."""
    code = (
        "import os,sys; open(sys.argv[1],'w').write(str(os.getpid())); os.setgroups([]); os.setgid(1000); "
        "os.setuid(1000); os.execv(sys.argv[2], sys.argv[2:])"
    )
    argv = [sys.executable, "-c", code, f"{delegated}/agent/cgroup.procs", sys.executable, "-m", *words]
    env = os.environ | {"HOME": "/tmp", "TMPDIR": "/tmp"}
    return subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, env=env, check=False)


@pytest.mark.timeout(400)
def test_a_user_keeps_guests_in_a_delegated_cgroup(delegated: Path) -> None:
    """Start, growth, the neighbour's shrink, hold, letting go, stop: the very test that root passes, as user 1000.

    Doctor says that it will do, and what it won't.
    """
    doctor = as_user(delegated, "guestroom", "doctor", "--kvm-timeout", "0.1", timeout_s=120)
    print(doctor.stdout, doctor.stderr)
    assert f"guests go to {delegated}/guestroom" in doctor.stdout
    assert "user 1000" in doctor.stdout
    words = ("pytest", "-q", "-s", "-p", "no:cacheprovider", GROWTH)
    done = as_user(delegated, *words, timeout_s=390)
    print(done.stdout[-6000:], done.stderr[-2000:])
    assert done.returncode == 0
    assert "1 passed" in done.stdout
