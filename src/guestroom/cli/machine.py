"""The ``Machine`` port on this host: ``observe`` and ``apply`` put together, as only a door may."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Sequence

from guestroom.apply.processes import move, open_process
from guestroom.apply.upkeep import drop_cache, oom_killers, remove_guest, reset_peak, set_up_wall
from guestroom.apply.upkeep2 import limit_swap, protect_ram
from guestroom.errors import HostError, VanishedError
from guestroom.layout import Layout
from guestroom.observe import hierarchy, procfs
from guestroom.observe.cgroups import cgroups
from guestroom.observe.qmp import QmpClient
from guestroom.observe.text import folder_inode, list_dirs
from guestroom.ports import Clock, Files, Monitor

_ANSWER_S = 5.0


class KernelMachine:
    """``ports.Machine`` over cgroups of the layout's version and /proc."""

    def __init__(self, files: Files, layout: Layout, clock: Clock) -> None:
        self._files = files
        self._layout = layout
        self._clock = clock
        self._cgroups = cgroups(layout.version)

    def start_ticks(self, pid: int) -> int:
        """Start time of a process."""
        return procfs.start_ticks(self._files, pid)

    def parent(self, pid: int) -> int:
        """Its parent's pid."""
        return procfs.ppid(self._files, pid)

    def cmdline(self, pid: int) -> tuple[str, ...]:
        """Its arguments."""
        return procfs.cmdline(self._files, pid)

    def boot_id(self) -> str:
        """Identity of this boot."""
        return procfs.boot_id(self._files)

    def pidfd(self, pid: int, start_ticks: int) -> int:
        """A descriptor that becomes readable when exactly this process ends; the caller closes it."""
        with open_process(pid, start_ticks) as handle:
            return os.dup(handle.fileno())

    def kill(self, pid: int, start_ticks: int, signal_number: int) -> None:
        """Signal exactly this process; nothing happens if it is gone."""
        with contextlib.suppress(VanishedError), open_process(pid, start_ticks) as handle:
            handle.send(signal.Signals(signal_number))

    def members(self, name: str, part: str) -> tuple[int, ...]:
        """Pids in ``ram`` or ``vmm``; empty if the cgroup is gone."""
        try:
            return tuple(self._cgroups.read_procs(self._files, self._part(name, part)))
        except VanishedError:
            return ()

    def put(self, pid: int, name: str, part: str) -> None:
        """Move a process into ``ram`` or ``vmm``, and on v1 into its freezer cgroup first (each 4-12 ms: once).

        What stays behind in ``ram`` is its RAM, which v2 then protects from reclaim.
        """
        freezer = self._layout.freezer_of(name)
        if freezer is not None and self._layout.version == 1 and pid not in self._procs(freezer):
            move(self._files, freezer, pid)
        move(self._files, self._part(name, part), pid)
        if part == "vmm":
            report = protect_ram(self._files, self._layout, name)
            if not report.ok:
                raise HostError(f"its RAM could not be protected: {report.detail}", where=report.path)

    def _procs(self, path: str) -> list[int]:
        return list(self._cgroups.read_procs(self._files, path))

    def inode(self, name: str) -> int:
        """Inode of the guest's cgroup."""
        return folder_inode(self._files, self._layout.guest(name))

    def has(self, name: str, part: str) -> bool:
        """Whether ``ram`` or ``vmm`` is there."""
        try:
            folder_inode(self._files, self._part(name, part))
        except VanishedError:
            return False
        return True

    def place(self, pid: int) -> str:
        """The memory cgroup a process is in, as /proc/PID/cgroup names it."""
        return hierarchy.place_of(self._files, pid)

    def frozen(self, name: str) -> bool | None:
        """Whether it is held; None if that can't be read."""
        freezer = self._layout.freezer_of(name)
        if freezer is None:
            return None
        try:
            return self._cgroups.read_frozen(self._files, freezer)
        except HostError:
            return None

    def guests_there(self) -> tuple[str, ...]:
        """Names of the cgroups under the host wall; none where there is no wall."""
        try:
            return tuple(list_dirs(self._files, self._layout.memory))
        except VanishedError:
            return ()

    def remove(self, name: str) -> None:
        """Remove an empty guest's cgroups. Raises ``HostError`` saying what is in the way."""
        report = remove_guest(self._files, self._layout, name, clock=self._clock)
        if not report.ok:
            raise HostError(f"cgroup not removed: {report.detail}", where=report.path)

    def drop_cache(self, name: str, part: str) -> None:
        """Let the kernel drop the page cache charged there; what it keeps, it keeps."""
        drop_cache(self._files, self._part(name, part), self._layout.version)

    def reset_peak(self, name: str, part: str) -> None:
        """Begin a new window of the kernel's own peak, where it has such a thing; a guest that is gone has none."""
        report = reset_peak(self._files, self._part(name, part), self._layout.version)
        if not report.ok:
            raise HostError(f"the kernel's peak was not reset: {report.detail}", where=report.path)

    def oom_kills(self, name: str) -> int | None:
        """Processes the OOM killer took in a guest; None where it is gone or not counted."""
        try:
            return self._cgroups.read_oom_kills(self._files, self._layout.guest(name))
        except HostError:
            return None

    def limit_swap(self, name: str, swap_bytes: int | None, zswap_bytes: int | None) -> None:
        """Limit a guest's swap. Raises ``HostError`` where this kernel can't."""
        report = limit_swap(
            self._files, self._layout, name, self._clock, swap_bytes=swap_bytes, zswap_bytes=zswap_bytes
        )
        if not report.ok:
            raise HostError(report.detail, where=report.path)

    def killers(self, names: Sequence[str], *, enabled: bool, wall: bool = True) -> None:
        """Switch the OOM killers of these guests and of the host wall. Raises ``HostError`` if one refuses."""
        for report in oom_killers(self._files, self._layout, names, enabled, wall=wall):
            if not report.ok:
                raise HostError(f"OOM killer not switched: {report.detail}", where=report.path)

    def make_wall(self, limit_bytes: int) -> None:
        """Make the host wall, or bring an existing one to this limit, its OOM killer off."""
        report = set_up_wall(self._files, self._layout, limit_bytes, clock=self._clock)
        if not report.ok:
            raise HostError(f"the host wall could not be set up: {report.detail}", where=report.path)

    def monitor(self, path: str, timeout_s: float) -> Monitor:
        """Connect to our own monitor."""
        client = QmpClient(path, timeout_s)
        # One that has greeted is there: on a busy host an answer may take longer than one try to reach it.
        client.timeout_s = max(timeout_s, _ANSWER_S)
        return client

    def _part(self, name: str, part: str) -> str:
        return self._layout.ram(name) if part == "ram" else self._layout.vmm(name)
