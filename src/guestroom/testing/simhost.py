"""A whole simulated host behind ``ports.Files``: the real readers and writers run on it unchanged.

Tests make things happen between any two steps by ``before_write`` and ``before_read``: they may raise an
``OSError`` as the kernel would (EINTR, EBUSY, ENODEV), let a guest grow, or make it vanish. All writes are kept in
``writes``, so that a test can say that nothing else was touched.
"""

from __future__ import annotations

import copy
import errno
from collections.abc import Callable
from dataclasses import dataclass

from guestroom.layout import Layout
from guestroom.testing.simcgroup import Cgroup, FreezerCgroup, Kind, MemCgroup
from guestroom.testing.simfiles import FreezerFiles, MemoryFiles
from guestroom.testing.simkernel import SimKernel
from guestroom.testing.simmemory import kernel_error
from guestroom.testing.simorders import (
    Collapse,
    Discard,
    FillCache,
    Free,
    ReleaseKernelMemory,
    Retouch,
    TakeKernelMemory,
    Touch,
)
from guestroom.testing.simproc import ProcFiles
from guestroom.testing.simprocess import Fate, Order, SimProcess
from guestroom.testing.simregion import HUGE_BYTES
from guestroom.units import GIB, MIB, round_up

MEMORY_MOUNT = "/sys/fs/cgroup/memory"
FREEZER_MOUNT = "/sys/fs/cgroup/freezer"


@dataclass(frozen=True, slots=True)
class Write:
    """One write as it was tried: ``error`` is its errno, 0 when it succeeded. ``mkdir`` and ``rmdir`` too."""

    verb: str
    path: str
    value: str
    error: int


