"""Somebody else writes to guestroom's cgroups: noticed, told with numbers, put right where safe, not fought (P9)."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.integration.conftest import MakeHost
from tests.integration.faults import TIGHT, Small, every, refused, sleeper, unharmed
from tests.integration.test_launch import until

from guestroom.lab.host import Host
from guestroom.lab.image import GuestImage
from guestroom.units import MIB

pytestmark = pytest.mark.integration

SETTINGS = """
[host]
reserve = "800MiB"
headroom = "128MiB"
guard = "48MiB"
[timing]
settle_s = 0
sweep_s = 0.2
"""
LIMIT = "memory.limit_in_bytes"


def written(host: Host, name: str, file: str, value: object) -> None:
    """Somebody else writes a control file of a guest, or (``""``) of the host wall."""
    folder = host.layout.guest(name) if name else host.layout.memory
    host.files.write(f"{folder}/{file}", str(value))


def killer_off(host: Host, folder: str) -> bool:
    """Whether the kernel's OOM killer is off for a cgroup."""
    return host.files.read(f"{folder}/memory.oom_control").startswith("oom_kill_disable 1")


def away(host: Host) -> str:
    """A cgroup that is not guestroom's: the one above the host wall."""
    return host.layout.memory.rpartition("/")[0]


def test_a_limit_taken_away_is_set_again(make_host: MakeHost) -> None:
    """No limit on a guest endangers the others: it is back within a sweep, and the event has both numbers."""
    host = make_host(SETTINGS)
    guest = Small(host, "A")
    meant = host.ps()["A"]["limit_bytes"]
    written(host, "A", LIMIT, -1)
    event = host.wait_for("limit_moved", "A")
    assert event["numbers"] == {"limit_bytes": "unlimited", "meant_bytes": meant, "times": 1}
    assert "unlimited" in event["message"]
    assert host.figure(guest.folder, LIMIT) == meant
    unharmed(host)
    assert guest.alive


def test_a_lowered_limit_is_raised_before_it_is_met(make_host: MakeHost, image: GuestImage) -> None:
    """A guest under I/O whose limit is set just above its use has its own limit back at once and notices nothing."""
    host = make_host(SETTINGS)
    vm = host.run(host.machine("A", image))
    assert vm.wait_alive(60)
    meant, use = host.ps()["A"]["limit_bytes"], host.figure(host.layout.guest("A"), "memory.usage_in_bytes")
    assert host.set_limit("A", use - 64 * MIB) is not None, "the kernel itself says EBUSY"
    assert host.figure(host.layout.guest("A"), LIMIT) == meant
    written(host, "A", LIMIT, use + 24 * MIB)
    event = host.wait_for("limit_moved", "A", timeout_s=5)
    assert event["numbers"]["meant_bytes"] == meant
    assert abs(event["numbers"]["limit_bytes"] - use - 24 * MIB) < 4096
    assert host.figure(host.layout.guest("A"), LIMIT) == meant
    unharmed(host)
    assert vm.alive() is None
    assert refused(host, "A") == 0


def test_nobody_is_fought(make_host: MakeHost) -> None:
    """Against who writes every 20 ms there is one write in seconds and a line or two in the events; and peace later."""
    host = make_host(SETTINGS)
    guest = Small(host, "A")
    meant, before = host.ps()["A"]["limit_bytes"], len(host.events())

    def meddle() -> None:
        written(host, "A", LIMIT, -1)
        written(host, "A", "memory.oom_control", 0)

    assert every(0.02, meddle, 3.0) > 100
    for kind in ("limit_moved", "killer_on"):
        assert [event["numbers"]["times"] for event in host.events(kind)] == [1, 0], kind
        assert "left so" in host.events(kind)[-1]["message"]
    assert len(host.events()) - before == 4
    assert guest.alive
    assert until(lambda: host.figure(guest.folder, LIMIT) == meant, 12), "put right when its time has come"
    assert until(lambda: killer_off(host, guest.folder), 12)
    unharmed(host)


def test_a_fight_over_a_wall_that_is_near_is_not_left(make_host: MakeHost) -> None:
    """A limit that is lowered to the use again and again is raised each time: patience is not for who would be lost."""
    host = make_host(SETTINGS)
    guest = Small(host, "A")
    for number in range(3):
        use = host.figure(guest.folder, "memory.usage_in_bytes")
        written(host, "A", LIMIT, use + 16 * MIB)
        assert until(lambda: host.figure(guest.folder, LIMIT) == host.ps()["A"]["limit_bytes"], 2), number
    guest.grow(40 * MIB, "more")
    assert refused(host, "A") == 0
    unharmed(host)
    assert guest.alive


