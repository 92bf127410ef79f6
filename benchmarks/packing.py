"""How many real guests live in 4 GiB: peers' fixed formulas beside guestroom's default, and an oracle.

Every way gets the same guests in the same order, QEMUs of 128 to 256 MiB with all their RAM touched, doing checksummed
I/O, in one cgroup of 4 GiB, until two in a row find no room. Each guest takes what it takes at its peak (by its number
0 to 120 MiB more than idle, in the wild mix to 160) once when it has started and again in turn, two at a time. A peer
gives each guest a cgroup of RAM + its formula for good, the OOM killer on, as EVE and libvirt do. The oracle knows each
guest's peak, as it was measured here, gives it exactly that, and moves nothing. What guestroom is behind it is its
headroom, as large as the largest burst: it knows no peak before it has seen it, and serves it all the same.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.series import Row
from guestroom.describe import from_qemu_argv
from guestroom.errors import GuestroomError
from guestroom.kernelfs import KernelFiles
from guestroom.lab.host import Host
from guestroom.lab.image import find_image
from guestroom.lab.place import Place
from guestroom.lab.vm import Machine, Vm
from guestroom.layout import Layout
from guestroom.observe.hierarchy import find_layout
from guestroom.size import estimate
from guestroom.units import GIB, MIB

BUDGET_BYTES = 4 * GIB
RAMS_MIB = (128, 256, 192)
EXTRAS_MIB = {"mild": (0, 40, 100, 0, 120, 20, 60, 0), "wild": (0, 40, 100, 0, 160, 20, 60, 0)}
OFFERED = 24
LOAD_S = 40.0
SETTINGS = '[host]\nreserve = "rest"\n[sizing]\npolicy = "{policy}"\n'
PEERS = {"fixed": "fixed 600 MiB", "proportional": "proportional 30 %", "eve": "EVE"}
TIGHT = "measured"


def ram_mib(number: int) -> int:
    """RAM of a guest by its number."""
    return RAMS_MIB[number % len(RAMS_MIB)]


def extra_mib(number: int, mix: str) -> int:
    """What it takes at its peak beyond what it takes idle."""
    return EXTRAS_MIB[mix][number % len(EXTRAS_MIB[mix])]


@dataclass(slots=True)
class Seen:
    """What became of a way's guests."""

    vms: dict[int, Vm] = field(default_factory=dict)
    lost: set[int] = field(default_factory=set)
    """Killed, or alive with a wrong checksum, a failed request or no life."""
    still: set[int] = field(default_factory=set)
    """Held at the end: they stand still, with nothing lost, until there is room."""
    stuck: int = 0
    """Bursts that were not served within their time: a guest that was held, or a monitor that did not answer."""
    most_bytes: int = 0
    """The most that was charged to the 4 GiB at a time."""


