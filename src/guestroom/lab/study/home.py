"""The cgroups of one measured guest: one for all of it, or RAM charged apart as ``guestroom run`` does.

Charged apart, QEMU starts stopped in ``ram``, where its preallocated RAM is charged, moves to ``vmm`` and continues:
the kernel does not move charges with a process. No limit is set, so nothing here can end a guest.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass

from guestroom.errors import GuestroomError, HostError, from_write
from guestroom.lab.place import find_place
from guestroom.layout import AGENT_LEAF, Version
from guestroom.observe.cgroups import cgroups
from guestroom.ports import Files

_REMOVE_S = 5.0


@dataclass(frozen=True, slots=True)
class Home:
    """Where one guest is charged."""

    files: Files
    memory: str
    """The cgroup that holds all of it."""
    version: Version
    split: bool
    outer: str | None = None
    """A folder around it that was made for it, on v2."""

    @property
    def start(self) -> str:
        """Where its process begins."""
        return f"{self.memory}/ram" if self.split else self.memory

    @property
    def rest(self) -> str:
        """Where everything but preallocated RAM is charged."""
        return f"{self.memory}/vmm" if self.split else self.memory

    def move(self, pid: int) -> None:
        """From where its RAM is charged to where the rest shall be. Raises ``HostError``."""
        path = f"{self.rest}/cgroup.procs"
        try:
            self.files.write(path, str(pid))
        except OSError as error:
            raise from_write(error, path, str(pid)) from error

    def remove(self) -> None:
        """End what still runs inside, a server or a helper, and take the cgroups away."""
        deadline_s = time.monotonic() + _REMOVE_S
        inner = [self.start, self.rest, self.memory]
        if self.outer is not None:
            inner += [f"{self.outer}/{AGENT_LEAF}", self.outer]
        left = list(dict.fromkeys(inner))
        while left and time.monotonic() < deadline_s:
            self._end_all()
            try:
                self.files.rmdir(left[0])
            except FileNotFoundError:
                left.pop(0)
            except OSError:
                time.sleep(0.05)
            else:
                left.pop(0)

    def _end_all(self) -> None:
        with contextlib.suppress(GuestroomError):
            for pid in cgroups(self.version).read_all_procs(self.files, self.memory):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def make_home(files: Files, name: str, *, split: bool) -> Home:
    """Cgroups called ``name``: a child of ours on v1, on v2 beside us. Raises ``HostError`` with what to do."""
    place = find_place(files, name)
    memory, version = place.layout.memory, place.layout.version
    home = Home(files, memory, version, split, place.folder)
    try:
        if version == 2:
            _switch_on(files, place.layout.parent)
        files.mkdir(memory)
        if split:
            if version == 2:
                _switch_on(files, memory)
            files.mkdir(home.start)
            files.mkdir(home.rest)
    except OSError as error:
        home.remove()
        raise HostError(
            f"no cgroup can be made for the guest: {from_write(error, memory, 'mkdir').message}",
            where=memory,
            hint="run as root, or in a cgroup of your own: systemd-run --scope -p Delegate=memory guestroom study run",
        ) from error
    return home


def _switch_on(files: Files, folder: str) -> None:
    """Let the children of a v2 cgroup be charged by themselves (kernel cgroup-v2.rst, "Enabling and Disabling")."""
    path = f"{folder}/cgroup.subtree_control"
    if "memory" not in files.read(path).split():
        files.write(path, "+memory")