@pytest.mark.parametrize("change", [-1, 300 * MIB])
def test_the_host_wall_is_where_it_was(make_host: MakeHost, change: int) -> None:
    """The wall taken away or lowered by somebody else is set again within a sweep, with both numbers told."""
    host = make_host(SETTINGS)
    guest = Small(host, "A")
    meant = host.figure(host.layout.memory, LIMIT)
    written(host, "", LIMIT, change)
    event = host.wait_for("limit_moved")
    assert event["guest"] is None
    assert event["numbers"]["meant_bytes"] == meant
    assert until(lambda: host.figure(host.layout.memory, LIMIT) == meant, 5)
    unharmed(host)
    assert guest.alive
    assert not host.events("held")


@pytest.mark.parametrize("name", ["A", ""])
def test_a_killer_switched_on_is_off_again(make_host: MakeHost, name: str) -> None:
    """With the kernel's killer on a wall would be deadly: it is off again, and told."""
    host = make_host(SETTINGS)
    guest = Small(host, "A")
    folder = guest.folder if name else host.layout.memory

    assert killer_off(host, folder)
    written(host, name, "memory.oom_control", 0)
    assert host.wait_for("killer_on")["guest"] == (name or None)
    assert killer_off(host, folder)
    unharmed(host)
    assert guest.alive


def held(make_host: MakeHost) -> tuple[Host, threading.Thread]:
    """A guest that is held in the middle of growing."""
    host = make_host(TIGHT)
    guest = Small(host, "A")
    grower = threading.Thread(target=lambda: guest.grow(190 * MIB, "load", timeout_s=90))
    grower.start()
    host.wait_for("held", "A")
    return host, grower


def test_a_hold_undone_by_somebody_else_is_taken_again(make_host: MakeHost) -> None:
    """A held guest thawed from outside is held again as soon as it takes more, before its wall; told, not fought."""
    host, grower = held(make_host)
    freezer = f"{host.layout.freezer_of('A')}/freezer.state"
    host.files.write(freezer, "THAWED")
    assert host.wait_for("hold_lost", "A", timeout_s=5)["numbers"]["times"] == 1
    assert until(lambda: len(host.events("held")) >= 2, 5)
    every(0.02, lambda: host.files.write(freezer, "THAWED"), 3.0)
    assert len(host.events("hold_lost")) < 12
    assert refused(host, "A") == 0
    unharmed(host)
    assert host.stop() == 0, "a clean stop lets it go, and what it wants fits after all"
    grower.join(30)
    assert not grower.is_alive()


def test_a_qemu_moved_out_is_moved_back(make_host: MakeHost) -> None:
    """QEMU outside its cgroup is under no limit: it is back within a sweep; a second time it is told and left."""
    host = make_host(SETTINGS)
    guest = Small(host, "A")
    host.files.write(f"{away(host)}/cgroup.procs", str(guest.pid))
    event = host.wait_for("moved", "A")
    assert event["numbers"] == {"pid": guest.pid, "times": 1}
    assert "back in its cgroup" in event["message"]
    assert guest.at_home
    host.files.write(f"{away(host)}/cgroup.procs", str(guest.pid))
    assert until(lambda: len(host.events("moved")) == 2)
    assert "left so" in host.events("moved")[-1]["message"]
    time.sleep(0.5)
    assert len(host.events("moved")) == 2
    assert host.ps()["A"]["overhead_bytes"] is None, "what it takes there is unknown, not nothing"
    unharmed(host)
    assert guest.alive
    guest.stop()


Removal = Callable[[Host, Small], None]


def folder_removed(host: Host, guest: Small) -> None:
    """Moved away, all of its cgroup removed."""
    host.files.write(f"{away(host)}/cgroup.procs", str(guest.pid))
    for path in (host.layout.ram("A"), host.layout.vmm("A"), guest.folder):
        host.files.rmdir(path)


def leaf_removed(host: Host, guest: Small) -> None:
    """Moved away, only ``vmm`` removed."""
    host.files.write(f"{away(host)}/cgroup.procs", str(guest.pid))
    host.files.rmdir(host.layout.vmm("A"))