class Way(ABC):
    """One way of giving guests their room."""

    def __init__(self, pool: Pool, mix: str) -> None:
        self.pool, self.mix = pool, mix
        self.seen = Seen()

    @abstractmethod
    def start(self, number: int) -> Vm | None:
        """Start a guest; None where there is no room for it."""

    @abstractmethod
    def figures(self) -> Row:
        """What only this way can tell, read before its guests end."""

    @abstractmethod
    def end(self) -> None:
        """End what was started."""

    def play(self) -> None:
        """Offer guests until two in a row find no room, load those that live, and offer once more."""
        following = self._offer(0)
        self._load()
        self._offer(following)
        held = self.held()
        self.seen.still |= {number for number, vm in self.living() if vm.machine.name in held}
        for number, vm in self.living():
            if number not in self.seen.still and vm.alive(60.0) is not None:
                self.seen.lost.add(number)

    def held(self) -> set[str]:
        """Names of those that stand still by the agent's hand now."""
        return set()

    def _offer(self, number: int) -> int:
        """Start guests from ``number`` on; the first of those that found no room."""
        refused = 0
        while refused < 2 and number + refused < OFFERED:
            vm = self.start(number + refused)
            if vm is None:
                refused += 1
                continue
            at = number + refused
            self.seen.vms[at] = vm
            if vm.wait_alive(120):
                self._burst([at])
            else:
                self.seen.lost.add(at)
            # Whoever found no room is not asked again before the load is over.
            number, refused = at + 1, 0
        return number

    def _load(self) -> None:
        """Two at a time go to their peaks, in turn."""
        until_s, turn = time.monotonic() + LOAD_S, 0
        while time.monotonic() < until_s:
            held = self.held()
            numbers = [number for number, vm in self.living() if vm.machine.name not in held]
            if not numbers:
                return
            self._burst([numbers[(turn + ahead) % len(numbers)] for ahead in range(min(2, len(numbers)))])
            turn += 2

    def _burst(self, numbers: list[int]) -> None:
        for number in numbers:
            self._try(number, lambda vm, size: vm.grow(size * MIB, "load", timeout_s=15.0))
        time.sleep(0.5)
        self.seen.most_bytes = max(self.seen.most_bytes, self.pool.usage_bytes())
        for number in numbers:
            self._try(number, lambda vm, _: vm.shrink("load"))
        for number, vm in self.living():
            if vm.process.poll() is not None:
                self.seen.lost.add(number)

    def _try(self, number: int, work: Callable[[Vm, int], None]) -> None:
        vm, size = self.seen.vms[number], extra_mib(number, self.mix)
        if number in self.seen.lost or not size:
            return
        try:
            work(vm, size)
        except (GuestroomError, OSError):
            time.sleep(0.2)
            if vm.process.poll() is not None:
                self.seen.lost.add(number)
            else:
                self.seen.stuck += 1

    def living(self) -> list[tuple[int, Vm]]:
        """Those that were not lost."""
        return [(number, vm) for number, vm in sorted(self.seen.vms.items()) if number not in self.seen.lost]


class Pool:
    """The cgroup of 4 GiB (v1), in both hierarchies."""

    def __init__(self) -> None:
        self.files = KernelFiles()
        own = find_layout(self.files, f"packing-{os.getpid()}")
        if own.version != 1 or own.freezer is None:
            raise SystemExit("packing needs cgroup v1 with a freezer")
        self.memory, self.freezer = own.memory, own.freezer
        self.place = own.memory[own.memory.index("/memory/") + len("/memory") :]

    def __enter__(self) -> Pool:
        self.files.mkdir(self.memory)
        self.files.mkdir(self.freezer)
        self.files.write(f"{self.memory}/memory.limit_in_bytes", str(BUDGET_BYTES))
        return self

    def __exit__(self, *_: object) -> None:
        for folder in (self.memory, self.freezer):
            remove(self.files, folder)

    def usage_bytes(self) -> int:
        """What is charged to it, page cache and all."""
        return int(self.files.read(f"{self.memory}/memory.usage_in_bytes"))


def remove(files: KernelFiles, folder: str) -> None:
    """Remove an empty cgroup; the kernel may still be draining it."""
    for _ in range(250):
        try:
            files.rmdir(folder)
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.02)
        else:
            return


class Peer(Way):
    """A formula's figure in a cgroup each, for good."""

    def __init__(self, pool: Pool, mix: str, policy: str) -> None:
        super().__init__(pool, mix)
        self.policy = policy
        self.folder = Path(tempfile.mkdtemp(prefix="packing-"))
        self.promised_bytes = 0

    def start(self, number: int) -> Vm | None:
        """In a cgroup of its own, where RAM and overhead of all fit."""
        machine = shape(number, self.folder)
        limit = estimate(from_qemu_argv(machine.argv()), self.policy).limit_bytes
        if self.promised_bytes + limit > BUDGET_BYTES:
            return None
        self.promised_bytes += limit
        group = f"{self.pool.memory}/{machine.name}"
        self.pool.files.mkdir(group)
        self.pool.files.write(f"{group}/memory.limit_in_bytes", str(limit))
        return machine.start(machine.argv(), cgroup=group)

    def figures(self) -> Row:
        """Nothing moves and nobody is held."""
        return {"held": 0, "grown": 0, "given back": 0}

    def end(self) -> None:
        """End the guests, remove their cgroups."""
        for vm in self.seen.vms.values():
            vm.stop()
            remove(self.pool.files, f"{self.pool.memory}/{vm.machine.name}")
        for path in sorted(self.folder.iterdir()):
            path.unlink()
        self.folder.rmdir()


