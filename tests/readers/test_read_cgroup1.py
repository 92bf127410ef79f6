"""The files of v1 memory and freezer cgroups as a real kernel prints them."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recordedfiles import DictFiles, recorded

from guestroom.errors import GuestroomError, ReadError, VanishedError
from guestroom.layout import Layout
from guestroom.observe.cgroup1 import (
    as_limit,
    populated,
    read_all_procs,
    read_frozen,
    read_limit,
    read_memory,
    read_oom_kills,
    read_procs,
    read_usage,
)
from guestroom.units import MIB, UNLIMITED

CG = "/m/guest"
REQUIRED = ("memory.stat", "memory.usage_in_bytes", "memory.limit_in_bytes")
OPTIONAL = {
    "memory.kmem.usage_in_bytes": "kernel_bytes",
    "memory.max_usage_in_bytes": "peak_bytes",
    "memory.failcnt": "failcnt",
    "memory.oom_control": "under_oom",
}


def vmm() -> DictFiles:
    """The recorded ``vmm`` cgroup at ``CG``."""
    return DictFiles.of_recorded("guest/vmm", CG)


def test_recorded_cgroup_gives_every_figure() -> None:
    """Each figure of a reading is the recorded file's, with page cache apart from shmem and locked pages counted."""
    reading = read_memory(vmm(), CG, 12.5)
    assert (reading.path, reading.at_s) == (CG, 12.5)
    assert (reading.usage_bytes, reading.peak_bytes, reading.failcnt) == (35201024, 35201024, 0)
    assert reading.limit_bytes is UNLIMITED
    assert (reading.anon_bytes, reading.anon_huge_bytes) == (12484608, 0)
    assert (reading.file_bytes, reading.shmem_bytes) == (21987328 - 5242880, 5242880)
    assert (reading.kernel_bytes, reading.swap_bytes, reading.locked_file_bytes) == (602112, 0, 2 * MIB)
    assert reading.under_oom is False
    assert reading.unreclaimable_bytes == 12484608 + 5242880 + 602112 + 2 * MIB


def test_parts_explain_the_recorded_usage() -> None:
    """rss + cache + kmem is the usage but for the per-CPU charge stock (64 pages on each of the 2 CPUs)."""
    for part in ("guest", "guest/ram", "guest/vmm"):
        reading = read_memory(DictFiles.of_recorded(part, CG), CG, 0)
        parts = (reading.anon_bytes, reading.file_bytes, reading.shmem_bytes, reading.kernel_bytes)
        explained = sum(part or 0 for part in parts)
        assert reading.usage_bytes is not None
        assert 0 <= reading.usage_bytes - explained <= 3 * 2 * 64 * 4096


def test_limit_of_the_guest_is_its_own() -> None:
    """A set limit is read as bytes, also where the children have none."""
    assert read_limit(DictFiles.of_recorded("guest", CG), CG) == 700 * MIB


@pytest.mark.parametrize(
    ("value", "limited"),
    [
        (9223372036854771712, False),
        (9223372036854775807, False),
        (9223372036854710272, False),
        (2**62, True),
        (0, True),
    ],
)
def test_no_limit_is_a_value_of_its_own(value: int, limited: bool) -> None:
    """What the kernel prints for no limit, with 4 KiB or 64 KiB pages, is UNLIMITED and never a number."""
    assert (as_limit(value) is UNLIMITED) is not limited


@pytest.mark.parametrize(("file", "field"), OPTIONAL.items())
def test_file_this_kernel_lacks_is_unknown(file: str, field: str) -> None:
    """A file that is missing in a cgroup that is there makes that figure None, never 0."""
    files = vmm()
    del files.texts[f"{CG}/{file}"]
    reading = read_memory(files, CG, 0)
    assert getattr(reading, field) is None
    if file == "memory.kmem.usage_in_bytes":
        assert reading.unreclaimable_bytes is None


@pytest.mark.parametrize("file", [*REQUIRED, *OPTIONAL])
def test_cgroup_removed_before_any_file_has_vanished(file: str) -> None:
    """A cgroup that is removed while it is read is gone, whichever file notices it and however the kernel says so."""
    for code in (errno.ENODEV, errno.ENOENT):
        files = vmm()
        files.texts[f"{CG}/{file}"] = code
        if code == errno.ENOENT:
            files.inode = _gone  # type: ignore[method-assign]
        with pytest.raises(VanishedError) as caught:
            read_memory(files, CG, 0)
        assert caught.value.path.startswith(CG)


def _gone(path: str) -> int:
    raise FileNotFoundError(errno.ENOENT, "gone", path)


def test_cgroup_that_never_was_has_vanished() -> None:
    """Nothing at the path is VanishedError for every reader."""
    files = DictFiles()
    for read in (read_usage, read_limit, read_frozen, read_procs, read_all_procs):
        with pytest.raises(VanishedError):
            read(files, CG)


@pytest.mark.parametrize("file", [*REQUIRED, *OPTIONAL])
@pytest.mark.parametrize("bad", ["", "x", "-1\n", "1 2\n", "9" * 400, "under_oom 7\n"])
def test_malformed_file_is_named(file: str, bad: str) -> None:
    """Text that the kernel never prints is an error that names the file, not a figure."""
    files = vmm()
    files.texts[f"{CG}/{file}"] = bad
    if file == "memory.oom_control" and bad == "":
        assert read_memory(files, CG, 0).under_oom is None
        return
    if file == "memory.stat" and bad in ("", "under_oom 7\n"):
        assert read_memory(files, CG, 0).unreclaimable_bytes is None
        return
    with pytest.raises(ReadError, match=file.replace(".", r"\.")):
        read_memory(files, CG, 0)


