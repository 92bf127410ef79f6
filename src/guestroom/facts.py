"""What was seen: frozen facts, the only thing decisions are made from.

A figure that could not be read is ``None`` (promise P6: unknown is not zero), a limit that is none is
``UNLIMITED``, and each reading says how it was obtained (P10). Facts hold no paths to re-read and no
behaviour beyond plain arithmetic on themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from guestroom.lives import Promised
from guestroom.units import PAGE_BYTES, UNLIMITED, Limit


class Accounting(StrEnum):
    """How RAM and overhead are told apart."""

    SPLIT = "split"
    """RAM charged to a cgroup of its own (``ram``), what comes later to ``vmm``."""
    JOINT = "joint"
    """One cgroup; RAM told apart by smaps."""


class GuestState(StrEnum):
    """Life of a guest under care."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class MemoryReading:
    """One memory cgroup at one moment, in bytes. Hierarchical: children are included.

    v1 files: ``memory.usage_in_bytes``, ``memory.limit_in_bytes``, ``memory.max_usage_in_bytes``,
    ``memory.failcnt``, ``memory.kmem.usage_in_bytes``, ``memory.stat`` (``total_*`` lines), ``memory.oom_control``
    (kernel Documentation/admin-guide/cgroup-v1/memory.rst section 5.2).
    """

    path: str
    at_s: float
    """Monotonic seconds."""
    usage_bytes: int | None
    limit_bytes: Limit | None
    peak_bytes: int | None
    failcnt: int | None
    anon_bytes: int | None
    """Anonymous memory: v1 ``rss`` (includes huge pages), v2 ``anon``."""
    anon_huge_bytes: int | None
    file_bytes: int | None
    """Page cache without shmem."""
    shmem_bytes: int | None
    kernel_bytes: int | None
    """v1 ``memory.kmem.usage_in_bytes``: page tables, kernel stacks, slab (v1 does not tell reclaimable slab)."""
    swap_bytes: int | None
    locked_file_bytes: int | None
    """Page cache that can't be reclaimed because it is locked (``unevictable`` beyond what is anonymous or shmem)."""
    under_oom: bool | None
    how: str
    """Which files and which formula."""
    killer_on: bool | None = None
    """Whether the OOM killer of this cgroup is on; None where there is no such switch (v2)."""

    @property
    def unreclaimable_bytes(self) -> int | None:
        """anon + shmem + kernel + locked page cache: what stays charged when everything reclaimable is gone.

        Swap counts too: it comes back as anonymous memory. ``None`` if any needed part is unknown.
        """
        if self.anon_bytes is None or self.shmem_bytes is None or self.kernel_bytes is None:
            return None
        return (
            self.anon_bytes
            + self.shmem_bytes
            + self.kernel_bytes
            + (self.locked_file_bytes or 0)
            + (self.swap_bytes or 0)
        )


@dataclass(frozen=True, slots=True)
class OverheadReading:
    """A guest's overhead at one moment, by the rules of its accounting.

    ``overhead_bytes`` is None when it could not be told exactly; ``upper_bound_bytes`` is then still safe to plan by.
    """

    name: str
    at_s: float
    accounting: Accounting
    overhead_bytes: int | None
    upper_bound_bytes: int | None
    ram_resident_bytes: int | None
    cache_bytes: int | None
    how: str
    kernel_peak_bytes: int | None = None
    """Overhead at the kernel's own peak of ``vmm`` since it was last reset; counts page cache."""
    kernel_peak_is_old: bool = False
    """That peak can't be reset (v2) and has not moved since the last reading: it only bounds what was missed."""


@dataclass(frozen=True, slots=True)
class Moved:
    """Which guests are worth a look, by two short reads each; the reading of all others still stands."""

    moved: frozenset[str]
    """Charged otherwise than last time, unknown, or ``near``."""
    near: frozenset[str]
    """So near their limit, or all under a full host wall, that page cache may give way to growth at the same charge;
    or their limit is not what it was."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which guest exactly: survives a name, a pid or a folder being used again (promise P9).

    Boot id + inode of the guest's cgroup + pid + start time in clock ticks since boot (proc(5), stat field 22).
    """

    boot_id: str
    cgroup_inode: int
    pid: int
    start_ticks: int


