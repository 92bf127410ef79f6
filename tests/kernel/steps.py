"""The steps of a generated sequence and how each is done on either host.

Sizes are whole MiB and limits lie half a MiB between them, so that noise of pages never decides whether something
fits. Where it still would (after a touch that was cut short at a limit), the step is left out: see ``by_noise``.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from enum import StrEnum

from guestroom.testing import SimHost
from guestroom.units import MIB, PAGE_BYTES

from .realhost import RealHost

PLACES = ("g", "g/ram", "g/vmm")
PAGE_FILE_BYTES = 4 * MIB
NOISE_BYTES = 384 * 1024
"""What a helper and its cgroup weigh beside what was ordered: page tables, mapped library pages, slab."""


class Verb(StrEnum):
    """What a step does."""

    TOUCH = "touch"
    SYSCALL = "syscall"
    FREE = "free"
    DISCARD = "discard"
    RETOUCH = "retouch"
    COLLAPSE = "collapse"
    CACHE = "cache"
    PIPES = "pipes"
    UNPIPE = "unpipe"
    MOVE = "move"
    LIMIT = "limit"
    OOM = "oom_control"
    FORCE_EMPTY = "force_empty"
    FREEZE = "freeze"
    THAW = "thaw"
    KILL = "kill"
    SPAWN = "spawn"
    RMDIR = "rmdir"
    MKDIR = "mkdir"


ORDERS = frozenset(
    {
        Verb.TOUCH,
        Verb.SYSCALL,
        Verb.FREE,
        Verb.DISCARD,
        Verb.RETOUCH,
        Verb.COLLAPSE,
        Verb.CACHE,
        Verb.PIPES,
        Verb.UNPIPE,
    }
)
"""Steps that a helper does itself."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step. ``who``: which helper (0 is the first, 1 the second); ``mib``: how much, None for no limit."""

    verb: Verb
    who: int = 0
    place: str = "g"
    region: str = "small"
    mib: int | None = 0


@dataclass(slots=True)
class Cast:
    """The helpers on both hosts, in the order they were started."""

    sim: list[int]
    real: list[int]


def by_noise(step: Step, sim: SimHost, cast: Cast) -> bool:
    """True where ``step`` would end otherwise under limits a little higher or lower: then neither host would be wrong.

    It is tried on two copies of the simulator. Two processes that go on at once race for the room, so as long as one
    has something to finish no other is given an order.
    """
    busy = [pid for pid in cast.sim if (process := sim.kernel.processes.get(pid)) is not None and process.todo]
    if busy and step.verb in ORDERS and cast.sim[step.who % len(cast.sim)] not in busy:
        return True
    return _ending(step, sim, cast, NOISE_BYTES)[0] != _ending(step, sim, cast, -NOISE_BYTES)[0]


def may_reclaim(step: Step, sim: SimHost, cast: Cast) -> bool:
    """True where the kernel may evict page cache in ``step``: it does so before it drains the CPUs' charge stocks."""
    return _ending(step, sim, cast, -NOISE_BYTES - stock_bytes(os.cpu_count() or 1, len(PLACES)))[1]


def _ending(step: Step, sim: SimHost, cast: Cast, shift_bytes: int) -> tuple[object, bool]:
    """How ``step`` would end with every limit shifted (errno, who lives, who sleeps, each order), and if it evicts."""
    trial = sim.copy()
    for group in trial.kernel.memory_root.below():
        if isinstance(group.limit_bytes, int):
            group.limit_bytes += shift_bytes
    evicted = trial.kernel.controller.evicted_bytes
    error = do_sim(step, trial, Cast(list(cast.sim), list(cast.real)), shift_bytes)
    ends = [
        (process.pid, process.waits_at.path if process.waits_at is not None else None, tuple(process.fates))
        for process in trial.kernel.processes.values()
    ]
    return (error, ends), trial.kernel.controller.evicted_bytes > evicted


def limit_bytes(mib: int, shift_bytes: int = 0) -> int:
    """A limit half a MiB above whole ones."""
    return mib * MIB + MIB // 2 + shift_bytes


def written(step: Step, shift_bytes: int = 0) -> tuple[str, str, str] | None:
    """(hierarchy, file, value) of a step that writes a control file; None for others."""
    match step.verb:
        case Verb.LIMIT:
            value = "-1" if step.mib is None else str(limit_bytes(step.mib, shift_bytes))
            return "memory", f"{step.place}/memory.limit_in_bytes", value
        case Verb.OOM:
            return "memory", f"{step.place}/memory.oom_control", str((step.mib or 0) % 2)
        case Verb.FORCE_EMPTY:
            return "memory", f"{step.place}/memory.force_empty", "1"
        case Verb.FREEZE:
            return "freezer", "g/freezer.state", "FROZEN"
        case Verb.THAW:
            return "freezer", "g/freezer.state", "THAWED"
    return None


