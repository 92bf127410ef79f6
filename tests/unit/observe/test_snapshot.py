"""The facts put together, on the simulated host: the readers are the real ones."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from guestroom.errors import ReadError, VanishedError
from guestroom.facts import AncestorFacts
from guestroom.layout import Layout
from guestroom.observe.cgroup1 import find_layout
from guestroom.observe.snapshot import KernelObserver
from guestroom.ports import Observer
from guestroom.testing import ManualClock, SimHost
from guestroom.units import GIB, KIB, MIB, UNLIMITED

RAM = 256 * MIB
QEMU = ("qemu-system-x86_64", "-m", "256")


class House:
    """A simulated host with guests started as guestroom starts them."""

    def __init__(self) -> None:
        self.host = SimHost()
        self.layout = self.host.layout()
        self.clock = ManualClock()
        self.observer = KernelObserver(self.host, self.layout, self.clock)
        self.reads: list[str] = []
        self.host.before_read.append(self._log)
        for folder in (self.layout.memory, self.layout.freezer):
            assert folder is not None
            self.host.mkdir(folder)

    def _log(self, path: str) -> None:
        self.reads.append(path)

    def smaps_reads(self) -> int:
        """How often smaps was read since the last call."""
        count = sum(path.endswith("/smaps") for path in self.reads)
        self.reads.clear()
        return count

    def start(self, name: str, *, start_overhead: int = 20 * MIB, shm: bool = False) -> int:
        """RAM and start-up overhead charged to ``ram``, then the move to ``vmm``. The pid."""
        for folder in (self.layout.guest(name), self.layout.ram(name), self.layout.vmm(name)):
            self.host.mkdir(folder)
        pid = self.host.spawn(self.layout.ram(name), argv=QEMU)
        self.host.touch(pid, RAM, shm=shm)
        self.host.touch(pid, start_overhead, huge=True)
        self.host.move(pid, self.layout.vmm(name))
        return pid

    def after_smaps(self, do: Callable[[], object]) -> None:
        """Let something happen right after the next time smaps is read."""
        armed = [True]

        def hook(path: str) -> None:
            if path.endswith("/vmm/memory.stat") and armed[0] and any(r.endswith("/smaps") for r in self.reads):
                armed[0] = False
                do()

        self.host.before_read.append(hook)


@pytest.fixture
def house() -> House:
    """A host with a wall and no guest."""
    return House()


def kernel_of(house: House, name: str) -> int:
    """Kernel memory charged to a guest, its folder's own included."""
    return int(house.host.read(f"{house.layout.guest(name)}/memory.kmem.usage_in_bytes"))


def test_it_is_an_observer(house: House) -> None:
    """The kernel's observer is what the agent asks for."""
    observer: Observer = house.observer
    assert observer.host().total_bytes == 16 * GIB


def test_still_guest_is_read_without_smaps(house: House) -> None:
    """While RAM stays where it was charged, overhead comes from the cgroup files alone."""
    pid = house.start("a")
    house.host.fill_cache(pid, 300 * MIB)
    house.clock.advance(5)
    found = house.observer.overhead("a", RAM, pid, (RAM,))
    assert found.overhead_bytes == 20 * MIB + kernel_of(house, "a")
    assert found.cache_bytes == 300 * MIB
    assert found.at_s == house.clock.monotonic()
    assert house.smaps_reads() == 0


def test_collapse_is_told_by_smaps(house: House) -> None:
    """RAM that went to ``vmm`` as huge pages is still RAM: overhead stays what it was."""
    pid = house.start("a")
    before = house.observer.overhead("a", RAM, pid, (RAM,))
    house.host.collapse(pid)
    house.reads.clear()
    after = house.observer.overhead("a", RAM, pid, (RAM,))
    assert house.smaps_reads() == 1
    assert after.overhead_bytes == before.overhead_bytes
    assert after.ram_resident_bytes == RAM
    assert after.kernel_peak_bytes is None


