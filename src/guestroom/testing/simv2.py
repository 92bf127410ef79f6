"""A simulated cgroup v2 tree behind ``ports.Files``: small, and as unforgiving as the kernel.

A limit written below use is installed, what can be reclaimed is reclaimed, and then the guest is killed (measured in a
booted 6.1). Processes grow by themselves before every single file operation unless they are frozen, so whatever a
writer leaves time for does happen; ``faults`` and ``crash_at`` end its work at any of them.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from guestroom.units import PAGE_BYTES, round_down

MAX = "max"
_DIRECT = ("memory.max", "memory.high", "memory.min", "memory.swap.max", "memory.zswap.max", "memory.oom.group")


class Crash(BaseException):
    """The writer's process ends here: nothing of it runs any more, not even its ``except Exception``."""


@dataclass(slots=True)
class Group:
    """One cgroup."""

    inode: int
    anon_bytes: int = 0
    cache_bytes: int = 0
    """What reclaim can take."""
    stock_bytes: int = 0
    """Charged ahead per CPU: in ``memory.current``, in no line of ``memory.stat``."""
    pids: set[int] = field(default_factory=set)
    frozen: bool = False
    """What ``cgroup.freeze`` was last written."""
    controlled: bool = False
    """Its children have the memory controller."""
    files: dict[str, str] = field(
        default_factory=lambda: {
            "memory.max": MAX,
            "memory.high": MAX,
            "memory.min": "0",
            "memory.swap.max": MAX,
            "memory.zswap.max": MAX,
            "memory.oom.group": "0",
        }
    )


