"""Company for a benchmark: many small real QEMUs under care, adopted ones whose smaps must be read, CPU hogs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from guestroom.lab.host import Host
from guestroom.units import MIB

RAM_MIB = 16
_NULL = subprocess.DEVNULL


def small_argv(ram_mib: int = RAM_MIB, *, stopped: bool = True) -> list[str]:
    """A machine without a disk or kernel; ``stopped`` by its user, so that a hundred of them take no CPU."""
    argv = ["qemu-system-x86_64", "-M", "q35", "-m", str(ram_mib), "-accel", "tcg,tb-size=8", "-nodefaults"]
    return [*argv, "-display", "none", "-monitor", "none", *(["-S"] if stopped else [])]


class Crowd:
    """Small guests under a host's care; ``end`` ends those it started, by their pids."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._runs: list[subprocess.Popen[bytes]] = []
        self._qemus: list[subprocess.Popen[bytes]] = []
        self._folders: list[str] = []

    def start(self, count: int) -> None:
        """Start ``count`` guests through ``guestroom run``, four at a time, and wait until all are there."""

        def one(number: int) -> None:
            words = [*self.host.run_words(f"crowd{number:03d}"), *small_argv()]
            process = subprocess.Popen(words, stdin=_NULL, stdout=_NULL, stderr=_NULL)
            self._runs.append(process)
            name, end_s = f"crowd{number:03d}", time.monotonic() + 60
            while time.monotonic() < end_s and process.poll() is None:
                if self.host.ps().get(name, {}).get("state") in ("running", "paused"):
                    return
                time.sleep(0.2)
            raise SystemExit(f"{name} did not start: {self.host.log()[-800:]}")

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(one, range(count)))

    def adopt(self, count: int) -> None:
        """Start ``count`` guests elsewhere, each in a cgroup of its own, and adopt them: smaps tells them apart."""
        files, layout = self.host.files, self.host.layout
        for number in range(count):
            folder = f"{layout.memory}-adopt{number}"
            files.mkdir(folder)
            self._folders.append(folder)
            argv = ["sh", "-c", f'echo $$ > "{folder}/cgroup.procs" && exec "$@"', "sh", *small_argv()]
            qemu = subprocess.Popen(argv, stdin=_NULL, stdout=_NULL, stderr=_NULL)
            self._qemus.append(qemu)
        time.sleep(2.0)
        for number, qemu in enumerate(self._qemus):
            words = self.host.command("adopt", str(qemu.pid), "--name", f"adopted{number:02d}", "--limit", "160MiB")
            done = subprocess.run([*words, "--socket", self.host.socket], capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"not adopted: {done.stderr}")

    def end(self) -> None:
        """End them all."""
        for process in [*self._runs, *self._qemus]:
            process.terminate()
        for process in [*self._runs, *self._qemus]:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
        for folder in self._folders:
            for _ in range(50):
                try:
                    self.host.files.rmdir(folder)
                except OSError:
                    time.sleep(0.1)
                else:
                    break


@contextlib.contextmanager
def hogs(count: int) -> Iterator[None]:
    """So many processes that want a CPU each, all the time."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        time.sleep(1.0 if busy else 0.0)
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def wake_ups_us(count: int) -> list[float]:
    """Microseconds from an eventfd's write to its real-time reader's first instruction: what the kernel alone takes."""
    code = (
        "import os,sys,time\nfd=int(sys.argv[1])\nos.sched_setscheduler(0,os.SCHED_FIFO,os.sched_param(2))\n"
        "for _ in range(int(sys.argv[2])):\n os.eventfd_read(fd)\n print(time.monotonic(),flush=True)\n"
    )
    fd = os.eventfd(0)
    os.set_inheritable(fd, True)
    argv = [sys.executable, "-c", code, str(fd), str(count)]
    reader = subprocess.Popen(argv, stdout=subprocess.PIPE, pass_fds=(fd,))
    assert reader.stdout is not None
    took = []
    time.sleep(0.3)
    for _ in range(count):
        began_s = time.monotonic()
        os.eventfd_write(fd, 1)
        took.append((float(reader.stdout.readline()) - began_s) * 1e6)
        time.sleep(0.005)
    reader.wait()
    os.close(fd)
    return took


def available_bytes() -> int:
    """Memory the host could give out now."""
    with open("/proc/meminfo") as file:  # noqa: PTH123
        figures = dict(line.split(":", 1) for line in file)
    return int(figures["MemAvailable"].split()[0]) * 1024


def say(text: str) -> None:
    """Progress."""
    print(f"  {time.strftime('%H:%M:%S')} {text}", flush=True)


__all__ = ["MIB", "Crowd", "available_bytes", "hogs", "say", "small_argv", "wake_ups_us"]
