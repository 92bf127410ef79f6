"""Overhead as read from real cgroups, against counts that share nothing with the readers.

A real QEMU, stopped before its first instruction, with its RAM preallocated in ``ram`` and moved to ``vmm``; and a
small process that marks its memory as QEMU marks RAM and then does what a guest, a balloon and the kernel do to it.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from v1_cgroups import own, until

from guestroom.facts import OverheadReading
from guestroom.kernelfs import KernelFiles
from guestroom.layout import Layout
from guestroom.observe.cgroup1 import (
    find_layout,
    own_cgroup,
    populated,
    read_all_procs,
    read_frozen,
    read_memory,
    read_procs,
)
from guestroom.observe.procfs import cmdline, find_qemus, is_qemu, ppid, read_meminfo, start_ticks
from guestroom.observe.snapshot import KernelObserver
from guestroom.units import MIB, UNLIMITED

pytestmark = pytest.mark.integration

RAM = 256 * MIB
BLOCK = 64 * MIB
_COUNT = itertools.count()

_ACTOR = """
import mmap, os, sys
PAGE, DONTFORK, COLLAPSE = 4096, 10, 25
held = []
def region(size):
    made = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return made
def touch(made, start, end):
    for at in range(start, end, PAGE):
        made[at] = 1
for line in sys.stdin:
    command, *words = line.split()
    numbers = [int(word) for word in words if word.isdigit()]
    if command == "ram":
        ram = region(numbers[0])
        ram.madvise(DONTFORK)
    elif command == "touch":
        touch(ram, *numbers)
    elif command == "collapse":
        ram.madvise(COLLAPSE)
    elif command == "discard":
        ram.madvise(mmap.MADV_DONTNEED, numbers[0], numbers[1] - numbers[0])
    elif command == "grow":
        held.append(region(numbers[0]))
        touch(held[-1], 0, numbers[0])
    elif command == "cache":
        with open(words[0], "wb", buffering=0) as file:
            for _ in range(numbers[0] >> 20):
                file.write(bytes(1 << 20))
            os.fsync(file.fileno())
    print("ok", flush=True)
"""


class Clock:
    """The machine's own clock."""

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


