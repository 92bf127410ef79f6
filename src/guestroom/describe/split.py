"""A command line rewritten so that QEMU's RAM can be accounted apart.

Split accounting starts QEMU stopped, with its RAM already there, in one cgroup, and moves it to another
before its vCPUs run. So the command line gets ``-S``, a monitor of our own, and preallocated RAM: by the memory
objects themselves, never by ``-mem-prealloc``, which would also fill what the user plugs in later. What can't be
had that way is refused with what to do instead. Each form was tried on QEMU 7.2.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from guestroom.describe.build import guest_from, memory_of
from guestroom.describe.keyval import load_json, part_key, split_parts
from guestroom.describe.machine import accelerator_of
from guestroom.describe.memory import Backend, Memory
from guestroom.describe.options import Option, split_argv
from guestroom.describe.qemu_argv import settings_from_argv
from guestroom.describe.settings import Settings
from guestroom.errors import DescribeError, UsageError
from guestroom.guest import Guest

RAM_ID = "guestroom-ram"
MONITOR_ID = "guestroom-monitor"
_SERVER = ",server=on,wait=off"
MAX_SOCKET_PATH = 107
"""``sun_path`` of unix(7) holds 108 bytes, the last one NUL."""

_NO_PREALLOC = "or run it with --no-prealloc (joint accounting)"
_NO_RAM_MACHINES = frozenset({"none", "xenpv", "xenfv", "xenfv-3.1", "xenfv-4.2"})
_PREALLOCATED_DRIVERS = frozenset({"pc-dimm", "nvdimm"})


@dataclass(frozen=True, slots=True)
class PreparedArgv:
    """What to execute, and what its RAM will be."""

    guest: Guest
    """What the command line described, before it was rewritten."""
    argv: tuple[str, ...]
    ram_block_bytes: tuple[int, ...]
    """Sizes of the RAM blocks that are guest RAM and are preallocated."""
    ram_charged_bytes: int
    """The part of ``ram_block_bytes`` charged to memory cgroups: what must be there before the vCPUs run. Less by
    what comes from a hugetlb pool."""
    promised_charged_bytes: int
    """The charged part of the promised RAM: the above and what may be plugged in later (``maxmem``)."""
    own_stop: bool
    """True where ``-S`` is ours, so that continuing is our task."""
    notes: tuple[str, ...] = ()
    """What was changed beyond additions, for the log."""


@dataclass(frozen=True, slots=True)
class _Block:
    size_bytes: int
    hugetlb: bool


def prepare(
    argv: Sequence[str],
    *,
    monitor_path: str,
    readconfig: Mapping[str, str],
    huge_paths: Collection[str] = (),
) -> PreparedArgv:
    """Rewrite ``argv`` (program first) for split accounting.

    ``monitor_path`` is where our QMP socket shall be; ``readconfig`` holds the text of every ``-readconfig`` file
    by the path the command line names; ``huge_paths`` are the mount points of hugetlbfs on this host. With
    ``-incoming`` no ``-S`` is added: vCPUs wait for the stream anyway, and a stop of ours would hide whether the
    source was running. Raises ``DescribeError`` where it can't be done, ``UsageError`` for ``-daemonize``.
    """

    def read_file(path: str) -> str:
        if path not in readconfig:
            raise FileNotFoundError(errno.ENOENT, "its text was not given")
        return readconfig[path]

    split = split_argv(argv)
    if split.program is None:
        raise DescribeError("the command line does not begin with a program", hint="begin with qemu-system-x86_64")
    settings = settings_from_argv(argv, read_file)
    guest = guest_from(settings)
    memory = memory_of(settings)
    _check(settings, memory, monitor_path)
    rewriter = _Rewriter(argv, split.options, settings, memory, tuple(huge_paths))
    rewriter.back_ram()
    rewriter.drop_global_switch()
    own_stop = "S" not in settings.flags and not settings.of("incoming")
    added = (["-S"] if own_stop else []) + _default_monitor(settings) + _own_monitor(monitor_path)
    blocks = rewriter.blocks
    later_bytes = max(0, (memory.ram_bytes or 0) - sum(block.size_bytes for block in blocks) - rewriter.untouched_bytes)
    charged = sum(block.size_bytes for block in blocks if not block.hugetlb)
    return PreparedArgv(
        guest=guest,
        argv=(*rewriter.result(), *added),
        ram_block_bytes=tuple(block.size_bytes for block in blocks),
        ram_charged_bytes=charged,
        promised_charged_bytes=charged + later_bytes,
        own_stop=own_stop,
        notes=tuple(rewriter.notes),
    )


def _check(settings: Settings, memory: Memory, monitor_path: str) -> None:
    """Refuse what has no split accounting at all."""
    if "daemonize" in settings.flags:
        raise UsageError(
            "-daemonize does not fit guestroom run", hint="leave it out: guestroom run stays with QEMU until it ends"
        )
    if "preconfig" in settings.flags:
        raise DescribeError(
            "-preconfig leaves RAM unmade until a monitor says so", hint=f"leave it out, {_NO_PREALLOC}"
        )
    machine = settings.last("machine", "type")
    if machine is not None and machine.text in _NO_RAM_MACHINES:
        raise DescribeError(
            f"machine type {machine.text} has no RAM that QEMU could preallocate",
            where=machine.where,
            hint=f"choose another machine type, {_NO_PREALLOC}",
        )
    if accelerator_of(settings) == "xen":
        raise DescribeError("under Xen the RAM is not QEMU's", hint=f"use KVM or TCG, {_NO_PREALLOC}")
    for entry in settings.of("object", "chardev", "mon"):
        if entry.id in (RAM_ID, MONITOR_ID):
            raise DescribeError(f"the id {entry.id} is guestroom's own", where=entry.where, hint="choose another id")
    if memory.base_bytes is None or memory.base_bytes == 0:
        raise DescribeError(
            "the guest's RAM is not known from its command line", hint=f"give it with -m, {_NO_PREALLOC}"
        )
    length = len(monitor_path.encode(errors="replace"))
    if not monitor_path or length > MAX_SOCKET_PATH:
        raise DescribeError(
            f"the monitor's path has {length} bytes; a unix socket's path has 1 to {MAX_SOCKET_PATH}",
            where=monitor_path,
            numbers={"bytes": length, "limit": MAX_SOCKET_PATH},
            hint="choose a shorter folder",
        )


def own_monitor(argv: Sequence[str]) -> str | None:
    """Path of guestroom's own monitor in the arguments of a guest that ``guestroom run`` started; None without."""
    mark = f"socket,id={MONITOR_ID},path="
    for word in argv:
        if word.startswith(mark):
            path = word.removeprefix(mark).removesuffix(_SERVER)
            return path.replace(",,", ",")
    return None


