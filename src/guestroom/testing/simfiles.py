"""The control files of the simulated kernel: what each reads as and what writing it does.

The text is what kernel 6.18 prints, so that the real readers and writers run on it unchanged.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from guestroom.testing.simcgroup import FreezerCgroup, Kind, MemCgroup
from guestroom.testing.simkernel import SimKernel
from guestroom.testing.simmemory import kernel_error
from guestroom.units import PAGE_BYTES, Limit, Unlimited

NO_LIMIT_BYTES = 9223372036854771712
"""How an absent limit is printed: PAGE_COUNTER_MAX pages (include/linux/page_counter.h)."""


def _printed(limit: Limit) -> int:
    return NO_LIMIT_BYTES if isinstance(limit, Unlimited) else limit


class MemoryFiles:
    """Files of a memory cgroup."""

    def __init__(self, kernel: SimKernel) -> None:
        self._kernel = kernel
        self._readers: dict[str, Callable[[MemCgroup], str]] = {
            "cgroup.procs": self._procs,
            "tasks": self._procs,
            "cgroup.clone_children": lambda group: "0\n",
            "notify_on_release": lambda group: "0\n",
            "memory.usage_in_bytes": lambda group: f"{group.usage_bytes}\n",
            "memory.max_usage_in_bytes": lambda group: f"{group.peak_bytes}\n",
            "memory.failcnt": lambda group: f"{group.failcnt}\n",
            "memory.limit_in_bytes": lambda group: f"{_printed(group.limit_bytes)}\n",
            "memory.memsw.limit_in_bytes": lambda group: f"{_printed(group.memsw_limit_bytes)}\n",
            "memory.memsw.usage_in_bytes": lambda group: f"{group.usage_bytes}\n",
            "memory.kmem.usage_in_bytes": lambda group: f"{group.total(Kind.KERNEL)}\n",
            "memory.soft_limit_in_bytes": lambda group: f"{NO_LIMIT_BYTES}\n",
            "memory.use_hierarchy": lambda group: "1\n",
            "memory.swappiness": lambda group: f"{group.swappiness}\n",
            "memory.move_charge_at_immigrate": lambda group: "0\n",
            "memory.oom_control": self._oom_control,
            "memory.stat": self._stat,
        }
        self._writers: dict[str, Callable[[MemCgroup, str, str], None]] = {
            "cgroup.procs": self._move,
            "cgroup.event_control": self._event_control,
            "memory.limit_in_bytes": lambda group, text, path: self._limit(group, text, path, memsw=False),
            "memory.memsw.limit_in_bytes": lambda group, text, path: self._limit(group, text, path, memsw=True),
            "memory.max_usage_in_bytes": lambda group, text, path: setattr(group, "peak_bytes", group.usage_bytes),
            "memory.failcnt": lambda group, text, path: setattr(group, "failcnt", 0),
            "memory.force_empty": lambda group, text, path: kernel.controller.force_empty(group),
            "memory.oom_control": self._set_oom_control,
            "memory.swappiness": lambda group, text, path: setattr(group, "swappiness", int(text)),
        }

    def read(self, group: MemCgroup, name: str, path: str) -> str:
        """Text of a file. ENOENT where there is none, EINVAL for write-only ones."""
        reader = self._readers.get(name)
        if reader is None:
            raise kernel_error(errno.EINVAL if name in self._writers else errno.ENOENT, path)
        return reader(group)

    def write(self, group: MemCgroup, name: str, text: str, path: str) -> None:
        """Write a file. ENOENT where there is none, EINVAL for read-only ones."""
        writer = self._writers.get(name)
        if writer is None:
            raise kernel_error(errno.EINVAL if name in self._readers else errno.ENOENT, path)
        if text:
            writer(group, text, path)

    def _procs(self, group: MemCgroup) -> str:
        return "".join(f"{process.pid}\n" for process in self._kernel.in_memory(group))

    def _oom_control(self, group: MemCgroup) -> str:
        under = int(any(True for _ in self._kernel.sleepers(group)))
        return f"oom_kill_disable {int(group.oom_kill_disable)}\nunder_oom {under}\noom_kill {group.oom_kills}\n"

    def _stat(self, group: MemCgroup) -> str:
        limits = [above.limit_bytes for above in group.lineage() if isinstance(above.limit_bytes, int)]
        memsw = [above.memsw_limit_bytes for above in group.lineage() if isinstance(above.memsw_limit_bytes, int)]
        return (
            _stat_lines("", [group])
            + f"hierarchical_memory_limit {min(limits, default=NO_LIMIT_BYTES)}\n"
            + f"hierarchical_memsw_limit {min(memsw, default=NO_LIMIT_BYTES)}\n"
            + _stat_lines("total_", list(group.everything()))
        )

    def _move(self, group: MemCgroup, text: str, path: str) -> None:
        self._kernel.move(self._kernel.find(text, path), group)

    def _event_control(self, group: MemCgroup, text: str, path: str) -> None:
        """``EVENTFD CONTROLFD [ARGUMENTS]``: the numbers are checked, the descriptors are not."""
        words = text.split()
        if len(words) < 2 or not all(word.isdigit() for word in words[:2]):
            raise kernel_error(errno.EINVAL, path)

    def _limit(self, group: MemCgroup, text: str, path: str, *, memsw: bool) -> None:
        if self._kernel.controller.set_limit(group, text, path, memsw=memsw):
            self._kernel.wake(group)

    def _set_oom_control(self, group: MemCgroup, text: str, path: str) -> None:
        value = text.strip()
        if value not in ("0", "1") or group.parent is None:
            raise kernel_error(errno.EINVAL, path)
        group.oom_kill_disable = value == "1"
        if not group.oom_kill_disable:
            self._kernel.wake(group)


def _stat_lines(prefix: str, groups: list[MemCgroup]) -> str:
    def of(*kinds: Kind) -> int:
        return sum(group.charged[kind] for group in groups for kind in kinds)

    anon, shmem = of(Kind.ANON, Kind.ANON_HUGE), of(Kind.SHMEM)
    cache, locked = of(Kind.CACHE), of(Kind.LOCKED)
    figures = {
        "cache": cache + locked + shmem,
        "rss": anon,
        "rss_huge": of(Kind.ANON_HUGE),
        "shmem": shmem,
        "mapped_file": 0,
        "dirty": 0,
        "writeback": 0,
        "workingset_refault_anon": 0,
        "workingset_refault_file": 0,
        "swap": 0,
        "swapcached": 0,
        "pgpgin": (anon + cache + locked + shmem) // PAGE_BYTES,
        "pgpgout": 0,
        "pgfault": anon // PAGE_BYTES,
        "pgmajfault": 0,
        # Shmem sits on the anonymous lists: it can only be swapped.
        "inactive_anon": anon + shmem,
        "active_anon": 0,
        "inactive_file": cache,
        "active_file": 0,
        "unevictable": locked,
    }
    return "".join(f"{prefix}{name} {value}\n" for name, value in figures.items())


class FreezerFiles:
    """Files of a freezer cgroup."""

    def __init__(self, kernel: SimKernel) -> None:
        self._kernel = kernel

    def read(self, group: FreezerCgroup, name: str, path: str) -> str:
        """Text of a file; the root has no state (kernel freezer-subsystem.rst)."""
        if name in ("cgroup.procs", "tasks"):
            inside = [p.pid for p in self._kernel.processes.values() if p.freezer is group]
            return "".join(f"{pid}\n" for pid in sorted(inside))
        if group.parent is not None:
            if name == "freezer.state":
                return self._kernel.freezer_state(group) + "\n"
            if name == "freezer.self_freezing":
                return f"{int(group.self_freezing)}\n"
            if name == "freezer.parent_freezing":
                return f"{int(group.parent.freezing)}\n"
        raise kernel_error(errno.ENOENT, path)

    def write(self, group: FreezerCgroup, name: str, text: str, path: str) -> None:
        """Write a file."""
        if name == "cgroup.procs":
            process = self._kernel.find(text, path)
            process.freezer = group
            self._kernel.thawed()
        elif name == "freezer.state" and group.parent is not None:
            self._kernel.set_freezer(group, text, path)
        else:
            self.read(group, name, path)
            raise kernel_error(errno.EINVAL, path)
