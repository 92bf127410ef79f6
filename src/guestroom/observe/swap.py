"""The host's swap: which devices, how eagerly, and whether it is counted for each cgroup.

Swap decides what reclaim takes: without any it is page cache alone. ``/proc/swaps`` is proc(5), ``vm.swappiness`` the
kernel's admin-guide/sysctl/vm.rst, zswap's switch admin-guide/mm/zswap.rst.
"""

from __future__ import annotations

from dataclasses import dataclass

from guestroom.errors import HostError, ReadError
from guestroom.layout import Layout
from guestroom.observe.text import read_text
from guestroom.ports import Files

_SWAPS = "/proc/swaps"
_SWAPPINESS = "/proc/sys/vm/swappiness"
_ZSWAP = "/sys/module/zswap/parameters/enabled"
_COUNTED = {1: "memory.memsw.usage_in_bytes", 2: "memory.swap.current"}


@dataclass(frozen=True, slots=True)
class SwapDevice:
    """One line of ``/proc/swaps``."""

    path: str
    size_bytes: int
    used_bytes: int

    @property
    def is_zram(self) -> bool:
        """Compressed memory of the host itself: what goes there takes host memory still."""
        return self.path.rpartition("/")[2].startswith("zram")


@dataclass(frozen=True, slots=True)
class SwapState:
    """Everything about swap; None where this kernel does not say."""

    devices: tuple[SwapDevice, ...]
    swappiness: int | None
    zswap: bool | None
    counted: bool | None
    """Whether swap is counted for each memory cgroup, so that a guest's swapped memory is seen; None where no cgroup
    can be asked yet (the root of v2 has no such file)."""

    @property
    def free_bytes(self) -> int:
        """Room in all devices."""
        return sum(device.size_bytes - device.used_bytes for device in self.devices)


def read_swap(files: Files, layout: Layout) -> SwapState:
    """Swap now. Raises ``ReadError`` for a ``/proc/swaps`` that is not what the kernel prints."""
    text = _optional(files, _SWAPS)
    swappiness, zswap = _optional(files, _SWAPPINESS), _optional(files, _ZSWAP)
    return SwapState(
        devices=() if text is None else parse_swaps(_SWAPS, text),
        swappiness=int(swappiness) if swappiness is not None and swappiness.strip().isdecimal() else None,
        zswap=None if zswap is None else zswap.strip() in ("Y", "1"),
        counted=_counted(files, layout),
    )


def _counted(files: Files, layout: Layout) -> bool | None:
    name = _COUNTED[layout.version]
    if any(_optional(files, f"{folder}/{name}") is not None for folder in (layout.memory, layout.parent)):
        return True
    at_root = layout.version == 2 and _optional(files, f"{layout.parent}/memory.max") is None
    return None if at_root and _optional(files, f"{layout.memory}/memory.max") is None else False


def parse_swaps(path: str, text: str) -> tuple[SwapDevice, ...]:
    """Take apart ``/proc/swaps``: a heading, then name, type, KiB, KiB used, priority. Raises ``ReadError``."""
    devices = []
    for number, line in enumerate(text.splitlines()[1:], start=2):
        words = line.split()
        if not words:
            continue
        # Blanks in the name of a swap file are printed as a backslash and their octal number.
        if len(words) != 5 or not (words[2].isdecimal() and words[3].isdecimal()):
            raise ReadError(path, "a line is not 'name type size used priority'", line=number, text=line)
        devices.append(SwapDevice(words[0], int(words[2]) * 1024, int(words[3]) * 1024))
    return tuple(devices)


def _optional(files: Files, path: str) -> str | None:
    try:
        return read_text(files, path)
    except HostError:
        return None
