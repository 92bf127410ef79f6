"""kill -9 of the agent at every step of a transaction, then a restart: ledger and kernel agree, nobody is lost (P8)."""

from __future__ import annotations

import contextlib
import time

import pytest
from tests.integration.conftest import MakeHost
from tests.integration.test_launch import running, until
from tests.integration.test_room import sums_hold

from guestroom.errors import GuestroomError
from guestroom.lab.host import Host
from guestroom.lab.image import GuestImage
from guestroom.lab.vm import Vm
from guestroom.record.encode import record_from_json

pytestmark = pytest.mark.integration

SETTINGS = """
[host]
reserve = "1GiB"
headroom = "128MiB"
[timing]
settle_s = 0
sweep_s = 0.2
agent_lost_s = 5
"""
START_POINTS = [
    "written",
    "before:SetLimit:A",
    "after:SetLimit:A",
    "before:SetWall:wall",
    "after:SetWall:wall",
    "before:MakeGuest:B",
    "after:MakeGuest:B",
    "after:StartGuest:B",
    "placed",
    "moved",
    "durable",
    "continued",
]
STOP_POINTS = ["before:SetWall:wall", "after:SetWall:wall", "before:SetLimit:A", "after:SetLimit:A"]


def agree(host: Host) -> None:
    """Ledger, agent and kernel say the same of every guest, and nobody is frozen."""
    import sqlite3

    rows = host.ps()
    with contextlib.closing(sqlite3.connect(f"file:{host.state}/ledger.db?mode=ro", uri=True)) as ledger:
        kept = [record_from_json(text) for (text,) in ledger.execute("SELECT record FROM guests ORDER BY name")]
        open_decisions = ledger.execute("SELECT count(*) FROM decisions WHERE finished_wall_s IS NULL").fetchone()[0]
    assert [record.name for record in kept] == sorted(rows)
    assert open_decisions == 0
    for record in kept:
        limit = host.figure(host.layout.guest(record.name), "memory.limit_in_bytes")
        assert limit == record.limit_bytes == rows[record.name]["limit_bytes"]
        assert record.grant_bytes == rows[record.name]["grant_bytes"]
        freezer = host.layout.freezer_of(record.name)
        assert host.files.read(f"{freezer}/freezer.state").strip() == "THAWED"
    assert sorted(rows) == host.files.list_dirs(host.layout.memory)
    sums_hold(host)


def with_a(make_host: MakeHost, image: GuestImage, point: str) -> tuple[Host, Vm]:
    """A host with guest A alive under I/O, and an agent that will die at ``point``."""
    host = make_host(SETTINGS)
    a = host.run(host.machine("A", image))
    assert a.wait_alive(60)
    host.kill()
    host.start(fault_at=point)
    assert until(running(host, "A"))
    return host, a


@pytest.mark.parametrize("point", START_POINTS)
def test_killed_while_a_guest_starts(make_host: MakeHost, image: GuestImage, point: str) -> None:
    """Whatever step the agent dies at, A lives on, B runs or never ran, and the next agent has everything right."""
    host, a = with_a(make_host, image, point)
    floor = host.ps()["A"]["ram_bytes"] + host.ps()["A"]["overhead_bytes"]
    b = host.run(host.machine("B", image), "--agent-lost", "8")
    assert host.process is not None
    assert host.process.wait(40) == -9, "the agent never came to this point"
    assert host.figure(host.layout.guest("A"), "memory.limit_in_bytes") >= floor
    host.start()
    assert a.alive() is None
    assert until(lambda: b.process.poll() is not None or running(host, "B")(), 30)
    if b.process.poll() is None:
        assert b.wait_alive(60)
    else:
        assert b.process.returncode not in (0, 3)
        assert b.signs.beats == 0
        assert until(lambda: "B" not in host.ps(), 15)
    assert until(lambda: host.ps()["A"]["overhead_bytes"] is not None)
    time.sleep(0.5)
    agree(host)
    assert a.alive() is None