class Guestroom(Way):
    """The agent with a reserve of all that RAM leaves, shared, over tight needs."""

    def __init__(self, pool: Pool, mix: str) -> None:
        super().__init__(pool, mix)
        self.host = Host(SETTINGS.format(policy=TIGHT), env={"GUESTROOM_PLACE": pool.place})
        wall = f"{pool.memory}/{self.host.cgroup}"
        self.host.layout = Layout(memory=wall, freezer=f"{pool.freezer}/{self.host.cgroup}")
        self.host.place = Place(self.host.layout)
        self.host.start()

    def start(self, number: int) -> Vm | None:
        """By ``guestroom run``, whose verdict says whether there is room."""
        vm = self.host.run(shape(number, self.host.folder))
        name = vm.machine.name
        while vm.process.poll() is None:
            if any(event["guest"] == name for event in self.host.events("admitted")):
                return vm
            time.sleep(0.05)
        return None

    def figures(self) -> Row:
        """From the agent's own events."""
        host = self.host
        return {
            "held": len(host.events("held")),
            "grown": len(host.events("grown")),
            "given back": len(host.events("given_back")),
            "walls hit": int(host.client.get("/v1/host")["walls_hit"]),
            "headroom MiB": int(host.client.get("/v1/host")["headroom_bytes"]) >> 20,
        }

    def held(self) -> set[str]:
        """As the agent says."""
        return {name for name, row in self.host.ps().items() if row["held"]}

    def peaks(self) -> dict[int, int]:
        """The largest overhead of each guest, as the agent has it."""
        rows = self.host.ps()
        found = {number: rows.get(vm.machine.name) for number, vm in self.seen.vms.items()}
        return {n: row["overhead_peak_bytes"] for n, row in found.items() if row and row["overhead_peak_bytes"]}

    def end(self) -> None:
        """The agent, its guests and its cgroups."""
        self.host.clean_up()


def shape(number: int, folder: Path) -> Machine:
    """A guest by its number."""
    return Machine(
        name=f"g{number:02d}",
        ram_mib=ram_mib(number),
        folder=folder,
        image=find_image(),
        io="4x1",
        rate=10,
        touch="all",
        disk_mib=32,
    )


def oracle(peaks: dict[int, int], mix: str) -> int:
    """How many of the guests fit by their peaks, in their order, until two in a row don't."""
    idle = statistics.median(peak - extra_mib(number, mix) * MIB for number, peak in peaks.items())
    used = count = refused = 0
    for number in range(OFFERED):
        takes = ram_mib(number) * MIB + peaks.get(number, int(idle) + extra_mib(number, mix) * MIB)
        if used + takes > BUDGET_BYTES:
            refused += 1
            if refused == 2:
                break
            continue
        used, count, refused = used + takes, count + 1, 0
    return count


@contextlib.contextmanager
def ended(way: Way) -> Iterator[Way]:
    """Whatever happens, what it started is ended."""
    try:
        yield way
    finally:
        way.end()


def measure() -> list[Row]:
    """One row a way and mix; the oracle is given the peaks that the agent saw."""
    rows: list[Row] = []
    ways = [(TIGHT, "mild"), *((policy, "mild") for policy in PEERS), (TIGHT, "wild")]
    best = 0
    with Pool() as pool:
        for name, mix in ways:
            began_s = time.monotonic()
            maker = Guestroom(pool, mix) if name == TIGHT else Peer(pool, mix, name)
            with ended(maker) as way:
                way.play()
                figures = way.figures()
                if isinstance(way, Guestroom):
                    best = oracle(way.peaks(), mix)
            rows.append(_row(name, way, figures, best, round(time.monotonic() - began_s)))
            print(rows[-1], flush=True)
    return rows


def _row(name: str, way: Way, figures: Row, best: int, took_s: int) -> Row:
    seen = way.seen
    alive = len(seen.vms) - len(seen.lost) - len(seen.still)
    return {
        "way": f"guestroom, need by {TIGHT}" if name == TIGHT else PEERS[name],
        "mix": way.mix,
        "started": len(seen.vms),
        "lost": len(seen.lost),
        "held at the end": len(seen.still),
        "alive": alive,
        "oracle": best,
        "of oracle": round(alive / best, 2),
        **figures,
        "slow bursts": seen.stuck,
        "requests verified": sum(vm.signs.verified for vm in seen.vms.values()),
        "most used MiB": seen.most_bytes >> 20,
        "took s": took_s,
    }
