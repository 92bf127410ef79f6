"""What the kernel charges a guest's cgroups for, in more detail than the agent's loop needs: for ``explain``."""

from __future__ import annotations

from collections.abc import Sequence

from guestroom.attribute.memstat import stat_lines
from guestroom.attribute.parts import Charge, ProcessMemory
from guestroom.errors import HostError, ReadError, VanishedError
from guestroom.layout import Version
from guestroom.observe import procfs
from guestroom.observe.adoptable import cgroup2_of, cgroup_of
from guestroom.observe.cgroups import cgroups
from guestroom.observe.hierarchy import controller_mounts
from guestroom.observe.text import exists, list_dirs, number, read_optional, read_text
from guestroom.ports import Files
from guestroom.units import PAGE_BYTES


def find_cgroup(files: Files, pid: int) -> tuple[str, Version]:
    """Folder of the cgroup that holds all of a process's guest, and its version.

    A guest that guestroom started is in ``vmm`` beside ``ram``: then it is the folder above both. Raises ``HostError``
    where it can't be seen from here.
    """
    if "memory" in controller_mounts(files):
        return _whole(files, cgroup_of(files, pid, "memory")), 1
    return _whole(files, cgroup2_of(files, pid)), 2


def _whole(files: Files, folder: str) -> str:
    above, _, leaf = folder.rpartition("/")
    beside = {"ram": "vmm", "vmm": "ram"}.get(leaf)
    return above if beside is not None and exists(files, f"{above}/{beside}") else folder


def read_charge(files: Files, path: str, version: Version) -> Charge:
    """What ``path`` and the cgroups below it are charged for. Raises ``VanishedError`` or ``ReadError``.

    The leaves are read, not the sum above them: ``memory.stat`` of a v1 cgroup with children may lag by a second
    (measured on Linux 6.18).
    """
    folders = [path, *_below(files, path)]
    charges = [_own(files, folder, version) for folder in folders]
    usage = cgroups(version).read_usage(files, path)
    named = sum(1 for one in charges if one.anon_bytes or one.file_bytes or one.kernel_bytes)
    kernel = _hierarchical_kernel(files, path, version) or sum(one.kernel_bytes for one in charges)
    how = "memory.stat of each cgroup, usage of the uppermost"
    return Charge(
        usage_bytes=usage,
        anon_bytes=sum(one.anon_bytes for one in charges),
        shmem_bytes=sum(one.shmem_bytes for one in charges),
        file_bytes=sum(one.file_bytes for one in charges),
        kernel_bytes=kernel,
        file_mapped_bytes=_sum(charges, "file_mapped_bytes"),
        file_dirty_bytes=_sum(charges, "file_dirty_bytes"),
        page_table_bytes=_sum(charges, "page_table_bytes"),
        kernel_stack_bytes=_sum(charges, "kernel_stack_bytes"),
        slab_reclaimable_bytes=_sum(charges, "slab_reclaimable_bytes"),
        slab_unreclaimable_bytes=_sum(charges, "slab_unreclaimable_bytes"),
        percpu_bytes=_sum(charges, "percpu_bytes"),
        socket_bytes=_sum(charges, "socket_bytes"),
        vmalloc_bytes=_sum(charges, "vmalloc_bytes"),
        split_due_bytes=_sum(charges, "split_due_bytes"),
        cgroups=max(1, named),
        how=how,
    )


def _sum(charges: Sequence[Charge], name: str) -> int | None:
    """Sum of one figure; None where no cgroup says it."""
    found = [getattr(one, name) for one in charges]
    told = [value for value in found if value is not None]
    return sum(told) if told else None


def _below(files: Files, path: str) -> list[str]:
    found: list[str] = []
    for name in list_dirs(files, path):
        child = f"{path}/{name}"
        found += [child, *_below(files, child)]
    return found


def _own(files: Files, path: str, version: Version) -> Charge:
    """One cgroup without its children where the kernel tells that (v1), else with them only at a leaf (v2)."""
    values = stat_lines(f"{path}/memory.stat", read_text(files, f"{path}/memory.stat"))
    return _own1(files, path, values) if version == 1 else _own2(files, path, values)


