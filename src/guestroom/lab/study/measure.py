"""Measures one configuration: a real guest in a cgroup of its own, from its start to its end.

Every 20 ms the kernel's counters are read; guest RAM is preallocated, so what they hold beside it is overhead. When
that reaches a new height the whole attribution is read as well, so that the peak has its parts.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from guestroom.cli.explain import Looked, look
from guestroom.errors import GuestroomError, HostError
from guestroom.kernelfs import KernelFiles
from guestroom.lab.image import find_image
from guestroom.lab.study.acting import Act
from guestroom.lab.study.beside import Peer, huge_pages, share_server, viewers
from guestroom.lab.study.dataset import Factor, Moment
from guestroom.lab.study.disks import make_disks
from guestroom.lab.study.home import Home, make_home
from guestroom.lab.study.loads import LOADS, number
from guestroom.lab.study.machine import command, needs_monitor
from guestroom.lab.study.peaks import Window, new_window, peak_of, true_peak
from guestroom.lab.vm import Machine, Vm
from guestroom.observe.charges import read_charge
from guestroom.observe.hierarchy import find_layout
from guestroom.observe.qmp import QmpClient
from guestroom.units import MIB

PERIOD_S = 0.02
BOOT_S = 90.0
SETTLE_S = 1.0
"""How long a booted guest is left alone before it is called idle."""
_STEP_BYTES = MIB
_LOOK_S = 0.15
"""The attribution is read when the overhead is a step above the last one read, and not more often than this."""
_ACT_AFTER_S = 0.3
"""How long the guest's load runs before the host begins what it does meanwhile."""
_LATE_S = 60.0
_IOPS = re.compile(r"iops=(\d+)")


@dataclass(slots=True)
class Measured:
    """What one guest gave."""

    argv: tuple[str, ...]
    moments: dict[str, Moment] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)


