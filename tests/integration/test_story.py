"""The seed's story, the acceptance test: nobody is killed, every verdict is seen; without guestroom a guest is lost."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.integration

CHAPTERS = [
    "A alone has what it may have at most: 600.0 MiB",
    "A's overhead in total: 50",
    "EBUSY; A keeps 856.0 MiB",
    "squeeze: A keeps 50",
    "refuse: exit code 3, B never ran",
    "recreate: A 400.0 MiB, B 400.0 MiB",
    "A's limit: shown and the kernel's: 656.0 MiB and 656.0 MiB",
    "killed by the OOM killer: 0",
    "wait: B is queued at place 1 and has not run",
    "B started by itself when A was gone; it has: 600.0 MiB",
    "without guestroom the guest is lost: ended with -9",
]


def test_the_story_ends_with_both_alive() -> None:
    """`make run ONCE=1` plays every chapter on real guests under load and ends with 0, each figure the kernel's own."""
    command = [sys.executable, "-m", "guestroom.lab.story", "--once"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    summary = done.stdout[done.stdout.index("what was seen") :]
    for chapter in CHAPTERS:
        assert any(chapter in line and "] " in line and "  ok " in line for line in summary.splitlines()), chapter
    assert "NOT" not in summary
    alive = [line for line in summary.splitlines() if "alive:" in line]
    assert len(alive) == 9
    assert all("0 errors" in line for line in alive)


def test_a_story_that_does_not_come_true_fails() -> None:
    """With a reserve too small for the story the command ends with 1 and says what was not as told."""
    program = (
        "import guestroom.lab.story as story, sys; "
        "story.SETTINGS = story.SETTINGS.replace('800MiB', '700MiB'); "
        "sys.argv = ['story', '--once', '--no-control']; sys.exit(story.main())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 1
    assert "the story did not come true" in done.stdout
