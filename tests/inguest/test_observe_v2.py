"""The observer on a real v2 kernel: split accounting, and every figure the files' own."""

from __future__ import annotations

import pytest
from tests.inguest.v2_cgroups import MIB, Lab, until

from guestroom.actions import MakeGuest
from guestroom.apply import move
from guestroom.observe.snapshot import KernelObserver

SLACK = 2 * MIB
"""The helper's own buffer of 1 MiB comes and goes, and statistics lag 64 pages a CPU behind."""


@pytest.fixture
def observer(lab: Lab) -> KernelObserver:
    """An observer of the lab, which has guest ``a``."""
    assert lab.applier.carry_out(MakeGuest("a", 600 * MIB, 0, "test")).ok
    return KernelObserver(lab.files, lab.layout, lab.clock)


def test_charges_stay_where_they_were_made(lab: Lab, observer: KernelObserver) -> None:
    """What was charged to ram stays there when the process moves on; what it takes later is charged to vmm."""
    helper = lab.helper("a", "ram")
    helper.do(f"grow {64 * MIB} {MIB}")
    ram = observer.cgroup(lab.layout.ram("a")).anon_bytes or 0
    assert ram >= 64 * MIB
    move(lab.files, lab.layout.vmm("a"), helper.pid)
    helper.do(f"grow {32 * MIB} {MIB}")
    assert abs((observer.cgroup(lab.layout.ram("a")).anon_bytes or 0) - ram) < SLACK
    assert 32 * MIB <= lab.number("a", "vmm/memory.current") < 34 * MIB
    start = observer.cgroup(lab.layout.ram("a")).unreclaimable_bytes
    assert start is not None

    reading = observer.overhead("a", 64 * MIB, helper.pid)
    assert reading.overhead_bytes is not None
    assert abs(reading.overhead_bytes - (start - 64 * MIB) - 32 * MIB) < SLACK
    helper.do(f"grow {16 * MIB} {MIB}")
    again = observer.overhead("a", 64 * MIB, helper.pid)
    assert again.overhead_bytes is not None
    assert abs(again.overhead_bytes - reading.overhead_bytes - 16 * MIB) < SLACK
    assert not again.kernel_peak_is_old


def test_parts_explain_what_is_charged(lab: Lab, observer: KernelObserver) -> None:
    """Anonymous memory, page cache, shmem and kernel memory add up to what is charged, but for per-CPU stock."""
    helper = lab.helper("a")
    helper.do(f"grow {48 * MIB} {MIB}")
    helper.do(f"cache /big-file {40 * MIB}")

    def explained() -> bool:
        reading = observer.cgroup(lab.layout.vmm("a"))
        parts = (reading.anon_bytes, reading.file_bytes, reading.shmem_bytes, reading.kernel_bytes)
        slab = dict(line.split() for line in lab.read("a", "vmm/memory.stat").splitlines())["slab_reclaimable"]
        rest = (reading.usage_bytes or 0) - sum(part or 0 for part in parts) - int(slab)
        return -64 * 4096 <= rest <= 3 * 2 * 64 * 4096

    assert until(explained, 10)
    reading = observer.cgroup(lab.layout.vmm("a"))
    assert reading.file_bytes is not None
    assert reading.file_bytes >= 40 * MIB
    assert reading.unreclaimable_bytes is not None
    assert reading.unreclaimable_bytes < 60 * MIB
    assert (reading.peak_bytes or 0) >= (reading.usage_bytes or 0)


def test_host_and_ancestors(lab: Lab, observer: KernelObserver) -> None:
    """The wall's figures are read, the root above it has no limit, and nothing outside is taken for a QEMU."""
    host = observer.host()
    assert host.wall_limit_bytes == 1 << 30
    assert host.ancestors == ()
    assert host.outsiders == ()
    assert host.total_bytes > 2 << 30


def test_times_at_the_limit_are_counted(lab: Lab, observer: KernelObserver) -> None:
    """A guest that met its own limit shows it, and its peak is the limit."""
    lab.applier.carry_out(MakeGuest("b", 100 * MIB, 0, "test"))
    helper = lab.helper("b")
    helper.do(f"cache /big-file {140 * MIB}")
    reading = observer.cgroup(lab.layout.guest("b"))
    assert (reading.failcnt or 0) > 0
    assert reading.under_oom is False
    assert 99 * MIB < (reading.peak_bytes or 0) <= 100 * MIB
