"""``memory.stat`` of cgroup v2, taken apart: the twin of ``memstat``.

Every figure is hierarchical already, and v2 tells the slab that reclaim could free from the slab it could not,
which v1 does not. Pure: text in, figures out.
"""

from __future__ import annotations

from dataclasses import dataclass

from guestroom.attribute.memstat import MemStatFigures, stat_lines

_KERNEL_PARTS = ("kernel_stack", "pagetables", "sec_pagetables", "percpu", "vmalloc", "slab_unreclaimable")
"""What ``kernel`` is made of, for kernels before 5.18 that do not print the sum."""


@dataclass(frozen=True, slots=True)
class MemStat2:
    """A whole ``memory.stat``, in bytes; ``None`` where this kernel does not print the line.

    Meaning of the lines: kernel Documentation/admin-guide/cgroup-v2.rst, "memory.stat", and mm/memcontrol.c
    ``memory_stats`` for which counter each one is.
    """

    figures: MemStatFigures
    """Named as on v1: ``anon``, ``anon_thp``, ``file`` (which has shmem and swap cache in it), ``shmem``,
    ``swapcached``, the file lists, ``unevictable``. Swap has a file of its own on v2."""
    kernel_bytes: int | None
    """Kernel memory that reclaim can't take, socket buffers included (they are charged apart from ``kernel``)."""
    reclaimable_slab_bytes: int | None
    """Dentries, inodes and the like."""


def parse_memory_stat2(path: str, text: str) -> MemStat2:
    """Take apart the text of ``path``.

    Lines this program does not know are skipped, as kernels add some; what is missing becomes ``None``.
    Raises ``ReadError`` with the line for anything that is not ``name number`` or says the same name twice.
    """
    values = stat_lines(path, text)
    return MemStat2(
        figures=MemStatFigures(
            anon_bytes=values.get("anon"),
            anon_huge_bytes=values.get("anon_thp"),
            cache_bytes=values.get("file"),
            shmem_bytes=values.get("shmem"),
            swap_bytes=None,
            swapcached_bytes=values.get("swapcached"),
            active_file_bytes=values.get("active_file"),
            inactive_file_bytes=values.get("inactive_file"),
            unevictable_bytes=values.get("unevictable"),
        ),
        kernel_bytes=_kernel_bytes(values),
        reclaimable_slab_bytes=values.get("slab_reclaimable"),
    )


def _kernel_bytes(values: dict[str, int]) -> int | None:
    """``kernel`` less ``slab_reclaimable`` plus ``sock``; the sum of its parts where there is no ``kernel`` line.

    The two figures are updated at different moments (slab by the object, ``kernel`` by the page), so the difference may
    come out a little below 0 for an idle cgroup.
    """
    sockets = values.get("sock", 0)
    if "kernel" in values and "slab_reclaimable" in values:
        return max(0, values["kernel"] - values["slab_reclaimable"]) + sockets
    if "slab_unreclaimable" not in values:
        return None
    return sum(values.get(part, 0) for part in _KERNEL_PARTS) + sockets