class SimHost:
    """``ports.Files`` over a simulated kernel, with verbs for what its processes do.

    ``own`` is the cgroup this process is in, in both hierarchies; ``base_use_bytes`` is memory the host itself uses.
    """

    kernel_type = SimKernel
    """A test may put in a kernel that believes otherwise."""

    def __init__(self, total_bytes: int = 16 * GIB, *, own: str = "/host", base_use_bytes: int = 256 * MIB) -> None:
        kernel = self.kernel_type(total_bytes)
        kernel.controller.base_use_bytes = base_use_bytes
        self._use(kernel, own, 100)
        for mount in (MEMORY_MOUNT, FREEZER_MOUNT):
            at = mount
            for part in filter(None, own.split("/")):
                at = f"{at}/{part}"
                self.mkdir(at)
        self.writes.clear()

    def _use(self, kernel: SimKernel, own: str, inode: int) -> None:
        self.kernel = kernel
        self._own = own
        self._inode = inode
        self._memory_files = MemoryFiles(kernel)
        self._freezer_files = FreezerFiles(kernel)
        self.proc = ProcFiles(
            kernel, {"memory": own, "freezer": own}, {"memory": MEMORY_MOUNT, "freezer": FREEZER_MOUNT}
        )
        self.memory = MEMORY_MOUNT + own.rstrip("/")
        self.freezer = FREEZER_MOUNT + own.rstrip("/")
        self.before_write: list[Callable[[str, str], None]] = []
        """Called with (path, value) before each write takes effect. May raise ``OSError``, may change the host."""
        self.before_read: list[Callable[[str], str | None]] = []
        """Called with the path before each read. The first text returned is what the file reads as."""
        self.before_mkdir: list[Callable[[str], None]] = []
        self.before_rmdir: list[Callable[[str], None]] = []
        self.writes: list[Write] = []

    def copy(self) -> SimHost:
        """A host in the same state that goes its own way; hooks and callbacks are not copied."""
        kernel, other = self.kernel, SimHost.__new__(type(self))
        callbacks = kernel.on_exit, kernel.controller.crossed
        kernel.on_exit, kernel.controller.crossed = [], []
        other._use(copy.deepcopy(kernel), self._own, self._inode)
        kernel.on_exit, kernel.controller.crossed = callbacks
        other.proc.hugetlb_pages = dict(self.proc.hugetlb_pages)
        return other

    def layout(self, cgroup: str = "guestroom") -> Layout:
        """Where guestroom's cgroups would be."""
        return Layout(memory=f"{self.memory}/{cgroup}", freezer=f"{self.freezer}/{cgroup}")

    # --- ports.Files ---

    def read(self, path: str) -> str:
        """Whole text of a file."""
        for hook in self.before_read:
            text = hook(path)
            if text is not None:
                return text
        group, name = self._locate(path)
        if isinstance(group, MemCgroup):
            return self._memory_files.read(group, name, path)
        if isinstance(group, FreezerCgroup):
            return self._freezer_files.read(group, name, path)
        return self.proc.read(path)

    def write(self, path: str, value: str) -> None:
        """Write a control file."""
        self._logged("write", path, value, lambda: self._write(path, value))

    def mkdir(self, path: str) -> None:
        """Make a cgroup."""
        self._logged("mkdir", path, "", lambda: self._mkdir(path))

    def rmdir(self, path: str) -> None:
        """Remove an empty cgroup: EBUSY while it has processes or children."""
        self._logged("rmdir", path, "", lambda: self._rmdir(path))

    def list_dirs(self, path: str) -> list[str]:
        """Names of the folders inside, sorted."""
        if path.startswith(("/proc", "/sys/kernel")):
            return self.proc.list_dirs(path)
        return sorted(self._group(path).children)

    def inode(self, path: str) -> int:
        """Inode of a cgroup's folder; a folder made anew has another one."""
        return self._group(path).inode

    # --- what its processes do ---

    def spawn(
        self, memory: str, freezer: str | None = None, *, argv: tuple[str, ...] = ("sim",), pid: int | None = None
    ) -> int:
        """A new process in these cgroups (folders); its pid."""
        freezer_group = None if freezer is None else self.freezer_group(freezer)
        return self.kernel.start(self.memory_group(memory), freezer_group, argv, pid).pid

    def process(self, pid: int) -> SimProcess:
        """The process; raises ``ProcessLookupError``."""
        process = self.kernel.processes.get(pid)
        if process is None:
            raise kernel_error(errno.ESRCH, str(pid))
        return process

    def alive(self, pid: int) -> bool:
        """True while it lives."""
        return pid in self.kernel.processes

    def touch(self, pid: int, size_bytes: int, *, huge: bool = False, shm: bool = False, heap: bool = False) -> Fate:
        """Write to ``size_bytes`` of new memory: a RAM block in small or huge pages or memfd, or the heap."""
        region = "huge" if huge else "shm" if shm else "heap" if heap else "small"
        size = round_up(size_bytes, HUGE_BYTES) if huge else size_bytes
        return self._order(pid, lambda process: Touch(self.kernel, process, process.regions[region], size))

    def touch_by_syscall(self, pid: int, size_bytes: int) -> Fate:
        """Let a system call fill ``size_bytes`` of new memory: it fails where a fault of its own would sleep."""
        return self._order(
            pid, lambda process: Touch(self.kernel, process, process.regions["small"], size_bytes, by_syscall=True)
        )

    def free(self, pid: int, size_bytes: int, region: str = "small") -> Fate:
        """Give back the last ``size_bytes`` of a region."""
        return self._order(pid, lambda process: Free(self.kernel, process.regions[region], size_bytes))

    def discard(self, pid: int, size_bytes: int, region: str = "small") -> Fate:
        """``MADV_DONTNEED`` on the first ``size_bytes`` of a region (balloon, free page reporting)."""
        return self._order(pid, lambda process: Discard(self.kernel, process.regions[region], size_bytes))

    def retouch(self, pid: int, region: str = "small") -> Fate:
        """Write to all of a region again: holes are charged to the cgroup the process is in now."""
        return self._order(pid, lambda process: Retouch(self.kernel, process, process.regions[region]))

    def collapse(self, pid: int) -> Fate:
        """Huge page collapse of the small pages: charged anew to the cgroup the process is in now."""
        return self._order(pid, lambda process: Collapse(self.kernel, process, process.regions["small"]))

    def fill_cache(self, pid: int, size_bytes: int, *, locked: bool = False) -> Fate:
        """Read ``size_bytes`` of files nobody has in the page cache; ``locked``: and keep them there (mlock)."""
        kind = Kind.LOCKED if locked else Kind.CACHE
        return self._order(pid, lambda process: FillCache(self.kernel, process, size_bytes, kind))

    def kernel_memory(self, pid: int, size_bytes: int) -> Fate:
        """Take kernel memory (pipe buffers): nothing reclaims it, no threshold sees it."""
        return self._order(pid, lambda process: TakeKernelMemory(self.kernel, process, size_bytes))

    def release_kernel(self, pid: int) -> Fate:
        """Give the kernel memory back."""
        return self._order(pid, lambda process: ReleaseKernelMemory(self.kernel, process))

    def merge(self, pid: int, size_bytes: int) -> None:
        """KSM merges the first ``size_bytes``: still mapped, no longer charged; ``retouch`` undoes it."""
        region = self.process(pid).regions["small"]
        region.merge(0, min(region.end, round_up(size_bytes)))
        self.kernel.wake()

    def _order(self, pid: int, make: Callable[[SimProcess], Order]) -> Fate:
        """Give a process an order; one that is gone takes none."""
        process = self.kernel.processes.get(pid)
        return Fate.KILLED if process is None else self.kernel.order(process, make(process))

    def move(self, pid: int, memory: str) -> None:
        """Move to another memory cgroup; charges stay."""
        self.kernel.move(self.process(pid), self.memory_group(memory))

    def exit(self, pid: int) -> None:
        """Kill it; harmless when it is gone."""
        process = self.kernel.processes.get(pid)
        if process is not None:
            self.kernel.end(process)

    def set_stock(self, memory: str, size_bytes: int) -> None:
        """Let ``usage_in_bytes`` show that much per-CPU charge stock until pressure drains it."""
        group = self.memory_group(memory)
        group.add(Kind.STOCK, size_bytes - group.charged[Kind.STOCK])

    # --- places ---

    def memory_group(self, path: str) -> MemCgroup:
        """The memory cgroup at an absolute folder; raises ``FileNotFoundError``."""
        group = self._group(path)
        if not isinstance(group, MemCgroup):
            raise kernel_error(errno.ENOENT, path)
        return group

    def freezer_group(self, path: str) -> FreezerCgroup:
        """The freezer cgroup at an absolute folder; raises ``FileNotFoundError``."""
        group = self._group(path)
        if not isinstance(group, FreezerCgroup):
            raise kernel_error(errno.ENOENT, path)
        return group

    def _find(self, path: str) -> Cgroup | None:
        root: Cgroup
        for mount, root in ((MEMORY_MOUNT, self.kernel.memory_root), (FREEZER_MOUNT, self.kernel.freezer_root)):
            if path == mount or path.startswith(mount + "/"):
                return root.find(path[len(mount) :])
        return None

    def _group(self, path: str) -> Cgroup:
        group = self._find(path)
        if group is None:
            raise kernel_error(errno.ENOENT, path)
        return group

    def _locate(self, path: str) -> tuple[Cgroup | None, str]:
        """The cgroup a file belongs to and the file's name; None for files outside the cgroup mounts."""
        folder, _, name = path.rpartition("/")
        if folder.startswith((MEMORY_MOUNT, FREEZER_MOUNT)):
            return self._group(folder), name
        return None, name

    def _logged(self, verb: str, path: str, value: str, do: Callable[[], None]) -> None:
        try:
            do()
        except OSError as error:
            self.writes.append(Write(verb, path, value, error.errno or 0))
            raise
        self.writes.append(Write(verb, path, value, 0))

    def _write(self, path: str, value: str) -> None:
        for hook in self.before_write:
            hook(path, value)
        group, name = self._locate(path)
        if isinstance(group, MemCgroup):
            self._memory_files.write(group, name, value, path)
        elif isinstance(group, FreezerCgroup):
            self._freezer_files.write(group, name, value, path)
        else:
            raise kernel_error(errno.EACCES, path)

    def _mkdir(self, path: str) -> None:
        for hook in self.before_mkdir:
            hook(path)
        folder, _, name = path.rpartition("/")
        parent = self._group(folder)
        if name in parent.children:
            raise kernel_error(errno.EEXIST, path)
        self._inode += 1
        if isinstance(parent, MemCgroup):
            self.kernel.controller.make(parent, name, self._inode, path)
        elif isinstance(parent, FreezerCgroup):
            parent.children[name] = FreezerCgroup(name, parent, self._inode)

    def _rmdir(self, path: str) -> None:
        for hook in self.before_rmdir:
            hook(path)
        group = self._group(path)
        inside = any(group in (process.memory, process.freezer) for process in self.kernel.processes.values())
        if group.children or inside or group.parent is None:
            raise kernel_error(errno.EBUSY, path)
        if isinstance(group, MemCgroup):
            self.kernel.controller.remove(group)
        elif isinstance(group, FreezerCgroup):
            parent = group.parent
            del parent.children[group.name]
            group.dead = True
