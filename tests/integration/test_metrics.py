"""Figures for Prometheus, asked of a real agent with a real guest."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.integration.conftest import MakeHost

from guestroom.lab.image import GuestImage
from guestroom.units import MIB

pytestmark = pytest.mark.integration

SETTINGS = '[host]\nreserve = "1GiB"\nheadroom = "384MiB"\n[timing]\nsweep_s = 0.2\n'


def figures(text: str) -> dict[str, dict[str, float]]:
    """Samples by name and guest."""
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            found.setdefault(one.name, {})[one.labels.get("kind") or one.labels.get("guest", "")] = one.value
    return found


def test_a_guest_is_scraped(make_host: MakeHost, image: GuestImage) -> None:
    """Printed and served: the agent's figures, and by kind every byte the guest is charged for, none unexplained."""
    host = make_host(SETTINGS)
    vm = host.run(host.machine("web", image, rate=50))
    assert vm.wait_alive(60)
    command = [sys.executable, "-m", "guestroom", "metrics", "--socket", host.socket]
    printed = figures(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)
    assert printed["guestroom_up"] == {"": 1.0}
    assert printed["guestroom_guest_ram_bytes"] == {"web": 256 * MIB}
    assert printed["guestroom_guest_charged_bytes"]["ram"] == 256 * MIB
    assert printed["guestroom_guest_unexplained_bytes"]["web"] <= 0.01 * 256 * MIB
    shown = host.ps()["web"]
    assert printed["guestroom_guest_grant_bytes"]["web"] == shown["grant_bytes"]
    serving = subprocess.Popen([*command, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
    try:
        assert serving.stdout is not None
        address = re.search(r"http://\S+/metrics", serving.stdout.readline())
        assert address is not None
        deadline_s = time.monotonic() + 30
        while time.monotonic() < deadline_s:
            with urllib.request.urlopen(address.group(), timeout=10) as answer:
                scraped = figures(answer.read().decode())
            if "guestroom_guest_unexplained_bytes" in scraped:
                break
            time.sleep(0.2)
        assert scraped["guestroom_guest_charged_bytes"]["ram"] == 256 * MIB
        vm.stop()
        deadline_s = time.monotonic() + 30
        while "guestroom_guest_ram_bytes" in scraped and time.monotonic() < deadline_s:
            time.sleep(0.2)
            with urllib.request.urlopen(address.group(), timeout=10) as answer:
                scraped = figures(answer.read().decode())
        assert "guestroom_guest_ram_bytes" not in scraped, "a guest that ended has no figures"
        assert scraped["guestroom_host_guests"] == {"": 0.0}
    finally:
        serving.terminate()
        serving.wait(10)
