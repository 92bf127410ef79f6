"""What the alarm sees of v2 cgroups (v1: test_alarm_watch)."""

from __future__ import annotations

import pytest
from tests.readers.recordedfiles import V2, DictFiles

from guestroom.agent.alarm_eyes import FREEZING, FROZEN, THAWED, Eyes1, Eyes2, eyes
from guestroom.errors import ReadError, VanishedError
from guestroom.layout import Layout
from guestroom.units import MIB

LAYOUT = Layout("/cg/g", "/cg/g", 2)


@pytest.fixture
def files() -> DictFiles:
    """The recorded guest as ``a``."""
    made = DictFiles()
    for part in ("", "/ram", "/vmm"):
        made = made.with_recorded(f"guest{part}", f"/cg/g/a{part}", V2)
    return made


def test_recorded_guest(files: DictFiles) -> None:
    """Limit, usage and what can't be reclaimed are the recorded files', read in the leaves."""
    seen = eyes(files, LAYOUT)
    assert isinstance(seen, Eyes2)
    assert seen.limit("/cg/g/a") == 700 * MIB
    usage = seen.usage("/cg/g/a")
    assert usage == 348950528
    files.reads.clear()
    ram = 284745728 + 1159168 - 246128
    vmm = 7553024 + 11534336 + 1445888 - 1313904
    assert seen.unreclaimable("a", usage) == ram + vmm
    assert files.reads == ["/cg/g/a/ram/memory.stat", "/cg/g/a/vmm/memory.stat"]


def test_kernel_without_the_sum_is_bounded(files: DictFiles) -> None:
    """Before 5.18 there is no kernel line: everything but page cache bounds it from above."""
    for part in ("ram", "vmm"):
        path = f"/cg/g/a/{part}/memory.stat"
        files.texts[path] = "".join(
            line for line in str(files.texts[path]).splitlines(True) if not line.startswith("kernel ")
        )
    exact = 284745728 + 1159168 - 246128 + 7553024 + 11534336 + 1445888 - 1313904
    assert exact <= Eyes2(files, LAYOUT).unreclaimable("a", 0) <= exact + MIB


def test_freezer(files: DictFiles) -> None:
    """Wanted and reached are two files: asked for and not there yet is FREEZING."""
    seen = Eyes2(files, LAYOUT)
    assert seen.freezer("/cg/g/a") == THAWED
    files.texts["/cg/g/a/cgroup.freeze"] = "1\n"
    assert seen.freezer("/cg/g/a") == FREEZING
    files.texts["/cg/g/a/cgroup.events"] = "populated 1\nfrozen 1\n"
    assert seen.freezer("/cg/g/a") == FROZEN


def test_what_cannot_be_read_is_said(files: DictFiles) -> None:
    """Gone is VanishedError, text that is no number ReadError; a wall without limit is not one."""
    seen = Eyes2(files, LAYOUT)
    with pytest.raises(VanishedError):
        seen.usage("/cg/g/nobody")
    files.texts["/cg/g/a/memory.max"] = "max\n"
    with pytest.raises(ReadError):
        seen.limit("/cg/g/a")
    files.texts["/cg/g/a/vmm/memory.stat"] = "anon x\n"
    with pytest.raises(ReadError):
        seen.unreclaimable("a", 0)
    assert isinstance(eyes(files, Layout("/m", "/f")), Eyes1)
