"""The applier on the real v1 kernel: every answer the kernel can give, each with its own outcome."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from v1_cgroups import MIB, Lab, made_lab, until

from guestroom.actions import Hold, LetGo, MakeGuest, OutcomeKind, SetLimit, SetWall
from guestroom.apply import (
    KernelApplier,
    drop_cache,
    move,
    oom_killers,
    open_process,
    remove_guest,
    reset_peak,
)
from guestroom.errors import VanishedError
from guestroom.units import UNLIMITED

pytestmark = pytest.mark.kernel


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A host wall of 1 GiB with nothing in it."""
    with made_lab() as made:
        made.wall(1024 * MIB)
        yield made


@pytest.fixture
def applier(lab: Lab) -> KernelApplier:
    """The applier on the lab's layout."""
    return KernelApplier(lab.files, lab.layout, lab.clock)


def make(name: str = "a", limit_bytes: int = 200 * MIB) -> MakeGuest:
    """A newcomer."""
    return MakeGuest(name, limit_bytes, 50 * MIB, "test")


def limit(to_bytes: int, *, name: str = "a", from_bytes: int = 200 * MIB, floor_bytes: int = 0) -> SetLimit:
    """A limit write."""
    return SetLimit(name, from_bytes, to_bytes, 0, 0, floor_bytes, "test")


def hold(name: str = "a") -> Hold:
    """A hold."""
    return Hold(name, 1, 2, 3, "test")


def test_make_guest(lab: Lab, applier: KernelApplier) -> None:
    """A new guest's limit stands, its killer is off and its children are there, with nothing in them."""
    outcome = applier.carry_out(make(limit_bytes=200 * MIB + 5000))
    assert outcome.ok, outcome
    assert outcome.found_bytes == 200 * MIB + 4096, "the kernel cuts to whole pages"
    assert "oom_kill_disable 1" in lab.read("a", "memory.oom_control")
    assert "oom_kill_disable 1" in lab.read("", "memory.oom_control")
    assert lab.files.list_dirs(lab.layout.guest("a")) == ["ram", "vmm"]
    assert lab.frozen("a") == "THAWED"


def test_make_guest_twice(lab: Lab, applier: KernelApplier) -> None:
    """A guest's cgroup that is there already is refused and keeps its limit."""
    applier.carry_out(make())
    outcome = applier.carry_out(make(limit_bytes=300 * MIB))
    assert outcome.kind is OutcomeKind.FAILED
    assert "EEXIST" in outcome.detail
    assert lab.read("a", "memory.limit_in_bytes") == str(200 * MIB)


def test_busy_keeps_old_limit(lab: Lab, applier: KernelApplier) -> None:
    """A limit below what can't be reclaimed is BUSY, the old one stays and is reported."""
    applier.carry_out(make())
    lab.helper("a").do(f"grow {64 * MIB} {MIB}")
    outcome = applier.carry_out(limit(32 * MIB))
    assert outcome.kind is OutcomeKind.BUSY
    assert outcome.found_bytes == 200 * MIB
    assert lab.read("a", "memory.limit_in_bytes") == str(200 * MIB)
    assert "oom_kill 0" in lab.read("a", "memory.oom_control")


def test_wall_busy(lab: Lab, applier: KernelApplier) -> None:
    """A host wall below what its guests use is BUSY and stays."""
    applier.carry_out(make())
    lab.helper("a").do(f"grow {64 * MIB} {MIB}")
    outcome = applier.carry_out(SetWall(1024 * MIB, 16 * MIB, "test"))
    assert (outcome.kind, outcome.found_bytes) == (OutcomeKind.BUSY, 1024 * MIB)


def test_floor_guard(lab: Lab, applier: KernelApplier) -> None:
    """P2: a limit below RAM + floor is not written, even though the kernel would take it."""
    applier.carry_out(make())
    outcome = applier.carry_out(limit(100 * MIB, floor_bytes=100 * MIB + 1))
    assert outcome.kind is OutcomeKind.FAILED
    assert lab.read("a", "memory.limit_in_bytes") == str(200 * MIB)
    assert applier.carry_out(limit(100 * MIB, floor_bytes=100 * MIB)).ok, "the floor itself is allowed"


def test_vanished(applier: KernelApplier) -> None:
    """A cgroup that is gone is VANISHED, not an exception."""
    assert applier.carry_out(limit(100 * MIB, name="nobody")).kind is OutcomeKind.VANISHED
    assert applier.carry_out(hold("nobody")).kind is OutcomeKind.VANISHED


def test_reborn(lab: Lab) -> None:
    """P9: a cgroup that was removed and made again under the same name is not written."""
    inodes: dict[str, int] = {}
    applier = KernelApplier(lab.files, lab.layout, lab.clock, expected_inodes=inodes)
    applier.carry_out(make())
    inodes["a"] = lab.files.inode(lab.layout.guest("a"))
    assert applier.carry_out(limit(150 * MIB)).ok
    assert remove_guest(lab.files, lab.layout, "a").ok
    Path(lab.layout.guest("a")).mkdir()
    outcome = applier.carry_out(limit(100 * MIB))
    assert outcome.kind is OutcomeKind.VANISHED
    assert "made anew" in outcome.detail
    assert int(lab.read("a", "memory.limit_in_bytes")) > 1 << 60, "untouched"


def test_invalid(lab: Lab, applier: KernelApplier) -> None:
    """A value the kernel does not take is INVALID and changes nothing."""
    applier.carry_out(make())
    outcome = applier.carry_out(limit(-5, floor_bytes=-10))
    assert outcome.kind is OutcomeKind.INVALID
    assert outcome.found_bytes == 200 * MIB


