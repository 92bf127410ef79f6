"""A zoo of simulated guests: each behaves in one way that once went wrong somewhere.

A guest here is QEMU as the kernel sees it: it starts in the cgroup ``ram`` with its heap and its preallocated RAM, is
moved to ``vmm``, and then on every tick its overhead grows and shrinks as its kind does. Overhead grows in steps of
16 MiB, and after each ``after_step`` is called: that is where an alarm would look.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable

from guestroom.layout import Layout
from guestroom.testing.simcgroup import Kind
from guestroom.testing.simhost import SimHost
from guestroom.testing.simmemory import kernel_error
from guestroom.testing.simprocess import Fate
from guestroom.units import MIB

STEP_BYTES = 16 * MIB
START_BYTES = 24 * MIB
"""What QEMU has on its heap before its vCPUs run (measured: 29 MiB with firmware and tables)."""


class SimGuest:
    """Obedient: uses a little, never more than its need."""

    def __init__(self, host: SimHost, layout: Layout, name: str, pid: int, ram_bytes: int, need_bytes: int) -> None:
        self.host = host
        self.layout = layout
        self.name = name
        self.pid = pid
        self.ram_bytes = ram_bytes
        self.need_bytes = need_bytes
        self.dice = random.Random(f"{name} {ram_bytes} {need_bytes}")  # noqa: S311 - a replayable history, no secret
        self.after_step: Callable[[], None] = lambda: None
        self.running = False
        """Whether its vCPUs run: until then it only has what ``boot`` took."""

    # --- what every guest does -------------------------------------------------------------------------

    def boot(self) -> Fate:
        """QEMU's start in the cgroup ``ram``: heap, then RAM, preallocated."""
        self.host.touch(self.pid, START_BYTES, heap=True)
        return self.take_ram()

    def take_ram(self) -> Fate:
        """Preallocate RAM."""
        return self.host.touch(self.pid, self.ram_bytes)

    def tick(self) -> None:
        """Go on for a moment."""
        self.use(START_BYTES + self.dice.randrange(self.need_bytes - START_BYTES))

    # --- helpers ---------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """True while its process lives."""
        return self.host.alive(self.pid)

    @property
    def busy(self) -> bool:
        """True while it is held, or sleeps at a limit, with something left to do."""
        return self.alive and (bool(self.host.process(self.pid).todo) or self.host.process(self.pid).held)

    @property
    def sleeps(self) -> bool:
        """True while a fault of its sleeps at a memory limit: its guest stands still for want of room."""
        return self.alive and self.host.process(self.pid).waits_at is not None

    @property
    def heap_bytes(self) -> int:
        """Its heap, as far as it has been touched."""
        return self.host.process(self.pid).regions["heap"].end if self.alive else 0

    @property
    def overhead_bytes(self) -> int:
        """The truth: what is charged for it and can't be reclaimed, less its RAM wherever that is charged."""
        if not self.alive:
            return 0
        try:
            group = self.host.memory_group(self.layout.guest(self.name))
        except FileNotFoundError:
            return 0
        held = group.total(Kind.ANON, Kind.ANON_HUGE, Kind.SHMEM, Kind.KERNEL, Kind.LOCKED)
        regions = self.host.process(self.pid).regions
        ram = sum(run.size for name in ("small", "huge", "shm") for run in regions[name].runs if run.owner is not None)
        return held - ram

    def use(self, overhead_bytes: int) -> Fate:
        """Bring the heap to ``overhead_bytes``, step by step; stops where it sleeps, is held or dies."""
        if not self.alive or self.busy:
            return Fate.FROZEN
        less = self.heap_bytes - overhead_bytes
        if less > 0:
            return self.host.free(self.pid, less, "heap")
        fate = Fate.DONE
        while fate is Fate.DONE and (more := overhead_bytes - self.heap_bytes) > 0:
            fate = self.host.touch(self.pid, min(STEP_BYTES, more), heap=True)
            self.after_step()
            if not self.alive or self.busy:
                return Fate.FROZEN
        return fate

    def leave(self) -> None:
        """Exit, and take the cgroups away as a tidy user might."""
        self.host.exit(self.pid)
        for path in (self.layout.ram(self.name), self.layout.vmm(self.name), self.layout.guest(self.name)):
            try:
                self.host.rmdir(path)
            except OSError:
                return