def _own_monitor(path: str) -> list[str]:
    escaped = path.replace(",", ",,")
    return [
        "-chardev",
        f"socket,id={MONITOR_ID},path={escaped}{_SERVER}",
        "-mon",
        f"chardev={MONITOR_ID},mode=control",
    ]


def _default_monitor(settings: Settings) -> list[str]:
    """QEMU drops its default human monitor as soon as there is any ``-mon``: ours must not take it away.

    The options are the ones ``qemu_create_default_devices`` (softmmu/vl.c) would have used.
    """
    texts = [entry.get("device") or "" for entry in settings.of("serial", "parallel")]
    named = any(entry.file is None for entry in settings.of("monitor", "mon"))
    if "nodefaults" in settings.flags or named or any(text.startswith("mon:") for text in texts):
        return []
    if "nographic" not in settings.flags:
        return ["-monitor", "vc:80Cx24C"]
    serial = bool(settings.of("serial"))
    drivers = {entry.get("driver") for entry in settings.of("device", "global")}
    return ["-monitor", "stdio"] if serial or "isa-serial" in drivers else ["-serial", "mon:stdio"]


class _Rewriter:
    """Edits of one command line, collected by the place of each option."""

    def __init__(
        self,
        argv: Sequence[str],
        options: Sequence[Option],
        settings: Settings,
        memory: Memory,
        huge_paths: tuple[str, ...],
    ) -> None:
        self._argv = list(argv)
        self._options = {option.index: option for option in options}
        self._settings = settings
        self._memory = memory
        self._huge_paths = huge_paths
        self._values: dict[int, str] = {}
        self._dropped: set[int] = set()
        self._added: list[str] = []
        self.blocks: list[_Block] = []
        self.notes: list[str] = []
        self.untouched_bytes = 0
        """RAM present from the start that is not preallocated: storage used as memory."""

    def back_ram(self) -> None:
        """Preallocate every block of RAM that is there from the start."""
        if self._memory.base_ids:
            for identity in self._memory.base_ids:
                self._preallocate(identity, "RAM")
        else:
            self._own_backend()
        for identity, driver in self._memory.plugged:
            if driver in _PREALLOCATED_DRIVERS:
                self._plugged(identity, driver)

    def drop_global_switch(self) -> None:
        """Take ``-mem-prealloc`` out: the objects do its work, and it would outlast the start."""
        dropped = [index for index, option in self._options.items() if option.name == "mem-prealloc"]
        self._dropped.update(dropped)
        if dropped:
            self.notes.append("-mem-prealloc was left out: the RAM is preallocated by its own memory objects")

    def result(self) -> list[str]:
        """The edited command line."""
        result = self._argv[:1]
        for index, option in sorted(self._options.items()):
            if index in self._dropped:
                continue
            result.append(self._argv[index])
            if option.width == 2:
                result.append(self._values.get(index, self._argv[index + 1]))
        return result + self._added

    def _own_backend(self) -> None:
        """RAM that QEMU would make by itself becomes an object of ours, of the same kind."""
        size_bytes = self._memory.base_bytes or 0
        path = self._settings.last("mem-path", "path")
        kind = "memory-backend-ram"
        hugetlb = False
        if path is not None:
            hugetlb = self._is_huge(path.text)
            if not hugetlb:
                raise _charged_twice(f"-mem-path {path.text}", path.where, size_bytes)
            escaped = path.text.replace(",", ",,")
            kind = f"memory-backend-file,mem-path={escaped},share=off"
            self._dropped.update(index for index, option in self._options.items() if option.name == "mem-path")
            self.notes.append(f"-mem-path {path.text} became the memory object {RAM_ID}")
        self._added += ["-object", f"{kind},id={RAM_ID},size={size_bytes},prealloc=on"]
        self._added += ["-machine", f"memory-backend={RAM_ID}"]
        self.blocks.append(_Block(size_bytes, hugetlb))

    def _plugged(self, identity: str, driver: str) -> None:
        backend = self._memory.backend(identity)
        if driver == "nvdimm" and backend is not None and backend.seen.kind == "file":
            # Its pages are a disk's page cache; filling them would rewrite the whole image.
            self.untouched_bytes += backend.seen.size_bytes or 0
            self.notes.append(f"nvdimm {identity} is a file and is not preallocated")
        else:
            self._preallocate(identity, driver)

    def _preallocate(self, identity: str, use: str) -> None:
        backend = self._memory.backend(identity)
        if backend is None:
            raise DescribeError(
                f"{use} is backed by {identity}, which is not described", hint=f"add -object ...,id={identity}"
            )
        seen, entry = backend.seen, backend.entry
        if seen.size_bytes is None:
            raise DescribeError(f"memory object {identity} has no size", where=entry.where, hint="add size=")
        hugetlb = self._backend_is_huge(backend)
        if seen.kind in ("file", "memfd") and not seen.share and not hugetlb:
            raise _charged_twice(f"memory object {identity}", entry.where, seen.size_bytes)
        if seen.kind not in ("ram", "file", "memfd"):
            raise DescribeError(
                f"memory object {identity} of kind {seen.kind} can't be guest RAM with split accounting",
                where=entry.where,
                hint=f"use memory-backend-ram or memory-backend-memfd, {_NO_PREALLOC}",
            )
        self._switch_on(backend)
        self.blocks.append(_Block(seen.size_bytes, hugetlb))

    def _switch_on(self, backend: Backend) -> None:
        """Set ``prealloc=on`` on an object, in place."""
        entry = backend.entry
        if entry.index is None:
            if entry.flag("prealloc"):
                return
            raise DescribeError(
                f"memory object {entry.id} is guest RAM but not preallocated, and it stands in a configuration file, "
                "which no command line can change",
                where=entry.where,
                hint=f'write prealloc = "on" into [object "{entry.id}"] of {entry.file}, {_NO_PREALLOC}',
            )
        option = self._options[entry.index]
        text = option.value or ""
        if text.startswith("{"):
            self._values[entry.index] = json.dumps(
                {**load_json(text, option.where), "prealloc": True}, ensure_ascii=False
            )
        else:
            kept = [part for part in split_parts(text) if part_key(part) not in ("prealloc", "noprealloc")]
            self._values[entry.index] = ",".join([*kept, "prealloc=on"])

    def _backend_is_huge(self, backend: Backend) -> bool:
        if backend.seen.kind == "file":
            return backend.seen.path is not None and self._is_huge(backend.seen.path)
        return backend.seen.hugetlb is True

    def _is_huge(self, path: str) -> bool:
        return any(path == mount or path.startswith(mount.rstrip("/") + "/") for mount in self._huge_paths)


def _charged_twice(what: str, where: str, size_bytes: int) -> DescribeError:
    return DescribeError(
        f"{what} is a private mapping of a file: its {size_bytes} bytes would be charged twice, once as page cache "
        "and once as copies",
        where=where,
        numbers={"ram_bytes": size_bytes},
        hint="use share=on (on an -object memory-backend-file or -memfd that -machine memory-backend= names), "
        f"memory-backend-ram, or a path on hugetlbfs, {_NO_PREALLOC}",
    )