class SimV2:
    """``ports.Files`` over a v2 tree mounted at ``root``."""

    def __init__(self, root: str = "/cg") -> None:
        self.root = root
        self.groups: dict[str, Group] = {root: Group(1, controlled=True)}
        self.killed: set[int] = set()
        self.grow: Callable[[SimV2, str], None] | None = None
        """Called before every operation for each cgroup whose processes run; charges by ``charge``."""
        self.slow_freeze = False
        """Tasks never come to a stop: what a guest deep in disk I/O looks like."""
        self.faults: dict[int, int] = {}
        """Errno by number of the operation (reads count too), from 0."""
        self.crash_at: int | None = None
        self.operations: list[str] = []

    # --- ports.Files ---

    def read(self, path: str) -> str:
        """Whole text of a file."""
        self._before(f"read {path}")
        folder, name, group = self._place(path)
        match name:
            case "memory.current":
                return f"{self.current(folder)}\n"
            case "memory.stat":
                anon, cache = self._sum(folder, "anon_bytes"), self._sum(folder, "cache_bytes")
                return f"anon {anon}\nfile {cache}\nshmem 0\nkernel 0\ninactive_file {cache}\nslab_reclaimable 0\n"
            case "cgroup.events":
                populated = any(self.groups[path].pids for path in self._below(folder))
                return f"populated {int(populated)}\nfrozen {int(self._stands_still(folder))}\n"
            case "cgroup.freeze":
                return f"{int(group.frozen)}\n"
            case "cgroup.procs":
                return "".join(f"{pid}\n" for pid in sorted(group.pids))
            case "cgroup.subtree_control":
                return "memory\n" if group.controlled else "\n"
            case _ if name in group.files:
                return f"{group.files[name]}\n"
        raise _error(errno.ENOENT, path)

    def write(self, path: str, value: str) -> None:
        """Write a control file."""
        self._before(f"write {path} {value}")
        folder, name, group = self._place(path)
        match name:
            case "cgroup.freeze":
                group.frozen = value == "1"
            case "cgroup.procs":
                self._move(int(value), group)
            case "cgroup.subtree_control":
                if group.pids and folder != self.root:
                    raise _error(errno.EBUSY, path)
                group.controlled = True
            case "memory.reclaim":
                if self.reclaim(folder, int(value)) < int(value):
                    raise _error(errno.EAGAIN, path)
            case _ if name in _DIRECT and name not in group.files:
                raise _error(errno.ENOENT, path)
            case _ if name in _DIRECT and value == MAX:
                group.files[name] = MAX
            case _ if name in _DIRECT:
                group.files[name] = str(round_down(int(value)) if int(value) >= PAGE_BYTES else int(value))
                if name == "memory.max":
                    self._enforce(folder)
            case _:
                raise _error(errno.EINVAL, path)

    def mkdir(self, path: str) -> None:
        """Make a cgroup."""
        self._before(f"mkdir {path}")
        if path in self.groups:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        if path.rpartition("/")[0] not in self.groups:
            raise _error(errno.ENOENT, path)
        self.groups[path] = Group(len(self.groups) + 10)

    def rmdir(self, path: str) -> None:
        """Remove an empty cgroup."""
        self._before(f"rmdir {path}")
        group = self._group(path)
        if group.pids or len(list(self._below(path))) > 1:
            raise _error(errno.EBUSY, path)
        del self.groups[path]

    def list_dirs(self, path: str) -> list[str]:
        """Names of the folders inside."""
        self._group(path)
        return sorted(p.rpartition("/")[2] for p in self.groups if p.rpartition("/")[0] == path)

    def inode(self, path: str) -> int:
        """Inode of a cgroup's folder."""
        return self._group(path).inode

    # --- what happens in it ---

    def current(self, folder: str) -> int:
        """Bytes charged to a cgroup and all below it."""
        return sum(self._sum(folder, kind) for kind in ("anon_bytes", "cache_bytes", "stock_bytes"))

    def charge(self, folder: str, size_bytes: int, *, cache: bool = False) -> None:
        """Charge as a running process does: reclaim where a limit is met, and kill where that is not enough."""
        group = self.groups[folder]
        if cache:
            group.cache_bytes += size_bytes
        else:
            group.anon_bytes += size_bytes
        path = folder
        while path.startswith(self.root):
            self._enforce(path)
            path = path.rpartition("/")[0]

    def give_back(self, folder: str, size_bytes: int) -> None:
        """Free anonymous memory."""
        group = self.groups[folder]
        group.anon_bytes = max(0, group.anon_bytes - size_bytes)

    def reclaim(self, folder: str, size_bytes: int) -> int:
        """Take page cache; how much it was."""
        taken = 0
        for path in self._below(folder):
            group = self.groups[path]
            take = min(group.cache_bytes, size_bytes - taken)
            group.cache_bytes -= take
            taken += take
        return taken

    def runs(self, folder: str) -> bool:
        """True where processes of this cgroup run now."""
        return bool(self.groups[folder].pids) and (self.slow_freeze or not self._asked_to_freeze(folder))

    def _enforce(self, folder: str) -> None:
        """What the kernel does when a limit is passed: drain, reclaim, kill."""
        text = self.groups[folder].files["memory.max"]
        if text == MAX or self.current(folder) <= int(text):
            return
        for path in self._below(folder):
            self.groups[path].stock_bytes = 0
        self.reclaim(folder, self.current(folder) - int(text))
        if self.current(folder) > int(text):
            for path in self._below(folder):
                group = self.groups[path]
                self.killed |= group.pids
                group.pids.clear()
                group.anon_bytes = 0

    def _asked_to_freeze(self, folder: str) -> bool:
        while folder.startswith(self.root):
            if self.groups[folder].frozen:
                return True
            folder = folder.rpartition("/")[0]
        return False

    def _stands_still(self, folder: str) -> bool:
        inside = any(self.groups[path].pids for path in self._below(folder))
        return self._asked_to_freeze(folder) and not (self.slow_freeze and inside)

    def _below(self, folder: str) -> Iterator[str]:
        """A cgroup and everything below it."""
        return (path for path in self.groups if path == folder or path.startswith(f"{folder}/"))

    def _sum(self, folder: str, kind: str) -> int:
        return sum(getattr(self.groups[path], kind) for path in self._below(folder))

    def _move(self, pid: int, group: Group) -> None:
        for other in self.groups.values():
            other.pids.discard(pid)
        group.pids.add(pid)

    def _before(self, operation: str) -> None:
        """Time passes: processes grow; then this operation may be the one that fails."""
        number = len(self.operations)
        self.operations.append(operation)
        if self.crash_at == number:
            raise Crash(operation)
        if self.grow is not None:
            for folder in list(self.groups):
                if self.runs(folder):
                    self.grow(self, folder)
        if number in self.faults:
            raise _error(self.faults[number], operation)

    def _place(self, path: str) -> tuple[str, str, Group]:
        folder, _, name = path.rpartition("/")
        return folder, name, self._group(folder)

    def _group(self, path: str) -> Group:
        if path not in self.groups:
            raise _error(errno.ENOENT, path)
        return self.groups[path]


def _error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)
