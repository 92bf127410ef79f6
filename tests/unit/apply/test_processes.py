"""Process identity as text and errors (the real thing is in the integration tests)."""

from __future__ import annotations

import errno

import pytest

from guestroom.apply.processes import move, read_start_ticks
from guestroom.errors import HostError, NotPermittedError, ReadError, VanishedError

from .scripted import ScriptedFiles

FIELDS = "S 1 2 3 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 1000 200"
VMM = "/mem/guestroom/a/vmm"


@pytest.mark.parametrize("command", ["qemu", "a b", "x) S 1 (y", "))"])
def test_start_ticks(files: ScriptedFiles, command: str) -> None:
    """The start time is found whatever the process calls itself."""
    files.texts["/proc/42/stat"] = f"42 ({command}) {FIELDS}\n"
    assert read_start_ticks(42, files=files) == 987654


def test_start_ticks_gone_or_malformed(files: ScriptedFiles) -> None:
    """A process that is gone has its own type, a stat file that is cut is an error with its text."""
    with pytest.raises(VanishedError):
        read_start_ticks(42, files=files)
    files.texts["/proc/42/stat"] = "42 (x) S 1 2"
    with pytest.raises(ReadError, match="field 22"):
        read_start_ticks(42, files=files)


def test_move(files: ScriptedFiles) -> None:
    """A move is one write, and the process is found there afterwards."""
    move(files, VMM, 42)
    assert files.done == [(f"{VMM}/cgroup.procs", "42")]


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ESRCH, VanishedError), (errno.ENODEV, VanishedError), (errno.EPERM, NotPermittedError)]
)
def test_move_refused(files: ScriptedFiles, number: int, kind: type[HostError]) -> None:
    """Gone and not permitted are told apart."""
    files.fail[f"{VMM}/cgroup.procs"] = [number]
    with pytest.raises(kind):
        move(files, VMM, 42)


def test_move_that_did_not_arrive(files: ScriptedFiles) -> None:
    """A move the kernel took but that did not happen is an error."""
    files.after_write[f"{VMM}/cgroup.procs"] = ["4 423\n"]
    with pytest.raises(HostError, match="not there"):
        move(files, VMM, 42)
