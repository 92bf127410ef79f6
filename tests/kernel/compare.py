"""Runs one sequence on both hosts and compares what their files say after every step."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from guestroom.ports import Files
from guestroom.testing import SimHost
from guestroom.testing.simcgroup import Kind, MemCgroup
from guestroom.testing.simhost import MEMORY_MOUNT
from guestroom.units import MIB

from .realhost import RealHost
from .steps import ANSWERS, NOISE_BYTES, PLACES, Cast, Step, by_noise, do_real, do_sim, may_reclaim, stock_bytes

SETTLE_S = 2.5
"""``memory.stat`` is brought up to date at least every two seconds (mm/memcontrol.c, FLUSH_TIME)."""


class DivergenceError(AssertionError):
    """The simulator and the kernel disagree."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What the files of one cgroup say, in bytes."""

    usage: int
    limit: int
    kernel: int
    anon: int
    own_anon: int
    file: int
    own_file: int
    shmem: int
    under_oom: bool
    oom_kills: int
    killer_off: bool


def picture(files: Files, path: str) -> Picture | None:
    """Read a cgroup; None where there is none."""
    try:
        stat = dict(line.split() for line in files.read(f"{path}/memory.stat").splitlines())
        oom = dict(line.split() for line in files.read(f"{path}/memory.oom_control").splitlines())
        usage, limit, kernel = (
            int(files.read(f"{path}/memory.{name}"))
            for name in ("usage_in_bytes", "limit_in_bytes", "kmem.usage_in_bytes")
        )
    except FileNotFoundError:
        return None
    shmem = int(stat["total_shmem"])
    return Picture(
        usage=usage,
        limit=limit,
        kernel=kernel,
        anon=int(stat["total_rss"]),
        own_anon=int(stat["rss"]),
        file=int(stat["total_cache"]) - shmem,
        own_file=int(stat["cache"]) - int(stat["shmem"]),
        shmem=shmem,
        under_oom=oom["under_oom"] == "1",
        oom_kills=int(oom["oom_kill"]),
        killer_off=oom["oom_kill_disable"] == "1",
    )


def differences(sim: Picture | None, real: Picture | None, places: int) -> Iterator[str]:
    """Each figure in which the two differ by more than the kernel's own noise."""
    if sim is None or real is None:
        if sim is not real:
            yield f"exists: simulator {sim is not None}, kernel {real is not None}"
        return
    for name in ("limit", "under_oom", "oom_kills", "killer_off"):
        if getattr(sim, name) != getattr(real, name):
            yield f"{name}: simulator {getattr(sim, name)}, kernel {getattr(real, name)}"
    for name in ("kernel", "anon", "own_anon", "file", "own_file", "shmem"):
        off = getattr(real, name) - getattr(sim, name)
        if abs(off) > NOISE_BYTES:
            yield f"{name}: simulator {getattr(sim, name)}, kernel {getattr(real, name)} ({off / MIB:+.2f} MiB)"
    off = real.usage - sim.usage
    if not -NOISE_BYTES <= off <= NOISE_BYTES + stock_bytes(os.cpu_count() or 1, places):
        yield f"usage: simulator {sim.usage}, kernel {real.usage} ({off / MIB:+.2f} MiB)"


