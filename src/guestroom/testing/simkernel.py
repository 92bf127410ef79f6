"""The simulated kernel: processes that are moved, frozen, put to sleep at limits and killed.

What they do to memory is in ``simorders``.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator

from guestroom.testing.simcgroup import FreezerCgroup, MemCgroup
from guestroom.testing.simmemory import MemoryController, kernel_error
from guestroom.testing.simprocess import Fate, Order, SimProcess
from guestroom.units import GIB


class SimKernel:
    """Processes in a memory and a freezer tree."""

    def __init__(self, total_bytes: int = 16 * GIB) -> None:
        self.memory_root = MemCgroup("", None, 1)
        self.freezer_root = FreezerCgroup("", None, 2)
        self.controller = MemoryController(self.memory_root, total_bytes)
        self.processes: dict[int, SimProcess] = {}
        self.on_exit: list[Callable[[int], None]] = []
        """Called with the pid of each process that is gone."""
        self._next_pid = 1000
        self._next_ticks = 5000
        self._waking = False

    # --- processes ---

    def start(
        self, memory: MemCgroup, freezer: FreezerCgroup | None, argv: tuple[str, ...] = ("sim",), pid: int | None = None
    ) -> SimProcess:
        """A new process with no memory yet."""
        if pid is None:
            self._next_pid += 1
            pid = self._next_pid
        if pid in self.processes:
            raise AssertionError(f"pid {pid} is in use")
        self._next_ticks += 100
        process = SimProcess(pid, memory, freezer or self.freezer_root, argv, self._next_ticks)
        self.processes[pid] = process
        return process

    def in_memory(self, group: MemCgroup) -> list[SimProcess]:
        """Processes in exactly this cgroup, by pid."""
        return [p for p in sorted(self.processes.values(), key=lambda p: p.pid) if p.memory is group]

    def end(self, process: SimProcess) -> None:
        """SIGKILL: a held one stops sleeping at a limit but keeps all until it is thawed (measured)."""
        if process.held:
            process.dying = True
            process.waits_at = None
            return
        self._bury(process)

    def _bury(self, process: SimProcess) -> None:
        process.alive = False
        process.waits_at = None
        process.release_all()
        self.processes.pop(process.pid, None)
        for callback in self.on_exit:
            callback(process.pid)
        self.wake()

    def find(self, text: str, path: str) -> SimProcess:
        """The process a write to ``cgroup.procs`` names: EINVAL for no number, ESRCH for nobody."""
        value = text.strip()
        if not value.isdigit():
            raise kernel_error(errno.EINVAL, path)
        process = self.processes.get(int(value))
        if process is None:
            raise kernel_error(errno.ESRCH, path)
        return process

    def move(self, process: SimProcess, group: MemCgroup) -> None:
        """The process goes, its charges stay."""
        process.memory = group

    # --- orders ---

    def order(self, process: SimProcess, todo: Order) -> Fate:
        """Let ``process`` do ``todo`` after what it has not finished; what became of it."""
        if not process.alive or process.dying:
            return Fate.KILLED
        process.todo.append(todo)
        return self.go_on(process)

    def go_on(self, process: SimProcess) -> Fate:
        """Run what ``process`` has to do as far as it gets; the fate of its last order."""
        fate = Fate.DONE
        while process.todo:
            if not process.alive:
                return Fate.KILLED
            if process.held:
                return Fate.ASLEEP if process.waits_at is not None else Fate.FROZEN
            process.waits_at = None
            fate = process.todo[0]()
            if fate is Fate.ASLEEP:
                return fate
            if not process.alive:
                return Fate.KILLED
            process.todo.popleft()
            process.fates.append(fate)
        return fate if process.alive else Fate.KILLED

    def wake(self, raised: MemCgroup | None = None) -> None:
        """Memory was given back or a limit was raised: sleepers try again, frozen ones stop sleeping only to freeze."""
        if self._waking:
            return
        self._waking = True
        try:
            for process in list(self.processes.values()):
                at = process.waits_at
                if at is None or (raised is not None and raised not in at.lineage() and at not in raised.lineage()):
                    continue
                if process.held:
                    process.waits_at = None
                else:
                    self.go_on(process)
        finally:
            self._waking = False

    def thawed(self) -> None:
        """A freezer state changed: killed ones die now, the others go on."""
        for process in list(self.processes.values()):
            if process.held:
                continue
            if process.dying:
                self._bury(process)
            elif process.todo:
                self.go_on(process)

    def kill_for(self, short: MemCgroup) -> bool:
        """The OOM killer of ``short``: kill the largest below it. False when it is off or finds nobody."""
        if short.oom_kill_disable:
            return False
        below = set(short.below())
        victims = [process for process in self.processes.values() if process.memory in below]
        if not victims:
            return False
        victim = max(victims, key=lambda process: (process.resident_bytes, process.pid))
        victim.memory.oom_kills += 1
        self._bury(victim)
        return True

    # --- what the files show ---

    def sleepers(self, group: MemCgroup) -> Iterator[SimProcess]:
        """Processes whose fault sleeps at ``group``'s limit or one above it (``under_oom`` marks the whole subtree)."""
        for process in self.processes.values():
            if process.waits_at is not None and process.waits_at in group.lineage():
                yield process

    def freezer_state(self, group: FreezerCgroup) -> str:
        """``THAWED``, ``FROZEN``, or ``FREEZING`` while a process below still sleeps at a memory limit (measured)."""
        if not group.freezing:
            return "THAWED"
        below = set(group.below())
        late = any(p.freezer in below and p.waits_at is not None for p in self.processes.values())
        return "FREEZING" if late else "FROZEN"

    def set_freezer(self, group: FreezerCgroup, text: str, path: str) -> None:
        """Write ``freezer.state``; EINVAL for anything but FROZEN and THAWED, and for the root."""
        value = text.strip()
        if value not in ("FROZEN", "THAWED") or group.parent is None:
            raise kernel_error(errno.EINVAL, path)
        group.self_freezing = value == "FROZEN"
        self.thawed()