def _own1(files: Files, path: str, values: dict[str, int]) -> Charge:
    shmem = values.get("shmem", 0)
    kernel = read_optional(files, path, "memory.kmem.usage_in_bytes")
    tcp = read_optional(files, path, "memory.kmem.tcp.usage_in_bytes")
    return Charge(
        usage_bytes=0,
        anon_bytes=values.get("rss", 0),
        shmem_bytes=shmem,
        file_bytes=max(0, values.get("cache", 0) - shmem - values.get("swapcached", 0)),
        kernel_bytes=0 if kernel is None else number(f"{path}/memory.kmem.usage_in_bytes", kernel),
        file_mapped_bytes=max(0, values.get("mapped_file", 0)),
        split_due_bytes=_split_due(values, "rss", "cache"),
        file_dirty_bytes=values.get("dirty", 0) + values.get("writeback", 0),
        socket_bytes=None if tcp is None else number(f"{path}/memory.kmem.tcp.usage_in_bytes", tcp),
    )


_LISTS = ("active_anon", "inactive_anon", "active_file", "inactive_file", "unevictable")


def _split_due(values: dict[str, int], anon: str, file: str) -> int | None:
    """Huge pages are whole on their LRU list, while ``anon`` (v1: ``rss``) counts only what of them is mapped.

    Measured on v1 of Linux 6.18 as well: half of each huge page given back, and the difference is that half.
    """
    if any(name not in values for name in (*_LISTS, anon, file)):
        return None
    return max(0, sum(values[name] for name in _LISTS) - values[anon] - values[file])


def _own2(files: Files, path: str, values: dict[str, int]) -> Charge:
    if list_dirs(files, path):
        # v2 figures have the children in them, which are read by themselves.
        return Charge(0, 0, 0, 0, 0)
    shmem, stacks = values.get("shmem", 0), values.get("kernel_stack", 0)
    parts = ("kernel_stack", "pagetables", "sec_pagetables", "percpu", "vmalloc", "slab")
    kernel = values.get("kernel", sum(values.get(name, 0) for name in parts))
    return Charge(
        usage_bytes=0,
        anon_bytes=values.get("anon", 0),
        shmem_bytes=shmem,
        file_bytes=max(0, values.get("file", 0) - shmem - values.get("swapcached", 0)),
        kernel_bytes=kernel + values.get("sock", 0),
        file_mapped_bytes=values.get("file_mapped"),
        split_due_bytes=_split_due(values, "anon", "file"),
        file_dirty_bytes=values.get("file_dirty", 0) + values.get("file_writeback", 0),
        page_table_bytes=values.get("pagetables", 0) + values.get("sec_pagetables", 0),
        kernel_stack_bytes=stacks,
        slab_reclaimable_bytes=values.get("slab_reclaimable"),
        slab_unreclaimable_bytes=values.get("slab_unreclaimable"),
        percpu_bytes=values.get("percpu"),
        socket_bytes=values.get("sock"),
        vmalloc_bytes=max(0, values.get("vmalloc", 0) - stacks),
    )


def _hierarchical_kernel(files: Files, path: str, version: Version) -> int | None:
    """Kernel memory of the whole tree on v1: the folders' own is charged to the cgroup above them."""
    if version != 1:
        return None
    text = read_optional(files, path, "memory.kmem.usage_in_bytes")
    return None if text is None else number(f"{path}/memory.kmem.usage_in_bytes", text)


def read_processes(files: Files, path: str, version: Version) -> tuple[ProcessMemory, ...]:
    """Every process in ``path`` and below it; those that end meanwhile are left out.

    Raises ``VanishedError`` when the cgroup is gone, ``ReadError`` where a process may not be read.
    """
    found = []
    for pid in cgroups(version).read_all_procs(files, path):
        try:
            found.append(read_process(files, pid))
        except VanishedError:
            continue
    return tuple(found)


def read_process(files: Files, pid: int) -> ProcessMemory:
    """One process. Raises ``VanishedError`` or ``ReadError``."""
    vmas = procfs.read_smaps(files, pid)
    path = f"/proc/{pid}/status"
    figures: dict[str, int] = {}
    for line in read_text(files, path).splitlines():
        name, _, rest = line.partition(":")
        if name in ("VmPTE", "Threads"):
            word = rest.split()
            if not word or not word[0].isdecimal():
                raise ReadError(path, f"{name} is not a number", text=line)
            figures[name] = int(word[0])
    return ProcessMemory(
        pid=pid,
        command=procfs.comm(files, pid),
        qemu=_is_qemu(files, pid),
        vmas=vmas,
        page_table_bytes=figures.get("VmPTE", 0) * 1024 + PAGE_BYTES,
        threads=figures.get("Threads", 1),
    )


def _is_qemu(files: Files, pid: int) -> bool:
    try:
        return procfs.is_qemu(files, pid)
    except VanishedError:
        raise
    except HostError:
        return False
