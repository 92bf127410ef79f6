"""Swap limits on v1, where there are none of guestroom's: a guest that was to have one starts, and it is said."""

from __future__ import annotations

import pytest
from tests.integration.conftest import MakeHost

from guestroom.lab.firmware import firmware_machine
from guestroom.lab.image import GuestImage

pytestmark = pytest.mark.integration

SETTINGS = """
[host]
reserve = "1GiB"
[guests.b]
swap = "32MiB"
"""


def test_swap_that_can_not_be_limited_is_said(make_host: MakeHost) -> None:
    """A guest with a swap limit runs without one on v1, with an event that says why; one without a limit has none."""
    host = make_host(SETTINGS)
    for name in ("a", "b"):
        vm = host.run(firmware_machine(host.machine(name, GuestImage("", ""), ram_mib=64)))
        assert vm.wait_alive(30), vm.stderr()
    (event,) = host.events("swap_not_limited")
    assert (event["guest"], event["numbers"]["swap_bytes"]) == ("b", 32 << 20)
    assert "memsw" in event["message"]
    assert host.ps()["b"]["state"] == "running"