def test_trimmed_heap_costs_one_count_not_one_each_time(house: House) -> None:
    """A QEMU that gave start-up heap back is counted once; again only when charge falls that could be RAM."""
    pid = house.start("a", start_overhead=20 * MIB)
    house.observer.overhead("a", RAM, pid, (RAM,))
    house.host.free(pid, 6 * MIB, "huge")
    house.reads.clear()
    found = house.observer.overhead("a", RAM, pid, (RAM,))
    assert found.overhead_bytes == 14 * MIB + kernel_of(house, "a")
    assert house.smaps_reads() == 1
    house.host.kernel_memory(pid, 30 * MIB)
    found = house.observer.overhead("a", RAM, pid, (RAM,))
    assert found.overhead_bytes == 14 * MIB + kernel_of(house, "a")
    assert found.kernel_peak_bytes is not None
    assert house.smaps_reads() == 0
    house.host.release_kernel(pid)
    house.observer.overhead("a", RAM, pid, (RAM,))
    assert house.smaps_reads() == 1
    house.host.discard(pid, 12 * MIB)
    found = house.observer.overhead("a", RAM, pid, (RAM,))
    assert found.ram_resident_bytes == RAM - 12 * MIB
    assert house.smaps_reads() == 1


def test_collapsed_ram_that_is_discarded_later_is_noticed(house: House) -> None:
    """RAM found in full in ``vmm`` by a count is not believed for ever: when ``vmm`` falls it is counted again."""
    pid = house.start("a")
    house.host.collapse(pid)
    before = house.observer.overhead("a", RAM, pid, (RAM,))
    house.host.discard(pid, 64 * MIB)
    after = house.observer.overhead("a", RAM, pid, (RAM,))
    assert after.ram_resident_bytes == RAM - 64 * MIB
    assert before.overhead_bytes is not None
    assert after.overhead_bytes is not None
    assert abs(after.overhead_bytes - before.overhead_bytes) <= 256 * KIB, "page tables come and go"


def test_small_discard_is_noticed_after_one_reading(house: House) -> None:
    """RAM given back is not taken for overhead given back, even where less is gone than QEMU took at its start."""
    pid = house.start("a")
    before = house.observer.overhead("a", RAM, pid, (RAM,))
    house.host.discard(pid, 12 * MIB)
    after = house.observer.overhead("a", RAM, pid, (RAM,))
    assert after.ram_resident_bytes == RAM - 12 * MIB
    house.host.retouch(pid)
    again = house.observer.overhead("a", RAM, pid, (RAM,))
    assert again.ram_resident_bytes == RAM
    for later in (after, again):
        assert later.overhead_bytes is not None
        assert before.overhead_bytes is not None
        assert abs(later.overhead_bytes - before.overhead_bytes) <= 64 * KIB, "page tables come and go"


def test_guest_started_again_under_its_name_is_another_guest(house: House) -> None:
    """What the former guest's ``ram`` held is not asked of its successor, whose cgroup is another one."""
    pid = house.start("a", start_overhead=60 * MIB)
    house.observer.overhead("a", RAM, pid)
    house.host.exit(pid)
    for folder in (house.layout.ram("a"), house.layout.vmm("a"), house.layout.guest("a")):
        house.host.rmdir(folder)
    pid = house.start("a", start_overhead=10 * MIB)
    house.reads.clear()
    assert house.observer.overhead("a", RAM, pid).overhead_bytes == 10 * MIB + kernel_of(house, "a")
    assert house.smaps_reads() == 0


def test_vanished_guest_is_said(house: House) -> None:
    """A guest whose cgroups are gone raises VanishedError, also when they go between ``ram`` and ``vmm``."""
    with pytest.raises(VanishedError):
        house.observer.overhead("a", RAM, 1)
    pid = house.start("a")

    def gone(path: str) -> None:
        if path.startswith(house.layout.vmm("a")):
            raise OSError(errno.ENODEV, "gone", path)

    house.host.before_read.append(gone)
    with pytest.raises(VanishedError):
        house.observer.overhead("a", RAM, pid)


