"""Getting memory back on a real v2 kernel: page cache without swap, swap where it is meant, and what each gains."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.inguest.v2_cgroups import MIB, Lab

from guestroom.actions import MakeGuest
from guestroom.apply.swap import without_swap
from guestroom.cli.reclaiming import KernelReclaimer
from guestroom.observe.snapshot import KernelObserver
from guestroom.observe.swap import read_swap

SWAP = Path("/swap-for-a-test")
PAGE = 4096
LIBC = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def swap() -> Iterator[None]:
    """A swap file of 64 MiB, written in full (a hole is refused), with the header mkswap would write."""
    pages = 64 * MIB // PAGE
    header = bytearray(PAGE)
    header[1024:1036] = struct.pack("<III", 1, pages - 1, 0)
    header[-10:] = b"SWAPSPACE2"
    with SWAP.open("wb") as file:
        file.write(header)
        for _ in range(pages - 1):
            file.write(bytes(PAGE))
        file.flush()
        os.fsync(file.fileno())
    SWAP.chmod(0o600)
    if LIBC.swapon(str(SWAP).encode(), 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(SWAP))
    try:
        yield
    finally:
        assert LIBC.swapoff(str(SWAP).encode()) == 0
        with contextlib.suppress(FileNotFoundError):
            SWAP.unlink()


def guest(lab: Lab) -> KernelReclaimer:
    """A guest with 32 MiB of its own and 64 MiB of page cache in ``vmm``."""
    assert lab.applier.carry_out(MakeGuest("a", 400 * MIB, 200 * MIB, "test")).ok
    helper = lab.helper("a")
    helper.do(f"grow {32 * MIB} {MIB}")
    helper.do(f"cache /big-file {64 * MIB}")
    return KernelReclaimer(lab.files, lab.layout)


def test_dropped_cache_frees_charge_under_guest_and_wall_and_no_overhead(lab: Lab) -> None:
    """What page cache gains on v2 is charge: of the guest and of the host wall; its overhead was never more."""
    reclaimer = guest(lab)
    observer = KernelObserver(lab.files, lab.layout, lab.clock)
    before, wall = observer.cgroup(lab.layout.guest("a")), lab.number("", "memory.current")
    reclaimer.drop_cache("a")
    after = observer.cgroup(lab.layout.guest("a"))
    assert before.usage_bytes is not None
    assert after.usage_bytes is not None
    assert before.usage_bytes - after.usage_bytes > 48 * MIB
    assert wall - lab.number("", "memory.current") > 48 * MIB
    assert before.unreclaimable_bytes is not None
    assert after.unreclaimable_bytes is not None
    assert abs(before.unreclaimable_bytes - after.unreclaimable_bytes) < MIB


def test_dropping_cache_swaps_nothing_and_swapping_is_overhead_still(lab: Lab, swap: None) -> None:
    """With swap on, dropping cache takes no anonymous memory; asked for it does, and all of that stays overhead."""
    reclaimer = guest(lab)
    observer = KernelObserver(lab.files, lab.layout, lab.clock)
    state = read_swap(lab.files, lab.layout)
    assert [device.path for device in state.devices] == [str(SWAP)]
    assert state.counted
    reclaimer.drop_cache("a")
    assert lab.number("a", "vmm/memory.swap.current") == 0
    before = observer.cgroup(lab.layout.vmm("a")).unreclaimable_bytes
    assert before is not None
    assert before > 32 * MIB
    # The control: with the way to swap closed the same request takes nothing either.
    with without_swap(lab.files, lab.layout.vmm("a"), 2):
        reclaimer.swap_out("a", 16 * MIB)
    assert lab.number("a", "vmm/memory.swap.current") == 0
    assert lab.read("a", "vmm/memory.swap.max") == "max"
    reclaimer.swap_out("a", 16 * MIB)
    assert lab.number("a", "vmm/memory.swap.current") > 8 * MIB
    after = observer.cgroup(lab.layout.vmm("a"))
    assert after.unreclaimable_bytes is not None
    assert after.usage_bytes is not None
    assert after.usage_bytes < before - 8 * MIB
    assert abs(after.unreclaimable_bytes - before) < 2 * MIB
