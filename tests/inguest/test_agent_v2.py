"""The real agent on a real v2 kernel, with real QEMU guests that run their firmware."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.inguest.v2_cgroups import events

from guestroom.errors import GuestroomError
from guestroom.lab.host import Host
from guestroom.lab.image import GuestImage
from guestroom.lab.vm import Machine, Vm
from guestroom.units import MIB

RAM_MIB = 96
START_S = 90.0
"""An emulated machine imports the agent's libraries in some 20 s."""
SETTINGS = """
[host]
reserve = "800MiB"
headroom = "0"
guard = "0"
swap = "64MiB"
[sizing]
policy = "eve"
cap = "600MiB"
on_short = "squeeze"
[timing]
settle_s = 0
sweep_s = 0.5
agent_lost_s = 60
"""


class Bare(Machine):
    """A guest without a disk or a kernel: QEMU and its firmware."""

    def argv(self) -> list[str]:
        """QEMU's command line."""
        Path(self.monitor).unlink(missing_ok=True)
        return [
            "qemu-system-x86_64",
            *("-M", "q35", "-m", str(self.ram_mib), "-accel", "tcg,tb-size=8", "-nodefaults", "-display", "none"),
            *("-qmp", f"unix:{self.monitor},server=on,wait=off"),
        ]

    def make_disk(self) -> None:
        """It has none."""


@contextlib.contextmanager
def hosted(settings: str) -> Iterator[Host]:
    """A running agent."""
    host = Host(settings)
    assert host.layout.version == 2
    try:
        host.start(timeout_s=START_S)
        yield host
    except BaseException:
        print(f"--- agent log\n{host.log()}")
        for vm in host.vms:
            print(f"--- {vm.machine.name}: {vm.stderr()}")
        raise
    finally:
        host.clean_up()


def run(host: Host, name: str, *options: str) -> Vm:
    """Start a guest the guestroom way."""
    vm = Vm(machine := bare(host, name), [*host.run_words(name, *options), *machine.argv()])
    host.vms.append(vm)
    return vm


def bare(host: Host, name: str) -> Bare:
    """The guest's shape."""
    return Bare(name=name, ram_mib=RAM_MIB, folder=host.folder, image=GuestImage("", ""))


def until(condition: Callable[[], object], timeout_s: float = START_S) -> bool:
    """Wait until ``condition`` is true; False if it never was."""
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s:
        if condition():
            return True
        time.sleep(0.1)
    return bool(condition())


def running(host: Host, name: str) -> Callable[[], bool]:
    """Whether a guest runs, by the agent's word."""
    return lambda: host.ps().get(name, {}).get("state") == "running"


def alive(vm: Vm) -> bool:
    """Its process is there and its monitor says running."""
    return vm.process.poll() is None and vm.qmp("query-status")["status"] == "running"  # type: ignore[index]


def kills(host: Host) -> int:
    """Processes killed under the wall so far."""
    return events(host.files.read(f"{host.layout.memory}/memory.events"))["oom_kill"]


def from_files(host: Host, name: str) -> int:
    """Overhead from the cgroup files, counted here."""
    total = -RAM_MIB * MIB
    for path in (host.layout.ram(name), host.layout.vmm(name)):
        stat = {key: int(value) for key, value in map(str.split, host.files.read(f"{path}/memory.stat").splitlines())}
        total += stat["anon"] + stat["shmem"] + stat["kernel"] - stat["slab_reclaimable"]
    return total


@pytest.mark.timeout(400)
def test_the_story_on_v2() -> None:
    """The seed's story: A grows, B arrives, A keeps what it uses, B is squeezed in; the naive write kills A, ours not.

    On the way: RAM is charged to ``ram`` and stays there, overhead to ``vmm``, ps shows the kernel's own figures, and
    an agent that was killed takes its guests back.
    """
    with hosted(SETTINGS) as host:
        layout = host.layout
        a = run(host, "A")
        assert until(running(host, "A"))
        assert alive(a)
        assert host.ps()["A"]["grant_bytes"] == 600 * MIB
        assert host.figure(layout.guest("A"), "memory.max") == (RAM_MIB + 600) * MIB
        assert host.figure(layout.guest("A"), "memory.swap.max") == 64 * MIB
        pid = host.ps()["A"]["pid"]
        assert host.files.read(f"{layout.vmm('A')}/cgroup.procs").split() == [str(pid)]
        ram_before = host.figure(layout.ram("A"), "memory.current")
        assert ram_before >= RAM_MIB * MIB
        assert host.figure(layout.ram("A"), "memory.min") >= RAM_MIB * MIB

        a.grow(500 * MIB - from_files(host, "A"), "load", timeout_s=120)
        assert abs(host.figure(layout.ram("A"), "memory.current") - ram_before) < 2 * MIB
        assert until(lambda: abs(host.ps()["A"]["overhead_bytes"] - from_files(host, "A")) < MIB, 20)
        used = host.ps()["A"]["overhead_bytes"]
        assert used > 480 * MIB, "A does not use more than an equal share: the story proves nothing"
        print(f"\nA uses {used / MIB:.1f} MiB of overhead")

        b = run(host, "B")
        assert until(lambda: running(host, "B")() or b.process.poll() is not None)
        rows = host.ps()
        print({name: (row["grant_bytes"] / MIB, row["limit_bytes"] / MIB) for name, row in rows.items()}, b.stderr())
        assert rows["A"]["grant_bytes"] >= used
        assert rows["B"]["squeezed"]
        assert rows["A"]["grant_bytes"] + rows["B"]["grant_bytes"] <= 800 * MIB
        for name, row in rows.items():
            assert host.figure(layout.guest(name), "memory.max") == row["limit_bytes"]
        assert alive(a)
        assert alive(b)
        assert kills(host) == 0

        host.kill()
        host.start(timeout_s=START_S)
        assert until(running(host, "A"))
        assert until(running(host, "B"))
        assert alive(a)
        assert alive(b)

        b.stop()
        assert until(lambda: "B" not in host.ps())
        assert until(lambda: host.ps()["A"]["grant_bytes"] == 600 * MIB, 20)
        assert kills(host) == 0

        # Control run: what the story is about. An equal share, written by hand.
        host.set_limit("A", (RAM_MIB + 400) * MIB)
        assert until(lambda: a.process.poll() is not None, 20), "the naive write did not kill"
        assert kills(host) > 0
        hit = host.wait_for("wall_hit", "A", timeout_s=20)
        assert hit["numbers"]["killed"] > 0
        assert hit["numbers"]["walls_hit"] == 1