@pytest.mark.parametrize("pid_known", [True, False])
def test_wandered_ram_of_a_process_that_cannot_be_read_is_unknown(house: House, pid_known: bool) -> None:
    """Without a process to count in, overhead is None and its bound covers what QEMU took at its start."""
    pid = house.start("a")
    before = house.observer.overhead("a", RAM, pid)
    house.host.discard(pid, 100 * MIB)
    found = house.observer.overhead("a", RAM, 99999 if pid_known else None)
    assert found.overhead_bytes is None
    assert found.upper_bound_bytes is not None
    assert before.overhead_bytes is not None
    assert found.upper_bound_bytes >= before.overhead_bytes - 100 * KIB


def test_merged_ram_is_unknown(house: House) -> None:
    """RAM that KSM merged is mapped but charged to nobody: no figure rather than a wrong one."""
    pid = house.start("a")
    house.observer.overhead("a", RAM, pid)
    house.host.merge(pid, 64 * MIB)
    found = house.observer.overhead("a", RAM, pid, (RAM,))
    assert found.overhead_bytes is None
    assert found.upper_bound_bytes is not None


def test_shared_ram_is_not_counted_by_its_mapping(house: House) -> None:
    """memfd RAM may be charged without being mapped: once it wandered there is no exact count."""
    pid = house.start("a", shm=True)
    assert house.observer.overhead("a", RAM, pid).overhead_bytes == 20 * MIB + kernel_of(house, "a")
    house.host.discard(pid, 100 * MIB, "shm")
    assert house.observer.overhead("a", RAM, pid).overhead_bytes is None


def test_trimmed_heap_beside_shared_ram_is_no_riddle(house: House) -> None:
    """A guest with memfd RAM keeps its exact figure when QEMU gives start-up heap back."""
    pid = house.start("a", shm=True)
    house.observer.overhead("a", RAM, pid)
    house.host.free(pid, 6 * MIB, "huge")
    assert house.observer.overhead("a", RAM, pid).overhead_bytes == 14 * MIB + kernel_of(house, "a")


def test_growth_while_counting_is_not_lost(house: House) -> None:
    """Overhead taken between the two readings around smaps is in the figure: the larger charge counts."""
    pid = house.start("a")
    house.host.discard(pid, 100 * MIB)
    before = house.observer.overhead("a", RAM, pid, (RAM,)).overhead_bytes
    house.reads.clear()
    house.after_smaps(lambda: house.host.kernel_memory(pid, 3 * MIB))
    after = house.observer.overhead("a", RAM, pid, (RAM,)).overhead_bytes
    assert before is not None
    assert after == before + 3 * MIB


def test_moment_that_is_not_still_has_no_exact_figure(house: House) -> None:
    """If the charge moves by more than tolerance while RAM is counted, the figure is None and the bound stays."""
    pid = house.start("a")
    house.host.discard(pid, 100 * MIB)
    house.observer.overhead("a", RAM, pid, (RAM,))
    house.reads.clear()
    house.after_smaps(lambda: house.host.retouch(pid))
    found = house.observer.overhead("a", RAM, pid, (RAM,))
    assert found.overhead_bytes is None
    assert found.upper_bound_bytes is not None


def test_unknown_charge_is_an_unknown_overhead(house: House) -> None:
    """A kernel without kernel-memory accounting gives no figure, not one without the kernel's part."""
    pid = house.start("a")

    def lacks(path: str) -> None:
        if path.endswith("/memory.kmem.usage_in_bytes"):
            raise FileNotFoundError(errno.ENOENT, "no such file", path)

    house.host.before_read.append(lacks)
    found = house.observer.overhead("a", RAM, pid)
    assert (found.overhead_bytes, found.upper_bound_bytes) == (None, None)


# --- one cgroup for all ---


