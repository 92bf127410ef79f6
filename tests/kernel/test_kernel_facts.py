"""What the kernel does where no document says so, tried on the kernel itself: each is a belief SimHost was built on."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from guestroom.units import MIB

from .compare import Picture, picture
from .realhost import RealHost
from .steps import NOISE_BYTES

pytestmark = pytest.mark.kernel


class Guest:
    """``g`` with ``ram`` and ``vmm``, a freezer, and one helper in ``ram``."""

    def __init__(self, helper: Path, files: list[Path]) -> None:
        self._cpus = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(self._cpus)})
        self.host = RealHost(helper, iter(files))
        self.top = f"{self.host.memory}/g"
        self.freezer = f"{self.host.freezer}/g"
        for path in (self.top, f"{self.top}/ram", f"{self.top}/vmm", self.freezer):
            self.host.files.mkdir(path)
        self.pid = self.host.spawn(f"{self.top}/ram", self.freezer)

    def do(self, command: str) -> str:
        """Let the helper do something; its answer, or ``waits``."""
        self.host.order(self.pid, command)
        self.host.settle()
        helper = self.host.helpers[self.pid]
        return "waits" if helper.waiting else "dead" if helper.dead else helper.answers[-1]

    def write(self, file: str, value: str) -> int:
        """Write a file of the guest's tree; the errno, 0 for none."""
        try:
            self.host.files.write(f"{self.top}/{file}", value)
        except OSError as error:
            return error.errno or -1
        return 0

    def hold(self, state: str) -> str:
        """Write the freezer's state; what it then reads as."""
        self.host.files.write(f"{self.freezer}/freezer.state", state)
        self.host.settle()
        return self.host.files.read(f"{self.freezer}/freezer.state").strip()

    def look(self, place: str = "") -> Picture:
        """The files of ``g`` or of a child."""
        found = picture(self.host.files, f"{self.top}{place}")
        assert found is not None
        return found

    def close(self) -> None:
        """Take all away."""
        os.sched_setaffinity(0, self._cpus)
        self.host.close()


@pytest.fixture
def guest(helper: Path, page_files: list[Path]) -> Iterator[Guest]:
    """A fresh real guest."""
    with contextlib.closing(Guest(helper, page_files)) as made:
        yield made


def about(found: int, expected_mib: float) -> bool:
    """Equal up to the kernel's noise and one cgroup's charge stock."""
    return abs(found - expected_mib * MIB) <= NOISE_BYTES + MIB // 4


def test_a_removed_cgroup_leaves_its_memory_with_those_above(guest: Guest) -> None:
    """After rmdir of ``ram`` its RAM and page cache still count in ``g``; its kernel memory becomes ``g``'s own."""
    guest.do(f"touch small {8 * MIB}")
    guest.do(f"read {guest.host.next_file()}")
    guest.do(f"pipes x {2 * MIB}")
    guest.write("vmm/cgroup.procs", str(guest.pid))
    guest.host.files.rmdir(f"{guest.top}/ram")
    left = guest.look()
    assert about(left.anon, 8)
    assert left.own_anon == 0
    assert about(left.file, 4)
    assert about(left.kernel, 2)
    assert guest.write("memory.force_empty", "1") == 0
    assert about(guest.look().file, 0)
    assert about(guest.look().anon, 8)


def test_a_torn_huge_page_stays_charged_whole(guest: Guest) -> None:
    """Where half of a huge page is given back ``usage`` keeps all of it, ``rss`` only the half; reclaim splits it."""
    guest.do(f"touch huge {4 * MIB}")
    guest.do(f"discard huge {3 * MIB}")
    assert about(guest.look().anon, 1)
    assert about(guest.look().usage, 2)
    guest.write("memory.force_empty", "1")
    assert about(guest.look().usage, 1)


def test_collapse_charges_ram_to_where_the_process_is_now(guest: Guest) -> None:
    """After the move a huge page collapse empties ``ram`` and fills ``vmm``."""
    guest.do(f"touch small {8 * MIB}")
    guest.write("vmm/cgroup.procs", str(guest.pid))
    assert about(guest.look("/ram").anon, 8)
    assert guest.do("collapse x 0") == "ok"
    assert about(guest.look("/ram").anon, 0)
    assert about(guest.look("/vmm").anon, 8)


def test_a_collapse_needs_room_for_one_more_huge_page(guest: Guest) -> None:
    """At the limit ``MADV_COLLAPSE`` fails with EBUSY though it would not grow anything."""
    guest.write("memory.oom_control", "1")
    guest.do(f"touch small {8 * MIB}")
    guest.write("memory.limit_in_bytes", str(9 * MIB))
    assert guest.do("collapse x 0") == str(errno.EBUSY)
    assert about(guest.look("/ram").anon, 8)