class House:
    """A wall of its own with one guest ``a`` in it."""

    def __init__(self, layout: Layout, work: Path) -> None:
        self.layout = layout
        self.work = work
        self.files = KernelFiles()
        self.observer = KernelObserver(self.files, layout, Clock())
        self.children: list[subprocess.Popen[str]] = []
        self.folders = [layout.memory, layout.guest("a"), layout.ram("a"), layout.vmm("a"), layout.freezer]
        for folder in self.folders:
            assert folder is not None
            Path(folder).mkdir()

    def start(self, argv: list[str]) -> subprocess.Popen[str]:
        """Start a process inside ``ram``."""
        child = subprocess.Popen(
            ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', f"{self.layout.ram('a')}/cgroup.procs", *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.children.append(child)
        return child

    def actor(self) -> Actor:
        """The small process."""
        return Actor(self.start([sys.executable, "-S", "-c", _ACTOR]))

    def move(self, pid: int) -> None:
        """From ``ram`` to ``vmm``."""
        self.files.write(f"{self.layout.vmm('a')}/cgroup.procs", str(pid))

    def read(self, pid: int | None, ram_bytes: int) -> OverheadReading:
        """Overhead of the guest."""
        return self.observer.overhead("a", ram_bytes, pid, (ram_bytes,))

    def charge(self, part: str) -> dict[str, int]:
        """What the kernel's files say of ``ram`` or ``vmm``, read by none of the code under test."""
        folder = Path(self.layout.guest("a"), part)
        figures = dict(re.findall(r"(?m)^(total_\w+) (\d+)$", (folder / "memory.stat").read_text()))
        kmem = int((folder / "memory.kmem.usage_in_bytes").read_text())
        return {name: int(value) for name, value in figures.items()} | {"kmem": kmem}

    def from_files(self, ram_bytes: int) -> int:
        """Overhead by hand: unreclaimable of both less RAM."""
        both = [self.charge("ram"), self.charge("vmm")]
        # Kernel memory of the whole guest: that of the two folders themselves is charged to the one above them.
        return sum(part["total_rss"] + part["total_shmem"] for part in both) + self.charge("")["kmem"] - ram_bytes

    def clean(self) -> None:
        """End only our own processes and remove the folders."""
        for child in self.children:
            child.kill()
            child.wait()
            for stream in (child.stdin, child.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
        for folder in reversed(self.folders):
            assert folder is not None
            assert until(lambda folder=folder: _removed(folder)), f"{folder} was left behind"


class Actor:
    """Tells the small process what to do."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.pid = process.pid
        self.do("start")

    def do(self, command: str) -> None:
        """One command, carried out when this returns."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "ok\n"


def _removed(folder: str) -> bool:
    with contextlib.suppress(OSError):
        Path(folder).rmdir()
    return not Path(folder).exists()


def anonymous_bytes(pid: int) -> int:
    """An independent count: the sum of the Anonymous lines of smaps_rollup."""
    found = re.search(r"(?m)^Anonymous: +(\d+) kB$", Path(f"/proc/{pid}/smaps_rollup").read_text())
    assert found is not None
    return int(found[1]) * 1024


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A wall, cleaned up whatever happens."""
    name = f"guestroom-observe-{os.getpid()}-{next(_COUNT)}"
    made = House(Layout(str(own("memory") / name), str(own("freezer") / name)), tmp_path)
    try:
        yield made
    finally:
        made.clean()


@pytest.fixture
def actor(house: House) -> Actor:
    """A process with 64 MiB of RAM touched in ``ram``, then moved to ``vmm``."""
    made = house.actor()
    made.do(f"ram {BLOCK}")
    made.do(f"touch 0 {BLOCK}")
    house.move(made.pid)
    return made


@pytest.fixture
def qemu(house: House) -> subprocess.Popen[str]:
    """A real QEMU, stopped, its RAM preallocated in ``ram``, moved to ``vmm``."""
    program = shutil.which("qemu-system-x86_64")
    if program is None:
        pytest.skip("qemu-system-x86_64 is not installed")
    socket_path = house.work / "qmp"
    backend = f"memory-backend-ram,id=r,size={RAM},prealloc=on"
    monitor = f"unix:{socket_path},server=on,wait=off"
    options = "-S -M q35 -m 256 -accel tcg,tb-size=32 -display none -nodefaults -machine memory-backend=r"
    child = house.start([program, *options.split(), "-object", backend, "-qmp", monitor])
    assert until(lambda: _answers(socket_path), 30), "QEMU opened no monitor"
    house.move(child.pid)
    settle(house)
    return child


def settle(house: House) -> None:
    """Wait until QEMU has trimmed its start-up heap: nothing changed for half a second."""
    last, since = -1, time.monotonic()

    def still() -> bool:
        nonlocal last, since
        now = house.from_files(0)
        if now != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since > 0.5

    assert until(still, 20), "QEMU does not come to rest"


def qmp(path: Path, command: dict[str, object]) -> None:
    """One QMP command; its answer must be a return."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(30)
        link.connect(str(path))
        stream = link.makefile("rw")
        stream.readline()
        for order in ({"execute": "qmp_capabilities"}, command):
            stream.write(json.dumps(order) + "\n")
            stream.flush()
            answer = json.loads(stream.readline())
            while "event" in answer:
                answer = json.loads(stream.readline())
            assert "return" in answer, answer


def _answers(path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
        qmp(path, {"execute": "query-status"})
        return True
    return False


def near(value: int | None, expected: int, tolerance: int) -> bool:
    """True where both are at most ``tolerance`` apart."""
    return value is not None and abs(value - expected) <= tolerance


# --- a real QEMU ---


def test_overhead_is_what_the_cgroup_files_say(house: House, qemu: subprocess.Popen[str]) -> None:
    """Overhead equals the files' own figures to the byte, and a count of anonymous bytes in smaps agrees within 1 %."""
    found = house.read(qemu.pid, RAM)
    assert found.overhead_bytes == house.from_files(RAM)
    kernel = house.charge("ram")["kmem"] + house.charge("vmm")["kmem"]
    counted = anonymous_bytes(qemu.pid) - RAM + kernel
    assert near(found.overhead_bytes, counted, counted // 100)
    assert found.ram_resident_bytes == RAM


def test_overhead_that_qemu_takes_lands_in_vmm(house: House, qemu: subprocess.Popen[str]) -> None:
    """48 MiB that QEMU takes for itself after the move are 48 MiB of overhead in ``vmm``; what else changes is a little
    heap that it gives back."""
    before = house.read(qemu.pid, RAM)
    vmm_before = house.charge("vmm")["total_rss"]
    extra = {"qom-type": "memory-backend-ram", "id": "x", "size": 48 * MIB, "prealloc": True}
    qmp(house.work / "qmp", {"execute": "object-add", "arguments": extra})
    settle(house)
    after = house.read(qemu.pid, RAM)
    assert before.overhead_bytes is not None
    assert near(after.overhead_bytes, before.overhead_bytes + 48 * MIB, 6 * MIB)
    assert near(house.charge("vmm")["total_rss"], vmm_before + 48 * MIB, 2 * MIB)
    assert after.overhead_bytes == house.from_files(RAM)
    kernel = house.charge("ram")["kmem"] + house.charge("vmm")["kmem"]
    counted = anonymous_bytes(qemu.pid) - RAM + kernel
    assert near(after.overhead_bytes, counted, counted // 100)
    peak = after.kernel_peak_bytes
    assert peak is not None
    assert after.overhead_bytes is not None
    assert peak >= after.overhead_bytes


def test_both_ways_of_accounting_agree(house: House, qemu: subprocess.Popen[str]) -> None:
    """Read as one cgroup and told apart by smaps, the same QEMU has the same overhead within 1 %."""
    split = house.read(qemu.pid, RAM)
    joint = house.observer.joint_overhead("a", house.layout.guest("a"), (RAM,))
    assert split.overhead_bytes is not None
    assert near(joint.overhead_bytes, split.overhead_bytes, split.overhead_bytes // 100), joint.how
    assert joint.ram_resident_bytes == RAM


def test_qemu_is_recognised_and_excluded(house: House, qemu: subprocess.Popen[str]) -> None:
    """A QEMU under the wall is a QEMU, is ours and no outsider; seen from another wall it is an outsider."""
    files = house.files
    assert is_qemu(files, qemu.pid)
    assert ppid(files, qemu.pid) == os.getpid()
    assert cmdline(files, qemu.pid)[1] == "-S"
    assert start_ticks(files, qemu.pid) > 0
    assert read_procs(files, house.layout.vmm("a")) == [qemu.pid]
    assert qemu.pid not in [outsider.pid for outsider in house.observer.host().outsiders]
    elsewhere = KernelObserver(files, Layout(house.layout.memory + "-none", None), Clock())
    (seen,) = [outsider for outsider in elsewhere.host().outsiders if outsider.pid == qemu.pid]
    assert seen.use_bytes is not None
    assert seen.use_bytes >= RAM
    assert [found.pid for found in find_qemus(files, {qemu.pid}) if found.pid == qemu.pid] == []


def test_ended_qemu_leaves_empty_cgroups(house: House, qemu: subprocess.Popen[str]) -> None:
    """A guest is populated exactly as long as its process lives."""
    assert populated(house.files, house.layout, "a")
    qemu.kill()
    qemu.wait()
    assert until(lambda: not populated(house.files, house.layout, "a"))
    assert read_all_procs(house.files, house.layout.guest("a")) == []


# --- what guests, balloons and the kernel do to RAM ---


def test_half_touched_ram_does_not_disturb(house: House) -> None:
    """RAM that was only half there at the move and is touched later in ``vmm`` is RAM, not overhead."""
    actor = house.actor()
    actor.do(f"ram {BLOCK}")
    actor.do(f"touch 0 {BLOCK // 2}")
    house.move(actor.pid)
    half = house.read(actor.pid, BLOCK)
    assert near(half.ram_resident_bytes, BLOCK // 2, 0), half.how
    actor.do(f"touch 0 {BLOCK}")
    full = house.read(actor.pid, BLOCK)
    assert full.ram_resident_bytes == BLOCK
    assert half.overhead_bytes is not None
    assert near(full.overhead_bytes, half.overhead_bytes, MIB)


def test_page_cache_does_not_disturb(house: House, actor: Actor) -> None:
    """100 MiB of page cache charged to ``vmm`` is shown as cache; only the kernel's own records of those pages (slab,
    up to 5 % of them: v1 can't tell that it is reclaimable) show in overhead, and they go when the cache goes."""
    before = house.read(actor.pid, BLOCK)
    actor.do(f"cache {house.work / 'file'} {100 * MIB}")
    after = house.read(actor.pid, BLOCK)
    assert before.overhead_bytes is not None
    assert after.cache_bytes is not None
    assert before.cache_bytes is not None
    cache = after.cache_bytes - before.cache_bytes
    assert cache > 50 * MIB
    assert near(after.overhead_bytes, before.overhead_bytes, cache // 20)
    house.files.write(f"{house.layout.vmm('a')}/memory.force_empty", "0")
    emptied = house.read(actor.pid, BLOCK)
    assert emptied.cache_bytes is not None
    assert emptied.cache_bytes < MIB
    assert near(emptied.overhead_bytes, before.overhead_bytes, 2 * MIB)


def test_collapsed_ram_stays_ram(house: House, actor: Actor) -> None:
    """Huge page collapse charges RAM anew to ``vmm``; overhead stays what it was, by a count that says so."""
    before = house.read(actor.pid, BLOCK)
    assert "counted" not in before.how
    try:
        actor.do("collapse")
    except AssertionError:
        pytest.skip("this kernel has no MADV_COLLAPSE")
    moved = house.charge("vmm")["total_rss_huge"]
    if moved < 32 * MIB:
        pytest.skip(f"the kernel collapsed only {moved >> 20} MiB")
    after = house.read(actor.pid, BLOCK)
    assert before.overhead_bytes is not None
    assert near(after.overhead_bytes, before.overhead_bytes, MIB), after.how
    assert "by smaps" in after.how
    assert near(house.from_files(BLOCK), before.overhead_bytes, MIB), "nothing was lost on the way"


def test_discarded_ram_is_not_given_back_overhead(house: House, actor: Actor) -> None:
    """What a balloon gives back is missing RAM: overhead stays, and touched again it is RAM in ``vmm``."""
    before = house.read(actor.pid, BLOCK)
    assert before.overhead_bytes is not None
    actor.do(f"discard {8 * MIB} {40 * MIB}")
    given = house.read(actor.pid, BLOCK)
    assert near(given.overhead_bytes, before.overhead_bytes, MIB), given.how
    assert given.ram_resident_bytes == BLOCK - 32 * MIB
    unread = house.read(None, BLOCK)
    assert unread.overhead_bytes is None
    assert unread.upper_bound_bytes is not None
    assert unread.upper_bound_bytes >= before.overhead_bytes - MIB
    actor.do(f"touch 0 {BLOCK}")
    again = house.read(actor.pid, BLOCK)
    assert near(again.overhead_bytes, before.overhead_bytes, MIB), again.how
    assert again.ram_resident_bytes == BLOCK


def test_growth_after_the_ram_wandered_is_still_seen(house: House, actor: Actor) -> None:
    """With RAM in both cgroups 24 MiB more of overhead are 24 MiB more."""
    actor.do(f"discard 0 {32 * MIB}")
    actor.do(f"touch 0 {16 * MIB}")
    before = house.read(actor.pid, BLOCK)
    actor.do(f"grow {24 * MIB}")
    after = house.read(actor.pid, BLOCK)
    assert before.overhead_bytes is not None
    assert near(after.overhead_bytes, before.overhead_bytes + 24 * MIB, MIB)


# --- places and states ---


def test_layout_is_found_on_this_host() -> None:
    """Our own cgroup is where the kernel says, may be written, and probing leaves nothing behind."""
    files = KernelFiles()
    assert Path(own_cgroup(files)) == own("memory")
    name = f"guestroom-layout-{os.getpid()}"
    layout = find_layout(files, name)
    assert layout.memory == str(own("memory") / name)
    assert not [folder for folder in own("memory").iterdir() if folder.name.startswith(name)]


def test_limits_and_states_are_read_back(house: House) -> None:
    """A limit that is set reads as that many bytes, none as UNLIMITED, and a frozen cgroup as frozen."""
    guest = house.layout.guest("a")
    assert read_memory(house.files, guest, 0).limit_bytes is UNLIMITED
    house.files.write(f"{guest}/memory.limit_in_bytes", str(300 * MIB))
    assert read_memory(house.files, guest, 0).limit_bytes == 300 * MIB
    freezer = house.layout.freezer
    assert freezer is not None
    assert read_frozen(house.files, freezer) is False
    house.files.write(f"{freezer}/freezer.state", "FROZEN")
    assert read_frozen(house.files, freezer) is True
    house.files.write(f"{freezer}/freezer.state", "THAWED")


def test_ancestor_with_a_limit_is_told(house: House, actor: Actor) -> None:
    """A limit set above the wall is seen with what others hold there: for the guest's own folder as wall, the wall
    above it is such an ancestor, and nothing there is others'."""
    house.files.write(f"{house.layout.memory}/memory.limit_in_bytes", str(900 * MIB))
    inner = KernelObserver(house.files, Layout(house.layout.guest("a"), None), Clock())
    ancestor = next(found for found in inner.host().ancestors if found.path == house.layout.memory)
    assert ancestor.limit_bytes == 900 * MIB
    assert near(ancestor.other_use_bytes, 0, MIB)
    assert inner.host().total_bytes == read_meminfo(house.files).total_bytes
    assert actor.pid in read_all_procs(house.files, house.layout.memory)
