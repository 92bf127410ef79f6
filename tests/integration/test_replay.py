"""A real agent's ledger, replayed: its decisions come out the same, and its guests can be sized another way."""

from __future__ import annotations

import json
import subprocess
import time

import pytest
from tests.integration.conftest import MakeHost
from tests.integration.test_growth import SETTINGS
from tests.integration.test_launch import until

from guestroom.lab.host import Host
from guestroom.lab.image import GuestImage
from guestroom.units import MIB

pytestmark = pytest.mark.integration

STEPS = 24
"""Of 16 MiB: from 70 MiB well over the share of 336."""


def replay(host: Host, *options: str) -> dict[str, object]:
    """What ``guestroom replay`` says of a host's ledger, which it does not change."""
    done = subprocess.run(
        host.command("replay", "--ledger", host.state, "--json", *options), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def results(host: Host, *options: str) -> list[dict[str, object]]:
    """The rows of a replay under policies and settings."""
    found = replay(host, *options)["results"]
    assert isinstance(found, list)
    return found


def test_a_real_agent_s_decisions_come_out_the_same(make_host: MakeHost, image: GuestImage) -> None:
    """Starts, growth past the share, giving back and ends of real guests: every step again, beside the agent and after.

    Guest A grows by 384 MiB and gives all of it back, B bursts beside it and ends, C starts into what that left.
    """
    host = make_host(SETTINGS)
    a, b = (host.run(host.machine(name, image, rate=50)) for name in "AB")
    assert a.wait_alive(90)
    assert b.wait_alive(90)
    for number in range(STEPS):
        a.grow(16 * MIB, f"step{number}", threads=2)
        time.sleep(0.05)
    assert until(lambda: bool(host.events("grown")))
    b.grow(160 * MIB, "burst", threads=2)
    time.sleep(1.0)
    b.shrink("burst")
    for number in range(STEPS):
        a.shrink(f"step{number}")
    assert until(lambda: bool(host.events("given_back")), 60)
    beside = replay(host, "--verify")
    assert beside["differences"] == []
    b.stop()
    host.wait_for("ended", "B")
    c = host.run(host.machine("C", image, rate=50))
    assert c.wait_alive(90)
    a.stop()
    c.stop()
    host.wait_for("ended", "C")
    host.stop()
    after = replay(host, "--verify")
    assert after["differences"] == []
    assert after["incomplete"] == 0
    same = after["same"]
    assert isinstance(same, dict)
    assert same["admit"] == 3
    assert same["divide"] >= 1
    assert same["give_back"] >= 1
    assert same.get("grow", 0) + same.get("quick", 0) >= 1
    assert sum(same.values()) == after["checked"]
    (recorded,) = results(host, "--policy", "recorded")
    assert (recorded["guests"], recorded["admitted"], recorded["walls_hit"]) == (3, 3, 0)
    (fixed,) = results(host, "--policy", "fixed", "--sharing", "static")
    assert fixed["admitted"] in (1, 2), "600 MiB for good leave no room for another in a reserve of 800"