def made_anew(host: Host, guest: Small) -> None:
    """Removed, and another cgroup of the same name made, with a limit of its own and the QEMU in it."""
    folder_removed(host, guest)
    for path in (guest.folder, host.layout.ram("A"), host.layout.vmm("A")):
        host.files.mkdir(path)
    written(host, "A", LIMIT, 777 * MIB)
    written(host, "A", "memory.oom_control", 0)
    host.files.write(f"{host.layout.vmm('A')}/cgroup.procs", str(guest.pid))


@pytest.mark.parametrize("remove", [folder_removed, leaf_removed, made_anew], ids=lambda one: one.__name__)
def test_a_cgroup_taken_away_from_a_running_guest(make_host: MakeHost, remove: Removal) -> None:
    """It runs on, out of care and never killed; its memory stays charged here, so its room comes back at its end."""
    host = make_host(SETTINGS)
    guest, other = Small(host, "A"), Small(host, "B")
    grant = host.ps()["A"]["grant_bytes"]
    remove(host, guest)
    event = host.wait_for("gone", "A")
    assert event["numbers"] == {"pid": guest.pid, "grant_bytes": grant}
    assert host.figure(host.layout.memory, "memory.usage_in_bytes") > 2 * 64 * MIB, "its RAM is still charged"
    time.sleep(0.6)
    row = host.ps()["A"]
    assert row["released"]
    assert row["grant_bytes"] == grant
    assert guest.alive
    assert other.alive
    if remove is not folder_removed:
        assert host.stop() == 0
        host.start()
        assert host.ps()["A"]["grant_bytes"] == grant, "nor is it forgotten by the next agent"
        assert len(host.events("gone")) == 2
    if remove is made_anew:
        assert host.figure(guest.folder, LIMIT) == 777 * MIB, "another's cgroup is not written"
        assert not killer_off(host, guest.folder)
    guest.stop()
    host.wait_for("ended", "A")
    if remove is made_anew:
        assert Path(guest.folder).is_dir(), "nor removed"
        for path in (host.layout.ram("A"), host.layout.vmm("A"), guest.folder):
            host.files.rmdir(path)
    assert until(lambda: host.ps()["B"]["grant_bytes"] == 672 * MIB), host.ps()["B"]
    unharmed(host)
    assert other.alive


def test_a_guest_killed_and_removed_by_somebody_else(make_host: MakeHost) -> None:
    """A QEMU killed from outside whose cgroup is removed at once has ended: told, room back, no traceback."""
    host = make_host(SETTINGS)
    guest, other = Small(host, "A"), Small(host, "B")
    os.kill(guest.pid, signal.SIGKILL)
    for path in (host.layout.ram("A"), host.layout.vmm("A"), guest.folder):
        until(lambda path=path: every(0, lambda: host.files.rmdir(path), 0.01) > 0 and not Path(path).is_dir(), 5)  # type: ignore[misc]
    host.wait_for("ended", "A")
    assert until(lambda: list(host.ps()) == ["B"])
    assert until(lambda: host.ps()["B"]["grant_bytes"] == 672 * MIB), host.ps()["B"]
    assert guest.run.wait(20) == 137
    unharmed(host)
    assert other.alive


def test_a_stranger_in_a_guests_cgroup_is_told_and_never_ended(make_host: MakeHost) -> None:
    """A process somebody put beside QEMU counts as its overhead; it outlives the guest and its folder goes with it."""
    host = make_host(SETTINGS)
    guest = Small(host, "A")
    with sleeper() as stranger:
        time.sleep(0.5)
        host.files.write(f"{host.layout.vmm('A')}/cgroup.procs", str(stranger.pid))
        event = host.wait_for("stranger", "A")
        assert event["numbers"] == {"pid": stranger.pid}
        unharmed(host)
        assert guest.alive
        guest.stop()
        host.wait_for("ended", "A", timeout_s=10)
        host.wait_for("not_removed", "A")
        time.sleep(1.0)
        assert stranger.poll() is None
        assert not host.ps()
        host.files.write(f"{away(host)}/cgroup.procs", str(stranger.pid))
        assert until(lambda: not Path(guest.folder).is_dir(), 12)
    assert "Traceback" not in host.log()
