"""The checks behind ``guestroom doctor``: each looks at one thing, says what it found, and what to do about it."""

from __future__ import annotations

import errno
import os
import select
import shutil
import subprocess
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from guestroom.errors import GuestroomError, HostError
from guestroom.facts import Unit
from guestroom.layout import Layout
from guestroom.observe import procfs, systemd
from guestroom.observe.hierarchy import find_layout, mount_root
from guestroom.observe.swap import read_swap
from guestroom.ports import Files
from guestroom.units import format_bytes


class Level(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding."""

    name: str
    level: Level
    detail: str
    hint: str | None = None


def check_memory_cgroup(files: Files, cgroup: str, place: str | None = None) -> Check:
    """Whether guestroom may make and limit cgroups here."""
    try:
        layout = find_layout(files, cgroup, place=place)
    except HostError as error:
        hint = f"{error.hint}; size, divide and plan work without" if error.hint else None
        return Check("memory cgroup", Level.FAIL, error.message, hint)
    detail = f"v{layout.version}, writable; guests go to {layout.memory}"
    lacks = _lacks2(files, layout) if layout.version == 2 else []
    if lacks:
        found = "; ".join(f"no {lack.file}: {lack.so}" for lack in lacks)
        hint = "; ".join(dict.fromkeys(lack.hint for lack in lacks))
        return Check("memory cgroup", Level.WARN, f"{detail}; {found}", hint)
    return Check("memory cgroup", Level.OK, detail)


@dataclass(frozen=True, slots=True)
class Lack:
    """A v2 file that not every kernel has, what is so without it, and where it is."""

    file: str
    so: str
    hint: str
    in_root: bool
    """Whether the root of the tree has it too."""


_LACKS = (
    Lack("memory.reclaim", "a guest full of page cache can't be shrunk", "use a kernel from 5.19 on", in_root=True),
    Lack(
        "memory.peak",
        "a guest's peak is the largest sample, with the largest step between two samples added",
        "use a kernel from 5.19 on",
        in_root=False,
    ),
    Lack(
        "memory.pressure",
        "a guest that waits for memory without meeting a limit is seen by the sweep only",
        "use a kernel with CONFIG_PSI, booted with psi=1",
        in_root=True,
    ),
)


def _lacks2(files: Files, layout: Layout) -> list[Lack]:
    """What this kernel lacks of v2, by the files of the host wall, or of the cgroup it will be in."""
    folder = layout.memory if _has(files, f"{layout.memory}/memory.max") else layout.parent
    inner = _has(files, f"{folder}/memory.max")
    return [lack for lack in _LACKS if (inner or lack.in_root) and not _has(files, f"{folder}/{lack.file}")]


def _has(files: Files, path: str) -> bool:
    """Whether a file is there; one that may only be written is."""
    try:
        files.read(path)
    except OSError as error:
        return error.errno != errno.ENOENT
    return True


def check_freezer(files: Files, cgroup: str, place: str | None = None) -> Check:
    """Whether guests can be held still."""
    try:
        layout = find_layout(files, cgroup, place=place)
    except HostError as error:
        return Check("freezer", Level.FAIL, error.message, error.hint)
    if layout.freezer is None:
        return Check(
            "freezer",
            Level.FAIL,
            "no v1 freezer hierarchy: a guest that runs into the headroom's guard could not be held",
            "mount it: mount -t cgroup -o freezer cgroup /sys/fs/cgroup/freezer",
        )
    if layout.version == 2:
        return Check("freezer", Level.OK, "v2, every cgroup has its own")
    return Check("freezer", Level.OK, f"v1, writable; {layout.freezer}")


def check_rights() -> Check:
    """Whose agent this would be, and what it can't do for want of root."""
    uid = os.geteuid()
    if uid == 0:
        return Check("rights", Level.OK, "root")
    return Check(
        "rights",
        Level.WARN,
        f"user {uid}: in a delegated cgroup v2 all but guests of other users, and the alarm at real-time priority; "
        "not on cgroup v1",
        "docs/howto/systemd.md, Without root",
    )


def check_systemd(files: Files, cgroup: str, place: str | None = None) -> Check:
    """Whether systemd owns the cgroup that the host wall would be made in, and with it a say about its limit."""
    if not systemd.is_running(files):
        return Check("systemd", Level.OK, "not running here")
    try:
        layout = find_layout(files, cgroup, place=place, probe=False)
        unit = systemd.unit_of(mount_root(files, layout.version), layout.parent)
    except HostError as error:
        return Check("systemd", Level.WARN, f"running; {error.message}", error.hint)
    if place is None and layout.version == 2 and unit is not None and unit.name.endswith(".service"):
        return Check(
            "systemd",
            Level.WARN,
            f"running; guests would be in {unit.name} itself, which could not be started again while they run",
            "use the units in packaging/, or name another --place",
        )
    return Check("systemd", Level.OK, f"running; it is told of limits of guests adopted from its units{_named(unit)}")


def _named(unit: Unit | None) -> str:
    return "" if unit is None else f"; guests go to {unit.name}"


def check_qemu(binary: str) -> Check:
    """Whether QEMU is there, and which."""
    path = shutil.which(binary)
    if path is None:
        return Check("qemu", Level.FAIL, f"{binary} is not on PATH", "install it (Debian: qemu-system-x86)")
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check("qemu", Level.FAIL, f"{path} does not run: {error}")
    return Check("qemu", Level.OK, said.splitlines()[0] if said else path)


def check_kvm(binary: str, timeout_s: float, kernel: str | None) -> Check:
    """Whether a guest really runs under KVM: firmware (or a kernel) is started with a time-out, nothing is assumed."""
    if not os.path.exists("/dev/kvm"):  # noqa: PTH110
        return Check("kvm", Level.WARN, "/dev/kvm is not there; guests run under TCG (slower, own code buffer)")
    path = shutil.which(binary)
    if path is None:
        return Check("kvm", Level.WARN, "not tried: there is no QEMU")
    port = ["-chardev", "stdio,id=probe,signal=off", "-device", "isa-debugcon,iobase=0x402,chardev=probe"]
    if kernel is not None:
        port = ["-serial", "stdio", "-kernel", kernel, "-append", "console=ttyS0 panic=-1"]
    mark = b"Linux version" if kernel is not None else b"Running on"
    argv = [path, "-accel", "kvm", "-M", "q35", "-m", "256", "-nodefaults", "-display", "none", "-no-reboot", *port]
    said, took_s = _until(argv, mark, timeout_s)
    what = "a kernel" if kernel is not None else "firmware"
    if mark in said:
        more = "" if kernel is not None else "; whether your kernel boots was not tried (--boot KERNEL tries)"
        return Check("kvm", Level.OK, f"{what} runs under KVM ({took_s * 1000:.0f} ms){more}")
    hint = "use -accel tcg, or check nested virtualisation"
    return Check("kvm", Level.WARN, f"/dev/kvm opens but {what} said nothing within {timeout_s:g} s", hint)


def _until(argv: list[str], mark: bytes, timeout_s: float) -> tuple[bytes, float]:
    """Run until ``mark`` is printed or time is up; what was printed and how long it took."""
    began_s, said = time.monotonic(), b""
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        fd = process.stdout.fileno()
        while mark not in said and (left_s := began_s + timeout_s - time.monotonic()) > 0:
            if not select.select([fd], [], [], left_s)[0]:
                break
            chunk = os.read(fd, 4096)
            if not chunk:
                break
            said += chunk
        process.kill()
    return said, time.monotonic() - began_s


def check_memory(files: Files) -> Check:
    """Host memory."""
    try:
        meminfo = procfs.read_meminfo(files)
    except HostError as error:
        return Check("memory", Level.FAIL, error.line())
    available = format_bytes(meminfo.available_bytes) if meminfo.available_bytes is not None else "unknown"
    return Check("memory", Level.OK, f"{format_bytes(meminfo.total_bytes)}, {available} available")


def check_swap(files: Files, cgroup: str) -> Check:
    """Swap, zram and zswap: what reclaim can take beside page cache, and whether a guest's swap is seen."""
    try:
        layout = find_layout(files, cgroup)
        state = read_swap(files, layout)
    except HostError as error:
        return Check("swap", Level.WARN, error.line())
    zswap = {True: "zswap on", False: "zswap off", None: "no zswap"}[state.zswap]
    if not state.devices:
        return Check("swap", Level.OK, f"none; reclaim takes page cache only ({zswap})")
    devices = ", ".join(
        f"{device.path}{' (zram: takes host memory still)' if device.is_zram else ''} "
        f"{format_bytes(device.used_bytes)} of {format_bytes(device.size_bytes)} used"
        for device in state.devices
    )
    swappiness = "unknown" if state.swappiness is None else state.swappiness
    text = f"{devices}; swappiness {swappiness}, {zswap}; dropping page cache swaps nothing"
    if state.counted is False:
        return Check(
            "swap",
            Level.WARN,
            f"{text}; not counted for each cgroup: swapped overhead of a guest is not seen",
            "boot with swapaccount=1, or switch swap off",
        )
    return Check("swap", Level.OK, f"{text}; what a guest has swapped counts as its overhead")


def check_hugepages(files: Files) -> Check:
    """Huge page pools: outside memory cgroups, off the budget."""
    try:
        pool = procfs.hugetlb_pool_bytes(files)
    except HostError as error:
        return Check("huge pages", Level.WARN, error.line())
    return Check("huge pages", Level.OK, f"{format_bytes(pool)} in pools, taken off the budget" if pool else "no pools")


def check_ksm(files: Files) -> Check:
    """KSM makes resident RAM a moving figure."""
    state = procfs.read_ksm(files)
    if state is None:
        return Check("ksm", Level.OK, "not in this kernel")
    if state.active:
        detail = "on: guest RAM that KSM merged is told apart by counting, which costs a look at smaps"
        return Check("ksm", Level.WARN, detail)
    return Check("ksm", Level.OK, "off")


def check_libvirt() -> Check:
    """Whether libvirt is there (its guests count against the budget)."""
    path = shutil.which("virsh")
    found = "installed; its guests count against the budget, or adopt them" if path else "not installed (not needed)"
    return Check("libvirt", Level.OK, found)


def check_agent(socket_path: str) -> Check:
    """Whether the agent answers, and how its host stands."""
    from guestroom.cli.client import AgentClient

    try:
        host = AgentClient(socket_path).get("/v1/host")
    except GuestroomError as error:
        return Check("agent", Level.WARN, error.message, error.hint)
    over = host["overcommitted_bytes"]
    text = (
        f"{host['guests']} guests; reserve {format_bytes(host['reserve_bytes'])}, headroom "
        f"{format_bytes(host['headroom_left_bytes'])} of {format_bytes(host['headroom_bytes'])} left, guard "
        f"{format_bytes(host['guard_bytes'])}"
    )
    if over > 0:
        hint = "stop a guest or lower the reserve"
        return Check("agent", Level.FAIL, f"overcommitted by {format_bytes(over)}; {text}", hint)
    return Check("agent", Level.OK, text)


def check_headroom(socket_path: str) -> Check:
    """What the headroom is for, and whether all of it could be given."""
    host = _host(socket_path)
    if host is None:
        return Check("headroom", Level.OK, "not known without an agent")
    text = f"{format_bytes(host['headroom_bytes'])}: {host['headroom_because']}"
    if host["headroom_bytes"] < host["headroom_wanted_bytes"]:
        hint = "raise the reserve, lower a guest's queue size or cluster size, or stop a guest"
        return Check("headroom", Level.WARN, text, hint)
    return Check("headroom", Level.OK, text)


def check_guard(socket_path: str) -> Check:
    """What the guard is made of, and whether it leaves the alarm process the time it takes."""
    host = _host(socket_path)
    if host is None:
        return Check("guard", Level.OK, "not known without an agent")
    text = f"{format_bytes(host['guard_bytes'])}: {host['guard_because']}{_times(host)}"
    reaction, speed = host["reaction"], host["growth_bytes_per_s"]
    if reaction is not None and speed is not None and speed * reaction["reaction_ms"] / 1000 > host["guard_bytes"]:
        hint = "raise guard and headroom, or let the agent run SCHED_FIFO (CAP_SYS_NICE)"
        return Check("guard", Level.WARN, f"{text}; the fastest guest takes more than that before it is held", hint)
    return Check("guard", Level.OK, text)


def _times(host: dict[str, Any]) -> str:
    """The parts of the alarm's answer, as far as they were seen."""
    parts = [
        f"{name} {value:.1f} ms"
        for name, value in (
            *((key, (host["reaction"] or {}).get(f"{key}_ms")) for key in ("wake", "look", "hold")),
            ("raise", host["raise_ms"]),
        )
        if value is not None
    ]
    return f" (99th percentiles: {', '.join(parts)})" if parts else ""


def _host(socket_path: str) -> dict[str, Any] | None:
    from guestroom.cli.client import AgentClient

    try:
        host: dict[str, Any] = AgentClient(socket_path).get("/v1/host")
    except GuestroomError:
        return None
    return host