def test_unreadable_file_is_a_read_error() -> None:
    """EACCES is neither gone nor unknown: it is said."""
    files = vmm()
    files.texts[f"{CG}/memory.kmem.usage_in_bytes"] = errno.EACCES
    with pytest.raises(ReadError, match="EACCES"):
        read_memory(files, CG, 0)


def test_peak_is_read_after_usage() -> None:
    """The order of reading keeps the peak from being below the usage that stands beside it."""
    files = vmm()
    read_memory(files, CG, 0)
    names = [path.rpartition("/")[2] for path in files.reads]
    assert names.index("memory.stat") < names.index("memory.usage_in_bytes") < names.index("memory.max_usage_in_bytes")


def test_sleeping_at_the_limit_is_seen() -> None:
    """under_oom 1 is True; a kernel that does not print it leaves it unknown."""
    files = vmm()
    files.texts[f"{CG}/memory.oom_control"] = "oom_kill_disable 1\nunder_oom 1\noom_kill 0\n"
    assert read_memory(files, CG, 0).under_oom is True
    files.texts[f"{CG}/memory.oom_control"] = "oom_kill_disable 1\n"
    assert read_memory(files, CG, 0).under_oom is None


def test_only_a_wholly_frozen_cgroup_is_frozen() -> None:
    """FREEZING still runs and still takes memory: it is not frozen."""
    assert read_frozen(DictFiles.of_recorded("freezer/frozen", CG), CG) is True
    assert read_frozen(DictFiles.of_recorded("freezer/thawed", CG), CG) is False
    assert read_frozen(DictFiles({f"{CG}/freezer.state": "FREEZING\n"}), CG) is False
    with pytest.raises(ReadError, match="MELTING"):
        read_frozen(DictFiles({f"{CG}/freezer.state": "MELTING\n"}), CG)


def test_processes_are_sorted_and_once() -> None:
    """cgroup.procs may repeat and is in no order; a line that is no number is named."""
    pids = [int(line) for line in recorded("guest/vmm/cgroup.procs").split()]
    assert read_procs(vmm(), CG) == sorted(pids)
    assert read_procs(DictFiles({f"{CG}/cgroup.procs": "7\n3\n7\n"}), CG) == [3, 7]
    with pytest.raises(ReadError) as caught:
        read_procs(DictFiles({f"{CG}/cgroup.procs": "7\nx\n"}), CG)
    assert caught.value.where == f"{CG}/cgroup.procs:2"


def test_guest_lives_while_any_of_its_cgroups_is_populated() -> None:
    """Populated means a process in ram, in vmm or beside them; cgroups that are gone hold none."""
    layout = Layout(memory="/m", freezer=None)
    files = (
        DictFiles.of_recorded("guest", "/m/a")
        .with_recorded("guest/ram", "/m/a/ram")
        .with_recorded("guest/vmm", "/m/a/vmm")
    )
    assert populated(files, layout, "a")
    assert len(read_all_procs(files, "/m/a")) == 2
    files.texts["/m/a/vmm/cgroup.procs"] = ""
    assert not populated(files, layout, "a")
    files.texts["/m/a/cgroup.procs"] = "12\n"
    assert populated(files, layout, "a")
    assert not populated(DictFiles(), layout, "a")


def test_child_that_vanishes_meanwhile_is_passed_over() -> None:
    """The processes of a tree are listed although one of its cgroups was just removed."""
    files = DictFiles({"/m/cgroup.procs": "1\n", "/m/a/cgroup.procs": "2\n", "/m/b/cgroup.procs": errno.ENODEV})
    assert read_all_procs(files, "/m") == [1, 2]


@given(st.dictionaries(st.sampled_from([*REQUIRED, *OPTIONAL]), st.text(max_size=40) | st.sampled_from([2, 5, 13, 19])))
@settings(max_examples=200)
def test_any_text_or_error_gives_a_reading_or_an_error_of_the_tree(changes: dict[str, str | int]) -> None:
    """Whatever stands in the files and whatever the kernel answers, nothing but this package's errors comes out."""
    files = vmm()
    files.texts |= {f"{CG}/{name}": value for name, value in changes.items()}
    try:
        reading = read_memory(files, CG, 0)
    except GuestroomError:
        return
    assert reading.unreclaimable_bytes is None or reading.unreclaimable_bytes >= 0


def test_oom_kills_are_counted() -> None:
    """The kernel's count as printed; unknown where it does not count (before 4.13), never 0."""
    before = "oom_kill_disable 1\nunder_oom 0\n"
    files = vmm()
    assert read_oom_kills(files, CG) == 0
    files.texts[f"{CG}/memory.oom_control"] = before + "oom_kill 3\n"
    assert read_oom_kills(files, CG) == 3
    files.texts[f"{CG}/memory.oom_control"] = before
    assert read_oom_kills(files, CG) is None
    files.texts[f"{CG}/memory.oom_control"] = before + "oom_kill x\n"
    with pytest.raises(ReadError, match=r"memory\.oom_control"):
        read_oom_kills(files, CG)
    with pytest.raises(VanishedError):
        read_oom_kills(DictFiles(), CG)