def do_sim(step: Step, sim: SimHost, cast: Cast, shift_bytes: int = 0) -> int:
    """Do ``step`` on the simulator; the errno of a write, 0 for none."""
    control = written(step, shift_bytes)
    pid = cast.sim[step.who % len(cast.sim)]
    try:
        if control is not None:
            hierarchy, file, value = control
            sim.write(f"{sim.memory if hierarchy == 'memory' else sim.freezer}/{file}", value)
        elif step.verb is Verb.MOVE:
            sim.write(f"{sim.memory}/{step.place}/cgroup.procs", str(pid))
        elif step.verb is Verb.RMDIR:
            sim.rmdir(f"{sim.memory}/{step.place}")
        elif step.verb is Verb.MKDIR:
            sim.mkdir(f"{sim.memory}/{step.place}")
        elif step.verb is Verb.SPAWN:
            sim.memory_group(f"{sim.memory}/{step.place}")
            cast.sim.append(sim.spawn(f"{sim.memory}/{step.place}", f"{sim.freezer}/g"))
        elif sim.alive(pid):
            _order_sim(step, sim, pid)
    except OSError as error:
        return error.errno or -1
    return 0


def _order_sim(step: Step, sim: SimHost, pid: int) -> None:
    size = (step.mib or 0) * MIB
    match step.verb:
        case Verb.TOUCH:
            sim.touch(pid, size, huge=step.region == "huge", shm=step.region == "shm")
        case Verb.SYSCALL:
            sim.touch_by_syscall(pid, size)
        case Verb.FREE:
            sim.free(pid, size, step.region)
        case Verb.DISCARD:
            sim.discard(pid, size, step.region)
        case Verb.RETOUCH:
            sim.retouch(pid, step.region)
        case Verb.COLLAPSE:
            sim.collapse(pid)
        case Verb.CACHE:
            sim.fill_cache(pid, PAGE_FILE_BYTES)
        case Verb.PIPES:
            sim.kernel_memory(pid, size)
        case Verb.UNPIPE:
            sim.release_kernel(pid)
        case Verb.KILL:
            sim.exit(pid)


def do_real(step: Step, real: RealHost, cast: Cast) -> int:
    """Do ``step`` on the kernel; the errno of a write, 0 for none."""
    control = written(step)
    pid = cast.real[step.who % len(cast.real)]
    try:
        if control is not None:
            hierarchy, file, value = control
            real.files.write(f"{real.memory if hierarchy == 'memory' else real.freezer}/{file}", value)
        elif step.verb is Verb.MOVE:
            real.files.write(f"{real.memory}/{step.place}/cgroup.procs", str(pid))
        elif step.verb is Verb.RMDIR:
            real.files.rmdir(f"{real.memory}/{step.place}")
        elif step.verb is Verb.MKDIR:
            real.files.mkdir(f"{real.memory}/{step.place}")
        elif step.verb is Verb.SPAWN:
            real.files.inode(f"{real.memory}/{step.place}")
            cast.real.append(real.spawn(f"{real.memory}/{step.place}", f"{real.freezer}/g"))
        elif step.verb is Verb.KILL:
            real.exit(pid)
        else:
            real.order(pid, _command(step, real))
    except OSError as error:
        return error.errno or -1
    return 0


def _command(step: Step, real: RealHost) -> str:
    if step.verb is Verb.CACHE:
        return f"read {real.next_file()}"
    return f"{step.verb.value} {step.region} {(step.mib or 0) * MIB}"


ANSWERS = {
    "done": "ok",
    "enomem": str(errno.ENOMEM),
    "efault": str(errno.EFAULT),
    "ebusy": str(errno.EBUSY),
}
"""The helper's answer that means the same as the simulator's fate."""

PAGES_OF_STOCK = 64
"""A CPU charges that many pages ahead (``MEMCG_CHARGE_BATCH``, include/linux/memcontrol.h)."""


def stock_bytes(cpus: int, places: int) -> int:
    """What ``usage_in_bytes`` may show above what is in use."""
    return PAGES_OF_STOCK * PAGE_BYTES * cpus * places