def test_joint_guest_is_told_apart_by_smaps(house: House) -> None:
    """A guest with one cgroup: overhead by parts equals what is charged beside its RAM; a gone cgroup is said."""
    folder = f"{house.host.memory}/adopted"
    house.host.mkdir(folder)
    pid = house.host.spawn(folder, argv=QEMU)
    house.host.touch(pid, RAM)
    house.host.touch(pid, 30 * MIB, huge=True)
    house.host.fill_cache(pid, 100 * MIB)
    found = house.observer.joint_overhead("b", folder, (RAM,))
    assert found.overhead_bytes == 30 * MIB + (house.observer.cgroup(folder).kernel_bytes or 0)
    assert found.ram_resident_bytes == RAM
    assert house.observer.joint_overhead("b", folder, (7 * MIB,)).overhead_bytes is None
    with pytest.raises(VanishedError):
        house.observer.joint_overhead("b", folder + "x", (RAM,))


def test_joint_guest_whose_smaps_cannot_be_read_is_unknown(house: House) -> None:
    """Malformed or forbidden smaps make a joint guest's overhead None with all it is charged as the bound."""
    folder = f"{house.host.memory}/adopted"
    house.host.mkdir(folder)
    pid = house.host.spawn(folder, argv=QEMU)
    house.host.touch(pid, RAM)
    house.host.before_read.append(lambda path: "nonsense\n" if path.endswith("/smaps") else None)
    found = house.observer.joint_overhead("b", folder, (RAM,))
    assert found.overhead_bytes is None
    assert found.upper_bound_bytes == house.observer.cgroup(folder).unreclaimable_bytes


@pytest.mark.parametrize(("run", "known"), [("0", True), ("1", False), (None, True)], ids=["off", "on", "no KSM"])
def test_where_smaps_has_no_ksm_the_host_is_asked(house: House, run: str | None, known: bool) -> None:
    """Kernels as late as 6.1 have no line KSM: with merging off nothing can be merged, with it on nobody can say."""
    folder = f"{house.host.memory}/adopted"
    house.host.mkdir(folder)
    pid = house.host.spawn(folder, argv=QEMU)
    house.host.touch(pid, RAM)
    smaps = "".join(
        line for line in house.host.read(f"/proc/{pid}/smaps").splitlines(keepends=True) if not line.startswith("KSM:")
    )

    def old_kernel(path: str) -> str | None:
        if path.endswith("/smaps"):
            return smaps
        if path.startswith("/sys/kernel/mm/ksm/"):
            if run is None:
                raise FileNotFoundError(errno.ENOENT, "no such file", path)
            return f"{run if path.endswith('/run') else 0}\n"
        return None

    house.host.before_read.append(old_kernel)
    found = house.observer.joint_overhead("b", folder, (RAM,))
    assert (found.overhead_bytes is not None) is known


# --- the host ---


def test_host_figures(house: House) -> None:
    """Memory, pools, swap and the wall are the host's own."""
    house.host.proc.hugetlb_pages = {2 * MIB: 10}
    house.host.write(f"{house.layout.memory}/memory.limit_in_bytes", str(2 * GIB))
    house.start("a")
    host = house.observer.host()
    assert (host.total_bytes, host.hugetlb_bytes, host.swap_total_bytes) == (16 * GIB, 20 * MIB, 0)
    assert host.available_bytes is not None
    assert host.wall_limit_bytes == 2 * GIB
    assert host.wall_unreclaimable_bytes == house.observer.cgroup(house.layout.memory).unreclaimable_bytes
    assert host.wall_unreclaimable_bytes is not None
    assert host.wall_unreclaimable_bytes >= RAM + 20 * MIB
    assert (host.ancestors, host.outsiders) == ((), ())


def test_wall_that_nobody_made_yet_uses_nothing() -> None:
    """Before the wall is made its use is 0, which is known, and it has no limit to tell."""
    sim = SimHost()
    host = KernelObserver(sim, find_layout(sim, "guestroom"), ManualClock()).host()
    assert (host.wall_unreclaimable_bytes, host.wall_limit_bytes) == (0, None)


