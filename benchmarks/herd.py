"""A thousand guests that are cheap: real cgroups with a real small process each, and a ledger that has them recorded.

To the agent they are guests it had under care when it was last stopped: it takes them back by boot id, inode, pid and
start time, arms their alarms and sweeps them. Only QEMU itself is missing in them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from guestroom.apply.upkeep import SystemClock, set_up_wall
from guestroom.facts import Accounting, GuestRecord, GuestState, Identity
from guestroom.kernelfs import KernelFiles
from guestroom.layout import Layout
from guestroom.record import open_ledger
from guestroom.units import MIB

RAM = 4 * MIB
GRANT = 8 * MIB
HEADROOM = 128 * MIB
SOURCE = Path(__file__).parent / "standin.c"


class Herd:
    """``count`` stand-ins under a wall of their own. ``end`` ends them and removes their cgroups."""

    def __init__(self, layout: Layout, count: int) -> None:
        self.layout = layout
        self.files = KernelFiles()
        self.folder = Path(tempfile.mkdtemp(prefix="guestroom-herd-"))
        self.names = tuple(f"g{number:04d}" for number in range(count))
        self.pids: dict[str, int] = {}
        program = str(self.folder / "standin")
        subprocess.run(["gcc", "-O1", "-static", "-o", program, str(SOURCE)], check=True)
        assert set_up_wall(self.files, layout, count * (RAM + GRANT) + HEADROOM + 4096 * MIB).ok
        for name in self.names:
            self._make(name, program)

    def _make(self, name: str, program: str) -> None:
        files, layout = self.files, self.layout
        for folder in (layout.guest(name), layout.ram(name), layout.vmm(name)):
            files.mkdir(folder)
        files.write(f"{layout.guest(name)}/memory.limit_in_bytes", str(RAM + GRANT + HEADROOM))
        places = [f"{layout.vmm(name)}/cgroup.procs"]
        if layout.freezer is not None:
            files.mkdir(f"{layout.freezer_of(name)}")
            places.append(f"{layout.freezer_of(name)}/cgroup.procs")
        pid = os.fork()
        if pid == 0:
            for place in places:
                files.write(place, str(os.getpid()))
            os.execv(program, [program])
        self.pids[name] = pid

    def move(self, names: tuple[str, ...]) -> None:
        """Let each of ``names`` take 65 pages, and wait until they are charged."""
        for name in names:
            os.kill(self.pids[name], signal.SIGUSR1)
        time.sleep(0.002 * len(names) + 0.05)

    def record(self, state: str) -> None:
        """Write them into a ledger as an agent leaves it."""
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        with open_ledger(state, clock=SystemClock(), reading_keep_s=10.0) as ledger:
            for name, pid in self.pids.items():
                stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                inode = self.files.inode(self.layout.guest(name))
                ledger.put_guest(_record(name, Identity(boot_id, inode, pid, int(stat[19]))))

    def end(self) -> None:
        """End every stand-in and remove what was made."""
        for pid in self.pids.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in self.pids.values():
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        for root in (self.layout.memory, self.layout.freezer):
            for name in self.names if root is not None else ():
                for part in ("/ram", "/vmm", ""):
                    _rmdir(f"{root}/{name}{part}")
            if root is not None:
                _rmdir(root)
        shutil.rmtree(self.folder, ignore_errors=True)


def _rmdir(path: str) -> None:
    for _ in range(50):
        try:
            os.rmdir(path)  # noqa: PTH106
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.02)
        else:
            return


def _record(name: str, identity: Identity) -> GuestRecord:
    return GuestRecord(
        name=name,
        state=GuestState.RUNNING,
        accounting=Accounting.SPLIT,
        identity=identity,
        ram_bytes=RAM,
        ram_charged_bytes=RAM,
        weight=RAM,
        need_bytes=GRANT,
        boot_floor_bytes=MIB,
        cap_bytes=None,
        grant_bytes=GRANT,
        admitted_grant_bytes=GRANT,
        limit_bytes=RAM + GRANT + HEADROOM,
        overhead_peak_bytes=None,
        started_wall_s=time.time() - 3600,
        policy="ovirt",
        on_short="refuse",
        ram_block_bytes=(RAM,),
    )
