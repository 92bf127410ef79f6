"""Memory cgroups of version 2, read, and whether they are frozen.

Its twin ``cgroup1`` has the same functions. A cgroup that is gone is a ``VanishedError``: guests come and go, and
between any two files of one cgroup it may be removed. A figure this kernel does not have is ``None``.
"""

from __future__ import annotations

import errno

from guestroom.attribute.leaf import LeafReading
from guestroom.attribute.memstat import locked_file_bytes
from guestroom.attribute.memstat2 import MemStat2, parse_memory_stat2
from guestroom.errors import ReadError, VanishedError
from guestroom.facts import MemoryReading
from guestroom.layout import Layout
from guestroom.observe.hierarchy import find_layout, own_cgroup2
from guestroom.observe.text import list_dirs, number, numbers, read_optional, read_text, words
from guestroom.ports import Files
from guestroom.units import UNLIMITED, Limit

__all__ = [
    "PEAK_CAN_BE_RESET",
    "as_limit",
    "find_layout",
    "hidden_limit",
    "own_cgroup2",
    "populated",
    "read_all_procs",
    "read_frozen",
    "read_leaf",
    "read_limit",
    "read_memory",
    "read_oom_kills",
    "read_procs",
    "read_stat",
    "read_usage",
]

PEAK_CAN_BE_RESET = False
"""``memory.peak`` lasts as long as its cgroup: 6.12 can reset it for one open file, earlier kernels not at all."""

_HOW = (
    "v2 memory.stat anon, file, shmem, kernel - slab_reclaimable + sock; memory.swap.current; memory.current; "
    "page cache = file - shmem - swapcached; locked = min(unevictable, page cache off the file lists)"
)


def read_memory(files: Files, path: str, at_s: float) -> MemoryReading:
    """One memory cgroup, children included, at ``at_s`` monotonic seconds.

    The files are not one snapshot. The order keeps what must hold: the parts (memory.stat, swap) come first as they
    decide, then usage, then the peak, so that the peak is never below the usage shown with it. memory.stat itself may
    be 64 pages a CPU behind (per-CPU statistics). ``failcnt`` is ``max`` of ``memory.events.local``: how often the
    limit itself was met. Nothing sleeps at a v2 limit, it is killed there, so ``under_oom`` is False.

    Raises ``VanishedError`` when the cgroup is gone, ``ReadError`` for text that is not what the kernel prints and
    where the memory controller is off.
    """
    stat = read_stat(files, path)
    figures = stat.figures
    swap = _optional_number(files, path, "memory.swap.current")
    usage = read_usage(files, path)
    limit = read_limit(files, path)
    peak = _optional_number(files, path, "memory.peak")
    failcnt = _times_at_limit(files, path)
    file = None
    if figures.cache_bytes is not None and figures.shmem_bytes is not None:
        file = max(0, figures.cache_bytes - figures.shmem_bytes - (figures.swapcached_bytes or 0))
    return MemoryReading(
        path=path,
        at_s=at_s,
        usage_bytes=usage,
        limit_bytes=limit,
        peak_bytes=peak,
        failcnt=failcnt,
        anon_bytes=figures.anon_bytes,
        anon_huge_bytes=figures.anon_huge_bytes,
        file_bytes=file,
        shmem_bytes=figures.shmem_bytes,
        kernel_bytes=stat.kernel_bytes,
        swap_bytes=swap,
        locked_file_bytes=locked_file_bytes(figures),
        under_oom=False,
        how=_HOW,
    )


def read_leaf(files: Files, path: str) -> LeafReading | None:
    """``None``: v2 has no shorter way, as its peak can't be reset and must be followed at every look."""
    return None


def read_stat(files: Files, path: str) -> MemStat2:
    """``memory.stat`` of a cgroup. Raises ``VanishedError`` or ``ReadError``."""
    file = f"{path}/memory.stat"
    return parse_memory_stat2(file, _controlled(files, path, "memory.stat"))


