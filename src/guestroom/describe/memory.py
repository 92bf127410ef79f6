"""How much RAM a description promises, and which memory objects are that RAM.

``-m`` and ``[memory]`` merge, the last value counts; a size whose last character is a digit is MiB
(``parse_memory_options``, softmmu/vl.c), ``maxmem`` has no such rule. Boot RAM is rounded up to 8 KiB
(``ROUND_UP(sz, 8192)``, hw/core/machine.c). ``-machine memory-backend=`` gives the size where ``-m`` does not.
All of it was compared with QEMU 7.2's own answers (tests/integration/test_describe_against_qemu.py).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from guestroom.describe.settings import Entry, Settings, Value
from guestroom.errors import DescribeError
from guestroom.guest import MemoryBackend
from guestroom.units import MIB

DEFAULT_RAM_BYTES = 128 * MIB
"""``mc->default_ram_size`` of hw/core/machine.c: every x86 machine that says nothing else."""

_STEP_BYTES = 8192
_PREFIX = "memory-backend-"
_PLUGGED_DRIVERS = frozenset({"pc-dimm", "nvdimm"})
_POOL_DRIVERS = frozenset({"virtio-mem", "virtio-mem-pci"})
_OTHER_DRIVERS = frozenset({"virtio-pmem", "virtio-pmem-pci"})
_HUGE_MOUNT = re.compile(r"/(?:dev/hugepages(?:[0-9]+[KMG])?|run/hugepages/kvm)(?:/.*)?\Z", re.DOTALL)
"""Where systemd (dev-hugepages.mount), libvirt's guide (one mount for each size) and Proxmox mount hugetlbfs."""


@dataclass(frozen=True, slots=True)
class Backend:
    """A memory object with the entry that made it."""

    seen: MemoryBackend
    entry: Entry


@dataclass(frozen=True, slots=True)
class Memory:
    """RAM as described. Bytes are None where an unread file or an unknown machine leaves them open."""

    base_bytes: int | None
    """RAM of the machine itself."""
    plugged_bytes: int
    """DIMMs present from the start."""
    max_bytes: int | None
    """``maxmem``, where given."""
    pool_bytes: int
    """What virtio-mem devices may grow to."""
    backends: tuple[Backend, ...]
    base_ids: tuple[str, ...]
    """Objects that are the machine's own RAM, in order; empty where QEMU makes that RAM itself."""
    plugged: tuple[tuple[str, str], ...]
    """Object and driver of each memory device."""

    @property
    def boot_bytes(self) -> int | None:
        """RAM present when the guest starts."""
        return None if self.base_bytes is None else self.base_bytes + self.plugged_bytes

    @property
    def ram_bytes(self) -> int | None:
        """RAM promised: with what may be plugged in later."""
        boot = self.boot_bytes
        return None if boot is None else max(boot, self.max_bytes or 0, boot + self.pool_bytes)

    def backend(self, identity: str) -> Backend | None:
        """The object of that id."""
        return next((each for each in self.backends if each.seen.id == identity), None)


def read_memory(settings: Settings, *, default_bytes: int | None) -> Memory:
    """Read it. ``default_bytes`` is the RAM of a machine that is told nothing; None if not known.

    Raises ``DescribeError`` for sizes that are malformed or that QEMU would refuse.
    """
    machine_id = _strip_path(settings.text("machine", "memory-backend"))
    node_ids = tuple(_strip_path(node) for entry in settings.of("numa") if (node := entry.get("memdev")))
    base_ids = (machine_id,) if machine_id else tuple(each for each in node_ids if each)
    plugged = _plugged(settings)
    ram_ids = {*base_ids, *(identity for identity, _ in plugged)}
    backends = tuple(_backend(settings, entry, ram_ids) for entry in settings.of("object") if _kind(entry) is not None)
    _check_unique(backends, [*base_ids, *(identity for identity, _ in plugged)])
    sizes = {each.seen.id: each.seen.size_bytes or 0 for each in backends}
    base = None if settings.unread else _base_bytes(settings, [sizes.get(i) for i in base_ids], default_bytes)
    maximum = _max_bytes(settings, base)
    return Memory(
        base_bytes=base,
        plugged_bytes=sum(sizes.get(identity, 0) for identity, driver in plugged if driver in _PLUGGED_DRIVERS),
        max_bytes=maximum,
        pool_bytes=sum(sizes.get(identity, 0) for identity, driver in plugged if driver in _POOL_DRIVERS),
        backends=backends,
        base_ids=base_ids,
        plugged=plugged,
    )


