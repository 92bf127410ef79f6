"""Memory and freezer cgroups of version 1, read.

Its twin ``cgroup2`` has the same functions. A cgroup that is gone is a ``VanishedError``: guests come and go, and
between any two files of one cgroup it may be removed. A figure this kernel does not have is ``None``.
"""

from __future__ import annotations

from guestroom.attribute.leaf import LeafReading, leaf_parts
from guestroom.attribute.memstat import MemStat, locked_file_bytes, parse_memory_stat
from guestroom.errors import ReadError, VanishedError
from guestroom.facts import MemoryReading
from guestroom.layout import Layout
from guestroom.observe.hierarchy import controller_mounts, find_layout, own_cgroup
from guestroom.observe.text import list_dirs, number, numbers, read_optional, read_text, words
from guestroom.ports import Files
from guestroom.units import UNLIMITED, Limit

__all__ = [
    "PEAK_CAN_BE_RESET",
    "as_limit",
    "controller_mounts",
    "find_layout",
    "hidden_limit",
    "own_cgroup",
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

PEAK_CAN_BE_RESET = True
"""Writing ``memory.max_usage_in_bytes`` begins a new window of the kernel's own peak (memory.rst section 5.1)."""

NO_LIMIT_BYTES = (2**63 - 1) // 65536 * 65536
"""From here on ``memory.limit_in_bytes`` means no limit: it then reads LONG_MAX rounded down to pages
(PAGE_COUNTER_MAX, include/linux/page_counter.h), 9223372036854771712 with 4 KiB pages, this with 64 KiB pages."""

FROZEN_STATES = {"THAWED": False, "FREEZING": False, "FROZEN": True}
"""``freezer.state`` (kernel Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst): FREEZING is not yet still."""

_HOW = (
    "v1 memory.stat total_rss, total_cache, total_shmem; memory.kmem.usage_in_bytes; memory.usage_in_bytes; "
    "page cache = cache - shmem - swapcached; locked = min(unevictable, page cache off the file lists)"
)


def read_memory(files: Files, path: str, at_s: float) -> MemoryReading:
    """One memory cgroup, children included, at ``at_s`` monotonic seconds.

    The files are not one snapshot. The order keeps what must hold: the parts (memory.stat, kmem) come first as they
    decide, then usage, then the peak, so that the peak is never below the usage shown with it. memory.stat itself may
    be 64 pages a CPU behind (per-CPU statistics). Kernel memory on v1 includes what reclaim could take (the records of
    cached pages, up to 5 % of the page cache: measured), so it errs towards more overhead.

    Raises ``VanishedError`` when the cgroup is gone, ``ReadError`` for text that is not what the kernel prints.
    """
    stat = read_stat(files, path)
    total = stat.total
    kernel = _optional_number(files, path, "memory.kmem.usage_in_bytes")
    usage = read_usage(files, path)
    limit = read_limit(files, path)
    peak = _optional_number(files, path, "memory.max_usage_in_bytes")
    failcnt = _optional_number(files, path, "memory.failcnt")
    under_oom, killer_on = _oom_control(files, path)
    file = None
    if total.cache_bytes is not None and total.shmem_bytes is not None:
        file = max(0, total.cache_bytes - total.shmem_bytes - (total.swapcached_bytes or 0))
    return MemoryReading(
        path=path,
        at_s=at_s,
        usage_bytes=usage,
        limit_bytes=limit,
        peak_bytes=peak,
        failcnt=failcnt,
        anon_bytes=total.anon_bytes,
        anon_huge_bytes=total.anon_huge_bytes,
        file_bytes=file,
        shmem_bytes=total.shmem_bytes,
        kernel_bytes=kernel,
        swap_bytes=total.swap_bytes,
        locked_file_bytes=locked_file_bytes(total),
        under_oom=under_oom,
        how=_HOW,
        killer_on=killer_on,
    )


def read_leaf(files: Files, path: str) -> LeafReading | None:
    """What changes in a cgroup without children, with three reads; ``None`` where this kernel lacks one of the files.

    The same figures as ``read_memory``, for a look that only follows one that was complete. Raises ``VanishedError``
    when the cgroup is gone, ``ReadError`` for text that is not what the kernel prints.
    """
    file = f"{path}/memory.stat"
    text = read_text(files, file)
    kernel = _optional_number(files, path, "memory.kmem.usage_in_bytes")
    peak = _optional_number(files, path, "memory.max_usage_in_bytes")
    parts = leaf_parts(file, text)
    if kernel is None or parts is None:
        return None
    pinned, cache = parts
    return LeafReading(pinned + kernel, cache, peak)


def read_stat(files: Files, path: str) -> MemStat:
    """``memory.stat`` of a cgroup. Raises ``VanishedError`` or ``ReadError``."""
    file = f"{path}/memory.stat"
    return parse_memory_stat(file, read_text(files, file))


def read_usage(files: Files, path: str) -> int:
    """Bytes charged now, cache and kernel memory included: the cheapest reading (about 8 microseconds).

    Up to 64 pages a CPU too high (charge stock). Raises ``VanishedError`` or ``ReadError``.
    """
    file = f"{path}/memory.usage_in_bytes"
    return number(file, read_text(files, file))


def read_limit(files: Files, path: str) -> Limit:
    """The cgroup's own limit. Raises ``VanishedError`` or ``ReadError``."""
    file = f"{path}/memory.limit_in_bytes"
    return as_limit(number(file, read_text(files, file)))


def as_limit(limit_bytes: int) -> Limit:
    """``UNLIMITED`` for the figure v1 prints where there is no limit, and for anything larger."""
    return UNLIMITED if limit_bytes >= NO_LIMIT_BYTES else limit_bytes


def hidden_limit(files: Files, root: str) -> Limit | None:
    """The smallest limit above ``root``, the highest cgroup that can be seen; ``UNLIMITED`` where none is smaller
    than its own, ``None`` where this kernel does not say.

    It shows in ``hierarchical_memory_limit``. Raises ``VanishedError`` or ``ReadError``.
    """
    found = read_stat(files, root).hierarchical_limit_bytes
    if found is None:
        return None
    limit, own = as_limit(found), read_limit(files, root)
    hidden = isinstance(limit, int) and (not isinstance(own, int) or limit < own)
    return limit if hidden else UNLIMITED


def read_oom_kills(files: Files, path: str) -> int | None:
    """Processes the OOM killer took in this cgroup itself; ``None`` before 4.13, which does not count them.

    Raises ``VanishedError`` or ``ReadError``.
    """
    file = f"{path}/memory.oom_control"
    value = words(file, read_text(files, file)).get("oom_kill")
    return None if value is None else number(file, value)


def read_frozen(files: Files, freezer_path: str) -> bool:
    """True when every task in the freezer cgroup stands still.

    ``FREEZING`` is False: tasks may still run and still take memory. Raises ``VanishedError`` or ``ReadError``.
    """
    file = f"{freezer_path}/freezer.state"
    text = read_text(files, file)
    state = FROZEN_STATES.get(text.strip())
    if state is None:
        raise ReadError(file, "not THAWED, FREEZING or FROZEN", line=1, text=text)
    return state


def read_procs(files: Files, path: str) -> list[int]:
    """Process ids in the cgroup itself, sorted, each once (``cgroup.procs`` may repeat).

    Raises ``VanishedError`` or ``ReadError``.
    """
    file = f"{path}/cgroup.procs"
    return sorted(set(numbers(file, read_text(files, file))))


def read_all_procs(files: Files, path: str) -> list[int]:
    """Process ids in the cgroup and everything below it, sorted. Children that vanish meanwhile are passed over.

    Raises ``VanishedError`` when the cgroup itself is gone, ``ReadError`` otherwise.
    """
    found = set(read_procs(files, path))
    for name in list_dirs(files, path):
        try:
            found.update(read_all_procs(files, f"{path}/{name}"))
        except VanishedError:
            continue
    return sorted(found)


def populated(files: Files, layout: Layout, name: str) -> bool:
    """True while any process lives in the guest's cgroups; False when they are empty or gone. Raises ``ReadError``."""
    for path in (layout.vmm(name), layout.ram(name), layout.guest(name)):
        try:
            if read_procs(files, path):
                return True
        except VanishedError:
            continue
    return False


def _optional_number(files: Files, path: str, name: str) -> int | None:
    text = read_optional(files, path, name)
    return None if text is None else number(f"{path}/{name}", text)


def _oom_control(files: Files, path: str) -> tuple[bool | None, bool | None]:
    """Two words of ``memory.oom_control``: tasks sleep at the limit, waiting for room; the killer is on."""
    text = read_optional(files, path, "memory.oom_control")
    if text is None:
        return None, None
    file, found = f"{path}/memory.oom_control", words(f"{path}/memory.oom_control", text)
    for name in ("under_oom", "oom_kill_disable"):
        if found.get(name) not in (None, "0", "1"):
            raise ReadError(file, f"{name} is neither 0 nor 1", text=found[name])
    under, disabled = found.get("under_oom"), found.get("oom_kill_disable")
    return None if under is None else under == "1", None if disabled is None else disabled == "0"
