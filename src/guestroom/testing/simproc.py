"""What ``/proc`` and ``/sys/kernel/mm/hugepages`` of the simulated host read as."""

from __future__ import annotations

import errno

from guestroom.testing.simcgroup import Kind
from guestroom.testing.simkernel import SimKernel
from guestroom.testing.simmemory import kernel_error
from guestroom.testing.simprocess import SimProcess
from guestroom.testing.simregion import Region
from guestroom.units import KIB, MIB, PAGE_BYTES

BOOT_ID = "5e1f0000-0000-4000-8000-00000000b007"
HUGEPAGES = "/sys/kernel/mm/hugepages"
_MARKS = {
    "small": "rd wr mr mw me dc ac sd nh",
    "huge": "rd wr mr mw me dc ac sd hg",
    "shm": "rd wr sh mr mw me ms dc sd",
    "heap": "rd wr mr mw me ac sd",
}


class ProcFiles:
    """Files outside the cgroup mounts. ``own`` are this process's cgroups by controller."""

    def __init__(self, kernel: SimKernel, own: dict[str, str], mounts: dict[str, str]) -> None:
        self._kernel = kernel
        self._own = own
        self._mounts = mounts
        self.hugetlb_pages: dict[int, int] = {2 * MIB: 0}
        """Pages in the pool of each huge page size (bytes)."""

    def read(self, path: str) -> str:
        """Text of a file; ENOENT where there is none."""
        match path:
            case "/proc/meminfo":
                return self._meminfo()
            case "/proc/self/cgroup":
                return (
                    "".join(f"{i}:{name}:{self._own[name]}\n" for i, name in enumerate(self._own, start=1)) + "0::/\n"
                )
            case "/proc/self/mountinfo":
                return "".join(
                    f"{30 + i} 23 0:{40 + i} / {point} rw,relatime - cgroup cgroup rw,{name}\n"
                    for i, (name, point) in enumerate(self._mounts.items())
                )
            case "/proc/sys/kernel/random/boot_id":
                return BOOT_ID + "\n"
        for size, pages in self.hugetlb_pages.items():
            if path == f"{HUGEPAGES}/hugepages-{size // KIB}kB/nr_hugepages":
                return f"{pages}\n"
        return self._process_file(path)

    def list_dirs(self, path: str) -> list[str]:
        """Folders of ``/proc`` and of the hugepage pools."""
        if path == "/proc":
            return sorted([*(str(pid) for pid in self._kernel.processes), "self", "sys"])
        if path == HUGEPAGES:
            return sorted(f"hugepages-{size // KIB}kB" for size in self.hugetlb_pages)
        raise kernel_error(errno.ENOENT, path)

    def _process_file(self, path: str) -> str:
        parts = path.split("/")
        if len(parts) != 4 or parts[1] != "proc" or not parts[2].isdigit():
            raise kernel_error(errno.ENOENT, path)
        process = self._kernel.processes.get(int(parts[2]))
        if process is None:
            raise kernel_error(errno.ENOENT, path)
        match parts[3]:
            case "stat":
                return _stat(process)
            case "cmdline":
                return "".join(f"{word}\0" for word in process.argv)
            case "comm":
                return _comm(process) + "\n"
            case "cgroup":
                places = {"memory": process.memory.path, "freezer": process.freezer.path}
                return "".join(f"{i}:{name}:{place}\n" for i, (name, place) in enumerate(places.items(), start=1))
            case "status":
                return _status(process)
            case "smaps":
                return "".join(_smaps(name, region) for name, region in process.regions.items() if region.end)
        raise kernel_error(errno.ENOENT, path)

    def _meminfo(self) -> str:
        controller = self._kernel.controller
        cache = controller.root.total(Kind.CACHE)
        pool = sum(size * pages for size, pages in self.hugetlb_pages.items())
        free = controller.free_bytes - pool
        figures = {
            "MemTotal": controller.total_bytes,
            "MemFree": free,
            "MemAvailable": free + cache,
            "Buffers": 0,
            "Cached": cache + controller.root.total(Kind.SHMEM, Kind.LOCKED),
            "SwapTotal": 0,
            "SwapFree": 0,
            "Shmem": controller.root.total(Kind.SHMEM),
        }
        lines = "".join(f"{name + ':':<16}{size // KIB:>8} kB\n" for name, size in figures.items())
        pages = self.hugetlb_pages.get(2 * MIB, 0)
        return lines + f"HugePages_Total: {pages:>7}\nHugePages_Free:  {pages:>7}\nHugepagesize:       2048 kB\n"


def _comm(process: SimProcess) -> str:
    return process.argv[0].rsplit("/", 1)[-1][:15]


def _stat(process: SimProcess) -> str:
    """proc(5) stat: field 22 is the start time in clock ticks since boot."""
    before = " ".join(["0"] * 17)
    pages = process.resident_bytes // PAGE_BYTES
    return f"{process.pid} ({_comm(process)}) S 1 {before} {process.start_ticks} 0 {pages} 18446744073709551615\n"


def _status(process: SimProcess) -> str:
    anon = sum(process.regions[name].resident_bytes for name in ("small", "huge", "heap"))
    shmem = process.regions["shm"].resident_bytes
    return (
        f"Name:\t{_comm(process)}\nState:\tS (sleeping)\nTgid:\t{process.pid}\nPid:\t{process.pid}\nPPid:\t1\n"
        f"Uid:\t0\t0\t0\t0\nVmRSS:\t{(anon + shmem) // KIB:8} kB\nRssAnon:\t{anon // KIB:8} kB\n"
        f"RssFile:\t{0:8} kB\nRssShmem:\t{shmem // KIB:8} kB\nThreads:\t1\n"
    )


def _smaps(name: str, region: Region) -> str:
    """One mapping as kernel Documentation/filesystems/proc.rst describes it; all but ``heap`` are marked ``dc``."""
    start = {"small": 0x7F0000000000, "huge": 0x7F4000000000, "shm": 0x7F8000000000, "heap": 0x555500000000}[name]
    resident = region.resident_bytes
    shared = region.kind is Kind.SHMEM
    anonymous = 0 if shared else resident
    access, label = ("rw-s", " /memfd:sim (deleted)") if shared else ("rw-p", "")
    figures = {
        "Size": region.end,
        "KernelPageSize": PAGE_BYTES,
        "MMUPageSize": PAGE_BYTES,
        "Rss": resident,
        "Pss": resident,
        "Shared_Clean": 0,
        "Shared_Dirty": 0,
        "Private_Clean": 0,
        "Private_Dirty": resident,
        "Referenced": resident,
        "Anonymous": anonymous,
        "KSM": sum(run.size for run in region.runs if run.owner is None),
        "LazyFree": 0,
        "AnonHugePages": region.size_of(Kind.ANON_HUGE),
        "ShmemPmdMapped": 0,
        "FilePmdMapped": 0,
        "Shared_Hugetlb": 0,
        "Private_Hugetlb": 0,
        "Swap": 0,
        "SwapPss": 0,
        "Locked": 0,
    }
    header = f"{start:x}-{start + region.end:x} {access} 00000000 00:00 0 {'':18}{label}".rstrip() + "\n"
    lines = "".join(f"{key + ':':<16}{size // KIB:>8} kB\n" for key, size in figures.items())
    return f"{header}{lines}THPeligible:           0\nVmFlags: {_MARKS[name]} \n"
