"""Headroom and guard follow real guests: what one takes at once is kept for, live and over a restart of the agent."""

from __future__ import annotations

import contextlib
import time

import pytest
from tests.integration.conftest import MakeHost
from tests.integration.test_burst import refusals
from tests.integration.test_launch import until
from tests.integration.test_room import from_files, sums_hold

from guestroom.errors import GuestroomError
from guestroom.lab.image import GuestImage
from guestroom.units import MIB

pytestmark = pytest.mark.integration

FOLLOWING = """
[host]
reserve = "1400MiB"
[sizing]
policy = "openshift"
[timing]
settle_s = 0
sweep_s = 0.2
"""


def test_a_seen_burst_raises_the_headroom_and_is_remembered(make_host: MakeHost, image: GuestImage) -> None:
    """A takes 240 MiB at once, within its grant: from then on that much is headroom, after a kill of the agent too."""
    host = make_host(FOLLOWING)
    a, b = host.run(host.machine("A", image, rate=100)), host.run(host.machine("B", image, rate=100))
    assert a.wait_alive(60)
    assert b.wait_alive(60)
    assert host.client.get("/v1/host")["headroom_bytes"] == 128 * MIB
    time.sleep(6)
    a.grow(240 * MIB, "burst", threads=2)
    assert until(lambda: host.client.get("/v1/host")["headroom_bytes"] >= 240 * MIB), host.client.get("/v1/host")
    a.shrink("burst")
    shown = host.client.get("/v1/host")
    assert shown["headroom_because"].startswith("A: ")
    sums_hold(host)
    (told, *_) = host.events("headroom")
    assert told["numbers"]["before_bytes"] == 128 * MIB
    assert until(lambda: host.client.get("/v1/host")["reaction"] is not None)
    assert 0 < host.client.get("/v1/host")["reaction"]["reaction_ms"] < 10_000
    host.kill()
    host.start()
    assert host.client.get("/v1/host")["headroom_bytes"] >= 240 * MIB
    sums_hold(host)
    a.stop()
    assert until(lambda: host.client.get("/v1/host")["headroom_bytes"] == 128 * MIB, 30)
    assert refusals(host)[0] == 0
    assert b.alive() is None


CAPPED = """
[host]
reserve = "900MiB"
headroom = "200MiB"
[sizing]
policy = "openshift"
cap = "320MiB"
[timing]
settle_s = 0
sweep_s = 0.2
"""


def test_a_guest_is_held_before_its_hard_cap_and_goes_on_when_released(make_host: MakeHost, image: GuestImage) -> None:
    """Its grant is all of its cap and nobody else is near: it stands still before its limit, and lives on released."""
    host = make_host(CAPPED)
    a = host.run(host.machine("A", image, rate=100))
    assert a.wait_alive(60)
    row = host.ps()["A"]
    assert (row["grant_bytes"], row["limit_bytes"]) == (320 * MIB, (256 + 320) * MIB)
    used = from_files(host, "A", 256 * MIB)
    a.grow((284 * MIB - used) // MIB * MIB, "most", threads=2)
    assert not host.ps()["A"]["held"]
    with contextlib.suppress(GuestroomError):  # it may be frozen before it can answer
        a.grow(28 * MIB, "beyond", threads=2, timeout_s=3.0)
    assert until(lambda: host.ps()["A"]["held"])
    assert from_files(host, "A", 256 * MIB) < 320 * MIB
    assert refusals(host) == [0, 0]
    (event,) = host.events("held")
    assert "cap" in event["message"]
    time.sleep(2)
    assert from_files(host, "A", 256 * MIB) < 320 * MIB, "nothing grows while it is held"
    host.client.post("/v1/release", {"name": "A"})
    assert not host.ps()["A"]["held"]
    assert a.alive(20.0) is None
