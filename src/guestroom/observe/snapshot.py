"""The facts of one moment, put together: what decisions are made from.

No two files are read at the same instant, so the orders below are chosen such that what moves meanwhile makes a
figure too large, never too small: room that is not there is the dangerous error.

- A guest: ``ram`` before ``vmm``. Memory that moves from one to the other in between (a huge page is charged to
  ``vmm`` before the small pages leave ``ram``) is then counted twice rather than not at all.
- A guest whose RAM wandered: both cgroups, smaps, both cgroups again, and the larger charge counts. If the two
  charges differ beyond tolerance, the moment was not still enough for an exact figure.
- Ancestors: the wall before the ancestor, so that growth in between counts as others' use.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from guestroom.attribute.joint import joint_overhead, process_memory
from guestroom.attribute.overhead import (
    TOLERANCE_BYTES,
    peak_overhead,
    ram_wandered,
    split_overhead,
    tolerance_bytes,
)
from guestroom.attribute.smaps import guest_ram
from guestroom.errors import HostError, ReadError, VanishedError
from guestroom.facts import (
    Accounting,
    AncestorFacts,
    HostFacts,
    MemoryReading,
    Moved,
    OutsiderFacts,
    OverheadReading,
)
from guestroom.layout import Layout
from guestroom.observe import procfs
from guestroom.observe.cgroups import cgroups
from guestroom.observe.glance import Glance
from guestroom.observe.hierarchy import mount_root
from guestroom.observe.text import folder_inode
from guestroom.ports import Clock, Files
from guestroom.units import UNLIMITED

_QUICK_HOW = "unreclaimable(ram) as at the last complete look - guest RAM + unreclaimable(vmm)"

OutsiderNeed = Callable[[tuple[str, ...]], tuple[int | None, int | None]]
"""From a QEMU's arguments its RAM and the overhead it is expected to need, in bytes; ``None`` where unknown."""


