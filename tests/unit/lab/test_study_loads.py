"""What is typed in the guest for each load, and what it must have for it."""

from __future__ import annotations

import subprocess

import pytest

from guestroom.lab.study.dataset import Factor
from guestroom.lab.study.loads import LOADS, modules
from guestroom.lab.study.matrix import DEFAULTS


def line(load: str, **changes: Factor) -> str:
    """What is typed for a load."""
    made = LOADS[load].line
    assert made is not None
    return made({**DEFAULTS, "load": load, **changes}, 4711)


@pytest.mark.parametrize("load", [name for name, one in LOADS.items() if one.line is not None])
def test_every_line_is_one_that_a_shell_reads(load: str) -> None:
    """One line, and the shell finds no fault in it."""
    text = line(load, jobs=3)
    assert "\n" not in text
    assert subprocess.run(["sh", "-n", "-c", text], check=False).returncode == 0


def test_the_requests_are_those_of_the_factors() -> None:
    """Seconds, jobs, depth, bytes of a request, share written and device stand where guest/gio.c reads them."""
    text = line("randwrite", load_s=2, jobs=4, depth=64, block_kib=16, bus="virtio-scsi")
    assert text.endswith("gio 2 4 64 16384 100 0 /dev/sda")
    assert line("seqread", block_kib=1024).endswith("gio -s 3 1 1 1048576 0 0 /dev/vda")


def test_each_job_is_a_stream_or_a_file() -> None:
    """As many streams to the peer's port, or files on the share, as jobs."""
    assert line("send", jobs=8).count("nc 10.0.2.2 4711 </dev/zero") == 8
    assert [f"/mnt/{job};" in line("share", jobs=2) for job in range(3)] == [True, True, False]


def test_only_what_is_needed_is_loaded() -> None:
    """The base loads nothing more; a device that is used brings its drivers, in the order they depend on each other."""
    assert modules(DEFAULTS) == ()
    assert modules({**DEFAULTS, "nics": 1}) == ()
    assert modules({**DEFAULTS, "nics": 1, "load": "send"}) == ("failover", "net_failover", "virtio_net")
    assert modules({**DEFAULTS, "shares": 1, "machine": "q35"}) == ("fuse", "virtiofs")
    assert modules({**DEFAULTS, "machine": "microvm"}) == ("virtio_mmio",)
