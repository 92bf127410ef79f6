"""Simulators with one wrong belief each, every one of them plausible: the differential test has to find them out."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from guestroom.testing import SimHost
from guestroom.testing.simcgroup import FreezerCgroup, Kind, MemCgroup
from guestroom.testing.simkernel import SimKernel
from guestroom.testing.simmemory import parse_limit
from guestroom.testing.simorders import Collapse
from guestroom.testing.simprocess import Fate, SimProcess


class RamIsConstant(SimHost):
    """Once the process has left ``ram``, what is charged there never changes."""

    kept: Mapping[str, str] = MappingProxyType({})

    def write(self, path: str, value: str) -> None:
        """Remember what ``ram`` reads as when its process is moved away."""
        super().write(path, value)
        folder, _, name = path.rpartition("/")
        if name == "cgroup.procs" and folder.endswith("/vmm"):
            ram = folder.removesuffix("vmm") + "ram"
            files = [f"{ram}/memory.stat", f"{ram}/memory.usage_in_bytes"]
            self.kept = {file: SimHost.read(self, file) for file in files}

    def read(self, path: str) -> str:
        """Say that again ever after."""
        text = super().read(path)
        return self.kept.get(path, text)


class ShrinkSucceeds(SimHost):
    """A limit below what is in use is accepted, as cgroup v2 does."""

    def write(self, path: str, value: str) -> None:
        """Install the limit whatever is charged."""
        if path.endswith("/memory.limit_in_bytes"):
            group = self.memory_group(path.rpartition("/")[0])
            group.limit_bytes = parse_limit(value, path)
            self.kernel.wake(group)
            return
        super().write(path, value)


class _ChargesMove(SimKernel):
    def move(self, process: SimProcess, group: MemCgroup) -> None:
        """Recharge every page to the new cgroup."""
        for region in process.regions.values():
            for run in region.runs:
                if run.owner is not None:
                    run.owner.add(run.kind, -run.size)
                    group.add(run.kind, run.size)
                    run.owner = group
        super().move(process, group)


class ChargesMoveAlong(SimHost):
    """A process takes its memory along when it is moved (``memory.move_charge_at_immigrate`` of old kernels)."""

    kernel_type = _ChargesMove


class _FreezeReturns(SimKernel):
    def set_freezer(self, group: FreezerCgroup, text: str, path: str) -> None:
        """Give back what frozen processes have."""
        super().set_freezer(group, text, path)
        for process in self.processes.values():
            if process.held:
                for region in process.regions.values():
                    region.drop(0, region.end)


class FreezeReturnsMemory(SimHost):
    """A frozen process needs no memory."""

    kernel_type = _FreezeReturns


class _CollapseStays(Collapse):
    def __call__(self) -> Fate:
        """Nothing is charged anew."""
        return Fate.DONE


class CollapseChargesNothing(SimHost):
    """Huge page collapse leaves the pages charged where they were."""

    def collapse(self, pid: int) -> Fate:
        """Do nothing."""
        process = self.process(pid)
        return self.kernel.order(process, _CollapseStays(self.kernel, process, process.regions["small"]))


class RmdirForgets(SimHost):
    """A removed cgroup takes its charges along."""

    def rmdir(self, path: str) -> None:
        """Forget whatever is left."""
        group = self.memory_group(path) if path.startswith(self.memory) else None
        super().rmdir(path)
        if group is not None:
            group.add(Kind.CACHE, -group.charged[Kind.CACHE])
            for process in self.kernel.processes.values():
                for region in process.regions.values():
                    region.runs = [run for run in region.runs if run.owner is not group or not _forget(run.kind, group)]


def _forget(kind: Kind, group: MemCgroup) -> bool:
    group.add(kind, -group.charged[kind])
    return True


class SleepsInSyscalls(SimHost):
    """With the OOM killer off a system call, too, sleeps at the limit."""

    def touch_by_syscall(self, pid: int, size_bytes: int) -> Fate:
        """As a fault of its own would."""
        return self.touch(pid, size_bytes)


WRONG_BELIEFS = (
    RamIsConstant,
    ShrinkSucceeds,
    ChargesMoveAlong,
    FreezeReturnsMemory,
    CollapseChargesNothing,
    RmdirForgets,
    SleepsInSyscalls,
)