class KernelObserver:
    """``ports.Observer`` over the cgroups of a layout's version."""

    def __init__(
        self,
        files: Files,
        layout: Layout,
        clock: Clock,
        *,
        outsider_need: OutsiderNeed | None = None,
        kept: Files | None = None,
    ) -> None:
        """``kept`` reads what every sweep reads, from files it keeps open; complete looks are too rare for that."""
        self._files = files
        self._layout = layout
        self._clock = clock
        self._outsider_need = outsider_need
        self._cgroups = cgroups(layout.version)
        self._known: dict[str, _Known] = {}
        self._kept = files if kept is None else kept
        self._glance = Glance(self._kept, layout)

    def host(self) -> HostFacts:
        """The host now. Raises ``HostError`` where the host's own figures can't be read."""
        meminfo = procfs.read_meminfo(self._files)
        wall = self._wall()
        return HostFacts(
            total_bytes=meminfo.total_bytes,
            available_bytes=meminfo.available_bytes,
            hugetlb_bytes=procfs.hugetlb_pool_bytes(self._files),
            swap_total_bytes=meminfo.swap_total_bytes,
            swap_free_bytes=meminfo.swap_free_bytes,
            ancestors=self._ancestors(0 if wall is None else wall.unreclaimable_bytes),
            outsiders=self._outsiders(),
            wall_limit_bytes=None if wall is None else wall.limit_bytes,
            wall_unreclaimable_bytes=0 if wall is None else wall.unreclaimable_bytes,
        )

    def cgroup(self, path: str) -> MemoryReading:
        """One cgroup now. Raises ``VanishedError`` when it is gone, ``ReadError`` when it can't be understood."""
        return self._cgroups.read_memory(self._files, path, self._clock.monotonic())

    def overhead(
        self, name: str, ram_charged_bytes: int, pid: int | None, ram_block_bytes: tuple[int, ...] = ()
    ) -> OverheadReading:
        """A split guest's overhead now; smaps is read only where its RAM may have left ``ram``.

        ``ram_block_bytes`` are the sizes of the RAM blocks that are guest RAM; without them one block of all charged
        RAM is assumed. Raises ``VanishedError`` when ``ram`` or ``vmm`` is gone, ``ReadError`` when the files can't be
        understood. A process that is gone or can't be read makes the overhead unknown, not an error.
        """
        reading = self._split(name, ram_charged_bytes, pid, ram_block_bytes)
        folder = self._known[name].folder_bytes
        if not folder:
            return reading
        return replace(
            reading,
            overhead_bytes=None if reading.overhead_bytes is None else reading.overhead_bytes + folder,
            upper_bound_bytes=None if reading.upper_bound_bytes is None else reading.upper_bound_bytes + folder,
            kernel_peak_bytes=None if reading.kernel_peak_bytes is None else reading.kernel_peak_bytes + folder,
            how=f"{reading.how} + {folder} bytes of the guest's own folder",
        )

    def quick(
        self, name: str, ram_charged_bytes: int, pid: int | None, ram_block_bytes: tuple[int, ...] = ()
    ) -> OverheadReading:
        """``overhead`` with five short reads, where the last complete look found all RAM in ``ram`` and ``ram`` is
        still charged what it was then.

        Nobody lives in ``ram`` after the move, so what it holds only falls, and a charge that is the same to the byte
        is made of the same parts. Anything else is looked at completely. Raises as ``overhead``.
        """
        known = self._known.get(name)
        settled = known.settled if known is not None else None
        if known is None or settled is None or known.folder_bytes is None:
            return self.overhead(name, ram_charged_bytes, pid, ram_block_bytes)
        at_s, ram = self._clock.monotonic(), self._layout.ram(name)
        if self._cgroups.read_usage(self._kept, ram) != settled.usage_bytes:
            return self.overhead(name, ram_charged_bytes, pid, ram_block_bytes)
        leaf = self._cgroups.read_leaf(self._kept, self._layout.vmm(name))
        if leaf is None:
            return self.overhead(name, ram_charged_bytes, pid, ram_block_bytes)
        folder = known.folder_bytes
        bare = max(0, settled.charged_bytes - ram_charged_bytes + leaf.unreclaimable_bytes)
        peak = peak_overhead(bare, settled.charged_bytes, leaf.peak_bytes, ram_charged_bytes, known.ram_start_bytes)
        return OverheadReading(
            name,
            at_s,
            Accounting.SPLIT,
            bare + folder,
            bare + folder,
            ram_charged_bytes,
            settled.file_bytes + leaf.file_bytes,
            _QUICK_HOW,
            None if peak is None else peak + folder,
        )

    def moved(self, names: tuple[str, ...]) -> Moved:
        """Which of these split guests are worth a look: see ``Moved``. One read of usage and limit each."""
        return self._glance.moved(names)

    def _split(
        self, name: str, ram_charged_bytes: int, pid: int | None, ram_block_bytes: tuple[int, ...]
    ) -> OverheadReading:
        """From ``ram`` and ``vmm`` alone."""
        ram, vmm = self._pair(name)
        known = self._remember(name, ram)
        if known.folder_bytes is None:
            known.folder_bytes = self._folder(name, ram, vmm)
        old = not self._cgroups.PEAK_CAN_BE_RESET and not known.peak_moved(vmm)
        known.settled = _settled(ram, ram_charged_bytes, known)
        reading = self._told_apart(name, known, (ram, vmm), ram_charged_bytes, pid, ram_block_bytes)
        return replace(reading, kernel_peak_is_old=old)

    def _told_apart(
        self,
        name: str,
        known: _Known,
        pair: tuple[MemoryReading, MemoryReading],
        ram_charged_bytes: int,
        pid: int | None,
        ram_block_bytes: tuple[int, ...],
    ) -> OverheadReading:
        """Overhead from these readings, with RAM counted in smaps where it may have left ``ram``."""
        (ram, vmm), start = pair, known.ram_start_bytes
        if not ram_wandered(ram, ram_charged_bytes, start):
            return split_overhead(name, ram, vmm, ram_charged_bytes, ram_start_bytes=start)
        if known.still_all_there(ram, vmm):
            return split_overhead(name, ram, vmm, ram_charged_bytes, ram_charged_bytes, ram_start_bytes=start)
        counted = None if pid is None else self._count_ram(pid, ram_block_bytes or (ram_charged_bytes,))
        if counted is not None:
            before = _charge(ram, vmm)
            ram_again, vmm_again = self._pair(name)
            after = _charge(ram_again, vmm_again)
            if before is None or after is None or abs(after - before) > tolerance_bytes(max(after, before)):
                counted = None
            elif after > before:
                ram, vmm = ram_again, vmm_again
        known.remember_count(ram, vmm, all_there=counted == ram_charged_bytes)
        return split_overhead(name, ram, vmm, ram_charged_bytes, counted, ram_start_bytes=start)

    def joint_overhead(
        self, name: str, path: str, ram_block_bytes: tuple[int, ...], *, least_ram_bytes: int = 0
    ) -> OverheadReading:
        """Overhead of a guest that has one cgroup, ``path``, told apart by the smaps of every process in it.

        ``least_ram_bytes``: see ``attribute.joint``. Raises ``VanishedError`` when the cgroup is gone, ``ReadError``
        when its files can't be understood; processes that can't be read make the overhead unknown.
        """
        reading = self.cgroup(path)
        processes = []
        try:
            for pid in self._cgroups.read_all_procs(self._files, path):
                try:
                    processes.append(procfs.read_smaps(self._files, pid))
                except VanishedError:
                    continue
        except ReadError:
            return joint_overhead(name, reading, None, least_ram_bytes=least_ram_bytes)
        memory = process_memory(processes, ram_block_bytes)
        if memory.ram is not None and memory.ram.ksm_bytes is None and not self._ksm_merges():
            memory = replace(memory, ram=replace(memory.ram, ksm_bytes=0))
        return joint_overhead(name, reading, memory, least_ram_bytes=least_ram_bytes)

    def _pair(self, name: str) -> tuple[MemoryReading, MemoryReading]:
        """``ram`` and ``vmm``, in this order."""
        try:
            return self.cgroup(self._layout.ram(name)), self.cgroup(self._layout.vmm(name))
        except VanishedError:
            self._known.pop(name, None)
            raise

    def _folder(self, name: str, ram: MemoryReading, vmm: MemoryReading) -> int | None:
        """Kernel memory of the two cgroups themselves: it is charged to their parent, and its limit counts it.

        Some 20 KiB, made with the cgroups and constant from then on, so it is read once. A limit of exactly RAM +
        what ``ram`` and ``vmm`` hold would be EBUSY for it.
        """
        whole = self.cgroup(self._layout.guest(name)).kernel_bytes
        if whole is None or ram.kernel_bytes is None or vmm.kernel_bytes is None:
            return None
        return max(0, whole - ram.kernel_bytes - vmm.kernel_bytes)

    def _remember(self, name: str, ram: MemoryReading) -> _Known:
        """What is known of this very ``ram`` cgroup: a guest started again under the same name is another guest."""
        inode = folder_inode(self._files, ram.path)
        known = self._known.get(name)
        if known is None or known.inode != inode:
            known = self._known[name] = _Known(inode)
        known.ram_start_bytes = max(known.ram_start_bytes, ram.unreclaimable_bytes or 0)
        return known

    def _count_ram(self, pid: int, ram_block_bytes: tuple[int, ...]) -> int | None:
        """Guest RAM charged somewhere, resident or swapped, by smaps; ``None`` where it can't be exact.

        Shared RAM (memfd) can be charged without being mapped, and pages merged by KSM are charged to
        one of the guests that share them: both can't be counted here.
        """
        try:
            ram = guest_ram(procfs.read_smaps(self._files, pid), ram_block_bytes)
            if ram is None or ram.anonymous_bytes != ram.resident_bytes:
                return None
            merged = self._ksm_merges() if ram.ksm_bytes is None else ram.ksm_bytes > 0
        except HostError:
            return None
        return None if merged else ram.resident_bytes + ram.swap_bytes

    def _ksm_merges(self) -> bool:
        """For kernels whose smaps has no line KSM (6.1 has none): whether any page of this host may be merged."""
        ksm = procfs.read_ksm(self._files)
        return ksm is not None and ksm.active

    def _wall(self) -> MemoryReading | None:
        """The host wall; ``None`` while nobody has made it."""
        try:
            return self.cgroup(self._layout.memory)
        except VanishedError:
            return None

    def _ancestors(self, wall_bytes: int | None) -> tuple[AncestorFacts, ...]:
        """Each cgroup above the wall that has a limit, nearest first.

        What lies above the mount can't be seen; where its limit shows all the same, its use by others is unknown.
        """
        root = mount_root(self._files, self._layout.version)
        found: list[AncestorFacts] = []
        path = self._layout.memory
        while path != root and path.startswith(f"{root}/"):
            path = path.rpartition("/")[0]
            limit = self._cgroups.read_limit(self._files, path)
            if limit is not UNLIMITED:
                found.append(AncestorFacts(path, limit, self._other_use(path, wall_bytes)))
        hidden = self._cgroups.hidden_limit(self._files, root)
        if isinstance(hidden, int):
            found.append(AncestorFacts(f"above {root}", hidden, None))
        return tuple(found)

    def _other_use(self, path: str, wall_bytes: int | None) -> int | None:
        whole = self.cgroup(path).unreclaimable_bytes
        return None if whole is None or wall_bytes is None else max(0, whole - wall_bytes)

    def _outsiders(self) -> tuple[OutsiderFacts, ...]:
        """QEMUs that live outside the wall."""
        found = []
        for process in procfs.find_qemus(self._files, self._inside()):
            ram, need = (None, None) if self._outsider_need is None else self._outsider_need(process.argv)
            found.append(OutsiderFacts(process.pid, ram, need, process.resident_bytes))
        return tuple(found)

    def _inside(self) -> frozenset[int]:
        """Pids of everything under the wall."""
        try:
            return frozenset(self._cgroups.read_all_procs(self._files, self._layout.memory))
        except VanishedError:
            return frozenset()


