"""The observer on cgroup v2: the same figures from the twin's files, with a peak that can't be reset."""

from __future__ import annotations

import pytest
from tests.readers.recordedfiles import V2, DictFiles

from guestroom.layout import Layout
from guestroom.observe.snapshot import KernelObserver
from guestroom.testing import ManualClock
from guestroom.units import MIB, UNLIMITED

LAYOUT = Layout("/cg/m/wall", "/cg/m/wall", 2)
RAM = 256 * MIB


@pytest.fixture
def files() -> DictFiles:
    """The recorded guest under a wall of 2 GiB, in a cgroup of 3 GiB, under a root without any limit file."""
    made = DictFiles(
        {
            "/proc/self/mountinfo": "41 31 0:38 / /cg rw - cgroup2 cgroup2 rw\n",
            "/proc/meminfo": "MemTotal: 4194304 kB\n",
            "/proc/x": "",
            "/cg/cgroup.procs": "",
        }
    )
    for part in ("", "/ram", "/vmm"):
        made = made.with_recorded(f"guest{part}", f"/cg/m/wall/a{part}", V2)
    for folder, limit in (("/cg/m", 3072 * MIB), ("/cg/m/wall", 2048 * MIB)):
        made = made.with_recorded("guest", folder, V2)
        made.texts[f"{folder}/memory.max"] = f"{limit}\n"
    return made


def test_overhead_of_the_recorded_guest(files: DictFiles) -> None:
    """Overhead is what the guest's cgroups hold unreclaimable above the RAM, without reclaimable slab."""
    reading = KernelObserver(files, LAYOUT, ManualClock()).overhead("a", RAM, None)
    ram = 284745728 + (1159168 - 246128)
    vmm = 7553024 + 11534336 + (1445888 - 1313904) + 3 * MIB
    folder = (2621440 - 1560032) - (1159168 - 246128) - (1445888 - 1313904)
    assert reading.overhead_bytes == ram + vmm - RAM + folder
    assert reading.ram_resident_bytes == RAM


def test_peak_counts_as_new_only_when_it_moved(files: DictFiles) -> None:
    """The kernel's peak of a v2 cgroup is old from the second look on, until it sets a new record."""
    observer = KernelObserver(files, LAYOUT, ManualClock())
    first = observer.overhead("a", RAM, None)
    assert first.kernel_peak_bytes is not None
    assert [first.kernel_peak_is_old, observer.overhead("a", RAM, None).kernel_peak_is_old] == [False, True]
    files.texts["/cg/m/wall/a/vmm/memory.peak"] = f"{100 * MIB}\n"
    third = observer.overhead("a", RAM, None)
    assert not third.kernel_peak_is_old
    assert third.kernel_peak_bytes == first.kernel_peak_bytes + 100 * MIB - 32485376
    assert observer.overhead("a", RAM, None).kernel_peak_is_old


def test_limits_above_the_wall_are_seen(files: DictFiles) -> None:
    """Every ancestor with a limit counts with what others use in it; the root has none and is passed over."""
    host = KernelObserver(files, LAYOUT, ManualClock()).host()
    assert [(a.path, a.limit_bytes, a.other_use_bytes) for a in host.ancestors] == [("/cg/m", 3072 * MIB, 0)]
    assert host.wall_limit_bytes == 2048 * MIB
    files.texts["/cg/m/memory.max"] = "max\n"
    assert KernelObserver(files, LAYOUT, ManualClock()).host().ancestors == ()
    assert KernelObserver(files, LAYOUT, ManualClock()).cgroup("/cg/m").limit_bytes is UNLIMITED
