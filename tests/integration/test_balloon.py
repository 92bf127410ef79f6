"""RAM lent through a real balloon: only where it is allowed and safe, and never at a neighbour's cost."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from tests.integration.test_launch import running, until

from guestroom.lab.host import Host
from guestroom.lab.image import GuestImage
from guestroom.lab.vm import Vm
from guestroom.units import MIB

MakeNarrow = Callable[[str, int], Host]
pytestmark = pytest.mark.integration

LENDING = """[host]
reserve = "300MiB"
headroom = "100MiB"
system_reserve = "0"
[timing]
settle_s = 0
peak_window_s = 4
giveback_after_s = 2
[sizing]
overhead = "100MiB"
[guests.batch]
weight = 1
{lender}
"""
BATCH = 512
NEW_RAM = 224


class NarrowHost(Host):
    """A host whose budget is known to the byte, whatever else this machine runs: its agent's own cgroup is limited."""

    def __init__(self, settings_toml: str, limit_bytes: int) -> None:
        super().__init__(settings_toml)
        self.narrow = f"{self.layout.parent}/narrow-{self.cgroup}"
        self.files.mkdir(self.narrow)
        self.files.write(f"{self.narrow}/memory.limit_in_bytes", str(limit_bytes))
        self.layout = replace(self.layout, memory=f"{self.narrow}/{self.cgroup}")

    def command(self, *words: str) -> list[str]:
        """The agent puts itself into the limited cgroup first; everybody else stays outside."""
        plain = super().command(*words)
        if words[0] != "agent":
            return plain
        return ["sh", "-c", f'echo $$ > "{self.narrow}/cgroup.procs" && exec "$@"', "sh", *plain]

    def clean_up(self) -> None:
        """As any host, then the limited cgroup."""
        super().clean_up()
        self._remove_tree(self.narrow)


@pytest.fixture
def narrow() -> Iterator[MakeNarrow]:
    """Makes narrow hosts; cleaned up afterwards."""
    made: list[Host] = []

    def make(settings_toml: str, limit_bytes: int) -> Host:
        host = NarrowHost(settings_toml, limit_bytes)
        made.append(host)
        host.start()
        return host

    yield make
    for host in made:
        print(f"--- agent log of {host.cgroup}\n{host.log()}")
        for vm in host.vms:
            print(f"--- {vm.machine.name}: {vm.stderr()}{vm.signs}")
        host.clean_up()


def batch_runs(narrow: MakeNarrow, image: GuestImage, lender: str, *device: str) -> tuple[Host, Vm]:
    """A guest of 512 MiB, all touched, on a host that has room for about 100 MiB of RAM more."""
    host = narrow(LENDING.format(lender=lender), 1000 * MIB)
    extra = ("-device", device[0]) if device else ()
    vm = host.run(host.machine("batch", image, ram_mib=BATCH, touch="300", extra=extra))
    assert vm.wait_alive(60)
    return host, vm


