"""The state folder: made private, locked by one agent, refused with a reason."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from guestroom.errors import AgentError, LedgerError
from guestroom.record.state import StateLock, make_folder


def test_the_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    """Nobody else can read what runs on the host, or forge it."""
    make_folder(str(tmp_path / "var" / "state"))
    assert (tmp_path / "var" / "state").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o770, 0o777, 0o702])
def test_a_folder_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    """A folder others can write to could hold lies about every guest."""
    tmp_path.chmod(mode)
    with pytest.raises(LedgerError, match=f"{mode:04o}") as caught:
        make_folder(str(tmp_path))
    assert caught.value.where == str(tmp_path)


def test_a_folder_others_may_read_is_taken(tmp_path: Path) -> None:
    """systemd's StateDirectory= makes 0755 by default: that is no danger, the files in it are private."""
    tmp_path.chmod(0o755)
    make_folder(str(tmp_path))


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    """A path that can't be a folder ends with its errno and what to do, not a traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match=r"ENOTDIR|EEXIST") as caught:
        make_folder(str(tmp_path / "file" / "state"))
    assert caught.value.numbers["errno"]
    assert "--state" in (caught.value.hint or "")


def test_a_second_agent_is_told_the_first_ones_pid(tmp_path: Path) -> None:
    """Two agents on one state would both believe to be the only writer: the second does not start."""
    with StateLock(str(tmp_path)), pytest.raises(AgentError, match=f"already running .pid {os.getpid()}."):
        StateLock(str(tmp_path))


def test_a_lock_is_free_again_after_close(tmp_path: Path) -> None:
    """A stopped agent leaves nothing behind that keeps the next one out."""
    first = StateLock(str(tmp_path))
    first.close()
    first.close()
    StateLock(str(tmp_path)).close()


def test_a_lock_of_a_dead_process_is_free(tmp_path: Path) -> None:
    """The kernel lets the lock of a killed agent go; the pid left in the file means nothing."""
    code = (
        "import os, sys; from guestroom.record.state import StateLock; StateLock(sys.argv[1]); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -9
    assert (tmp_path / "lock").read_text().strip().isdigit()
    with StateLock(str(tmp_path)):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_a_lock_file_with_nonsense_does_not_break_the_message(tmp_path: Path) -> None:
    """What is in the lock file only serves the message: nonsense reads as an unknown pid."""
    with StateLock(str(tmp_path)) as lock:
        Path(lock.path).write_bytes(b"\xff\x00 hello")
        with pytest.raises(AgentError, match="pid unknown"):
            StateLock(str(tmp_path))


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    """A planted link can't make the agent write a pid into somebody's file."""
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(LedgerError, match="ELOOP"):
        StateLock(str(tmp_path))
    assert (tmp_path / "victim").read_text() == "precious"
