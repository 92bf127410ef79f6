"""The RAM of a QEMU that runs already: which memory blocks are guest RAM, and how much of it is charged.

The same reading of the command line as for a start, without rewriting anything. Memory plugged in after the start
does not stand there: it counts as overhead, which errs on the safe side.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from guestroom.describe.build import guest_from, memory_of
from guestroom.describe.memory import Backend, Memory
from guestroom.describe.qemu_argv import settings_from_argv
from guestroom.errors import DescribeError
from guestroom.guest import Guest


@dataclass(frozen=True, slots=True)
class RunningGuest:
    """A guest as its process's arguments describe it."""

    guest: Guest
    ram_block_bytes: tuple[int, ...]
    """Sizes of the RAM blocks that are guest RAM."""
    ram_charged_bytes: int
    """The part of the promised RAM that is charged to memory cgroups: less what comes from a hugetlb pool."""


def running(argv: Sequence[str], *, huge_paths: Collection[str] = (), ram_bytes: int | None = None) -> RunningGuest:
    """What the arguments of a running QEMU say. ``ram_bytes`` is its boot RAM where they don't.

    The arguments of a ``-readconfig`` guest name only the file, whose text may have changed since: its RAM has
    to be given. Raises ``DescribeError`` where RAM is not known, or what is given differs from what the
    arguments say.
    """
    settings = settings_from_argv(argv, None)
    memory = memory_of(settings)
    if memory.base_bytes is None:
        if ram_bytes is None:
            raise DescribeError(
                "how much RAM this guest has can't be told from its arguments",
                hint="give its RAM with --ram, as its -readconfig file says it",
            )
        memory = replace(memory, base_bytes=ram_bytes, base_ids=())
    elif ram_bytes is not None and ram_bytes != memory.base_bytes:
        raise DescribeError(
            f"--ram is {ram_bytes} bytes, but this guest's own arguments say {memory.base_bytes}",
            numbers={"ram_bytes": ram_bytes, "found_bytes": memory.base_bytes},
            hint="leave --ram out",
        )
    blocks = _blocks(memory, huge_paths, settings.text("mem-path", "path"))
    promised = memory.ram_bytes or 0
    later = max(0, promised - sum(size for size, _ in blocks))
    guest = guest_from(settings)
    return RunningGuest(
        guest=replace(guest, ram_bytes=promised, boot_ram_bytes=memory.boot_bytes),
        ram_block_bytes=tuple(size for size, _ in blocks),
        ram_charged_bytes=sum(size for size, huge in blocks if not huge) + later,
    )


def _blocks(memory: Memory, huge_paths: Collection[str], mem_path: str | None) -> list[tuple[int, bool]]:
    """Size of each block of guest RAM, and whether it is made of hugetlb pages."""
    found = []
    if memory.base_ids:
        found += [_backend(memory, identity, huge_paths) for identity in memory.base_ids]
    else:
        found.append((memory.base_bytes or 0, _is_huge(mem_path, huge_paths)))
    found += [_backend(memory, identity, huge_paths) for identity, _ in memory.plugged]
    return [(size, huge) for size, huge in found if size > 0]


def _backend(memory: Memory, identity: str, huge_paths: Collection[str]) -> tuple[int, bool]:
    backend = memory.backend(identity)
    if backend is None or backend.seen.size_bytes is None:
        raise DescribeError(f"memory object {identity} is guest RAM, but its size is not known")
    return backend.seen.size_bytes, _backend_is_huge(backend, huge_paths)


def _backend_is_huge(backend: Backend, huge_paths: Collection[str]) -> bool:
    if backend.seen.kind == "file":
        return _is_huge(backend.seen.path, huge_paths)
    return backend.seen.hugetlb is True


def _is_huge(path: str | None, huge_paths: Collection[str]) -> bool:
    return path is not None and any(path == mount or path.startswith(mount.rstrip("/") + "/") for mount in huge_paths)
