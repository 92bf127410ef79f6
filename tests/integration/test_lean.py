"""A lean guest: half the overhead, the same machine to its guest, alive under checksummed I/O."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.integration.conftest import MakeHost

from guestroom.lab.host import Host
from guestroom.lab.image import GuestImage
from guestroom.lab.vm import Vm
from guestroom.units import MIB

pytestmark = pytest.mark.integration

SETTINGS = '[host]\nreserve = "2GiB"\nheadroom = "384MiB"\n[timing]\nsweep_s = 0.2\n'


def started(host: Host, image: GuestImage, name: str, *options: str) -> Vm:
    """A small guest whose user said nothing of a code buffer, alive."""
    machine = host.machine(name, image, rate=100)
    argv = [word.replace("tcg,tb-size=32", "tcg") for word in machine.argv()]
    verdict = host.folder / f"{name}.verdict"
    words = [*host.run_words(name, *options, "--verdict-fd", "3"), *argv]
    vm = Vm(machine, ["sh", "-c", f'exec 3>"{verdict}"; exec "$@"', "sh", *words])
    host.vms.append(vm)
    assert vm.wait_alive(90), vm.stderr()
    return vm


def devices(vm: Vm) -> Any:
    """What its guest finds on the PCI bus, without addresses."""
    buses = vm.qmp("query-pci")
    assert isinstance(buses, list)
    return [(one["slot"], one["class_info"], one["id"]) for bus in buses for one in bus["devices"]]


def test_half_the_overhead_is_saved(make_host: MakeHost, image: GuestImage) -> None:
    """Beside a stock start of it, at most half the overhead is left, and the guest sees the same machine."""
    host = make_host(SETTINGS)
    stock, lean = started(host, image, "stock"), started(host, image, "lean", "--lean")
    assert "lean: -accel tcg,tb-size=8 (saves about 44 MiB" in lean.stderr()
    assert "lean:" not in stock.stderr()
    told = json.loads((host.folder / "lean.verdict").read_text())["lean"]
    assert next(change["what"] for change in told["changes"]) == "-accel tcg,tb-size=8"
    left, before = (host.overhead(name, 256 * MIB) for name in ("lean", "stock"))
    assert left <= before / 2, (left, before)
    assert json.dumps(devices(lean)) == json.dumps(devices(stock))
    assert stock.alive() is None
    assert lean.alive() is None


def test_what_its_user_set_stays(make_host: MakeHost, image: GuestImage) -> None:
    """A code buffer that the user sized is kept as it is, and that is said."""
    host = make_host(SETTINGS)
    vm = host.run(host.machine("own", image, rate=50), "--lean")
    assert vm.wait_alive(90), vm.stderr()
    assert "lean: tb-size is set by you" in vm.stderr()
    assert host.overhead("own", 256 * MIB) > 50 * MIB
    assert vm.alive() is None


def test_a_shorter_queue_is_what_its_guest_sees(make_host: MakeHost, image: GuestImage) -> None:
    """Asked for what the guest can see, its disk has a queue of 64, and it works."""
    host = make_host(SETTINGS)
    vm = host.run(host.machine("visible", image, rate=50), "--lean-visible")
    assert vm.wait_alive(90), vm.stderr()
    assert vm.qmp("qom-get", {"path": "/machine/peripheral-anon/device[0]", "property": "queue-size"}) == 64
    assert "queue-size=64 (saves at most 64 clusters" in vm.stderr()
    assert vm.alive() is None
