"""``/proc/PID/smaps``, taken apart: which resident bytes are guest RAM.

QEMU marks every RAM block ``MADV_DONTFORK`` (``ram_block_add``, system/physmem.c), which smaps shows as VmFlag
``dc``; nothing else in the process carries it (measured on QEMU 7.2 in twelve set-ups: anonymous,
memory-backend-ram, memfd, mem-lock, NUMA, sandbox). Not every RAM block is guest RAM: VGA, ROMs and tables
are blocks too, so blocks are told by their size, and where that is not enough the answer is ``None``
(promise P6). Pure: text in, figures out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from guestroom.errors import ReadError


@dataclass(frozen=True, slots=True)
class Vma:
    """One mapping; sizes in bytes (proc(5), kernel Documentation/filesystems/proc.rst)."""

    start: int
    size_bytes: int
    perms: str
    """As printed, for example ``rw-p``; ``s`` in the last place is a shared mapping."""
    name: str
    """File or ``[heap]``, ``[stack]``...; empty for anonymous memory."""
    rss_bytes: int
    """Resident pages, hugetlb not included."""
    anonymous_bytes: int
    swap_bytes: int
    ksm_bytes: int | None
    """Resident pages that KSM merged: charged once, to whoever had them first. ``None`` before Linux 6.8,
    which began to print it."""
    private_hugetlb_bytes: int
    shared_hugetlb_bytes: int
    flags: frozenset[str]
    """VmFlags, two letters each."""

    @property
    def end(self) -> int:
        """First address after it."""
        return self.start + self.size_bytes

    @property
    def executable(self) -> bool:
        """True where code may run: with no name and no ``dc`` it is the TCG code buffer."""
        return self.perms[2] == "x"

    @property
    def shared(self) -> bool:
        """True for a shared mapping: its pages are page cache or shmem, not anonymous."""
        return self.perms[3] == "s"

    @property
    def ram_block(self) -> bool:
        """True where it is (part of) a QEMU RAM block."""
        return "dc" in self.flags


@dataclass(frozen=True, slots=True)
class GuestRam:
    """Guest RAM as one process maps it, in bytes."""

    resident_bytes: int
    """Charged to memory cgroups now: resident, hugetlb not included."""
    anonymous_bytes: int
    """The part of it that is anonymous; the rest is shmem or file pages."""
    swap_bytes: int
    ksm_bytes: int | None
    """The part of it that KSM merged; ``None`` where the kernel does not say."""
    hugetlb_bytes: int
    """In hugetlb pages: outside memory cgroups."""


_HEADER = re.compile(r"([0-9a-f]{1,16})-([0-9a-f]{1,16}) ([r-][w-][x-][ps]) \S+ \S+ \d+ *(.*)\Z", re.ASCII)
_VALUE = re.compile(r" *([0-9]{1,15}) kB\Z", re.ASCII)
_WANTED = frozenset(("Size", "Rss", "Anonymous", "Swap", "KSM", "Private_Hugetlb", "Shared_Hugetlb"))
_FLAGS = re.compile(r"[ a-z0-9]*\Z", re.ASCII)


def parse_smaps(path: str, text: str) -> tuple[Vma, ...]:
    """Take apart the text of ``path``; empty text (a process that has ended) gives no mappings.

    Figures this program does not use are skipped, as kernels add some. Raises ``ReadError`` with the line and the
    text found for a mapping that lacks its size, its resident or anonymous bytes or its flags, and for any
    figure it uses that is not ``N kB``.
    """
    vmas: list[Vma] = []
    header: re.Match[str] | None = None
    figures: dict[str, int] = {}
    number, line = 0, ""
    for number, line in enumerate(text.split("\n"), start=1):
        name, colon, rest = line.partition(":")
        if colon and name in _WANTED:
            value = _VALUE.match(rest)
            if value is None or header is None:
                raise ReadError(path, "a figure is not 'name: N kB' of a mapping", line=number, text=line)
            figures[name] = int(value[1]) << 10
        elif name == "VmFlags":
            if header is None or not _FLAGS.match(rest):
                raise ReadError(path, "flags that belong to no mapping or are not words", line=number, text=line)
            vmas.append(_vma(path, number, header, figures, rest))
            header, figures = None, {}
        elif not colon or not name.isidentifier():
            found = _HEADER.match(line)
            if found is not None and header is None:
                header = found
            elif line:
                raise ReadError(path, "neither a mapping nor a figure", line=number, text=line)
    if header is not None:
        raise ReadError(path, "the last mapping has no VmFlags", line=number, text=header[0])
    if text and not text.endswith("\n"):
        raise ReadError(path, "the text ends in the middle of a line", line=number, text=line)
    return tuple(vmas)


def _vma(path: str, line: int, header: re.Match[str], figures: dict[str, int], flags: str) -> Vma:
    """Build one record when its last line, VmFlags, was read."""
    start, end = int(header[1], 16), int(header[2], 16)
    size = figures.get("Size")
    rss = figures.get("Rss")
    anonymous = figures.get("Anonymous")
    if size is None or rss is None or anonymous is None:
        raise ReadError(path, "a mapping lacks Size, Rss or Anonymous", line=line, text=header[0])
    if size != end - start:
        raise ReadError(path, f"a mapping of {end - start} bytes says its size is {size}", line=line, text=header[0])
    return Vma(
        start=start,
        size_bytes=size,
        perms=header[3],
        name=header[4],
        rss_bytes=rss,
        anonymous_bytes=anonymous,
        swap_bytes=figures.get("Swap", 0),
        ksm_bytes=figures.get("KSM"),
        private_hugetlb_bytes=figures.get("Private_Hugetlb", 0),
        shared_hugetlb_bytes=figures.get("Shared_Hugetlb", 0),
        flags=frozenset(flags.split()),
    )


def anonymous_bytes(vmas: Iterable[Vma]) -> int:
    """All resident anonymous bytes: equals ``rss`` of the cgroup when it holds just this process
    and took no pages elsewhere (measured: to the page)."""
    return sum(vma.anonymous_bytes for vma in vmas)


def hugetlb_bytes(vmas: Iterable[Vma]) -> int:
    """Bytes in hugetlb pages, which no memory cgroup is charged for."""
    return sum(vma.private_hugetlb_bytes + vma.shared_hugetlb_bytes for vma in vmas)


def ram_blocks(vmas: Iterable[Vma]) -> tuple[tuple[Vma, ...], ...]:
    """RAM blocks as runs of mappings, in the order of their addresses.

    ``madvise`` and ``mprotect`` on a part split a block into several mappings; these touch each other, while two
    blocks never do: QEMU puts an inaccessible guard page behind each (``qemu_ram_mmap``, util/mmap-alloc.c).
    """
    runs: list[list[Vma]] = []
    for vma in sorted((vma for vma in vmas if vma.ram_block), key=lambda vma: vma.start):
        if runs and runs[-1][-1].end == vma.start:
            runs[-1].append(vma)
        else:
            runs.append([vma])
    return tuple(tuple(run) for run in runs)


def guest_ram_blocks(vmas: Iterable[Vma], ram_block_bytes: Sequence[int]) -> tuple[tuple[Vma, ...], ...] | None:
    """The runs that are guest RAM, one for each size in ``ram_block_bytes``; ``None`` where that is ambiguous.

    Where more blocks have a size than RAM blocks do (a 16 MiB guest with its 16 MiB VGA block), they can't be told
    apart, unless all of them hold exactly the same, so that the choice changes no figure.
    """
    if not ram_block_bytes:
        return None
    by_size: dict[int, list[tuple[Vma, ...]]] = {}
    for run in ram_blocks(vmas):
        by_size.setdefault(sum(vma.size_bytes for vma in run), []).append(run)
    chosen: list[tuple[Vma, ...]] = []
    for size, count in Counter(ram_block_bytes).items():
        runs = by_size.get(size, [])
        if len(runs) < count:
            return None
        if len(runs) > count and len({_held(run) for run in runs}) > 1:
            return None
        chosen.extend(runs[:count])
    return tuple(chosen)


def guest_ram(vmas: Iterable[Vma], ram_block_bytes: Sequence[int]) -> GuestRam | None:
    """Guest RAM of the process with these mappings, or ``None`` where its blocks can't be told for certain.

    ``ram_block_bytes`` are the sizes of the blocks that back the machine's memory (QMP
    ``query-memdev`` or the description), not of every block.
    """
    runs = guest_ram_blocks(vmas, ram_block_bytes)
    if runs is None:
        return None
    return _held(tuple(vma for run in runs for vma in run))


def _held(run: tuple[Vma, ...]) -> GuestRam:
    """What the mappings of ``run`` hold together."""
    ksm = [vma.ksm_bytes for vma in run if vma.ksm_bytes is not None]
    return GuestRam(
        resident_bytes=sum(vma.rss_bytes for vma in run),
        anonymous_bytes=sum(vma.anonymous_bytes for vma in run),
        swap_bytes=sum(vma.swap_bytes for vma in run),
        ksm_bytes=sum(ksm) if len(ksm) == len(run) else None,
        hugetlb_bytes=hugetlb_bytes(run),
    )