@pytest.mark.timeout(400)
def test_interrupted_shrink_is_thawed_by_the_next_agent() -> None:
    """A guest or a wall left frozen by an agent that died in a shrink goes on as soon as the next agent is there."""
    with hosted(SETTINGS) as host:
        a = run(host, "A")
        assert until(running(host, "A"))
        host.kill()
        host.files.write(f"{host.layout.guest('A')}/cgroup.freeze", "1")
        host.files.write(f"{host.layout.memory}/cgroup.freeze", "1")
        host.start(timeout_s=START_S)
        assert until(lambda: "frozen 0" in host.files.read(f"{host.layout.guest('A')}/cgroup.events"), 20)
        assert alive(a)
        assert host.events("thawed")


GROWTH = """
[host]
reserve = "800MiB"
headroom = "200MiB"
guard = "64MiB"
[sizing]
policy = "openshift"
[timing]
settle_s = 0
sweep_s = 0.5
"""


def stays_held(host: Host, name: str) -> bool:
    """Held, and not let go again within three seconds because room was moved to it."""
    end_s = time.monotonic() + 3.0
    while host.ps()[name]["held"]:
        if time.monotonic() > end_s:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.timeout(400)
def test_growing_guest_takes_room_and_is_held_before_the_wall() -> None:
    """A that grows takes B's unused room and lives; with none left it is held, and goes on when B stops."""
    with hosted(GROWTH) as host:
        a, b = run(host, "A"), run(host, "B")
        assert until(lambda: running(host, "A")() and running(host, "B")())
        b.grow(150 * MIB, "own", timeout_s=120)
        grant = host.ps()["A"]["grant_bytes"]
        # It grows over its share, within the headroom: what B leaves unused comes to it, and nobody is held.
        a.grow(grant + 48 * MIB - from_files(host, "A"), "more", timeout_s=120)
        assert until(lambda: host.ps()["A"]["grant_bytes"] >= from_files(host, "A"), 30), "it was given no room"
        assert not host.events("held")
        assert alive(a)
        assert alive(b)
        stop = threading.Event()

        def grow() -> None:
            for number in range(60):
                if stop.is_set():
                    return
                with contextlib.suppress(GuestroomError):
                    a.grow(16 * MIB, f"step{number}", timeout_s=120)

        grower = threading.Thread(target=grow)
        grower.start()
        try:
            assert until(lambda: stays_held(host, "A"), 180), "it was never held for good"
        finally:
            stop.set()
        row, held = host.ps()["A"], host.events("held")[-1]
        print(f"\nheld: grant {grant / MIB:.0f} > {row['grant_bytes'] / MIB:.0f} MiB; {held['message']}")
        assert "frozen 1" in host.files.read(f"{host.layout.guest('A')}/cgroup.events")
        wall = host.files.read(f"{host.layout.memory}/memory.events.local")
        assert events(wall)["max"] == events(wall)["oom_kill"] == 0, "it met the wall"
        assert events(host.files.read(f"{host.layout.guest('A')}/memory.events.local"))["max"] == 0, "it met its limit"
        numbers = held["numbers"]
        assert 0 < numbers["headroom_left_bytes"] <= numbers["guard_bytes"] == 64 * MIB
        assert numbers["over_bytes"] > 0
        parts = [numbers[f"{part}_bytes"] for part in ("anon", "shmem", "kernel", "cache")]
        charged = host.figure(host.layout.vmm("A"), "memory.current")
        # Told when the freeze was due: emulated, it may grow on for two of its steps until it stands.
        assert abs(sum(parts) - charged) < 32 * MIB, f"{parts} are not the {charged} it stands still with"
        assert row["grant_bytes"] > grant, "it got nothing of what B left unused"
        assert alive(b)
        b.stop()
        host.wait_for("let_go", "A", timeout_s=60, after=held["number"])
        grower.join(120)
        assert alive(a)
        assert kills(host) == 0
        assert host.files.read(f"{host.layout.vmm('A')}/memory.high").strip() == "max"
