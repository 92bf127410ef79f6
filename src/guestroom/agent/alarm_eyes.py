"""What the alarm reads of a cgroup, for each version: few files, few bytes, no parser of everything.

``memory.stat`` is read in the leaves ``ram`` and ``vmm`` and added up, never in the guest's own folder: on kernel 6.18
the figures of a cgroup with children stood still for up to 1.1 s (300 MiB behind) while a leaf's were never more
than 1 MiB behind (measured). When a child is due for a flush, updates stop counting for its parents
(memcg_rstat_updated, mm/memcontrol.c), so a parent that was flushed in between does not notice. Page counters
(usage, kernel memory) are exact at every level.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, assert_never

from guestroom.errors import ReadError, VanishedError, from_read
from guestroom.layout import Layout

if TYPE_CHECKING:
    from guestroom.ports import Files

THAWED, FREEZING, FROZEN = "THAWED", "FREEZING", "FROZEN"


class Eyes(Protocol):
    """Readings of one version. All raise ``VanishedError`` or ``ReadError``."""

    def limit(self, folder: str) -> int:
        """The limit of a cgroup."""
        ...

    def usage(self, folder: str) -> int:
        """Everything charged to a cgroup, page cache too."""
        ...

    def unreclaimable(self, name: str, usage_bytes: int) -> int:
        """What of a guest reclaim can't take: anonymous memory, shmem and kernel memory."""
        ...

    def freezer(self, folder: str) -> str:
        """``THAWED``, ``FREEZING`` or ``FROZEN``."""
        ...


class Eyes1:
    """Cgroup v1 (kernel Documentation/admin-guide/cgroup-v1/memory.rst section 5.2, freezer-subsystem.rst)."""

    def __init__(self, files: Files, layout: Layout) -> None:
        self._files = files
        self._layout = layout

    def limit(self, folder: str) -> int:
        """``memory.limit_in_bytes``."""
        return _number(self._files, f"{folder}/memory.limit_in_bytes")

    def usage(self, folder: str) -> int:
        """``memory.usage_in_bytes``."""
        return _number(self._files, f"{folder}/memory.usage_in_bytes")

    def unreclaimable(self, name: str, usage_bytes: int) -> int:
        """rss + shmem of both leaves + kernel memory of the guest."""
        pinned_bytes = file_bytes = 0
        for leaf in (self._layout.ram(name), self._layout.vmm(name)):
            path = f"{leaf}/memory.stat"
            text = _read(self._files, path)
            rss, shmem, cache = (_stat(path, text, line) for line in ("total_rss", "total_shmem", "total_cache"))
            pinned_bytes += rss + shmem
            file_bytes += cache - shmem
        try:
            return pinned_bytes + _number(self._files, f"{self._layout.guest(name)}/memory.kmem.usage_in_bytes")
        except VanishedError:
            # Kernels without that file: everything but the page cache is an upper bound.
            return usage_bytes - file_bytes

    def freezer(self, folder: str) -> str:
        """``freezer.state``."""
        return _read(self._files, f"{folder}/freezer.state").strip()


class Eyes2:
    """Cgroup v2 (kernel Documentation/admin-guide/cgroup-v2.rst)."""

    def __init__(self, files: Files, layout: Layout) -> None:
        self._files = files
        self._layout = layout

    def limit(self, folder: str) -> int:
        """``memory.max``; one that is ``max`` is a ``ReadError``: the host wall always has a limit."""
        return _number(self._files, f"{folder}/memory.max")

    def usage(self, folder: str) -> int:
        """``memory.current``."""
        return _number(self._files, f"{folder}/memory.current")

    def unreclaimable(self, name: str, usage_bytes: int) -> int:
        """anon + shmem + kernel memory of both leaves, without the slab that reclaim could take."""
        pinned_bytes = 0
        for leaf in (self._layout.ram(name), self._layout.vmm(name)):
            path = f"{leaf}/memory.stat"
            # Anon is the first line, so that it has no newline before it.
            text = "\n" + _read(self._files, path)
            pinned_bytes += sum(_stat(path, text, line) for line in ("anon", "shmem", "sock"))
            try:
                kernel_bytes = _stat(path, text, "kernel")
            except ReadError:
                # Before 5.18: all that is neither anonymous nor file (which has shmem in it), an upper bound.
                kernel_bytes = max(0, self.usage(leaf) - _stat(path, text, "anon") - _stat(path, text, "file"))
            pinned_bytes += max(0, kernel_bytes - _stat(path, text, "slab_reclaimable"))
        return pinned_bytes

    def freezer(self, folder: str) -> str:
        """``cgroup.freeze`` says what is wanted, ``cgroup.events`` whether it is so."""
        if _read(self._files, f"{folder}/cgroup.freeze").strip() == "0":
            return THAWED
        return FROZEN if "frozen 1" in _read(self._files, f"{folder}/cgroup.events") else FREEZING


def eyes(files: Files, layout: Layout) -> Eyes:
    """Eyes for the layout's version."""
    match layout.version:
        case 1:
            return Eyes1(files, layout)
        case 2:
            return Eyes2(files, layout)
    assert_never(layout.version)


def _number(files: Files, path: str) -> int:
    text = _read(files, path).strip()
    if not text.isdecimal():
        raise ReadError(path, "a number of bytes was expected", text=text)
    return int(text)


def _read(files: Files, path: str) -> str:
    try:
        return files.read(path)
    except OSError as error:
        raise from_read(error, path) from error


def _stat(path: str, text: str, name: str) -> int:
    start = text.find(f"\n{name} ")
    if start < 0:
        raise ReadError(path, f"line {name} is missing")
    value = text[start + len(name) + 2 :].partition("\n")[0]
    if not value.isdecimal():
        raise ReadError(path, f"{name} is no number", text=value)
    return int(value)