def read_usage(files: Files, path: str) -> int:
    """Bytes charged now, cache and kernel memory included: the cheapest reading, and what the limit is compared with.

    Up to 64 pages a CPU too high (charge stock). Raises ``VanishedError`` or ``ReadError``.
    """
    return number(f"{path}/memory.current", _controlled(files, path, "memory.current"))


def read_limit(files: Files, path: str) -> Limit:
    """The cgroup's own limit; where it has none to set (the root, or no memory controller) nothing limits it.

    Raises ``VanishedError`` or ``ReadError``.
    """
    text = read_optional(files, path, "memory.max")
    return UNLIMITED if text is None else as_limit(f"{path}/memory.max", text)


def as_limit(path: str, text: str) -> Limit:
    """The limit a v2 file says: ``max`` is ``UNLIMITED``. Raises ``ReadError``."""
    return UNLIMITED if text.strip() == "max" else number(path, text)


def hidden_limit(files: Files, root: str) -> Limit | None:
    """The smallest limit above what can be seen: v2 does not say, so ``None``."""
    return None


def read_oom_kills(files: Files, path: str) -> int | None:
    """Processes the OOM killer took in this cgroup and below; ``None`` before 4.13, which does not count them.

    Raises ``VanishedError`` or ``ReadError``.
    """
    file = f"{path}/memory.events"
    value = words(file, _controlled(files, path, "memory.events")).get("oom_kill")
    return None if value is None else number(file, value)


def read_frozen(files: Files, path: str) -> bool:
    """True when every task in the cgroup stands still, for whatever cgroup above it too was frozen.

    Raises ``VanishedError`` or ``ReadError``.
    """
    return _event(files, path, "frozen")


def read_procs(files: Files, path: str) -> list[int]:
    """Process ids in the cgroup itself, sorted, each once.

    Raises ``VanishedError`` or ``ReadError``.
    """
    file = f"{path}/cgroup.procs"
    return sorted(set(numbers(file, read_text(files, file))))


def read_all_procs(files: Files, path: str) -> list[int]:
    """Process ids in the cgroup and everything below it, sorted. Children that vanish meanwhile are passed over.

    So are threaded ones: their processes are told by the cgroup above them (cgroup-v2.rst, "Threads"), and asking them
    is an error. Raises ``VanishedError`` when the cgroup itself is gone, ``ReadError`` otherwise.
    """
    found = set(read_procs(files, path))
    for name in list_dirs(files, path):
        try:
            found.update(read_all_procs(files, f"{path}/{name}"))
        except VanishedError:
            continue
        except ReadError as error:
            if not _is_threaded(error):
                raise
    return sorted(found)


def _is_threaded(error: ReadError) -> bool:
    """True for what a threaded cgroup answers when it is asked for processes."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EOPNOTSUPP


def populated(files: Files, layout: Layout, name: str) -> bool:
    """True while any process lives in the guest's cgroups; False when they are empty or gone. Raises ``ReadError``."""
    try:
        return _event(files, layout.guest(name), "populated")
    except VanishedError:
        return False


def _event(files: Files, path: str, name: str) -> bool:
    """One line of ``cgroup.events``."""
    file = f"{path}/cgroup.events"
    value = words(file, read_text(files, file)).get(name)
    if value not in ("0", "1"):
        raise ReadError(file, f"{name} is neither 0 nor 1", text=str(value))
    return value == "1"


def _times_at_limit(files: Files, path: str) -> int | None:
    """``max`` of ``memory.events.local``, for kernels before 5.2 of ``memory.events`` (which counts children too)."""
    for name in ("memory.events.local", "memory.events"):
        text = read_optional(files, path, name)
        if text is not None:
            value = words(f"{path}/{name}", text).get("max")
            return None if value is None else number(f"{path}/{name}", value)
    return None


def _controlled(files: Files, path: str, name: str) -> str:
    """Text of a file that every cgroup with the memory controller has."""
    text = read_optional(files, path, name)
    if text is None:
        raise ReadError(f"{path}/{name}", "the memory controller is off in this cgroup")
    return text


def _optional_number(files: Files, path: str, name: str) -> int | None:
    text = read_optional(files, path, name)
    return None if text is None else number(f"{path}/{name}", text)