def test_read_back(lab: Lab, applier: KernelApplier) -> None:
    """A write the kernel accepts but makes something else of is READ_BACK: a limit above all is "no limit"."""
    applier.carry_out(make())
    outcome = applier.carry_out(limit((1 << 63) - 1))
    assert outcome.kind is OutcomeKind.READ_BACK
    assert outcome.found_bytes is UNLIMITED


def test_signals_during_shrink(lab: Lab) -> None:
    """A shrink that signals keep interrupting ends as an outcome (done or busy), never as an exception."""
    fired: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: fired.append(number))
    applier = KernelApplier(lab.files, lab.layout, lab.clock)
    applier.carry_out(make(limit_bytes=400 * MIB))
    helper = lab.helper("a")
    helper.do(f"grow {200 * MIB} {MIB}")
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
    try:
        kinds = {applier.carry_out(limit(300 * MIB - i * MIB, from_bytes=400 * MIB)).kind for i in range(110)}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert fired, "no signal came: the test proves nothing"
    assert kinds == {OutcomeKind.DONE, OutcomeKind.BUSY}


def test_hold_and_let_go(lab: Lab, applier: KernelApplier) -> None:
    """A held guest does not grow; let go, it does its work to the end."""
    applier.carry_out(make(limit_bytes=400 * MIB))
    helper = lab.helper("a")
    helper.tell(f"grow {200 * MIB} {MIB}")
    assert until(lambda: int(lab.read("a", "memory.usage_in_bytes")) > 20 * MIB)
    assert applier.carry_out(hold()).ok
    assert lab.frozen("a") == "FROZEN"
    before = int(lab.read("a", "memory.usage_in_bytes"))
    assert not until(lambda: int(lab.read("a", "memory.usage_in_bytes")) > before, 0.2)
    assert before < 200 * MIB, "it was done before it was held: the test proves nothing"
    assert applier.carry_out(LetGo("a", "test")).ok
    helper.hear()
    assert int(lab.read("a", "memory.usage_in_bytes")) > 200 * MIB


def test_remove_waits_for_the_end(lab: Lab, applier: KernelApplier) -> None:
    """Removing a guest waits while its last process ends, and thaws it first so that it can end."""
    applier.carry_out(make())
    helper = lab.helper("a")
    applier.carry_out(hold())
    threading.Timer(0.2, helper.process.kill).start()
    report = remove_guest(lab.files, lab.layout, "a")
    assert report.ok, report
    assert not Path(lab.layout.guest("a")).exists()
    assert not Path(str(lab.layout.freezer_of("a"))).exists()
    assert remove_guest(lab.files, lab.layout, "a").ok, "gone already is fine"


def test_remove_reports_who_is_inside(lab: Lab, applier: KernelApplier) -> None:
    """A guest that still lives is not removed, and the report names its process."""
    applier.carry_out(make())
    helper = lab.helper("a")
    report = remove_guest(lab.files, lab.layout, "a", patience_s=0.1)
    assert report.kind is OutcomeKind.BUSY
    assert str(helper.pid) in report.detail
    assert Path(lab.layout.vmm("a")).exists()


def test_drop_cache(lab: Lab, applier: KernelApplier, tmp_path: Path) -> None:
    """Dropping the cache gives page cache back and leaves anonymous memory alone."""
    applier.carry_out(make())
    helper = lab.helper("a")
    helper.do(f"grow {16 * MIB} {MIB}")
    helper.do(f"cache {tmp_path / 'file'} {64 * MIB}")
    before = int(lab.read("a", "memory.usage_in_bytes"))
    assert drop_cache(lab.files, lab.layout.guest("a")).ok
    after = int(lab.read("a", "memory.usage_in_bytes"))
    assert 16 * MIB <= after < before - 48 * MIB


def test_reset_peak(lab: Lab, applier: KernelApplier) -> None:
    """A new peak window begins at the use of now."""
    applier.carry_out(make())
    helper = lab.helper("a")
    helper.do(f"grow {64 * MIB} {MIB}")
    helper.do("shrink")
    assert reset_peak(lab.files, lab.layout.guest("a")).ok
    assert int(lab.read("a", "memory.max_usage_in_bytes")) < 32 * MIB


def test_killers(lab: Lab, applier: KernelApplier) -> None:
    """Killers of the wall and of the guests are switched together; a guest that is gone disturbs nobody."""
    applier.carry_out(make())
    assert all(report.ok for report in oom_killers(lab.files, lab.layout, ["a", "gone"], enabled=True))
    assert "oom_kill_disable 0" in lab.read("a", "memory.oom_control")
    assert "oom_kill_disable 0" in lab.read("", "memory.oom_control")
    oom_killers(lab.files, lab.layout, ["a"], enabled=False, wall=False)
    assert "oom_kill_disable 1" in lab.read("a", "memory.oom_control")
    assert "oom_kill_disable 0" in lab.read("", "memory.oom_control")


def test_process_identity(lab: Lab, applier: KernelApplier) -> None:
    """A process is found by pid and start time, moved, signalled, and seen to end; another start time is refused."""
    applier.carry_out(make())
    child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    try:
        with open_process(child.pid) as process:
            move(lab.files, lab.layout.vmm("a"), child.pid)
            assert str(child.pid) in lab.read("a", "vmm/cgroup.procs").split()
            with pytest.raises(VanishedError, match="tick"):
                open_process(child.pid, process.start_ticks + 1)
            assert process.alive()
            process.send(signal.SIGKILL)
            assert process.wait_gone(5.0)
            child.wait()
            with pytest.raises(VanishedError):
                process.send(signal.SIGKILL)
            with pytest.raises(VanishedError):
                move(lab.files, lab.layout.vmm("a"), child.pid)
    finally:
        child.kill()
        child.wait()