def new_guest(host: Host) -> subprocess.Popen[str]:
    """A guest of 224 MiB."""
    argv = ["qemu-system-x86_64", "-M", "q35", "-m", str(NEW_RAM), "-accel", "tcg,tb-size=8", "-nodefaults"]
    return subprocess.Popen(
        [*host.run_words("new"), *argv, "-display", "none", "-monitor", "none"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def balloon_bytes(vm: Vm) -> int:
    """RAM it has left, on its user's own monitor."""
    answer = vm.qmp("query-balloon")
    assert isinstance(answer, dict)
    return int(answer["actual"])


@pytest.mark.parametrize(
    ("lender", "device"),
    [
        ("", "virtio-balloon-pci"),
        ('balloon_min = "256MiB"', None),
        ('balloon_min = "256MiB"', "virtio-balloon-pci,deflate-on-oom=on"),
        ('balloon_min = "480MiB"', "virtio-balloon-pci"),
    ],
)
def test_ram_that_may_not_be_lent_is_not(
    narrow: MakeNarrow, image: GuestImage, lender: str, device: str | None
) -> None:
    """Without the operator's word, a balloon, or one that stays where it is put, a newcomer's RAM is refused (the
    control), and nobody is taken below what it keeps at least."""
    host, vm = batch_runs(narrow, image, lender, *([device] if device else []))
    new = new_guest(host)
    assert new.wait(30) == 3
    row = host.ps()["batch"]
    assert row["lent_ram_bytes"] <= 32 * MIB
    assert balloon_bytes(vm) >= 480 * MIB if device else True
    assert vm.alive() is None


def test_ram_is_lent_by_a_real_balloon_and_goes_back(narrow: MakeNarrow, image: GuestImage) -> None:
    """A newcomer's RAM that does not fit comes from a guest whose operator allows it, and goes back when it is gone."""
    host, vm = batch_runs(narrow, image, 'balloon_min = "256MiB"', "virtio-balloon-pci")
    before = host.figure(host.layout.guest("batch"), "memory.limit_in_bytes")
    new = new_guest(host)
    assert until(running(host, "new"), 40), new.poll()
    lent = host.ps()["batch"]["lent_ram_bytes"]
    told = host.wait_for("reclaimed", "batch")["numbers"]
    assert (told["means"], told["ram_bytes"]) == ("balloon", lent)
    assert 30 * MIB < lent <= 256 * MIB
    assert balloon_bytes(vm) == BATCH * MIB - lent
    # The kernel keeps it to its smaller promise.
    assert host.figure(host.layout.guest("batch"), "memory.limit_in_bytes") <= before - lent
    rows, about = host.ps(), host.client.get("/v1/host")
    promised = sum(row["ram_bytes"] for row in rows.values()) - lent
    assert host.figure(host.layout.memory, "memory.limit_in_bytes") == promised + about["reserve_bytes"]
    assert promised + about["reserve_bytes"] <= about["budget_bytes"]
    assert rows["batch"]["overhead_bytes"] < rows["batch"]["grant_bytes"]
    assert vm.alive() is None
    new.terminate()
    new.wait(20)
    assert until(lambda: host.ps()["batch"]["lent_ram_bytes"] == 0, 30), host.ps()
    assert host.wait_for("ram_returned", "batch")["numbers"]["lent_ram_bytes"] == 0
    assert until(lambda: balloon_bytes(vm) == BATCH * MIB)
    vm.type("touchram 300")
    time.sleep(3)
    row = host.ps()["batch"]
    assert row["overhead_bytes"] is not None
    assert row["overhead_bytes"] < 200 * MIB
    assert not row["held"]
    assert vm.alive() is None
    assert host.client.get("/v1/host")["walls_hit"] == 0


def test_lent_ram_outlives_the_agent(narrow: MakeNarrow, image: GuestImage) -> None:
    """After a kill -9 the next agent knows what is lent: promises, limits and the balloon stay as they were."""
    host, vm = batch_runs(narrow, image, 'balloon_min = "256MiB"', "virtio-balloon-pci")
    new = new_guest(host)
    assert until(running(host, "new"), 40), new.poll()
    lent = host.ps()["batch"]["lent_ram_bytes"]
    host.kill()
    host.start()
    assert host.ps()["batch"]["lent_ram_bytes"] == lent
    promised = (BATCH + NEW_RAM) * MIB - lent
    about = host.client.get("/v1/host")
    assert about["promised_ram_bytes"] == promised
    assert about["overcommitted_bytes"] == 0
    assert vm.alive() is None
    new.terminate()
    new.wait(20)
    assert until(lambda: host.ps()["batch"]["lent_ram_bytes"] == 0, 30)


def test_ram_taken_back_unasked_holds_its_taker_and_nobody_else(narrow: MakeNarrow, image: GuestImage) -> None:
    """A lender that takes its RAM back is above its grant: it is held, its borrower lives; with room it goes on."""
    host, vm = batch_runs(narrow, image, 'balloon_min = "256MiB"', "virtio-balloon-pci")
    new = new_guest(host)
    assert until(running(host, "new"), 40), new.poll()
    vm.qmp("balloon", {"value": BATCH * MIB})
    assert until(lambda: balloon_bytes(vm) == BATCH * MIB)
    vm.type("touchram 440")
    told = host.wait_for("held", "batch", timeout_s=40)
    assert told["numbers"]["over_bytes"] > 0
    assert new.poll() is None
    assert host.ps()["new"]["held"] is False
    new.terminate()
    new.wait(20)
    host.wait_for("let_go", "batch", timeout_s=40)
    assert until(lambda: host.ps()["batch"]["lent_ram_bytes"] == 0, 40), host.ps()
    assert vm.alive(10) is None
    assert host.client.get("/v1/host")["walls_hit"] == 0
