"""Guests whose overhead grows by a gibibyte a second: one alone, two together, beyond all the room there is.

Real Linux guests under verified I/O; their QEMUs grow by preallocated backends of 32 MiB, paced on a connection that
stays open. Each case says how much headroom and guard it took and what was left when the growth was held. The control
run is the same growth with agent and alarm stopped: there the wall is hit. ``walls`` counts charges that the kernel
refused, at any limit; 0 is asserted for every case with the alarm.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator

from benchmarks.crowd import say
from benchmarks.series import Row
from guestroom.errors import GuestroomError
from guestroom.lab.host import Host
from guestroom.lab.image import find_image
from guestroom.lab.vm import Vm
from guestroom.observe.qmp import QmpClient
from guestroom.units import GIB, MIB

CHUNK = 32 * MIB
SPEED = GIB
"""Bytes a second, for each growing guest."""
RAM = 256
NEIGHBOUR_MIB = 640
"""What the neighbour takes before the burst; its end gives so much back, enough for two held guests to go on."""
HEADROOM_MIB = 256
GUARDS_MIB = (32, 64, 128, None)
"""None: headroom and guard as the agent chooses them."""
SURE_MIB = 64
"""From this guard on a lost guest or a wall that was hit is a failure, not a figure."""


def settings(guard_mib: int | None) -> str:
    """Room for three guests' needs, for what the neighbour takes, and half a GiB more that is free."""
    chosen = "" if guard_mib is None else f'headroom = "{HEADROOM_MIB}MiB"\nguard = "{guard_mib}MiB"\n'
    return f"""
[host]
reserve = "{3 * 160 + 512 + NEIGHBOUR_MIB + HEADROOM_MIB}MiB"
{chosen}
sharing = "static"
[sizing]
policy = "ovirt"
[timing]
settle_s = 0
sweep_s = 0.5
"""


class Grower:
    """Grows one QEMU at a steady speed until it is told to stop or its monitor falls silent, as when it is held."""

    def __init__(self, vm: Vm, speed: int = SPEED) -> None:
        self.taken_bytes = 0
        self.took_s = 0.0
        self._vm = vm
        self._speed = speed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        with contextlib.suppress(GuestroomError), QmpClient(self._vm.machine.monitor, 60.0) as client:
            began_s = time.monotonic()
            while not self._stop.is_set():
                name = f"burst{self.taken_bytes // CHUNK}"
                backend = {"qom-type": "memory-backend-ram", "id": name, "size": CHUNK, "prealloc": True}
                client.execute("object-add", **backend, **{"prealloc-threads": 2})
                if self._stop.is_set():
                    # This one was in flight while the guest was held: it says nothing of the speed.
                    return
                self.taken_bytes += CHUNK
                self.took_s = time.monotonic() - began_s
                wait_s = self.taken_bytes / self._speed - self.took_s
                if wait_s > 0:
                    time.sleep(wait_s)

    def __enter__(self) -> Grower:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join(60)

    def stop(self) -> None:
        """No further chunk."""
        self._stop.set()


def refused(host: Host) -> int:
    """Charges the kernel refused, at the host wall and at any guest's limit."""
    names = host.files.list_dirs(host.layout.memory)
    paths = [host.layout.memory, *(host.layout.guest(name) for name in names)]
    return sum(host.figure(path, "memory.failcnt") for path in paths)


@contextlib.contextmanager
def agent_stopped(host: Host) -> Iterator[None]:
    """Agent and alarm stand still."""
    assert host.process is not None
    pid = host.process.pid
    pids = [pid, *(int(child) for child in host.files.read(f"/proc/{pid}/task/{pid}/children").split())]
    for one in pids:
        os.kill(one, signal.SIGSTOP)
    try:
        yield
    finally:
        for one in pids:
            os.kill(one, signal.SIGCONT)


def measure() -> list[Row]:
    """One guest and two, at several guards, then the control run."""
    rows = []
    for growing in (1, 2):
        for guard in GUARDS_MIB:
            rows.append(_case(growing, guard))
            say(str(rows[-1]))
    rows.append(_control())
    say(str(rows[-1]))
    return rows