def test_limits_above_the_wall_are_seen_with_others_use(house: House) -> None:
    """Each cgroup above the wall that has a limit is told, nearest first, with what others hold there; those
    without a limit are left out."""
    sim = house.host
    deep = f"{sim.memory}/x/y"
    for folder in (f"{sim.memory}/x", deep, f"{deep}/wall"):
        sim.mkdir(folder)
    sim.write(f"{sim.memory}/memory.limit_in_bytes", str(4 * GIB))
    sim.write(f"{deep}/memory.limit_in_bytes", str(2 * GIB))
    inside, beside = sim.spawn(f"{deep}/wall"), sim.spawn(f"{sim.memory}/x")
    sim.touch(inside, 100 * MIB)
    sim.touch(beside, 50 * MIB)
    sim.fill_cache(beside, 70 * MIB)
    observer = KernelObserver(sim, Layout(memory=f"{deep}/wall", freezer=None), house.clock)
    near, far = observer.host().ancestors
    assert (near.path, near.limit_bytes) == (deep, 2 * GIB)
    assert near.other_use_bytes is not None
    assert near.other_use_bytes <= MIB  # a cgroup's own kernel objects are charged to its parent
    assert (far.path, far.limit_bytes) == (sim.memory, 4 * GIB)
    assert far.other_use_bytes is not None
    assert 50 * MIB <= far.other_use_bytes <= 51 * MIB


def test_others_use_is_never_too_small_when_we_grow_meanwhile(house: House) -> None:
    """What our guests take between reading the wall and reading the ancestor counts as others' use: less room, not
    more."""
    sim = house.host
    sim.write(f"{sim.memory}/memory.limit_in_bytes", str(4 * GIB))
    pid = house.start("a")

    def grow(path: str) -> None:
        if path == f"{sim.memory}/memory.stat":
            sim.kernel_memory(pid, 8 * MIB)

    sim.before_read.append(grow)
    (ancestor,) = house.observer.host().ancestors
    assert ancestor.other_use_bytes is not None
    assert ancestor.other_use_bytes >= 8 * MIB


def test_limit_above_the_visible_tree_is_seen(house: House) -> None:
    """In a container the limit of an invisible ancestor shows; what others use there is unknown, not 0."""
    root = "/sys/fs/cgroup/memory"
    sim = house.host

    def hidden(path: str) -> str | None:
        if path == f"{root}/memory.stat":
            return f"hierarchical_memory_limit {3 * GIB}\n"
        if path == f"{root}/memory.limit_in_bytes":
            return "9223372036854771712\n"
        return None

    sim.before_read.append(hidden)
    assert house.observer.host().ancestors == (AncestorFacts(f"above {root}", 3 * GIB, None),)


def test_qemus_outside_the_wall_are_told(house: House) -> None:
    """A QEMU that is not under the wall is an outsider with its use and what its arguments say; ours are not."""
    house.start("a")
    stranger = house.host.spawn(house.host.memory, argv=("/usr/bin/qemu-system-x86_64", "-m", "64"))
    house.host.touch(stranger, 30 * MIB)
    house.host.spawn(house.host.memory, argv=("bash",))
    (outsider,) = house.observer.host().outsiders
    assert (outsider.pid, outsider.use_bytes) == (stranger, 30 * MIB)
    assert (outsider.ram_bytes, outsider.need_bytes) == (None, None)
    seen: list[tuple[str, ...]] = []

    def need(argv: tuple[str, ...]) -> tuple[int | None, int | None]:
        seen.append(argv)
        return 64 * MIB, None

    asking = KernelObserver(house.host, house.layout, house.clock, outsider_need=need)
    (outsider,) = asking.host().outsiders
    assert (outsider.ram_bytes, outsider.need_bytes) == (64 * MIB, None)
    assert seen == [("/usr/bin/qemu-system-x86_64", "-m", "64")]


def test_host_that_cannot_be_read_is_said(house: House) -> None:
    """Without the host's own memory figure there are no facts, but an error that names the file."""
    house.host.before_read.append(lambda path: "MemFree: 1 kB\n" if path == "/proc/meminfo" else None)
    with pytest.raises(ReadError, match="/proc/meminfo"):
        house.observer.host()


def test_unlimited_wall_is_unlimited(house: House) -> None:
    """A wall without a limit is UNLIMITED, which is not the same as unknown."""
    assert house.observer.host().wall_limit_bytes is UNLIMITED
