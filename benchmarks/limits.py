"""A thousand limit changes, up and down, on live guests under load: how many done, how many busy, and nobody killed.

v1 here: four real Linux guests under verified I/O, whose QEMUs grow and shrink by backends of 24 MiB all the while.
The agent has been stopped, so that OOM killers are on and nobody would save a guest from a wrong limit; shrinks go by
the applier to the use of a moment before, as an impatient tool would, then the limit is raised again. The baseline is a
bare write of the same file. v2: the same by ``tests/inguest``, with stand-ins, on a kernel booted for it.
"""

from __future__ import annotations

import contextlib
import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter

from benchmarks.crowd import say
from benchmarks.series import Row, percentile
from guestroom.actions import OutcomeKind, SetLimit
from guestroom.apply.upkeep import SystemClock, make_applier
from guestroom.errors import GuestroomError
from guestroom.lab.host import Host
from guestroom.lab.image import find_image
from guestroom.lab.vm import Vm
from guestroom.units import MIB

SETTINGS = """
[host]
reserve = "2GiB"
headroom = "128MiB"
sharing = "static"
[sizing]
policy = "openshift"
"""
GUESTS = 4
HIGH = (256 + 640) * MIB
LOAD = 24 * MIB
PACE_S = 0.01
"""Between two changes, so that they meet the load in all its states."""
_V2 = re.compile(r"1,000 shrinks: (\{[^}]*\}), the longest took (\d+) ms")


class Load:
    """A QEMU that grows and gives back for as long as this lasts."""

    def __init__(self, vm: Vm) -> None:
        self._vm = vm
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(GuestroomError):
                self._vm.grow(LOAD, "load", threads=2)
                self._vm.shrink("load")

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)


def kills(host: Host, name: str) -> int:
    """How many processes the kernel's OOM killer took in a guest's cgroup."""
    text = host.files.read(f"{host.layout.guest(name)}/memory.oom_control")
    return int(dict(line.split() for line in text.splitlines()).get("oom_kill", 0))


def measure(changes: int = 1000) -> list[Row]:
    """A row for v1."""
    with Host(SETTINGS) as host, contextlib.ExitStack() as stack:
        image = find_image()
        vms = {f"L{i}": host.run(host.machine(f"L{i}", image, rate=30), "--agent-lost", "600") for i in range(GUESTS)}
        for vm in vms.values():
            if not vm.wait_alive(120):
                raise SystemExit(f"{vm.machine.name} did not come alive: {vm.stderr()}")
        host.stop()
        say("guests are alive, the agent is stopped, OOM killers are on")
        for name in vms:
            host.set_limit(name, HIGH)
            stack.enter_context(Load(vms[name]))
        row = _change(host, list(vms), changes)
        stack.close()
        why = {name: found for name, vm in vms.items() if (found := vm.alive(30)) is not None}
        row |= {
            "killed": sum(kills(host, name) for name in vms)
            + sum(vm.process.poll() is not None for vm in vms.values()),
            "walls_hit": sum("under_oom 1" in _oom(host, name) for name in vms),
            "alive": GUESTS - len(why),
            "verified": sum(vm.signs.verified for vm in vms.values()),
            "io_errors": sum(vm.signs.errors + vm.signs.mismatches for vm in vms.values()),
        }
        if why or row["killed"]:
            raise SystemExit(f"a guest was lost: {why} {row}")
        return [row]


def _oom(host: Host, name: str) -> str:
    return host.files.read(f"{host.layout.guest(name)}/memory.oom_control")


def _change(host: Host, names: list[str], changes: int) -> Row:
    applier = make_applier(host.files, host.layout, SystemClock())
    kinds: Counter[str] = Counter()
    took: dict[str, list[float]] = {"done": [], "busy": [], "up": [], "bare": []}
    pick = random.Random(1)
    for number in range(changes // 2):
        name = pick.choice(names)
        use = host.figure(host.layout.guest(name), "memory.usage_in_bytes")
        down = max(4096, use - pick.randrange(0, 2 * LOAD) + pick.randrange(0, LOAD)) // 4096 * 4096
        began_s = time.monotonic()
        outcome = applier.carry_out(SetLimit(name, HIGH, down, 0, 0, 0, "bench"))
        took["done" if outcome.ok else "busy"].append((time.monotonic() - began_s) * 1e3)
        # Up again at once: a limit at the use of a moment is what floors are for, which is not tried here.
        began_s = time.monotonic()
        up = applier.carry_out(SetLimit(name, down, HIGH, 0, 0, 0, "bench"))
        took["up"].append((time.monotonic() - began_s) * 1e3)
        began_s = time.monotonic()
        host.set_limit(name, HIGH)
        took["bare"].append((time.monotonic() - began_s) * 1e3)
        time.sleep(PACE_S)
        kinds[outcome.kind.value] += 1
        kinds[f"up {up.kind.value}"] += 1
        if number % 100 == 99:
            say(f"{2 * (number + 1)} of {changes} changes: {dict(kinds)}")
    other = {kind for kind in kinds if kind not in (OutcomeKind.DONE, OutcomeKind.BUSY, "up done")}
    if other:
        raise SystemExit(f"outcomes that should not be: {dict(kinds)}")
    return {
        "cgroups": "v1",
        "guests": f"{GUESTS} real",
        "changes": changes,
        "down_done": kinds["done"],
        "down_busy": kinds["busy"],
        "up_done": kinds["up done"],
        "down_p50_ms": round(percentile(took["done"], 50), 3),
        "down_p99_ms": round(percentile(took["done"], 99), 3),
        "busy_p50_ms": round(percentile(took["busy"], 50), 3),
        "up_p50_ms": round(percentile(took["up"], 50), 3),
        "bare_write_p50_ms": round(percentile(took["bare"], 50), 3),
        "up_over_bare": round(percentile(took["up"], 50) / max(1e-6, percentile(took["bare"], 50)), 1),
    }


def measure_v2() -> list[Row]:
    """A row for v2, from the test that makes a thousand shrinks of a busy guest."""
    test = "tests/inguest/test_apply_v2.py::test_shrinks_of_a_busy_guest_never_kill"
    words = [sys.executable, "tools/inguest.py", "--", "-q", "-s", test]
    done = subprocess.run(words, capture_output=True, text=True, timeout=500)
    found = _V2.search(done.stdout)
    if done.returncode or found is None:
        raise SystemExit(f"the v2 guest ended with {done.returncode}: {done.stdout[-1500:]}{done.stderr[-500:]}")
    kinds = {key: int(value) for key, value in re.findall(r"'(\w+)': (\d+)", found[1])}
    return [
        {
            "cgroups": "v2",
            "guests": "1 stand-in",
            "changes": 2000,
            "down_done": kinds.get("done", 0),
            "down_busy": kinds.get("busy", 0),
            "up_done": 1000,
            "longest_ms": int(found[2]),
            "killed": 0,
            "walls_hit": 0,
        }
    ]