def _guests(host: Host) -> dict[str, Vm]:
    image = find_image()
    vms = {name: host.run(host.machine(name, image, ram_mib=RAM, rate=20)) for name in ("A", "B", "C")}
    for vm in vms.values():
        if not vm.wait_alive(90):
            raise SystemExit(f"{vm.machine.name} did not come alive: {vm.stderr()}")
    for number in range(NEIGHBOUR_MIB // 64):
        vms["C"].grow(64 * MIB, f"own{number}", threads=2)
        time.sleep(0.3)
    end_s = time.monotonic() + 20
    while host.ps()["C"]["grant_bytes"] < NEIGHBOUR_MIB * MIB and time.monotonic() < end_s:
        time.sleep(0.1)
    return vms


def _case(growing: int, guard_mib: int | None) -> Row:
    """``growing`` guests burst at once; when they are held a neighbour ends, and they go on."""
    with Host(settings(guard_mib)) as host, contextlib.ExitStack() as stack:
        vms = _guests(host)
        names = ["A", "B"][:growing]
        growers = {name: stack.enter_context(Grower(vms[name])) for name in names}
        held = {name: host.wait_for("held", name, timeout_s=60)["numbers"] for name in names}
        time.sleep(1.0)
        for grower in growers.values():
            grower.stop()
        refusals = refused(host)
        left = [int(numbers["headroom_left_bytes"]) for numbers in held.values()]
        wall = host.figure(host.layout.memory, "memory.limit_in_bytes")
        used = host.figure(host.layout.memory, "memory.usage_in_bytes")
        row = host.client.get("/v1/host")
        walls = int(row["walls_hit"])
        sure = (guard_mib or SURE_MIB) >= SURE_MIB
        why: list[str] = []
        if walls and not sure:
            why = [name for name in names if vms[name].process.poll() is not None]
        else:
            vms["C"].stop()
            for name in names:
                host.wait_for("let_go", name, timeout_s=60)
            why = [found for name in names if (found := vms[name].alive(30)) is not None]
        if (walls or why) and sure:
            raise SystemExit(f"guard {guard_mib} MiB: walls {walls}, {refusals} charges refused, {why}")
        grown = sum(grower.taken_bytes for grower in growers.values())
        speed = [grower.taken_bytes / grower.took_s / MIB for grower in growers.values() if grower.took_s]
        return {
            "case": f"{growing} growing",
            "headroom_mib": int(row["headroom_bytes"]) // MIB,
            "guard_mib": int(row["guard_bytes"]) // MIB,
            "chosen_by": "settings" if guard_mib is not None else "agent",
            "speed_mib_s": round(sum(speed)),
            "grown_mib": grown // MIB,
            "raised_by_alarm": _raised(host, names),
            "hold_took_ms": max(float(numbers["took_ms"]) for numbers in held.values()),
            "headroom_left_mib": round(min(left) / MIB, 1),
            "wall_left_mib": (wall - used) // MIB,
            "charges_refused": refusals,
            "walls_hit": walls,
            "alive": growing + 1 - len(why),
        }


def _raised(host: Host, names: list[str]) -> int:
    return len([e for e in host.events("grown") if e["guest"] in names and "written_s" in e["numbers"]])


def _control() -> Row:
    """The same growth with nobody at the alarm."""
    with Host(settings(SURE_MIB)) as host:
        vms = _guests(host)
        with agent_stopped(host), Grower(vms["A"]) as grower:
            end_s = time.monotonic() + 20
            while time.monotonic() < end_s and not refused(host) and vms["A"].process.poll() is None:
                time.sleep(0.01)
            refusals, walls = refused(host), _waiting(host)
            vms["A"].process.kill()
            grower.stop()
        return {
            "case": "control: 1 growing, alarm stopped",
            "headroom_mib": HEADROOM_MIB,
            "guard_mib": SURE_MIB,
            "chosen_by": "settings",
            "speed_mib_s": round(grower.taken_bytes / max(grower.took_s, 0.001) / MIB),
            "grown_mib": grower.taken_bytes // MIB,
            "raised_by_alarm": 0,
            "hold_took_ms": 0.0,
            "headroom_left_mib": 0.0,
            "wall_left_mib": 0,
            "charges_refused": refusals,
            "walls_hit": walls,
            "alive": 2,
        }


def _waiting(host: Host) -> int:
    """Guests that wait at a limit at this moment."""
    names = host.files.list_dirs(host.layout.memory)
    texts = [host.files.read(f"{host.layout.guest(name)}/memory.oom_control") for name in names]
    return sum("under_oom 1" in text for text in texts)