def measure(factors: Mapping[str, Factor], tag: str, *, split: bool = False) -> Measured:
    """Start, load and end one guest. Raises ``GuestroomError``; leaves neither process, cgroup nor file behind."""
    folder = Path(tempfile.mkdtemp(prefix=f"guestroom-study-{tag}-"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        home = make_home(KernelFiles(), folder.name, split=split)
        stack.callback(home.remove)
        image = find_image()
        machine = Machine(name="guest", ram_mib=number(factors, "ram_mib"), folder=folder, image=image)
        monitor = machine.monitor if split or needs_monitor(factors) else None
        argv = command(factors, image, folder, make_disks(factors, folder), monitor=monitor, stopped=split)
        stack.enter_context(huge_pages(number(factors, "ram_mib") if factors["memory"] == "hugetlb" else 0))
        for share in range(number(factors, "shares")):
            stack.enter_context(share_server(folder, share, home.rest))
        vm = Vm(machine, argv, cgroup=home.start)
        stack.callback(_end, vm)
        return _Watch(vm, factors, home).run(tuple(word.replace(f"{folder}/", "") for word in argv))


def _end(vm: Vm) -> None:
    vm.process.kill()
    vm.process.wait()


class _Watch:
    """One running guest and what is seen of it."""

    def __init__(self, vm: Vm, factors: Mapping[str, Factor], home: Home) -> None:
        self.vm, self.factors, self.home = vm, factors, home
        # Huge pages from a pool are charged to no memory cgroup (kernel cgroup-v1/hugetlb.rst).
        self.ram_bytes = 0 if factors["memory"] == "hugetlb" else number(factors, "ram_mib") * MIB
        self.began_s = time.monotonic()
        self.series: list[int] = []
        self.away: list[int] = []
        """Charges at each sample that are neither guest RAM nor overhead: page cache, and what CPUs hold in advance."""
        self.best: Looked | None = None
        self.looked_s = 0.0
        self.best_at_s = 0.0
        self.steady: Moment | None = None

    def run(self, argv: tuple[str, ...]) -> Measured:
        """The whole life."""
        found = Measured(tuple(Path(word).name if word.startswith("/") else word for word in argv))
        if self.home.split:
            self._let_run()
        self._until(lambda: self.vm.signs.booted, BOOT_S, "it did not boot")
        found.figures["boot_s"] = time.monotonic() - self.began_s
        with viewers(str(self.vm.machine.folder / "vnc"), number(self.factors, "vnc_clients")):
            time.sleep(SETTLE_S)
            found.moments["idle"] = self._moment(look(self.vm.process.pid, check=True))
            before, began_s = new_window(self.home), time.monotonic()
            found.figures |= self._load()
            took_s = time.monotonic() - began_s
            found.moments["after"] = self._moment(look(self.vm.process.pid))
        if self.steady is not None:
            found.moments["steady"] = self.steady
        if self.best is not None:
            found.moments["peak"] = self._moment(self.best, self.best_at_s)
        self._check_disks()
        found.figures |= self._figures(found.moments["idle"].overhead_bytes, took_s, before)
        return found

    def _figures(self, idle_bytes: int, took_s: float, before: Window) -> dict[str, float]:
        sampled, peak = max(idle_bytes, *self.series), peak_of(self.home, self.home.memory)
        figures: dict[str, float] = {
            "samples": len(self.series),
            "sample_hz": len(self.series) / max(took_s, PERIOD_S),
            "overhead_peak_bytes": max(sampled, true_peak(before.began_bytes, peak, self.away, self.ram_bytes)),
            "sampled_peak_bytes": sampled,
            "overhead_steady_bytes": statistics.median(self.series),
        }
        if peak is not None:
            figures["kernel_peak_bytes"] = max(peak, before.life_bytes or 0)
        rest = peak_of(self.home, self.home.rest) if self.home.split else None
        return figures if rest is None else figures | {"vmm_peak_bytes": rest}

    def _let_run(self) -> None:
        """QEMU answers once its RAM is there (``prealloc=on``): then the rest is charged apart, and it may go on."""
        with QmpClient(self.vm.machine.monitor, BOOT_S) as monitor:
            monitor.query_status()
            self.home.move(self.vm.process.pid)
            monitor.cont()

    def _moment(self, seen: Looked, at_s: float | None = None) -> Moment:
        one = seen.explanation
        pages = None if seen.by_pages_bytes is None else seen.by_pages_bytes / max(1, seen.by_parts_bytes)
        return Moment(
            at_s=(time.monotonic() if at_s is None else at_s) - self.began_s,
            charged_bytes=one.charged_bytes,
            overhead_bytes=one.overhead_bytes,
            explained_share=one.explained_bytes / max(1, one.charged_bytes),
            parts={part.name: (part.kind.value, part.size_bytes) for part in one.parts},
            by_pages_share=pages,
        )

    def _until(self, done: Callable[[], bool], patience_s: float, why: str) -> None:
        deadline_s = time.monotonic() + patience_s
        while not done():
            self._must_live()
            if time.monotonic() > deadline_s:
                raise HostError(f"{why} within {patience_s:g} s", hint="is the machine overloaded?")
            time.sleep(0.005)

    def _must_live(self) -> None:
        if self.vm.process.poll() is not None:
            raise HostError(f"QEMU ended with {self.vm.process.returncode}: {self.vm.stderr().strip()[-500:]}")
        if self.vm.signs.faults:
            raise HostError(f"the guest failed: {self.vm.signs.faults[0]}")

    def _load(self) -> dict[str, float]:
        """The load, sampled from its beginning to its end; its speed."""
        load, seconds = LOADS[str(self.factors["load"])], float(self.factors["load_s"] or 0)
        peer = Peer(sends=self.factors["load"] == "receive") if load.figure is not None else None
        act = Act(self.vm, self.factors) if load.act is not None else None
        began_s = time.monotonic()
        try:
            if load.line is not None:
                self.vm.type(load.line(self.factors, 0 if peer is None else peer.port))
            self._sample_until(began_s, seconds, peer, act, loaded=load.line is not None)
        finally:
            if peer is not None:
                peer.close()
            if act is not None:
                act.join()
        figures = {} if peer is None or load.figure is None else {load.figure: peer.moved_bytes / seconds}
        if act is not None:
            figures["act_s"] = act.took_s
        said = self._said("@@GIO")
        return figures | ({"iops": float(_IOPS.findall(said[0])[0])} if said else {})

    def _sample_until(
        self, began_s: float, seconds: float, peer: Peer | None, act: Act | None, *, loaded: bool
    ) -> None:
        """Samples till the guest's line is done and the host's act as well, or till time is over where neither is."""
        while True:
            self._sample()
            now_s = time.monotonic() - began_s
            if self.steady is None and now_s >= seconds / 2:
                self.steady = self._moment(look(self.vm.process.pid))
            self._must_live()
            if act is not None and now_s >= _ACT_AFTER_S:
                act.begin()
            if peer is not None and now_s >= seconds:
                peer.hang_up()
            ended = self._said("@@DONE")
            if ended and ended[0] != "@@DONE 0":
                raise HostError(f"the load failed in the guest: {self.vm.signs.lines[-3:]}")
            if (bool(ended) if loaded else now_s >= seconds) and (act is None or act.ended()):
                return
            if now_s > seconds + _LATE_S:
                raise HostError(f"the load of {seconds:g} s did not end", hint="fewer --jobs, or a smaller depth")
            time.sleep(PERIOD_S)

    def _sample(self) -> None:
        charge = read_charge(self.home.files, self.home.memory, self.home.version)
        away = charge.slab_reclaimable_bytes or 0
        overhead = charge.anon_bytes + charge.shmem_bytes + charge.kernel_bytes - away - self.ram_bytes
        self.series.append(overhead)
        self.away.append(charge.usage_bytes - overhead - self.ram_bytes)
        now_s = time.monotonic()
        known = None if self.best is None else self.best.explanation.overhead_bytes + _STEP_BYTES
        if now_s - self.looked_s < _LOOK_S or (known is not None and overhead < known):
            return
        self.looked_s = now_s
        seen = look(self.vm.process.pid)
        if self.best is None or seen.explanation.overhead_bytes > self.best.explanation.overhead_bytes:
            self.best, self.best_at_s = seen, now_s

    def _check_disks(self) -> None:
        """A disk that the guest never saw would be measured as free. Raises ``HostError``."""
        plugged = number(self.factors, "hot_disks")
        if not plugged:
            return
        expected = plugged + number(self.factors, "disks")
        count = "$(ls /sys/block | grep -c ^vd)"
        # The guest's kernel takes its time where the host is busy.
        wait = f"n=0; while [ {count} -lt {expected} ] && [ $n -lt 200 ]; do n=$((n+1)); usleep 100000; done"
        self.vm.type(f"{wait}; echo @@DISKS {count}")
        self._until(lambda: bool(self._said("@@DISKS")), _LATE_S, "it did not say which disks it has")
        seen = self._said("@@DISKS")[0].split()[1]
        if seen != str(expected):
            raise HostError(f"the guest sees {seen} disks of {expected}")

    def _said(self, mark: str) -> list[str]:
        """Lines that the guest said, by how they begin."""
        return [line for line in self.vm.signs.lines if line.startswith(mark)]


def version_of(program: str) -> str:
    """First line of what a program says to ``--version``. Raises ``GuestroomError``."""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise GuestroomError(f"{program} does not run: {error}", hint="make setup") from error
    return done.stdout.splitlines()[0]


def host_facts() -> dict[str, str]:
    """What the study runs on."""
    name, files = os.uname(), KernelFiles()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // MIB
    return {
        "kernel": name.release,
        "qemu": version_of("qemu-system-x86_64"),
        "accelerator": "tcg",
        "cgroup": f"v{find_layout(files, 'study').version}",
        "cpus": str(os.cpu_count()),
        "memory_mib": str(memory),
        "glibc": (os.confstr("CS_GNU_LIBC_VERSION") or "unknown").removeprefix("glibc "),
    }
