"""What doctor says of rights and of systemd."""

from __future__ import annotations

import errno
import os

import pytest

from guestroom.cli.checks import Level, check_rights, check_systemd


class Tree:
    """``ports.Files`` of a v2 host with systemd, this process in ``own``."""

    def __init__(self, own: str, *, systemd: bool = True) -> None:
        self.systemd = systemd
        folder = f"/cg{own}".removesuffix("/agent")
        self.texts = {
            "/proc/self/mountinfo": "30 25 0:27 / /cg rw - cgroup2 cgroup2 rw\n",
            "/proc/self/cgroup": f"0::{own}\n",
            f"{folder}/cgroup.controllers": "memory\n",
            f"{folder}/cgroup.type": "domain\n",
            "/cg/system.slice/guestroom-guests.service/cgroup.controllers": "memory\n",
        }

    def read(self, path: str) -> str:
        """Text of a file."""
        if path not in self.texts:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return self.texts[path]

    def write(self, path: str, value: str) -> None:
        """Doctor writes nothing here."""
        raise AssertionError(path)

    def mkdir(self, path: str) -> None:
        """Nor makes it anything."""
        raise AssertionError(path)

    def rmdir(self, path: str) -> None:
        """Nor removes it anything."""
        raise AssertionError(path)

    def list_dirs(self, path: str) -> list[str]:
        """systemd's folder is there where it runs."""
        if path == "/run/systemd/system" and self.systemd:
            return []
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    def inode(self, path: str) -> int:
        """Folders are what the paths imply."""
        if not any(text.startswith(f"{path}/") for text in self.texts):
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return 5


def test_a_service_that_holds_its_guests_itself_is_warned_of() -> None:
    """It could not be started again while they run; in the guests' place, or without systemd, all is well."""
    naive = check_systemd(Tree("/system.slice/agent.service"), "guestroom")
    assert (naive.level, "agent.service itself" in naive.detail) == (Level.WARN, True)
    placed = check_systemd(Tree("/system.slice/agent.service"), "guestroom", "/system.slice/guestroom-guests.service")
    assert (placed.level, "guests go to guestroom-guests.service" in placed.detail) == (Level.OK, True)
    assert check_systemd(Tree("/x", systemd=False), "guestroom").detail == "not running here"
    lost = check_systemd(Tree("/x"), "guestroom", "/nowhere")
    assert (lost.level, lost.hint is not None) == (Level.WARN, True)


def test_without_root_doctor_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose agent it would be, and what that one can't do."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    found = check_rights()
    assert found.level is Level.WARN
    for words in ("user 1000", "guests of other users", "cgroup v1"):
        assert words in found.detail
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert check_rights().level is Level.OK
