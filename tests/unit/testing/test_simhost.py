"""The simulated host as whoever uses it sees it. That it is like the kernel is what ``tests/kernel`` shows."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from guestroom.ports import Files
from guestroom.testing import Fate, SimHost
from guestroom.units import GIB, MIB


@pytest.fixture
def host() -> SimHost:
    """A host with one cgroup ``g`` and its freezer."""
    made = SimHost(4 * GIB)
    for path in (f"{made.memory}/g", f"{made.memory}/g/ram", f"{made.memory}/g/vmm", f"{made.freezer}/g"):
        made.mkdir(path)
    return made


def errno_of(do: Callable[[], object]) -> int:
    """The errno of what ``do`` raises, 0 for none."""
    try:
        do()
    except OSError as error:
        return error.errno or -1
    return 0


def stat(host: SimHost, path: str) -> dict[str, int]:
    """``memory.stat`` as numbers."""
    lines = host.read(f"{path}/memory.stat").splitlines()
    return {name: int(value) for name, value in (line.split() for line in lines)}


def usage(host: SimHost, path: str) -> int:
    """``memory.usage_in_bytes``."""
    return int(host.read(f"{path}/memory.usage_in_bytes"))


def test_it_is_a_files_port(host: SimHost) -> None:
    """The real adapters take it for the kernel."""
    assert isinstance(host, Files)


@pytest.mark.parametrize(
    ("expected", "do"),
    [
        (errno.ENOENT, lambda h: h.read(f"{h.memory}/nobody/memory.stat")),
        (errno.ENOENT, lambda h: h.write(f"{h.memory}/g/memory.nothing", "1")),
        (errno.ENOENT, lambda h: h.rmdir(f"{h.memory}/nobody")),
        (errno.ENOENT, lambda h: h.mkdir(f"{h.memory}/nobody/child")),
        (errno.ENOENT, lambda h: h.read("/proc/4242/stat")),
        (errno.ENOENT, lambda h: h.inode(f"{h.memory}/nobody")),
        (errno.EEXIST, lambda h: h.mkdir(f"{h.memory}/g")),
        (errno.EBUSY, lambda h: h.rmdir(f"{h.memory}/g")),
        (errno.EINVAL, lambda h: h.write(f"{h.memory}/g/memory.limit_in_bytes", "much")),
        (errno.EINVAL, lambda h: h.write(f"{h.memory}/g/memory.usage_in_bytes", "1")),
        (errno.EINVAL, lambda h: h.write(f"{h.memory}/g/memory.oom_control", "2")),
        (errno.EINVAL, lambda h: h.write(f"{h.freezer}/g/freezer.state", "FREEZING")),
        (errno.EINVAL, lambda h: h.write(f"{h.memory}/g/cgroup.procs", "x")),
        (errno.ESRCH, lambda h: h.write(f"{h.memory}/g/cgroup.procs", "4242")),
        (errno.EACCES, lambda h: h.write("/proc/meminfo", "1")),
    ],
)
def test_errors_are_the_kernels(host: SimHost, expected: int, do: Callable[[SimHost], object]) -> None:
    """What can't be done raises a plain ``OSError`` with the kernel's number."""
    assert errno_of(lambda: do(host)) == expected


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("-1", "9223372036854771712"),
        ("100000000", "99999744"),
        (" 64m\n", str(64 * MIB)),
        ("0x4000000", str(64 * MIB)),
        ("1g", str(GIB)),
    ],
)
def test_limits_are_read_as_the_kernel_reads_them(host: SimHost, text: str, read: str) -> None:
    """Suffixes, hexadecimal and surrounding space are taken, the value is cut to whole pages, -1 is no limit."""
    host.write(f"{host.memory}/g/memory.limit_in_bytes", text)
    assert host.read(f"{host.memory}/g/memory.limit_in_bytes").strip() == read


def test_a_limit_above_memsw_is_refused(host: SimHost) -> None:
    """memory.limit may not exceed memory.memsw.limit."""
    host.write(f"{host.memory}/g/memory.limit_in_bytes", str(64 * MIB))
    host.write(f"{host.memory}/g/memory.memsw.limit_in_bytes", str(64 * MIB))
    assert errno_of(lambda: host.write(f"{host.memory}/g/memory.limit_in_bytes", str(65 * MIB))) == errno.EINVAL


def test_stock_is_in_usage_alone_and_gives_way(host: SimHost) -> None:
    """The per-CPU stock shows in usage and in no line of memory.stat, and never makes a shrink fail."""
    pid = host.spawn(f"{host.memory}/g/ram")
    host.touch(pid, 8 * MIB)
    before = usage(host, f"{host.memory}/g")
    host.set_stock(f"{host.memory}/g/ram", 512 * 1024)
    assert usage(host, f"{host.memory}/g") == before + 512 * 1024
    host.write(f"{host.memory}/g/memory.limit_in_bytes", str(before))
    assert usage(host, f"{host.memory}/g") == before


def test_merged_pages_are_mapped_but_not_charged(host: SimHost) -> None:
    """KSM: smaps still shows them, the cgroup does not; written to again they are charged where the process is now."""
    pid = host.spawn(f"{host.memory}/g/ram")
    host.touch(pid, 8 * MIB)
    host.merge(pid, 4 * MIB)
    assert stat(host, f"{host.memory}/g/ram")["rss"] == 4 * MIB
    assert "Anonymous:          8192 kB" in host.read(f"/proc/{pid}/smaps")
    host.move(pid, f"{host.memory}/g/vmm")
    host.retouch(pid)
    assert stat(host, f"{host.memory}/g/vmm")["rss"] == 4 * MIB


def test_locked_cache_is_no_room(host: SimHost) -> None:
    """Locked page cache is unevictable and keeps a limit from falling; other page cache does not."""
    pid = host.spawn(f"{host.memory}/g/ram")
    host.fill_cache(pid, 8 * MIB, locked=True)
    host.fill_cache(pid, 8 * MIB)
    assert stat(host, f"{host.memory}/g")["total_unevictable"] == 8 * MIB
    assert errno_of(lambda: host.write(f"{host.memory}/g/memory.limit_in_bytes", str(4 * MIB))) == errno.EBUSY
    assert errno_of(lambda: host.write(f"{host.memory}/g/memory.limit_in_bytes", str(9 * MIB))) == 0


def test_the_host_itself_can_be_full() -> None:
    """Memory that is not there is not given, whatever the limits say."""
    host = SimHost(512 * MIB, base_use_bytes=256 * MIB)
    host.mkdir(f"{host.memory}/g")
    free = host.read("/proc/meminfo")
    pid = host.spawn(f"{host.memory}/g")
    assert host.touch(pid, 300 * MIB) is Fate.KILLED
    assert host.read("/proc/meminfo") == free


def test_things_happen_between_two_steps(host: SimHost) -> None:
    """Hooks before a write and before a read see the path, may raise, and may answer in the kernel's place."""
    seen: list[tuple[str, str]] = []
    host.before_write.append(lambda path, value: seen.append((path, value)))
    host.before_read.append(lambda path: "42\n" if path.endswith("memory.failcnt") else None)
    host.write(f"{host.memory}/g/memory.limit_in_bytes", "-1")
    assert seen == [(f"{host.memory}/g/memory.limit_in_bytes", "-1")]
    assert host.read(f"{host.memory}/g/memory.failcnt") == "42\n"
    assert host.read(f"{host.memory}/g/memory.limit_in_bytes") != "42\n"


