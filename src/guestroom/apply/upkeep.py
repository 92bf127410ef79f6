"""What is done to cgroups besides actions: set up the wall, remove a guest, drop its cache, switch killers.

Each reports what happened instead of raising: it runs while guests come and go, where "gone" or "busy for a
moment" is the normal case.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guestroom.actions import OutcomeKind
from guestroom.apply import cgroup2
from guestroom.apply.applier import BaseApplier, kind_of, read_text
from guestroom.apply.cgroup1 import KernelApplier, do_write
from guestroom.apply.swap import EMPTY_FILE, without_swap
from guestroom.apply.write import Write
from guestroom.apply.writes import FREEZER_FILE, THAWED, killer, wall_writes
from guestroom.apply.writes2 import let_go_writes
from guestroom.errors import HostError, VanishedError, from_write
from guestroom.guest import check_name
from guestroom.layout import Layout, Version

if TYPE_CHECKING:
    from guestroom.ports import Clock, Files

REMOVE_PATIENCE_S = 2.0
_REMOVE_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Report:
    """How one piece of upkeep ended; ``detail`` says what is in the way where it did not."""

    path: str
    kind: OutcomeKind
    detail: str = ""

    @property
    def ok(self) -> bool:
        """True when it is as wished."""
        return self.kind is OutcomeKind.DONE


class SystemClock:
    """``ports.Clock`` of this machine."""

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


def make_applier(
    files: Files,
    layout: Layout,
    clock: Clock,
    *,
    expected_inodes: Mapping[str, int] | None = None,
    freeze_wait_s: float | None = None,
) -> BaseApplier:
    """The applier for the layout's version of cgroups; ``freeze_wait_s`` bounds the wait for a hold to take."""
    kind = KernelApplier if layout.version == 1 else cgroup2.KernelApplier2
    if freeze_wait_s is None:
        return kind(files, layout, clock, expected_inodes=expected_inodes)
    return kind(files, layout, clock, expected_inodes=expected_inodes, freeze_wait_s=freeze_wait_s)


def set_up_wall(files: Files, layout: Layout, limit_bytes: int, *, clock: Clock | None = None) -> Report:
    """Make the host wall or bring an existing one to ``limit_bytes``; stop at the first write that fails.

    Refuses a wall whose ``memory.use_hierarchy`` is 0 (kernels before 5.11 under a parent without it): there a
    child's charges do not count against the wall, so it would keep nothing (memory.rst section 6).
    """
    try:
        for write in wall_writes(layout, limit_bytes):
            _do(files, layout.version, write, clock)
    except HostError as error:
        return Report(layout.memory, kind_of(error), error.line())
    if layout.version == 2:
        return Report(layout.memory, OutcomeKind.DONE)
    path = f"{layout.memory}/memory.use_hierarchy"
    try:
        flat = read_text(files, path).strip() == "0"
    except HostError:
        # The file is going away with v1; where it is missing the hierarchy is always on.
        flat = False
    if flat:
        return Report(layout.memory, OutcomeKind.FAILED, f"{path} is 0: write 1 to it in the parent cgroup first")
    return Report(layout.memory, OutcomeKind.DONE)


def remove_guest(
    files: Files, layout: Layout, name: str, *, clock: Clock | None = None, patience_s: float = REMOVE_PATIENCE_S
) -> Report:
    """Remove a guest's cgroups, children first, waiting up to ``patience_s`` while the kernel drains them.

    It is thawed before: a frozen process does not die of SIGKILL (v1 freezer), so its cgroup would never
    empty. Cgroups that are gone already are fine. Raises ``GuestNameError`` for a name that is no guest's.
    """
    check_name(name)
    time_source = clock or SystemClock()
    end_s = time_source.monotonic() + patience_s
    folder = layout.freezer_of(name)
    if folder is not None:
        thaw(files, layout, name, clock=time_source)
    paths = [layout.ram(name), layout.vmm(name), layout.guest(name)] + ([folder] if folder is not None else [])
    failed: Report | None = None
    for path in paths:
        report = _rmdir(files, path, time_source, end_s)
        if not report.ok and failed is None:
            failed = report
    return failed or Report(layout.guest(name), OutcomeKind.DONE)