def _check_unique(backends: tuple[Backend, ...], used: list[str]) -> None:
    """QEMU refuses two objects of one id, and one object that is RAM twice: counted here, they would be wrong."""
    places: dict[str, str] = {}
    for backend in backends:
        identity, where = backend.seen.id, backend.entry.where
        if identity in places:
            raise DescribeError(
                f"two memory objects have the id {identity}", where=where, hint="choose another id for one of them"
            )
        places[identity] = where
    for identity, times in Counter(used).items():
        if times > 1:
            raise DescribeError(
                f"memory object {identity} is guest RAM {times} times",
                where=places.get(identity),
                hint="give each node and device a memory object of its own",
            )


def _base_bytes(settings: Settings, backend_sizes: list[int | None], default_bytes: int | None) -> int | None:
    """RAM of the machine: ``-m``, else ``-machine memory.size``, else its backends, else the default."""
    given = _given_size(settings)
    if given:
        return -(-given // _STEP_BYTES) * _STEP_BYTES
    if backend_sizes:
        known = [size for size in backend_sizes if size is not None]
        return sum(known) if len(known) == len(backend_sizes) else None
    return default_bytes


def _given_size(settings: Settings) -> int:
    """Bytes given as the RAM's size; 0 where not given (QEMU takes 0 and an empty text for that too)."""
    size = settings.last("memory", "size")
    if size is not None and size.text:
        # Read as bytes first, like QEMU, which therefore refuses 1.5 and takes 1.5M.
        given = size.size()
        if given:
            return size.size(MIB) if size.text[-1].isdecimal() else given
    size = settings.last("machine", "memory.size")
    return size.size() if size is not None else 0


def _max_bytes(settings: Settings, base_bytes: int | None) -> int | None:
    maximum = settings.last("memory", "maxmem") or settings.last("machine", "memory.max-size")
    if maximum is None:
        return None
    max_bytes = maximum.size()
    if base_bytes is not None and max_bytes < base_bytes:
        suffix = "" if not maximum.text[-1:].isdecimal() else f"; {maximum.key} without a suffix is bytes, not MiB"
        raise DescribeError(
            f"{maximum.key} {maximum.text!r} is {max_bytes} bytes, less than the RAM's {base_bytes}{suffix}",
            where=maximum.where,
            numbers={"max_bytes": max_bytes, "ram_bytes": base_bytes},
            hint="raise it, or leave it out",
        )
    return max_bytes


def _plugged(settings: Settings) -> tuple[tuple[str, str], ...]:
    """Object and driver of each memory device."""
    found = []
    for device in settings.of("device"):
        driver = device.get("driver") or ""
        if driver in _PLUGGED_DRIVERS | _POOL_DRIVERS | _OTHER_DRIVERS and (identity := device.get("memdev")):
            found.append((_strip_path(identity) or identity, driver))
    return tuple(found)


def _kind(entry: Entry) -> str | None:
    kind = entry.get("qom-type") or ""
    return kind.removeprefix(_PREFIX) if kind.startswith(_PREFIX) else None


def _backend(settings: Settings, entry: Entry, ram_ids: set[str]) -> Backend:
    kind = _kind(entry) or ""
    identity = entry.id
    if identity is None:
        raise DescribeError(f"{entry.get('qom-type')} has no id", where=entry.where, hint="add id=NAME")
    size = entry.value("size")
    path = entry.get("mem-path")
    seen = MemoryBackend(
        id=identity,
        kind=kind,
        size_bytes=None if size is None else size.size(),
        backs_ram=identity in ram_ids,
        path=path,
        # Only memfd is shared unless told otherwise (memfd_backend_instance_init, backends/hostmem-memfd.c).
        share=entry.flag("share", default=kind == "memfd"),
        prealloc=entry.flag("prealloc", default="mem-prealloc" in settings.flags),
        hugetlb=_hugetlb(kind, entry, path),
    )
    return Backend(seen, entry)


def _hugetlb(kind: str, entry: Entry, path: str | None) -> bool | None:
    match kind:
        case "memfd":
            return entry.flag("hugetlb")
        case "file":
            # Any other path may be a hugetlbfs mount too: only the host knows.
            return True if on_huge_mount(path) else None
        case _:
            return False


def on_huge_mount(path: str | None) -> bool:
    """True for paths under a mount of hugetlbfs that is known by its name."""
    return path is not None and _HUGE_MOUNT.match(path) is not None


def _strip_path(identity: str | None) -> str | None:
    """The id in a QOM path: ``/objects/ram0`` names ``ram0``."""
    return None if identity is None else identity.removeprefix("/objects/")


def locked(settings: Settings) -> bool:
    """True where QEMU is told to lock its memory: ``-overcommit mem-lock=``, or the older ``[realtime] mlock``."""
    found: Value | None = settings.last("overcommit", "mem-lock") or settings.last("realtime", "mlock")
    # Later releases have on-fault, which locks what is touched.
    return found is not None and (found.text == "on-fault" or found.boolean())