def test_every_write_is_remembered(host: SimHost) -> None:
    """``writes`` holds what was tried, in order, with its errno."""
    host.writes.clear()
    host.mkdir(f"{host.memory}/g/more")
    errno_of(lambda: host.write(f"{host.memory}/g/memory.limit_in_bytes", "much"))
    host.rmdir(f"{host.memory}/g/more")
    assert [(w.verb, w.error) for w in host.writes] == [("mkdir", 0), ("write", errno.EINVAL), ("rmdir", 0)]


def test_a_copy_goes_its_own_way(host: SimHost) -> None:
    """A copied host has the same guests in the same state, sleepers included, and shares nothing."""
    host.write(f"{host.memory}/g/memory.oom_control", "1")
    host.write(f"{host.memory}/g/memory.limit_in_bytes", str(8 * MIB))
    pid = host.spawn(f"{host.memory}/g/ram")
    assert host.touch(pid, 16 * MIB) is Fate.ASLEEP
    other = host.copy()
    other.write(f"{other.memory}/g/memory.limit_in_bytes", "-1")
    assert stat(other, f"{other.memory}/g")["total_rss"] == 16 * MIB
    assert usage(host, f"{host.memory}/g") == 8 * MIB
    assert host.process(pid).waits_at is not None


def test_a_folder_made_anew_is_another(host: SimHost) -> None:
    """The inode tells a cgroup from one of the same name before it."""
    before = host.inode(f"{host.memory}/g/vmm")
    host.rmdir(f"{host.memory}/g/vmm")
    host.mkdir(f"{host.memory}/g/vmm")
    assert host.inode(f"{host.memory}/g/vmm") != before


def test_nothing_is_ever_charged_twice_or_lost(host: SimHost) -> None:
    """After everything has come and gone only what the kernel needs for the folders is left."""
    folders = usage(host, f"{host.memory}/g")
    pid = host.spawn(f"{host.memory}/g/ram", f"{host.freezer}/g")
    for touch in ({}, {"huge": True}, {"shm": True}, {"heap": True}):
        host.touch(pid, 6 * MIB, **touch)
    host.kernel_memory(pid, 2 * MIB)
    host.fill_cache(pid, 6 * MIB)
    host.move(pid, f"{host.memory}/g/vmm")
    host.discard(pid, 3 * MIB, "huge")
    host.collapse(pid)
    host.merge(pid, 2 * MIB)
    host.retouch(pid)
    host.exit(pid)
    host.write(f"{host.memory}/g/memory.force_empty", "0")
    assert usage(host, f"{host.memory}/g") == folders
    assert not host.kernel.memory_root.ghosts