def test_shmem_stays_where_it_was_touched(guest: Guest) -> None:
    """memfd pages do not move with the process; new ones are charged to its new cgroup."""
    guest.do(f"touch shm {4 * MIB}")
    guest.write("vmm/cgroup.procs", str(guest.pid))
    guest.do(f"touch shm {2 * MIB}")
    assert about(guest.look("/ram").shmem, 4)
    assert about(guest.look("/vmm").shmem, 2)


def test_a_failed_shrink_keeps_the_limit_and_has_evicted_the_cache(guest: Guest) -> None:
    """EBUSY: the limit is as before, the page cache is gone."""
    guest.do(f"touch small {8 * MIB}")
    guest.do(f"read {guest.host.next_file()}")
    guest.write("memory.limit_in_bytes", str(32 * MIB))
    assert guest.write("memory.limit_in_bytes", str(6 * MIB)) == errno.EBUSY
    assert guest.look().limit == 32 * MIB
    assert about(guest.look().file, 0)


def test_under_oom_marks_everything_below_the_limit(guest: Guest) -> None:
    """A sleeper at ``g``'s limit shows as ``under_oom`` in ``g`` and in its children, whichever it is in."""
    guest.write("memory.oom_control", "1")
    guest.write("memory.limit_in_bytes", str(8 * MIB))
    assert guest.do(f"touch small {12 * MIB}") == "waits"
    assert [guest.look(place).under_oom for place in ("", "/ram", "/vmm")] == [True, True, True]


def test_a_sleeper_freezes_only_once_there_is_room(guest: Guest) -> None:
    """Asleep at a limit it stays FREEZING; a raised limit lets it freeze before it takes another page."""
    guest.write("memory.oom_control", "1")
    guest.write("memory.limit_in_bytes", str(8 * MIB))
    guest.do(f"touch small {12 * MIB}")
    assert guest.hold("FROZEN") == "FREEZING"
    guest.write("memory.limit_in_bytes", str(32 * MIB))
    guest.host.settle()
    assert guest.hold("FROZEN") == "FROZEN"
    assert about(guest.look().anon, 8)
    guest.hold("THAWED")
    assert about(guest.look().anon, 12)


def test_a_killed_frozen_process_keeps_its_memory(guest: Guest) -> None:
    """SIGKILL takes effect at the thaw: until then the room is not back."""
    guest.do(f"touch small {8 * MIB}")
    guest.hold("FROZEN")
    guest.host.exit(guest.pid)
    assert about(guest.look().anon, 8)
    guest.hold("THAWED")
    guest.host.helpers[guest.pid].process.wait(timeout=5)
    guest.host.settle()
    assert about(guest.look().anon, 0)


def test_no_child_can_be_made_at_the_limit(guest: Guest) -> None:
    """mkdir is charged to the cgroup above and fails with ENOMEM where that has no room."""
    guest.write("memory.oom_control", "1")
    guest.write("memory.limit_in_bytes", str(8 * MIB))
    guest.do(f"touch small {12 * MIB}")
    errors = set()
    for number in range(50):
        try:
            guest.host.files.mkdir(f"{guest.top}/child-{number}")
        except OSError as error:
            errors.add(error.errno)
    assert errors == {errno.ENOMEM}


def test_a_new_child_starts_with_the_killer_setting_of_its_parent(guest: Guest) -> None:
    """``oom_kill_disable`` is taken over at mkdir and not later."""
    guest.write("memory.oom_control", "1")
    guest.host.files.mkdir(f"{guest.top}/late")
    assert guest.look("/late").killer_off
    assert not guest.look("/ram").killer_off


def test_the_folder_above_is_charged_for_its_children(guest: Guest) -> None:
    """Kernel memory of ``ram`` and ``vmm`` is ``g``'s own: a limit at what the two hold together is refused."""
    guest.do(f"touch small {8 * MIB}")
    guest.write("memory.force_empty", "1")
    ram, vmm, top = guest.look("/ram"), guest.look("/vmm"), guest.look()
    own = top.kernel - ram.kernel - vmm.kernel
    assert 0 < own <= NOISE_BYTES
    held = ram.anon + ram.shmem + ram.kernel + vmm.anon + vmm.shmem + vmm.kernel
    assert guest.write("memory.limit_in_bytes", str(held)) == errno.EBUSY
