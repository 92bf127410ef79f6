"""Registering a pressure trigger: what is asked for, and what is said where a kernel has none."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from guestroom.agent import alarm_pressure
from guestroom.agent.alarm_pressure import TRIGGERS, Trigger, arm


class Kernel:
    """Answers writes with an errno, or takes them (0)."""

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers)
        self.asked: list[bytes] = []

    def write(self, fd: int, data: bytes) -> int:
        """One trigger asked for."""
        self.asked.append(data)
        code = self.answers.pop(0)
        if code:
            raise OSError(code, os.strerror(code))
        return len(data)


def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *answers: int) -> tuple[Trigger | str, list[bytes]]:
    """What came of asking, and what was asked for; closes what was opened."""
    (tmp_path / "memory.pressure").touch()
    kernel = Kernel(*answers)
    monkeypatch.setattr(alarm_pressure.os, "write", kernel.write)
    made = arm(str(tmp_path))
    if isinstance(made, Trigger):
        os.close(made.fd)
    return made, kernel.asked


def test_shortest_window_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shortest window the kernel takes is asked for, ended by a zero byte as psi.rst shows."""
    made, words = asked(tmp_path, monkeypatch, 0)
    assert isinstance(made, Trigger)
    assert made.words == TRIGGERS[0]
    assert words == [TRIGGERS[0].encode() + b"\0"]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EPERM])
def test_without_the_right_a_longer_window(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may not have half a second gets two seconds."""
    made, _ = asked(tmp_path, monkeypatch, code, 0)
    assert isinstance(made, Trigger)
    assert made.words == TRIGGERS[1]


def test_kernel_without_pressure_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file, or PSI switched off: the reason is told, with what to look at, and asked for once only."""
    assert "CONFIG_PSI" in str(arm(str(tmp_path)))
    made, words = asked(tmp_path, monkeypatch, errno.EOPNOTSUPP)
    assert "psi=0" in str(made)
    assert len(words) == 1
    made, _ = asked(tmp_path, monkeypatch, errno.EINVAL, errno.EPERM)
    assert isinstance(made, str)
    assert TRIGGERS[1] in made
