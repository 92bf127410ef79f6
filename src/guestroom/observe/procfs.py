"""The host's memory, its processes and what may disturb the accounting: readers of ``/proc`` and ``/sys``."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from guestroom.attribute.smaps import Vma, parse_smaps
from guestroom.errors import HostError, ReadError, VanishedError
from guestroom.observe.text import list_dirs, number, read_text
from guestroom.ports import Files

_MEMINFO = "/proc/meminfo"
_HUGEPAGES = "/sys/kernel/mm/hugepages"
_MOUNTS = "/proc/self/mounts"
_KSM = "/sys/kernel/mm/ksm"
_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_KB_LINE = re.compile(r"([0-9]{1,15})( kB)?\Z", re.ASCII)
_POOL = re.compile(r"hugepages-([0-9]{1,12})kB\Z", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\n?\Z", re.ASCII)
_STAT = re.compile(r"[0-9]+ \((?P<comm>.*)\) (?P<rest>[A-Za-z] [-0-9 ]+)\n?\Z", re.ASCII | re.DOTALL)
_QEMU = re.compile(r"(qemu-system-[A-Za-z0-9_.-]+|qemu-kvm|kvm)\Z", re.ASCII)
_COMM_LENGTH = 15  # TASK_COMM_LEN less its final zero: the kernel cuts names here


@dataclass(frozen=True, slots=True)
class MemInfo:
    """``/proc/meminfo`` (proc(5)), in bytes; ``None`` where this kernel does not print the line."""

    total_bytes: int
    available_bytes: int | None
    swap_total_bytes: int | None
    swap_free_bytes: int | None
    hugetlb_bytes: int | None
    """``Hugetlb``: all pools together (Linux 4.16 and later)."""


@dataclass(frozen=True, slots=True)
class KsmState:
    """Same-page merging: whether it runs, and how much it has merged."""

    run: int
    """0 off, 1 on, 2 off and unmerging (kernel Documentation/admin-guide/mm/ksm.rst)."""
    pages_sharing: int

    @property
    def active(self) -> bool:
        """True where pages may be merged now or already are: RAM is then charged less than it is long."""
        return self.run == 1 or self.pages_sharing > 0


@dataclass(frozen=True, slots=True)
class QemuProcess:
    """A QEMU found in the process list."""

    pid: int
    argv: tuple[str, ...]
    resident_bytes: int | None
    """Resident anonymous and shared memory: RssAnon + RssShmem."""


def parse_meminfo(path: str, text: str) -> MemInfo:
    """Take apart ``/proc/meminfo``. Raises ``ReadError`` with the line; MemTotal must be there."""
    values: dict[str, int] = {}
    for line_number, line in enumerate(text.split("\n"), start=1):
        if not line:
            continue
        name, colon, rest = line.partition(":")
        value = _KB_LINE.match(rest.strip())
        if not colon or value is None:
            raise ReadError(path, "a line is not 'name: N kB'", line=line_number, text=line)
        values[name] = int(value[1]) * (1024 if value[2] else 1)
    if "MemTotal" not in values:
        raise ReadError(path, "MemTotal is missing")
    return MemInfo(
        total_bytes=values["MemTotal"],
        available_bytes=values.get("MemAvailable"),
        swap_total_bytes=values.get("SwapTotal"),
        swap_free_bytes=values.get("SwapFree"),
        hugetlb_bytes=values.get("Hugetlb"),
    )


def read_meminfo(files: Files) -> MemInfo:
    """The host's memory now. Raises ``HostError``."""
    return parse_meminfo(_MEMINFO, read_text(files, _MEMINFO))


def hugetlb_pool_bytes(files: Files) -> int:
    """Hugetlb pools of all sizes: pages x size, in use or not. 0 where the kernel has no hugetlb. Raises ``ReadError``.

    These pages are outside memory cgroups and of no use to anyone else, so they are off the budget.
    """
    try:
        names = list_dirs(files, _HUGEPAGES)
    except VanishedError:
        return 0
    total = 0
    for name in names:
        pool = _POOL.match(name)
        if pool is None:
            raise ReadError(_HUGEPAGES, "a pool is not named hugepages-NkB", text=name)
        path = f"{_HUGEPAGES}/{name}/nr_hugepages"
        total += int(pool[1]) * 1024 * number(path, read_text(files, path))
    return total


def hugetlb_mounts(files: Files) -> tuple[str, ...]:
    """Mount points of hugetlbfs, whose files are made of pool pages. Raises ``HostError``."""
    mounts = (line.split(" ") for line in read_text(files, _MOUNTS).splitlines())
    return tuple(fields[1] for fields in mounts if len(fields) > 2 and fields[2] == "hugetlbfs")