class Ceiling(SimGuest):
    """Takes all it can be given up to a ceiling and keeps it."""

    def tick(self) -> None:
        """Full up."""
        self.use(self.need_bytes)


class HiddenFloor(SimGuest):
    """Holds locked page cache and kernel memory, which no heap shows and nothing reclaims."""

    hidden_bytes = 24 * MIB

    def tick(self) -> None:
        """Take the hidden part once, then behave."""
        if self.alive and not self.busy and not self.host.process(self.pid).kernel:
            self.host.kernel_memory(self.pid, self.hidden_bytes // 2)
            self.host.fill_cache(self.pid, self.hidden_bytes // 2, locked=True)
        self.use(START_BYTES + self.dice.randrange(max(1, self.need_bytes - START_BYTES - self.hidden_bytes)))


class Bursty(SimGuest):
    """Needs far more than its need for a moment, now and then."""

    burst_bytes = 160 * MIB

    def tick(self) -> None:
        """Burst one time in three."""
        most = self.need_bytes + (self.burst_bytes if self.dice.randrange(3) == 0 else 0)
        self.use(START_BYTES + self.dice.randrange(most - START_BYTES))


class _Refusing(SimGuest):
    """Its limit does not always take what is written to it."""

    def __init__(self, host: SimHost, layout: Layout, name: str, pid: int, ram_bytes: int, need_bytes: int) -> None:
        super().__init__(host, layout, name, pid, ram_bytes, need_bytes)
        host.before_write.append(self._on_write)

    def _on_write(self, path: str, value: str) -> None:
        if path == f"{self.layout.guest(self.name)}/memory.limit_in_bytes" and self.alive:
            limit = self.host.memory_group(self.layout.guest(self.name)).limit_bytes
            if isinstance(limit, int):
                self.on_limit(path, int(value) < limit)

    def on_limit(self, path: str, is_shrink: bool) -> None:
        """Called before a limit write takes effect; raises ``OSError`` to refuse it. By itself it lets all pass."""


class Stuck(_Refusing):
    """Can never be shrunk: EBUSY, always."""

    def on_limit(self, path: str, is_shrink: bool) -> None:
        """Refuse shrinks."""
        if is_shrink:
            raise kernel_error(errno.EBUSY, path)


class Intermittent(_Refusing):
    """Every other write to its limit fails, by EBUSY or by a signal."""

    writes = 0

    def on_limit(self, path: str, is_shrink: bool) -> None:
        """Refuse every other time."""
        self.writes += 1
        if self.writes % 2:
            raise kernel_error(errno.EBUSY if self.writes % 4 == 1 else errno.EINTR, path)


class GrowingDuring(_Refusing):
    """Grows at the very moment its limit is written."""

    def on_limit(self, path: str, is_shrink: bool) -> None:
        """Grow."""
        if not self.busy:
            self.host.touch(self.pid, STEP_BYTES, heap=True)


class Vanishing(_Refusing):
    """Is gone, cgroups and all, at the moment its limit is written."""

    def on_limit(self, path: str, is_shrink: bool) -> None:
        """Go."""
        self.leave()


class Reborn(SimGuest):
    """Ends, and somebody else makes a cgroup of the same name with a process of his own."""

    stranger: int | None = None

    def tick(self) -> None:
        """One time in three be replaced."""
        if not self.alive or self.dice.randrange(3):
            super().tick()
            return
        self.host.exit(self.pid)
        self.leave()
        path = self.layout.guest(self.name)
        try:
            self.host.mkdir(path)
        except FileExistsError:
            # Held when it was to end: it is still there, with everything.
            return
        self.host.write(f"{path}/memory.limit_in_bytes", str(64 * MIB))
        self.stranger = self.host.spawn(path, argv=("stranger",))
        self.host.touch(self.stranger, 8 * MIB, heap=True)


class Lying(SimGuest):
    """Its ``memory.stat`` lags a tick behind."""

    def __init__(self, host: SimHost, layout: Layout, name: str, pid: int, ram_bytes: int, need_bytes: int) -> None:
        super().__init__(host, layout, name, pid, ram_bytes, need_bytes)
        self._before: dict[str, str] = {}
        self._inside = False
        host.before_read.append(self._on_read)

    def tick(self) -> None:
        """Remember what was, then go on."""
        self._before = self._look()
        super().tick()

    def _look(self) -> dict[str, str]:
        self._inside = True
        try:
            return {path: self.host.read(path) for path in self._files()} if self.alive else {}
        finally:
            self._inside = False

    def _files(self) -> tuple[str, str]:
        return f"{self.layout.ram(self.name)}/memory.stat", f"{self.layout.vmm(self.name)}/memory.stat"

    def _on_read(self, path: str) -> str | None:
        return None if self._inside or not self.alive else self._before.get(path)


class Mute(SimGuest):
    """Its ``memory.stat`` can't be read at all from the second tick on."""

    ticks = 0

    def __init__(self, host: SimHost, layout: Layout, name: str, pid: int, ram_bytes: int, need_bytes: int) -> None:
        super().__init__(host, layout, name, pid, ram_bytes, need_bytes)
        host.before_read.append(self._on_read)

    def tick(self) -> None:
        """Go on, silently."""
        self.ticks += 1
        super().tick()

    def _on_read(self, path: str) -> str | None:
        if self.ticks > 1 and self.alive and path == f"{self.layout.vmm(self.name)}/memory.stat":
            raise kernel_error(errno.EIO, path)
        return None


class Merged(SimGuest):
    """KSM merges half of its RAM, and it is written to again: charged anew, to ``vmm``."""

    def tick(self) -> None:
        """Merge or write again."""
        if self.alive and not self.busy:
            if self.dice.randrange(2):
                self.host.merge(self.pid, self.ram_bytes // 2)
            else:
                self.host.retouch(self.pid)
        super().tick()


class HugePages(SimGuest):
    """RAM in small pages that khugepaged collapses after the move: it wanders to ``vmm``."""

    def tick(self) -> None:
        """Collapse."""
        if self.alive and not self.busy:
            self.host.collapse(self.pid)
        super().tick()


class CacheFilled(SimGuest):
    """Fills whatever room there is with page cache."""

    def tick(self) -> None:
        """Read files."""
        if self.alive and not self.busy:
            self.host.fill_cache(self.pid, 256 * MIB)
        super().tick()


class HalfTouched(SimGuest):
    """A balloon takes half of its RAM and gives it back later: it is charged to ``vmm`` then."""

    def tick(self) -> None:
        """Inflate or deflate."""
        if self.alive and not self.busy:
            if self.dice.randrange(2):
                self.host.discard(self.pid, self.ram_bytes // 2)
            else:
                self.host.retouch(self.pid)
        super().tick()


ZOO: dict[str, type[SimGuest]] = {
    "obedient": SimGuest,
    "ceiling": Ceiling,
    "hidden floor": HiddenFloor,
    "bursty": Bursty,
    "stuck": Stuck,
    "intermittent": Intermittent,
    "growing": GrowingDuring,
    "vanishing": Vanishing,
    "reborn": Reborn,
    "lying": Lying,
    "mute": Mute,
    "merged": Merged,
    "huge pages": HugePages,
    "cache filled": CacheFilled,
    "half touched": HalfTouched,
}
"""Every kind by its name."""
