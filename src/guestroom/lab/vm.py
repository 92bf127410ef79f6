"""A real guest, watched from outside: its heartbeat, its checksummed I/O, its user's own monitor.

Alive means more than "a process exists": the heartbeat inside goes on and the I/O loop, which reads back and
compares what it wrote, sees no error. Both are judged here, by the host's clock.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from guestroom.lab.image import GuestImage
from guestroom.observe.qmp import QmpClient

_FIGURE = re.compile(r"(\w+)=(\d+)")
TB_MIB = 32
"""TCG code buffer of the test guests: the size the base figures were measured with."""
PATIENCE_S = 20.0
"""How long a guest may stand still before it is called dead. A flush of a shared machine's disk took over 5 s once."""


@dataclass(slots=True)
class Signs:
    """Signs of life, updated by the reading thread."""

    booted: bool = False
    beats: int = 0
    last_beat_s: float | None = None
    largest_gap_s: float = 0.0
    ops: int = 0
    verified: int = 0
    errors: int = 0
    mismatches: int = 0
    faults: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Machine:
    """A test guest's shape."""

    name: str
    ram_mib: int
    folder: Path
    image: GuestImage
    io: str = "8x1"
    rate: int = 200
    """Requests a second: a steady load that leaves two emulated CPUs for the host's own work."""
    role: str = "story"
    touch: str = "0"
    disk_mib: int = 64
    extra: tuple[str, ...] = ()

    @property
    def monitor(self) -> str:
        """The user's own monitor, which guestroom never touches."""
        return str(self.folder / f"{self.name}.qmp")

    @property
    def disk(self) -> Path:
        """Its disk, a sparse raw file."""
        return self.folder / f"{self.name}.img"

    def argv(self) -> list[str]:
        """QEMU's command line as its user would write it: nothing of guestroom in it."""
        options = f"console=ttyS0 quiet guestroom.role={self.role} guestroom.io={self.io} guestroom.touch={self.touch}"
        self.clear_monitor()
        return [
            "qemu-system-x86_64",
            *("-M", "q35", "-m", str(self.ram_mib), "-accel", f"tcg,tb-size={TB_MIB}", "-nodefaults"),
            *("-display", "none", "-no-reboot", "-serial", "stdio", "-monitor", "none"),
            *("-kernel", self.image.kernel, "-initrd", self.image.initrd),
            *("-append", f"{options} guestroom.rate={self.rate}"),
            *("-drive", f"if=none,id=d0,file={self.disk},format=raw,cache=none,aio=threads"),
            *("-device", "virtio-blk-pci,drive=d0"),
            *("-qmp", f"unix:{self.monitor},server=on,wait=off"),
            *self.extra,
        ]

    def clear_monitor(self) -> None:
        """Remove the socket an earlier start of it left."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.monitor)  # noqa: PTH108

    def start(self, command: Sequence[str], *, cgroup: str | None = None) -> Vm:
        """Start it by ``command`` (``guestroom run ... -- argv``, or the bare argv)."""
        return Vm(self, command, cgroup=cgroup)

    def make_disk(self) -> None:
        """An empty disk, if there is none."""
        if not self.disk.exists():
            with self.disk.open("wb") as file:
                file.truncate(self.disk_mib << 20)


class Vm:
    """A guest that was started by ``command`` (``guestroom run ... -- argv``, or the bare argv)."""

    def __init__(self, machine: Machine, command: Sequence[str], *, cgroup: str | None = None) -> None:
        """Start it; with ``cgroup`` (a v1 memory cgroup's folder) the process puts itself there first."""
        machine.make_disk()
        self.machine = machine
        self.signs = Signs()
        self.stderr_path = machine.folder / f"{machine.name}.err"
        argv = list(command)
        if cgroup is not None:
            argv = ["sh", "-c", f'echo $$ > "{cgroup}/cgroup.procs" && exec "$@"', "sh", *argv]
        with self.stderr_path.open("wb") as stderr:
            self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr)
        self._done = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for raw in self.process.stdout:
            self._take(raw.decode(errors="replace").strip())
        self._done.set()

    def _take(self, line: str) -> None:
        signs, now_s = self.signs, time.monotonic()
        at = line.find("@@")
        if at < 0:
            return
        line = line[at:]
        if line.startswith("@@HB"):
            if signs.last_beat_s is not None:
                signs.largest_gap_s = max(signs.largest_gap_s, now_s - signs.last_beat_s)
            signs.beats, signs.last_beat_s = signs.beats + 1, now_s
        elif line.startswith("@@IO"):
            figures = {key: int(value) for key, value in _FIGURE.findall(line)}
            signs.ops, signs.verified = figures.get("ops", 0), figures.get("verified", 0)
            signs.errors, signs.mismatches = figures.get("errs", 0), figures.get("mismatch", 0)
        elif line.startswith(("@@FAIL", "@@BAD")):
            signs.faults.append(line)
        else:
            signs.booted = signs.booted or line.startswith("@@BOOTED")
            signs.lines.append(line)

    def forget_gaps(self) -> None:
        """Begin to measure heartbeat gaps anew."""
        self.signs.largest_gap_s, self.signs.last_beat_s = 0.0, time.monotonic()

    def gap_s(self) -> float:
        """The largest gap between two heartbeats, the present one included."""
        last = self.signs.last_beat_s
        return max(self.signs.largest_gap_s, time.monotonic() - last if last is not None else 0.0)

    def wait_alive(self, timeout_s: float, *, io: bool = True) -> bool:
        """Wait until it beats and its I/O has been verified; False if it ended or took too long."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s and self.process.poll() is None:
            if self.signs.beats > 2 and (not io or self.signs.verified > 0):
                return True
            time.sleep(0.05)
        return False

    def alive(self, patience_s: float = PATIENCE_S) -> str | None:
        """None when it is alive; else what is wrong: no process, no beat, a failed request, a wrong checksum."""
        code = self.process.poll()
        if code is not None:
            return f"its process ended with {code}"
        if self.signs.errors or self.signs.mismatches or self.signs.faults:
            return f"errs={self.signs.errors} mismatch={self.signs.mismatches} {self.signs.faults[:2]}"
        beats, ops = self.signs.beats, self.signs.ops
        deadline_s = time.monotonic() + patience_s
        while self.signs.beats == beats or self.signs.ops == ops:
            if time.monotonic() > deadline_s:
                still = "heartbeat" if self.signs.beats == beats else "I/O"
                return f"its {still} stands still for {patience_s:g} s; {self._threads()}"
            time.sleep(0.02)
        return None

    def _threads(self) -> str:
        """What QEMU's threads wait for, so that a slow disk is told from a held guest."""
        tasks = sorted(Path(f"/proc/{self.process.pid}/task").glob("*"))
        waits = []
        for task in tasks:
            with contextlib.suppress(OSError):
                state = (task / "stat").read_text().rpartition(")")[2].split()[0]
                waits.append(f"{state}:{(task / 'wchan').read_text() or '-'}")
        return f"threads {' '.join(waits)}"

    def evidence(self) -> str:
        """What there is to see of its life."""
        signs = self.signs
        return (
            f"{signs.beats} heartbeats, largest gap {self.gap_s() * 1000:.0f} ms; {signs.ops} requests, "
            f"{signs.verified} read back and compared, 0 errors"
        )

    def came_back(self, beats: int, patience_s: float) -> bool:
        """Whether it beats again, beyond the ``beats`` it had before it was stopped, and its I/O goes on."""
        return self.signs.beats > beats and self.alive(patience_s) is None

    def type(self, line: str) -> None:
        """Type a line into its serial console."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def qmp(self, command: str, arguments: Mapping[str, object] | None = None, *, timeout_s: float = 30.0) -> object:
        """Run a command on the user's own monitor."""
        with QmpClient(self.machine.monitor, timeout_s) as client:
            return client.execute(command, **(arguments or {}))

    def grow(self, size_bytes: int, name: str, *, threads: int = 1, timeout_s: float = 30.0) -> None:
        """Grow QEMU's own memory for real: a preallocated backend that backs no guest RAM.

        One thread shares QEMU's lock with the vCPUs (about 300 MiB/s); two fill 600 MiB within 40 ms (measured).
        """
        backend = {"qom-type": "memory-backend-ram", "id": name, "size": size_bytes, "prealloc": True}
        self.qmp("object-add", backend | {"prealloc-threads": threads}, timeout_s=timeout_s)

    def shrink(self, name: str) -> None:
        """Give back what ``grow`` took."""
        self.qmp("object-del", {"id": name})

    def stop(self, timeout_s: float = 20.0) -> int:
        """End it as its user would (SIGTERM, then SIGKILL); its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self._done.wait(2.0)
        return code

    def stderr(self) -> str:
        """What it, or guestroom run, said on stderr."""
        return self.stderr_path.read_text(errors="replace")