def read_ksm(files: Files) -> KsmState | None:
    """State of same-page merging; ``None`` where the kernel has none. Raises ``ReadError``."""
    try:
        run, sharing = (
            number(f"{_KSM}/{name}", read_text(files, f"{_KSM}/{name}")) for name in ("run", "pages_sharing")
        )
    except VanishedError:
        return None
    return KsmState(run=run, pages_sharing=sharing)


def boot_id(files: Files) -> str:
    """Which boot of the host this is (random(4)). Raises ``HostError``."""
    text = read_text(files, _BOOT_ID)
    if not _UUID.match(text):
        raise ReadError(_BOOT_ID, "not a UUID", line=1, text=text)
    return text.strip()


def start_ticks(files: Files, pid: int) -> int:
    """When the process started, in clock ticks since boot (proc(5), stat field 22).

    Raises ``VanishedError`` or ``ReadError``.
    """
    return int(_stat_fields(files, pid)[1][19])


def ppid(files: Files, pid: int) -> int:
    """Parent of the process (stat field 4). Raises ``VanishedError`` or ``ReadError``."""
    return int(_stat_fields(files, pid)[1][1])


def comm(files: Files, pid: int) -> str:
    """Name of the process as the kernel keeps it, cut to 15 characters. Raises ``VanishedError`` or ``ReadError``."""
    return _stat_fields(files, pid)[0]


def _stat_fields(files: Files, pid: int) -> tuple[str, list[str]]:
    """The name, and the fields after it from field 3 on. The name may hold spaces and parentheses."""
    path = f"/proc/{pid}/stat"
    text = read_text(files, path)
    match = _STAT.match(text)
    fields = match["rest"].split() if match else []
    if match is None or len(fields) < 20 or not all(field.lstrip("-").isdecimal() for field in fields[1:20]):
        raise ReadError(path, "not a process's stat line", line=1, text=text)
    return match["comm"], fields


def cmdline(files: Files, pid: int) -> tuple[str, ...]:
    """Arguments of the process; empty for a kernel thread or one that has ended.

    Raises ``VanishedError`` or ``ReadError``.
    """
    text = read_text(files, f"/proc/{pid}/cmdline")
    return tuple(text.removesuffix("\0").split("\0")) if text else ()


def read_smaps(files: Files, pid: int) -> tuple[Vma, ...]:
    """Mappings of the process (1.6 to 70 ms of kernel time). Raises ``VanishedError`` or ``ReadError``."""
    path = f"/proc/{pid}/smaps"
    return parse_smaps(path, read_text(files, path))


def is_qemu(files: Files, pid: int) -> bool:
    """True where the process is a QEMU system emulator. Raises ``VanishedError`` or ``ReadError``.

    By the name of the program it was started as, or, as that can be anything, by the kernel's name for it. A script
    called qemu-system-x86_64 has that name too, but shows its interpreter before itself in the arguments.
    """
    argv = cmdline(files, pid)
    if not argv:
        return False
    if _QEMU.match(_base(argv[0])):
        return True
    name = comm(files, pid)
    looks_so = _QEMU.match(name) is not None and len(name) <= _COMM_LENGTH
    return looks_so and not (len(argv) > 1 and _QEMU.match(_base(argv[1])))


def resident_bytes(files: Files, pid: int) -> int | None:
    """RssAnon + RssShmem of the process; ``None`` where it has ended or the kernel does not say (before 4.5).

    Raises ``VanishedError`` or ``ReadError``.
    """
    path = f"/proc/{pid}/status"
    found: dict[str, int] = {}
    for line_number, line in enumerate(read_text(files, path).split("\n"), start=1):
        name, _, rest = line.partition(":")
        if name in ("RssAnon", "RssShmem"):
            value = _KB_LINE.match(rest.strip())
            if value is None or not value[2]:
                raise ReadError(path, f"{name} is not 'N kB'", line=line_number, text=line)
            found[name] = int(value[1]) * 1024
    return sum(found.values()) if len(found) == 2 else None


def find_qemus(files: Files, exclude: Collection[int] = ()) -> list[QemuProcess]:
    """All QEMUs of this host except ``exclude``, by pid. What ends meanwhile is left out. Raises ``HostError``."""
    found = []
    for name in list_dirs(files, "/proc"):
        if not name.isdecimal() or int(name) in exclude:
            continue
        pid = int(name)
        try:
            if is_qemu(files, pid):
                found.append(QemuProcess(pid, cmdline(files, pid), _resident_or_none(files, pid)))
        except VanishedError:
            continue
    return sorted(found, key=lambda process: process.pid)


def _resident_or_none(files: Files, pid: int) -> int | None:
    """A status that can't be understood makes the use unknown, not the QEMU unseen."""
    try:
        return resident_bytes(files, pid)
    except VanishedError:
        raise
    except HostError:
        return None


def _base(path: str) -> str:
    return path.rpartition("/")[2]