def _settled(ram: MemoryReading, ram_charged_bytes: int, known: _Known) -> _Settled | None:
    """What is known of ``ram`` if all RAM is in it."""
    charged = ram.unreclaimable_bytes
    if charged is None or ram.usage_bytes is None or ram.file_bytes is None:
        return None
    if ram_wandered(ram, ram_charged_bytes, known.ram_start_bytes) is not False:
        return None
    return _Settled(ram.usage_bytes, charged, ram.file_bytes)


@dataclass(frozen=True, slots=True)
class _Settled:
    """A ``ram`` with all RAM in it, as it was at the last complete look."""

    usage_bytes: int
    charged_bytes: int
    file_bytes: int


@dataclass
class _Known:
    """What former readings of one guest proved."""

    inode: int
    folder_bytes: int | None = None
    """Kernel memory charged to the guest's folder itself; None: not read yet, or unknown."""
    settled: _Settled | None = None
    """Where all RAM was in ``ram`` at the last complete look."""
    ram_start_bytes: int = 0
    """Largest unreclaimable charge of ``ram`` so far: what it held with all RAM in it."""
    _peak_bytes: int = 0
    """Largest peak of ``vmm`` the kernel told, where it can't be reset."""
    _counted: tuple[int, int] | None = None
    """Charges of ``ram`` and ``vmm`` (its largest since) when smaps showed all RAM there; None: it did not."""

    def peak_moved(self, vmm: MemoryReading) -> bool:
        """True where the kernel's peak of ``vmm`` is a new record since the last look; else it tells of longer ago."""
        moved = vmm.peak_bytes is not None and vmm.peak_bytes > self._peak_bytes
        self._peak_bytes = max(self._peak_bytes, vmm.peak_bytes or 0)
        return moved

    def remember_count(self, ram: MemoryReading, vmm: MemoryReading, *, all_there: bool) -> None:
        """Keep what a count in smaps showed."""
        first, second = ram.unreclaimable_bytes, vmm.unreclaimable_bytes
        self._counted = (first, second) if all_there and first is not None and second is not None else None

    def still_all_there(self, ram: MemoryReading, vmm: MemoryReading) -> bool:
        """True where the RAM that a count once found in full must still be there.

        RAM that leaves makes ``ram`` or ``vmm`` fall. A fall of ``vmm`` may as well be overhead given back: then smaps
        is read again. So a guest that only trimmed its heap costs one count now and then, not one each time.
        """
        first, second = ram.unreclaimable_bytes, vmm.unreclaimable_bytes
        if self._counted is None or first is None or second is None:
            return False
        ram_then, vmm_then = self._counted
        self._counted = (ram_then, max(vmm_then, second))
        return first >= ram_then - TOLERANCE_BYTES and second >= vmm_then - TOLERANCE_BYTES


def _charge(ram: MemoryReading, vmm: MemoryReading) -> int | None:
    """Unreclaimable charge of both cgroups."""
    first, second = ram.unreclaimable_bytes, vmm.unreclaimable_bytes
    return None if first is None or second is None else first + second
