"""A process that gives half of each of its huge pages back, and what its cgroup's figures must then say (v1 and v2)."""

from __future__ import annotations

import subprocess
import time

from guestroom.kernelfs import KernelFiles
from guestroom.layout import Version
from guestroom.observe.charges import read_charge
from guestroom.units import MIB

HALVES = """
import mmap, sys
size, huge = 32 << 20, 2 << 20
place = mmap.mmap(-1, size + huge, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
place.madvise(mmap.MADV_HUGEPAGE)
for at in range(0, size, 4096):
    place[at] = 1
for at in range(0, size, huge):
    place.madvise(mmap.MADV_DONTNEED, at, huge // 2)
print("ready", flush=True)
sys.stdin.read()
"""


def halves_are_named(process: subprocess.Popen[bytes], folder: str, version: Version) -> None:
    """The kernel charges for the halves still, and the reading says how much that is."""
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    deadline_s = time.monotonic() + 10
    while True:
        charge = read_charge(KernelFiles(), folder, version)
        named = charge.anon_bytes + charge.shmem_bytes + charge.file_bytes + charge.kernel_bytes
        due = charge.split_due_bytes or 0
        # v1 figures are flushed every 2 s (mm/memcontrol.c, FLUSH_TIME).
        if (due > 8 * MIB and abs(charge.usage_bytes - named - due) < 2 * MIB) or time.monotonic() > deadline_s:
            break
        time.sleep(0.2)
    assert charge.split_due_bytes is not None
    assert charge.split_due_bytes > 8 * MIB, charge
    assert abs(charge.usage_bytes - named - charge.split_due_bytes) < 2 * MIB, charge
