"""``guestroom top`` on a real host: plain lines without a terminal, a picture and keys with one."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import time

import pytest
from tests.integration.conftest import MakeHost

from guestroom.lab.image import GuestImage

pytestmark = pytest.mark.integration

SETTINGS = '[host]\nreserve = "1GiB"\nheadroom = "128MiB"\n[timing]\nsweep_s = 0.2\n'


def test_top_shows_real_guests_with_and_without_a_terminal(make_host: MakeHost, image: GuestImage) -> None:
    """Frames as lines and as JSON; on a terminal a key sorts, q ends it, and the terminal is as it was."""
    host = make_host(SETTINGS)
    vms = [host.run(host.machine(name, image, rate=20)) for name in ("one", "two")]
    assert all(vm.wait_alive(60) for vm in vms)
    words = host.command("top", "--interval", "0.3", "--socket", host.socket)
    plain = subprocess.run([*words, "--count", "2"], capture_output=True, text=True, timeout=60, check=True).stdout
    assert plain.count("host: reserve") == 2
    assert "TCG code buffer 32.0 MiB" in plain
    assert "\x1b" not in plain
    told = subprocess.run([*words, "--count", "1", "--json"], capture_output=True, text=True, timeout=60, check=True)
    assert {row["name"] for row in json.loads(told.stdout)["guests"]} == {"one", "two"}

    main, side = pty.openpty()
    process = subprocess.Popen(words, stdin=side, stdout=side, stderr=side, env=os.environ | {"TERM": "xterm"})
    assert "sorted by overhead" in _read_until(main, "sorted by overhead")
    os.write(main, b"n")
    assert "sorted by name" in _read_until(main, "sorted by name")
    os.write(main, b"q")
    assert "\x1b[?1049l" in _read_until(main, "\x1b[?1049l")
    assert process.wait(20) == 0
    os.close(main)
    os.close(side)
    assert all(vm.alive() is None for vm in vms)


def _read_until(fd: int, what: str) -> str:
    text, deadline_s = "", time.monotonic() + 20
    while what not in text and time.monotonic() < deadline_s:
        if select.select([fd], [], [], 0.2)[0]:
            text += os.read(fd, 65536).decode(errors="replace")
    return text
