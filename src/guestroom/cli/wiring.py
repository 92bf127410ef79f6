"""The agent's parts bound together for this host: the one place where adapters meet decisions."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import time
from collections.abc import Callable, Mapping

from guestroom import size
from guestroom.actions import Action
from guestroom.agent.alarm_client import AlarmClient
from guestroom.agent.deps import Deps
from guestroom.apply.adopted import AdoptedApplier, Place
from guestroom.apply.upkeep import SystemClock, make_applier
from guestroom.apply.upkeep2 import lift, take_place
from guestroom.cli.elsewhere import (
    ElsewhereAlarms,
    ElsewhereApplier,
    ElsewhereMachine,
    ElsewhereObserver,
    RealElsewhere,
    RealPrograms,
)
from guestroom.cli.reclaiming import KernelReclaimer
from guestroom.config import Settings
from guestroom.describe import from_qemu_argv
from guestroom.errors import AgentError, GuestroomError, HostError, from_write
from guestroom.kernelfs import KeptFiles, KernelFiles
from guestroom.layout import Layout
from guestroom.observe.procfs import hugetlb_mounts
from guestroom.observe.snapshot import KernelObserver
from guestroom.record import Outbox, SqliteLedger
from guestroom.record.encode import action_to_json

_LOCK_PATIENCE_S = 2.0
"""A supervisor of an agent that is gone looks at the lock now and then; that is not a second agent."""
_PATH_BYTES = 107
_LONGEST_NAME = 63


def take_wall(files: KernelFiles, layout: Layout) -> int:
    """Make the host wall's folder if it is not there and lock it for this agent; the lock ends with the process.

    On v2 this process moves into a leaf of its own first, and what a crash left braked or frozen is lifted.
    Raises ``AgentError`` when another agent has it, ``HostError`` when it can't be made.
    """
    take_place(files, layout, os.getpid())
    try:
        files.mkdir(layout.memory)
    except FileExistsError:
        pass
    except OSError as error:
        raise from_write(error, layout.memory, "mkdir") from error
    fd = os.open(layout.memory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    deadline_s = time.monotonic() + _LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise HostError(f"the host wall can't be locked: {error.strerror}", where=layout.memory) from error
            if time.monotonic() > deadline_s:
                os.close(fd)
                raise AgentError(
                    "another agent keeps this host wall",
                    where=layout.memory,
                    hint='stop it, or give this one another cgroup ("cgroup" in [host])',
                ) from error
            time.sleep(0.05)
        else:
            lift(files, layout)
            return fd


def monitor_paths(folder: str) -> Callable[[str, int], str]:
    """Where each guest's own monitor socket goes: a folder of its own that only its user may enter."""
    if len(folder.encode()) + len("/") + _LONGEST_NAME + len("/qmp") > _PATH_BYTES:
        raise AgentError(
            f"monitor sockets in {folder} would have too long paths",
            where=folder,
            hint="choose a shorter --socket",
        )

    def path(name: str, uid: int) -> str:
        own = f"{folder}/{name}"
        try:
            os.makedirs(own, mode=0o711, exist_ok=True)  # noqa: PTH103
            os.chmod(own, 0o700)  # noqa: PTH101
            os.chown(own, uid, -1)
            if os.path.lexists(f"{own}/qmp"):
                os.unlink(f"{own}/qmp")  # noqa: PTH108
        except OSError as error:
            raise AgentError(f"no place for a monitor socket: {error.strerror}", where=own) from error
        return f"{own}/qmp"

    return path


def outsider_need(settings: Settings) -> Callable[[tuple[str, ...]], tuple[int | None, int | None]]:
    """What a QEMU that is not under care is expected to need, read from its own argv; unknown where that fails."""

    def need(argv: tuple[str, ...]) -> tuple[int | None, int | None]:
        try:
            guest = from_qemu_argv(argv)
            return guest.ram_bytes, size.estimate(guest, settings.policy).overhead_bytes
        except GuestroomError:
            return None, None

    return need


def crash_at(point: str | None) -> Callable[[str], None]:
    """A fault point for crash tests: the process is killed, as by ``kill -9``, when it comes to ``point``."""

    def fault(here: str) -> None:
        if here == point:
            os.kill(os.getpid(), signal.SIGKILL)

    return fault


def build_deps(
    settings: Settings,
    layout: Layout,
    ledger: SqliteLedger,
    alarms: AlarmClient,
    monitor_folder: str,
    log: Callable[[str, str | None, str], None],
    fault_at: str | None,
) -> Deps:
    """Ports over the real kernel."""
    files, clock = KernelFiles(), SystemClock()
    inodes: dict[str, int] = {}
    programs, places = RealPrograms(), dict[str, Place]()
    adopted = AdoptedApplier(files, clock, programs, places, layout.version)
    observer = KernelObserver(files, layout, clock, outsider_need=outsider_need(settings), kept=KeptFiles())
    return Deps(
        settings=settings,
        layout=layout,
        clock=clock,
        observer=ElsewhereObserver(observer, layout, places),
        applier=ElsewhereApplier(make_applier(files, layout, clock, expected_inodes=inodes), adopted, places),
        inodes=inodes,
        machine=ElsewhereMachine(files, layout, clock, adopted, places),
        elsewhere=RealElsewhere(files, layout, programs, adopted, places, alarms),
        reclaimer=KernelReclaimer(files, layout),
        ledger=ledger,
        late=Outbox(ledger, clock),
        alarms=ElsewhereAlarms(alarms, places),
        encode=_encode,
        monitor_path=monitor_paths(monitor_folder),
        huge_paths=hugetlb_mounts(files),
        log=log,
        fault=crash_at(fault_at),
    )


def _encode(action: Action) -> Mapping[str, object]:
    decoded: Mapping[str, object] = json.loads(action_to_json(action))
    return decoded