@dataclass(frozen=True, slots=True)
class GuestFacts:
    """One guest under care as decisions see it. Sizes in bytes, times in monotonic seconds."""

    name: str
    state: GuestState
    ram_bytes: int
    """Promised RAM: the formulas' and weights' figure."""
    ram_charged_bytes: int
    """The part of it charged to memory cgroups (less hugetlb)."""
    weight: int
    need_bytes: int
    boot_floor_bytes: int
    cap_bytes: int | None
    grant_bytes: int
    admitted_grant_bytes: int
    """The grant it started with: its floor until settled, where it was squeezed."""
    limit_bytes: Limit | None
    overhead_bytes: int | None
    overhead_peak_bytes: int | None
    """Largest overhead within the peak window; None if not known."""
    started_s: float
    accounting: Accounting = Accounting.SPLIT
    squeezed: bool = False
    held: bool = False
    recreatable: bool = False
    recreate_need_bytes: int | None = None
    """Overhead that is enough when it is recreated; None: its need."""
    recreated_s: float | None = None
    """When it was last recreated, None: never."""
    fixed_overhead: bool = False
    """Its need was set by the operator: its grant is that, no more; bursts still have the headroom."""
    lent_ram_bytes: int = 0
    """RAM its balloon gave back, already off ``ram_charged_bytes``; what of it returned unasked is in its overhead."""


@dataclass(frozen=True, slots=True)
class AncestorFacts:
    """A cgroup above guestroom's own, whose limit holds for us too."""

    path: str
    limit_bytes: Limit | None
    other_use_bytes: int | None
    """Unreclaimable use of that cgroup that is not guestroom's."""


@dataclass(frozen=True, slots=True)
class OutsiderFacts:
    """A QEMU on this host that is not under care."""

    pid: int
    ram_bytes: int | None
    need_bytes: int | None
    use_bytes: int | None
    """Resident anonymous and shared memory."""


@dataclass(frozen=True, slots=True)
class HostFacts:
    """The host at one moment, in bytes."""

    total_bytes: int
    available_bytes: int | None
    hugetlb_bytes: int
    """Hugetlb pools: pages x size over all sizes; they are outside memory cgroups and off the budget."""
    swap_total_bytes: int | None
    ancestors: tuple[AncestorFacts, ...] = ()
    outsiders: tuple[OutsiderFacts, ...] = ()
    wall_limit_bytes: Limit | None = None
    wall_unreclaimable_bytes: int | None = None
    swap_free_bytes: int | None = None
    page_bytes: int = PAGE_BYTES


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A guest that asks to be started."""

    name: str
    ram_bytes: int
    ram_charged_bytes: int
    weight: int
    need_bytes: int
    boot_floor_bytes: int
    cap_bytes: int | None
    on_short: str
    """``squeeze``, ``refuse``, ``recreate`` or ``wait`` (``config.OnShort``)."""
    recreatable: bool = False
    recreate_need_bytes: int | None = None
    fixed_overhead: bool = False
    """Its need was set by the operator: its grant is that, no more; bursts still have the headroom."""


@dataclass(frozen=True, slots=True)
class Adoption:
    """Where an adopted guest lives and what was there before: what ``release`` puts back (promise P9)."""

    cgroup: str
    """Its memory cgroup, an absolute folder that guestroom did not make."""
    freezer: str | None
    """Its freezer cgroup, where that holds nobody else; None: it is held by SIGSTOP."""
    former_limit_bytes: Limit
    former_killer: bool | None
    """Whether its OOM killer was on; None where that could not be read."""
    kept_limit_bytes: int | None
    """The limit it came under care with: room that was given later is taken back down to this. None under ``watch``."""
    watch: bool = False
    """It is only looked at: nothing of it is ever written."""
    domain: str | None = None
    """libvirt's name for it: its limit is set through libvirt, so that ``virsh`` still agrees."""
    unit: str | None = None
    """The systemd unit whose own cgroup this is: systemd is told of each limit, or it would take it back."""
    unit_limit_bytes: Limit | None = None
    """What systemd had as this unit's limit before; None where there is no unit."""


@dataclass(frozen=True, slots=True)
class Resident:
    """A process in a cgroup that may be adopted."""

    pid: int
    parent: int
    command: str
    """The kernel's name for it, cut to 15 characters."""
    qemu: bool


