"""What was learned of a real guest sizes its next start, also over the end of the agent."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from tests.integration.conftest import MakeHost
from tests.integration.test_launch import until

from guestroom.lab.image import GuestImage
from guestroom.size.learned import MISS_BYTES
from guestroom.units import MIB

pytestmark = pytest.mark.integration

SETTINGS = """
[host]
reserve = "1200MiB"
headroom = "384MiB"
guard = "64MiB"
[sizing]
policy = "learned"
[timing]
settle_s = 0
sweep_s = 0.2
peak_window_s = 3
"""


def test_after_a_guest_peaked_above_its_promise_its_second_start_gets_more(
    make_host: MakeHost, image: GuestImage
) -> None:
    """The miss is lent from the headroom and told; the agent is killed; the next start is promised peak + 100 MiB."""
    host = make_host(SETTINGS)
    first = host.run(host.machine("web", image, rate=50))
    assert first.wait_alive(60)
    row = host.ps()["web"]
    promised = row["need_bytes"]
    assert row["policy"] == "learned"
    assert row["missed"] is False
    assert promised < 200 * MIB
    first.grow(promised, "burst", threads=2)
    (told,) = [host.wait_for("promise_missed", "web")]
    first.shrink("burst")
    peak = host.ps()["web"]["life_peak_bytes"]
    assert peak >= told["numbers"]["peak_bytes"] > promised
    assert first.alive() is None, "a miss is a loan and not a loss"
    host.kill()
    host.start()
    assert host.ps()["web"]["missed"] is True
    assert until(lambda: host.ps()["web"]["overhead_peak_bytes"] < peak, 30), "the window forgot it, the life did not"
    assert host.ps()["web"]["life_peak_bytes"] >= told["numbers"]["peak_bytes"]
    first.stop()
    host.wait_for("ended", "web")
    second = host.run(host.machine("web", image, rate=50))
    assert second.wait_alive(60)
    again = host.ps()["web"]
    assert again["need_bytes"] >= told["numbers"]["peak_bytes"] + MISS_BYTES
    assert again["missed"] is False
    assert len(host.events("promise_missed")) == 1
    shown = subprocess.run(
        [sys.executable, "-m", "guestroom", "ps", "--socket", host.socket], capture_output=True, text=True, check=True
    ).stdout
    assert "promises of learned, tcg on QEMU" in shown
    assert "0 of 1 kept" in shown
    words = [sys.executable, "-m", "guestroom", "size", "--name", "web", "--ledger", host.state, "--why", "--json"]
    asked = subprocess.run(
        [*words, "--policy", "learned", "--", *second.machine.argv()], capture_output=True, text=True, check=True
    )
    learned = json.loads(asked.stdout)["learned"]
    assert learned["miss"]["guest"] == "web"
    assert learned["miss"]["peak_bytes"] >= told["numbers"]["peak_bytes"]
    assert json.loads(asked.stdout)["estimates"][0]["overhead_bytes"] == again["need_bytes"]