def _rmdir(files: Files, path: str, clock: Clock, end_s: float) -> Report:
    while True:
        try:
            files.rmdir(path)
        except OSError as error:
            failure = from_write(error, path, "rmdir")
            if isinstance(failure, VanishedError):
                return Report(path, OutcomeKind.DONE)
            if error.errno not in (errno.EBUSY, errno.ENOTEMPTY) or clock.monotonic() >= end_s:
                return Report(path, kind_of(failure), f"{failure.line()}; {_inside(files, path)}")
        else:
            return Report(path, OutcomeKind.DONE)
        clock.sleep(_REMOVE_POLL_S)


def _inside(files: Files, path: str) -> str:
    """What keeps a cgroup from being removed, as text."""
    try:
        pids = files.read(f"{path}/cgroup.procs").split()
        folders = files.list_dirs(path)
    except OSError as error:
        return f"what is inside could not be read: {error.strerror}"
    return f"inside: {len(pids)} processes {pids[:5]}, folders {folders[:5]}"


def thaw(files: Files, layout: Layout, name: str, *, clock: Clock | None = None) -> Report:
    """Let a guest go on whether it was held or not, its brake off (v2); a folder that is gone is fine."""
    folder = layout.freezer_of(check_name(name))
    if folder is None:
        return Report(layout.guest(name), OutcomeKind.DONE)
    if layout.version == 2:
        reports = [_tolerant(files, 2, write, clock) for write in let_go_writes(layout, name)]
        return next((report for report in reports if not report.ok), reports[-1])
    return _tolerant(files, 1, Write("write", f"{folder}/{FREEZER_FILE}", THAWED, verify=True), clock)


def drop_cache(files: Files, path: str, version: Version = 1) -> Report:
    """Ask the kernel to drop all page cache of the cgroup at ``path``; nothing goes into swap for it.

    v1 ``memory.force_empty``, v2 ``memory.reclaim`` of as much as can be taken. Takes 4 ms, with much dirty cache
    500 ms (measured): not for the thread that answers alarms. What is left is left, which is as good as it gets; the
    report says so and is ok.
    """
    try:
        with without_swap(files, path, version):
            if version == 2:
                cgroup2.reclaim(files, path, cgroup2.reclaimable_bytes(files, path))
                return Report(path, OutcomeKind.DONE)
            return _force_empty(files, path)
    except HostError as error:
        return Report(path, kind_of(error), error.line())


def _force_empty(files: Files, path: str) -> Report:
    target = f"{path}/{EMPTY_FILE}"
    try:
        files.write(target, "0")
    except OSError as error:
        failure = from_write(error, target, "0")
        kind = OutcomeKind.DONE if error.errno in (errno.EBUSY, errno.EINTR) else kind_of(failure)
        return Report(path, kind, failure.line())
    return Report(path, OutcomeKind.DONE)


def reset_peak(files: Files, path: str, version: Version = 1) -> Report:
    """Begin a new window of the kernel's own peak (``memory.max_usage_in_bytes``, memory.rst section 5.1).

    v2 has one peak for as long as the cgroup lives, so there is nothing to do; who reads it knows.
    """
    if version == 2:
        return Report(path, OutcomeKind.DONE)
    return _tolerant(files, 1, Write("write", f"{path}/memory.max_usage_in_bytes", "0"), None)


def oom_killers(
    files: Files, layout: Layout, names: Iterable[str], enabled: bool, *, wall: bool = True
) -> tuple[Report, ...]:
    """Switch the OOM killers of the guests ``names`` and (unless ``wall`` is False) of the host wall, each reported.

    Off while the agent lives (it holds guests before they reach a wall), on when nobody watches (P11): a guest
    without killer and agent would hang at its limit instead of ending. v2 has no such switch: nothing to do there.
    """
    if layout.version == 2:
        return ()
    paths = ([layout.memory] if wall else []) + [layout.guest(check_name(name)) for name in names]
    return tuple(_tolerant(files, 1, killer(path, on=enabled), None) for path in paths)


def _do(files: Files, version: Version, write: Write, clock: Clock | None) -> None:
    match version:
        case 1:
            do_write(files, write, clock or SystemClock())
        case 2:
            cgroup2.do_write2(files, write, clock or SystemClock())


def _tolerant(files: Files, version: Version, write: Write, clock: Clock | None) -> Report:
    """One write whose cgroup may be gone by now."""
    path = write.path.rpartition("/")[0]
    try:
        _do(files, version, write, clock)
    except VanishedError as error:
        return Report(path, OutcomeKind.DONE, error.line())
    except HostError as error:
        return Report(path, kind_of(error), error.line())
    return Report(path, OutcomeKind.DONE)