@dataclass(frozen=True, slots=True)
class Unit:
    """A systemd unit that a cgroup belongs to."""

    name: str
    own: bool
    """The cgroup is the unit's own, whose limits are systemd's to set; below it they are not."""
    manager_uid: int | None
    """The user whose systemd manages it; None: the system's."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A running process that somebody wants to have adopted, as it was found."""

    identity: Identity
    uid: int
    argv: tuple[str, ...]
    qemu: bool
    cgroup: str
    """Absolute folder of its memory cgroup."""
    residents: tuple[Resident, ...]
    """Every process there and below, itself included."""
    freezer: str | None
    """Its freezer cgroup, where exactly the residents are in it."""
    limit_bytes: Limit
    killer: bool | None
    still: bool
    """It stands still: stopped by a signal or frozen, by somebody else."""
    brake_bytes: Limit = UNLIMITED
    """v2 ``memory.high``: above it its processes are slowed down."""
    unit: Unit | None = None
    """The systemd unit it lives in; None where no systemd runs, or outside of all units."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A named number."""

    name: str
    value: int


@dataclass(frozen=True, slots=True)
class DriveLimits:
    """A disk's own I/O limits as its user set them, to be put back (QMP ``query-block``)."""

    drive: str
    """QOM path of the device, or the drive's name where it has none."""
    is_path: bool
    group: str | None
    """The throttle group it is in."""
    values: tuple[Figure, ...]
    """What ``block_set_io_throttle`` takes, by its names."""


@dataclass(frozen=True, slots=True)
class BrakeMark:
    """How a guest is slowed down, with all that is needed to end it: by a later agent, or by whoever outlives it."""

    kind: str
    """``throttle`` or ``stop`` (``config.Brake``)."""
    iops: int = 0
    """Requests a second each of its disks takes."""
    drives: tuple[DriveLimits, ...] = ()


@dataclass(frozen=True, slots=True)
class GuestRecord:
    """One guest as the ledger keeps it: enough to take it back after any crash. Times in seconds since the epoch."""

    name: str
    state: GuestState
    accounting: Accounting
    identity: Identity | None
    """None until its process was put into its cgroup."""
    ram_bytes: int
    ram_charged_bytes: int
    weight: int
    need_bytes: int
    boot_floor_bytes: int
    cap_bytes: int | None
    grant_bytes: int
    admitted_grant_bytes: int
    limit_bytes: int
    overhead_peak_bytes: int | None
    started_wall_s: float
    policy: str
    on_short: str
    squeezed: bool = False
    held: bool = False
    recreatable: bool = False
    recreate_need_bytes: int | None = None
    recreated_wall_s: float | None = None
    fixed_overhead: bool = False
    burst_bytes: int = 0
    burst_reason: str = ""
    """What makes that burst, for people."""
    burst_seen_bytes: int | None = None
    """The most its overhead was seen to gain at once; None: not seen yet."""
    growth_bytes_per_s: int | None = None
    """The fastest its overhead was seen to grow; None: not seen yet."""
    qmp_path: str | None = None
    own_stop: bool = False
    """guestroom added ``-S``: it is ours to continue."""
    released: bool = False
    """Let go by the operator: its limit stays and counts, nothing else is done to it."""
    ram_block_bytes: tuple[int, ...] = ()
    """Sizes of the RAM blocks that are guest RAM, for telling them apart in smaps."""
    lent_ram_bytes: int = 0
    """RAM its balloon gave back and that is promised to others now: its own promise is less by that."""
    ballooned: bool = False
    """Its balloon was set by us: from before it is asked until all is given back."""
    adoption: Adoption | None = None
    """Set where the guest was not started by guestroom but adopted."""
    braked: BrakeMark | None = None
    """Set while it is slowed down by QMP."""
    life_peak_bytes: int | None = None
    """The largest overhead of its whole life; ``overhead_peak_bytes`` is that of the last window."""
    promised: Promised | None = None
    """What was promised for it at its admission; None: nothing was (an adopted guest)."""

    @property
    def promised_charged_bytes(self) -> int:
        """What of its RAM is promised to it now."""
        return self.ram_charged_bytes - self.lent_ram_bytes