@pytest.mark.parametrize("point", STOP_POINTS)
def test_killed_while_room_is_given_back(make_host: MakeHost, image: GuestImage, point: str) -> None:
    """A raise that the agent dies in is made good by the next one, and A never loses anything."""
    host = make_host(SETTINGS)
    a, b = host.run(host.machine("A", image)), host.run(host.machine("B", image, io="off"))
    assert a.wait_alive(60)
    assert until(running(host, "B"), 60)
    before = host.ps()["A"]["grant_bytes"]
    host.kill()
    host.start(fault_at=point)
    assert until(lambda: len(host.ps()) == 2)
    b.stop()
    assert host.process is not None
    assert host.process.wait(40) == -9, "the agent never came to this point"
    host.start()
    assert until(lambda: host.ps()["A"]["grant_bytes"] > before)
    assert a.alive() is None
    time.sleep(0.5)
    agree(host)


def test_a_guest_that_ended_while_no_agent_ran(make_host: MakeHost, image: GuestImage) -> None:
    """Its room is back after the restart, its cgroups are gone, and the survivor's share grows."""
    host = make_host(SETTINGS)
    a, b = host.run(host.machine("A", image)), host.run(host.machine("B", image, io="off"))
    assert a.wait_alive(60)
    assert until(running(host, "B"), 60)
    before = host.ps()["A"]["grant_bytes"]
    host.kill()
    b.stop()
    host.start()
    assert list(host.ps()) == ["A"]
    assert host.ps()["A"]["grant_bytes"] > before
    agree(host)
    assert a.alive() is None


def test_a_shrink_left_frozen_is_thawed(make_host: MakeHost, image: GuestImage) -> None:
    """A guest found frozen without a recorded hold goes on as soon as an agent is back."""
    host = make_host(SETTINGS)
    a = host.run(host.machine("A", image))
    assert a.wait_alive(60)
    host.kill()
    host.files.write(f"{host.layout.freezer_of('A')}/freezer.state", "FROZEN")
    host.start()
    assert a.alive() is None
    assert host.events("thawed")
    agree(host)


def test_a_foreign_cgroup_is_left_alone(make_host: MakeHost) -> None:
    """A folder somebody else made under the wall is reported, keeps its limit, and is never removed (P9)."""
    host = make_host(SETTINGS)
    host.stop()
    path = host.layout.guest("stranger")
    host.files.mkdir(path)
    host.files.write(f"{path}/memory.limit_in_bytes", str(77 << 20))
    host.start()
    event = host.wait_for("foreign")
    assert "stranger" in event["message"]
    assert host.figure(path, "memory.limit_in_bytes") == 77 << 20
    with pytest.raises(GuestroomError, match="no guest named"):
        host.client.post("/v1/release", {"name": "stranger"})


def test_a_clean_stop_leaves_guests_running_and_killers_on(make_host: MakeHost, image: GuestImage) -> None:
    """SIGTERM: guests go on under their limits, none is held, killers are as they were; a restart takes them back."""
    host = make_host(SETTINGS)
    a = host.run(host.machine("A", image))
    assert a.wait_alive(60)
    limit = host.ps()["A"]["limit_bytes"]
    assert host.files.read(f"{host.layout.guest('A')}/memory.oom_control").startswith("oom_kill_disable 1")
    assert host.stop() == 0
    assert host.files.read(f"{host.layout.guest('A')}/memory.oom_control").startswith("oom_kill_disable 0")
    assert host.files.read(f"{host.layout.memory}/memory.oom_control").startswith("oom_kill_disable 0")
    assert host.figure(host.layout.guest("A"), "memory.limit_in_bytes") == limit
    assert a.alive() is None
    host.start()
    assert host.files.read(f"{host.layout.guest('A')}/memory.oom_control").startswith("oom_kill_disable 1")
    agree(host)
