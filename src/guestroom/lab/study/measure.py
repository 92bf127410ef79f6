"""Measures one configuration: a real guest in a cgroup of its own, from its start to its end.

Every 20 ms the kernel's counters are read; guest RAM is preallocated, so what they hold beside it is overhead. When
that reaches a new height the whole attribution is read as well, so that the peak has its parts.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from guestroom.cli.explain import Looked, look
from guestroom.errors import GuestroomError, HostError
from guestroom.kernelfs import KernelFiles
from guestroom.lab.image import find_image
from guestroom.lab.study.dataset import Factor, Moment
from guestroom.lab.study.machine import command, make_disks
from guestroom.lab.vm import Machine, Vm
from guestroom.layout import Layout
from guestroom.observe.charges import read_charge
from guestroom.observe.hierarchy import find_layout
from guestroom.observe.text import number, read_optional
from guestroom.units import MIB

PERIOD_S = 0.02
BOOT_S = 90.0
SETTLE_S = 1.0
"""How long a booted guest is left alone before it is called idle."""
_STEP_BYTES = MIB
_LOOK_S = 0.15
"""The attribution is read when the overhead is a step above the last one read, and not more often than this."""
_SHARE_WRITTEN = {"randread": 0, "randwrite": 100}
_IOPS = re.compile(r"iops=(\d+)")


@dataclass(slots=True)
class Measured:
    """What one guest gave."""

    argv: tuple[str, ...]
    moments: dict[str, Moment] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)


def measure(factors: Mapping[str, Factor], tag: str) -> Measured:
    """Start, load and end one guest. Raises ``GuestroomError``; leaves neither process, cgroup nor file behind."""
    folder = Path(tempfile.mkdtemp(prefix=f"guestroom-study-{tag}-"))
    files = KernelFiles()
    layout = _layout(files, folder.name)
    try:
        files.mkdir(layout.memory)
        disks = make_disks(factors, folder)
        argv = command(factors, find_image(), folder, disks)
        machine = Machine(name="guest", ram_mib=int(factors["ram_mib"] or 0), folder=folder, image=find_image())
        vm = Vm(machine, argv, cgroup=layout.memory)
        try:
            return _Watch(vm, factors, files, layout).run(tuple(word.replace(f"{folder}/", "") for word in argv))
        finally:
            vm.process.kill()
            vm.process.wait()
    finally:
        _remove(files, layout.memory)
        shutil.rmtree(folder, ignore_errors=True)


def _layout(files: KernelFiles, name: str) -> Layout:
    """A cgroup below our own. Raises ``HostError`` on v2, where a shell's cgroup can't have children with limits."""
    layout = find_layout(files, name)
    if layout.version != 1:
        raise HostError("a study needs cgroup v1 so far", where=layout.memory, hint="explain works on v2 as well")
    return layout


def _remove(files: KernelFiles, path: str) -> None:
    deadline_s = time.monotonic() + 5.0
    while time.monotonic() < deadline_s:
        try:
            files.rmdir(path)
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.05)
        else:
            return


class _Watch:
    """One running guest and what is seen of it."""

    def __init__(self, vm: Vm, factors: Mapping[str, Factor], files: KernelFiles, layout: Layout) -> None:
        self.vm, self.factors, self.files, self.layout = vm, factors, files, layout
        self.ram_bytes = int(factors["ram_mib"] or 0) * MIB
        self.began_s = time.monotonic()
        self.series: list[int] = []
        self.best: Looked | None = None
        self.looked_s = 0.0
        self.best_at_s = 0.0

    def run(self, argv: tuple[str, ...]) -> Measured:
        """The whole life."""
        found = Measured(tuple(Path(word).name if word.startswith("/") else word for word in argv))
        self._until(lambda: self.vm.signs.booted, BOOT_S, "it did not boot")
        found.figures["boot_s"] = time.monotonic() - self.began_s
        with self._clients():
            time.sleep(SETTLE_S)
            found.moments["idle"] = self._moment(look(self.vm.process.pid, check=True))
            began_s = time.monotonic()
            found.figures |= self._load()
            took_s = time.monotonic() - began_s
            found.moments["after"] = self._moment(look(self.vm.process.pid))
        if self.best is not None:
            found.moments["peak"] = self._moment(self.best, self.best_at_s)
        idle = found.moments["idle"].overhead_bytes
        found.figures["samples"] = len(self.series)
        found.figures["sample_hz"] = len(self.series) / max(took_s, PERIOD_S)
        found.figures["overhead_peak_bytes"] = max(idle, *self.series)
        found.figures["overhead_steady_bytes"] = statistics.median(self.series)
        name = "memory.max_usage_in_bytes"
        peak = read_optional(self.files, self.layout.memory, name)
        if peak is not None:
            found.figures["kernel_peak_bytes"] = number(f"{self.layout.memory}/{name}", peak)
        return found

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

    def _until(self, done: object, patience_s: float, why: str) -> None:
        assert callable(done)
        deadline_s = time.monotonic() + patience_s
        while not done():
            if self.vm.process.poll() is not None:
                raise HostError(f"QEMU ended with {self.vm.process.returncode}: {self.vm.stderr().strip()[-500:]}")
            if time.monotonic() > deadline_s:
                raise HostError(f"{why} within {patience_s:g} s", hint="is the machine overloaded?")
            time.sleep(0.005)

    def _load(self) -> dict[str, float]:
        """The load, sampled from its beginning to its end; its IOPS."""
        kind, seconds = str(self.factors["load"]), float(self.factors["load_s"] or 0)
        loaded = kind in _SHARE_WRITTEN
        if loaded:
            words = [
                f"{seconds:g}",
                self.factors["jobs"],
                self.factors["depth"],
                int(self.factors["block_kib"] or 4) * 1024,
            ]
            self.vm.type(f"gio {' '.join(str(word) for word in words)} {_SHARE_WRITTEN[kind]} 0 /dev/vda")
        deadline_s = time.monotonic() + (seconds + 60 if loaded else seconds)
        while True:
            self._sample()
            line = next((line for line in self.vm.signs.lines if line.startswith("@@GIO")), None)
            if line is not None:
                return {"iops": float(_IOPS.findall(line)[0])}
            if self.vm.signs.faults or self.vm.process.poll() is not None:
                raise HostError(f"the load failed: {self.vm.signs.faults[:1]} {self.vm.stderr().strip()[-300:]}")
            if time.monotonic() > deadline_s:
                if loaded:
                    raise HostError(f"the load of {seconds:g} s did not end", hint="fewer --jobs, or a smaller depth")
                return {}
            time.sleep(PERIOD_S)

    def _sample(self) -> None:
        charge = read_charge(self.files, self.layout.memory, self.layout.version)
        away = charge.slab_reclaimable_bytes or 0
        overhead = charge.anon_bytes + charge.shmem_bytes + charge.kernel_bytes - away - self.ram_bytes
        self.series.append(overhead)
        now_s = time.monotonic()
        known = None if self.best is None else self.best.explanation.overhead_bytes + _STEP_BYTES
        if now_s - self.looked_s < _LOOK_S or (known is not None and overhead < known):
            return
        self.looked_s = now_s
        seen = look(self.vm.process.pid)
        if self.best is None or seen.explanation.overhead_bytes > self.best.explanation.overhead_bytes:
            self.best, self.best_at_s = seen, now_s

    @contextlib.contextmanager
    def _clients(self) -> Iterator[None]:
        """VNC clients that look at the whole picture, as many as are asked for."""
        with contextlib.ExitStack() as stack:
            for _ in range(int(self.factors["vnc_clients"] or 0)):
                stack.enter_context(_viewer(str(self.vm.machine.folder / "vnc")))
            yield


def _viewer(path: str) -> socket.socket:
    """One client by the RFB protocol (RFC 6143), shared, that asked for one whole picture. Raises ``HostError``."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(10)
    try:
        client.connect(path)
        client.send(client.recv(12))
        client.recv(64)
        client.send(b"\x01")
        client.recv(4)
        client.send(b"\x01")
        size = client.recv(256)[:4]
        client.send(b"\x03\x00\x00\x00\x00\x00" + size)
        client.recv(4096)
    except OSError as error:
        client.close()
        raise HostError(f"no VNC client could connect: {error}", where=path) from error
    return client


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
        "cgroup": f"v{_layout(files, 'study').version}",
        "cpus": str(os.cpu_count()),
        "memory_mib": str(memory),
        "glibc": (os.confstr("CS_GNU_LIBC_VERSION") or "unknown").removeprefix("glibc "),
    }