class Pair:
    """A simulated and a real host with the same small tree: ``g`` with ``ram`` and ``vmm``, a helper in ``ram``."""

    def __init__(self, binary: Path, page_files: Iterator[Path], make_sim: Callable[[], SimHost]) -> None:
        self.sim = make_sim()
        # One CPU for all: what another CPU has charged ahead is drained too late for a charge that meets the limit,
        # which then fails up to 64 pages a cgroup early.
        self._cpus = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(self._cpus)})
        self.real = RealHost(binary, page_files)
        for place in PLACES:
            self.sim.mkdir(f"{self.sim.memory}/{place}")
            self.real.files.mkdir(f"{self.real.memory}/{place}")
        self.sim.mkdir(f"{self.sim.freezer}/g")
        self.real.files.mkdir(f"{self.real.freezer}/g")
        self.cast = Cast([], [])
        self.cast.sim.append(self.sim.spawn(f"{self.sim.memory}/g/ram", f"{self.sim.freezer}/g"))
        self.cast.real.append(self.real.spawn(f"{self.real.memory}/g/ram", f"{self.real.freezer}/g"))

    def run(self, steps: Sequence[Step]) -> int:
        """Do ``steps`` on both; return how many. Raises ``DivergenceError`` where they first differ."""
        done: list[Step] = []
        for step in steps:
            if by_noise(step, self.sim, self.cast):
                continue
            done.append(step)
            reclaimed = may_reclaim(step, self.sim, self.cast)
            sim_errno = do_sim(step, self.sim, self.cast)
            real_errno = do_real(step, self.real, self.cast)
            self.real.settle()
            if sim_errno != real_errno:
                self._fail(done, [f"errno: simulator {sim_errno}, kernel {real_errno}"])
            self._compare(done, reclaimed=reclaimed)
        return len(done)

    def _compare(self, done: list[Step], *, reclaimed: bool) -> None:
        """Compare everything; statistics that lag get the time the kernel gives itself."""
        deadline = time.monotonic() + SETTLE_S
        top = self._sim_group("g")
        kept = top.total(Kind.CACHE) if top is not None else 0
        if reclaimed:
            self._follow_reclaim(kept)
        while found := list(self._differences()):
            if time.monotonic() > deadline:
                self._fail(done, found)
            time.sleep(0.02)
            self.real.settle()
            if reclaimed:
                self._follow_reclaim(kept)

    def _differences(self) -> Iterator[str]:
        for place in PLACES:
            sim = picture(self.sim, f"{self.sim.memory}/{place}")
            real = picture(self.real.files, f"{self.real.memory}/{place}")
            for text in differences(sim, real, 3 if place == "g" else 1):
                yield f"{place} {text}"
        states = [
            files.read(f"{root}/g/freezer.state").strip()
            for files, root in ((self.sim, self.sim.freezer), (self.real.files, self.real.freezer))
        ]
        if states[0] != states[1]:
            yield f"freezer.state: simulator {states[0]}, kernel {states[1]}"
        for index, (sim_pid, real_pid) in enumerate(zip(self.cast.sim, self.cast.real, strict=True)):
            yield from (f"helper {index} {text}" for text in self._fates(sim_pid, real_pid))

    def _fates(self, sim_pid: int, real_pid: int) -> Iterator[str]:
        helper = self.real.helpers[real_pid]
        process = self.sim.kernel.processes.get(sim_pid)
        if (process is None) != helper.dead:
            yield f"alive: simulator {process is not None}, kernel {not helper.dead}"
        if process is None or helper.dead:
            return
        fates = [ANSWERS[fate.value] for fate in process.fates]
        if fates != helper.answers and not process.dying:
            yield f"answers: simulator {fates}, kernel {helper.answers}"

    def _follow_reclaim(self, kept_bytes: int) -> None:
        """How much more than needed reclaim takes, and from which cgroup, is the kernel's choice: take it over.

        ``kept_bytes`` is what the simulator's reclaim, which takes no more than needed, left; never may more be left.
        """
        whole = self._real_picture("g")
        if whole is None or whole.file > kept_bytes + NOISE_BYTES:
            return
        rest = whole.file
        for place in PLACES:
            real, group = self._real_picture(place), self._sim_group(place)
            if real is not None and group is not None:
                rest -= real.own_file
                group.add(Kind.CACHE, real.own_file - group.charged[Kind.CACHE])
        top = self._sim_group("g")
        for ghost in list(top.everything()) if top is not None else []:
            if ghost.dead:
                ghost.add(Kind.CACHE, max(0, min(rest, ghost.charged[Kind.CACHE])) - ghost.charged[Kind.CACHE])
                rest -= ghost.charged[Kind.CACHE]

    def _real_picture(self, place: str) -> Picture | None:
        return picture(self.real.files, f"{self.real.memory}/{place}")

    def _sim_group(self, place: str) -> MemCgroup | None:
        return self.sim.kernel.memory_root.find(f"{self.sim.memory.removeprefix(MEMORY_MOUNT)}/{place}")

    def _fail(self, done: list[Step], found: list[str]) -> None:
        lines = "\n".join(f"  {number}. {step}" for number, step in enumerate(done, start=1))
        raise DivergenceError("the simulator and the kernel differ:\n  " + "\n  ".join(found) + f"\nafter\n{lines}")

    def close(self) -> None:
        """Take the real half away."""
        os.sched_setaffinity(0, self._cpus)
        self.real.close()
