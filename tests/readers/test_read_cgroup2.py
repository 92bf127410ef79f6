"""The files of v2 cgroups as a real kernel prints them."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recordedfiles import V2, DictFiles, recorded

from guestroom.errors import GuestroomError, ReadError, VanishedError
from guestroom.layout import Layout
from guestroom.observe import cgroup1, cgroup2
from guestroom.observe.cgroup2 import (
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
REQUIRED = ("memory.stat", "memory.current")
OPTIONAL = {
    "memory.swap.current": "swap_bytes",
    "memory.peak": "peak_bytes",
    "memory.max": None,
    "memory.events.local": None,
}


def vmm() -> DictFiles:
    """The recorded ``vmm`` cgroup at ``CG``."""
    return DictFiles.of_recorded("guest/vmm", CG, V2)


def test_twins_have_the_same_functions() -> None:
    """Whatever reads a v1 cgroup has a twin of the same name for v2, but for where this process is."""
    assert set(cgroup1.__all__) - {"controller_mounts", "own_cgroup"} == set(cgroup2.__all__) - {"own_cgroup2"}


def test_recorded_cgroup_gives_every_figure() -> None:
    """Each figure is the recorded file's: page cache apart from shmem, slab that reclaim frees left out."""
    reading = read_memory(vmm(), CG, 12.5)
    assert (reading.path, reading.at_s) == (CG, 12.5)
    assert (reading.usage_bytes, reading.peak_bytes, reading.failcnt) == (32485376, 32485376, 0)
    assert reading.limit_bytes is UNLIMITED
    assert (reading.anon_bytes, reading.anon_huge_bytes) == (7553024, 2097152)
    assert (reading.file_bytes, reading.shmem_bytes) == (23154688 - 11534336, 11534336)
    assert (reading.kernel_bytes, reading.swap_bytes) == (1445888 - 1313904, 0)
    assert reading.locked_file_bytes == 3 * MIB
    assert reading.under_oom is False
    assert reading.unreclaimable_bytes == 7553024 + 11534336 + (1445888 - 1313904) + 3 * MIB


def test_parts_explain_the_recorded_usage() -> None:
    """anon + file + kernel is the usage but for the per-CPU charge stock (64 pages on each of the 2 CPUs)."""
    for part in ("guest", "guest/ram", "guest/vmm"):
        reading = read_memory(DictFiles.of_recorded(part, CG, V2), CG, 0)
        slab = cgroup2.read_stat(DictFiles.of_recorded(part, CG, V2), CG).reclaimable_slab_bytes
        parts = (reading.anon_bytes, reading.file_bytes, reading.shmem_bytes, reading.kernel_bytes, slab)
        explained = sum(part or 0 for part in parts)
        assert reading.usage_bytes is not None
        assert 0 <= reading.usage_bytes - explained <= 3 * 2 * 64 * 4096


def test_limit_of_the_guest_is_its_own() -> None:
    """A set limit is read as bytes, ``max`` and a cgroup that has no such file (the root) are UNLIMITED."""
    assert read_limit(DictFiles.of_recorded("guest", CG, V2), CG) == 700 * MIB
    assert as_limit("f", "max\n") is UNLIMITED
    assert as_limit("f", "0\n") == 0
    files = vmm()
    del files.texts[f"{CG}/memory.max"]
    assert read_limit(files, CG) is UNLIMITED
    assert read_memory(files, CG, 0).limit_bytes is UNLIMITED


@pytest.mark.parametrize("file", ["memory.swap.current", "memory.peak"])
def test_file_this_kernel_lacks_is_unknown(file: str) -> None:
    """A file that is missing in a cgroup that is there makes that figure None, never 0."""
    files = vmm()
    del files.texts[f"{CG}/{file}"]
    assert getattr(read_memory(files, CG, 0), str(OPTIONAL[file])) is None


def test_times_at_the_limit_are_the_cgroups_own() -> None:
    """failcnt is the cgroup's own count; where a kernel has only the one with children, that; else unknown."""
    files = vmm()
    files.texts[f"{CG}/memory.events.local"] = "low 0\nhigh 0\nmax 3\noom 0\noom_kill 0\n"
    files.texts[f"{CG}/memory.events"] = "low 0\nhigh 0\nmax 9\noom 0\noom_kill 0\n"
    assert read_memory(files, CG, 0).failcnt == 3
    del files.texts[f"{CG}/memory.events.local"]
    assert read_memory(files, CG, 0).failcnt == 9
    del files.texts[f"{CG}/memory.events"]
    assert read_memory(files, CG, 0).failcnt is None


def test_cgroup_without_the_controller_is_said() -> None:
    """A cgroup that is there but has no memory controller is neither gone nor empty: it is said."""
    for file in REQUIRED:
        files = vmm()
        del files.texts[f"{CG}/{file}"]
        with pytest.raises(ReadError, match="memory controller is off"):
            read_memory(files, CG, 0)


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
@pytest.mark.parametrize("bad", ["", "x", "-1\n", "1 2\n", "9" * 400, "max 7x\n"])
def test_malformed_file_is_named(file: str, bad: str) -> None:
    """Text that the kernel never prints is an error that names the file, not a figure."""
    files = vmm()
    files.texts[f"{CG}/{file}"] = bad
    if bad == "" and file in ("memory.stat", "memory.events.local"):
        reading = read_memory(files, CG, 0)
        assert (reading.unreclaimable_bytes if file == "memory.stat" else reading.failcnt) is None
        return
    with pytest.raises(ReadError, match=file.replace(".", r"\.")):
        read_memory(files, CG, 0)


def test_unreadable_file_is_a_read_error() -> None:
    """EACCES is neither gone nor unknown: it is said."""
    files = vmm()
    files.texts[f"{CG}/memory.peak"] = errno.EACCES
    with pytest.raises(ReadError, match="EACCES"):
        read_memory(files, CG, 0)


def test_peak_is_read_after_usage() -> None:
    """The order of reading keeps the peak from being below the usage that stands beside it."""
    files = vmm()
    read_memory(files, CG, 0)
    names = [path.rpartition("/")[2] for path in files.reads]
    assert names.index("memory.stat") < names.index("memory.current") < names.index("memory.peak")


def test_only_a_wholly_frozen_cgroup_is_frozen() -> None:
    """What was asked for (cgroup.freeze) is not yet so: cgroup.events says what is."""
    assert read_frozen(DictFiles.of_recorded("frozen", CG, V2), CG) is True
    files = DictFiles.of_recorded("guest", CG, V2)
    files.texts[f"{CG}/cgroup.freeze"] = "1\n"
    assert read_frozen(files, CG) is False
    with pytest.raises(ReadError, match="frozen"):
        read_frozen(DictFiles({f"{CG}/cgroup.events": "populated 1\n"}), CG)
    with pytest.raises(ReadError, match="frozen"):
        read_frozen(DictFiles({f"{CG}/cgroup.events": "populated 1\nfrozen 2\n"}), CG)


def test_processes_are_sorted_and_once() -> None:
    """cgroup.procs is in no order; a line that is no number is named."""
    pids = [int(line) for line in recorded("guest/vmm/cgroup.procs", V2).split()]
    assert read_procs(vmm(), CG) == sorted(pids)
    assert read_procs(DictFiles({f"{CG}/cgroup.procs": "7\n3\n7\n"}), CG) == [3, 7]
    with pytest.raises(ReadError) as caught:
        read_procs(DictFiles({f"{CG}/cgroup.procs": "7\nx\n"}), CG)
    assert caught.value.where == f"{CG}/cgroup.procs:2"


def test_guest_lives_while_any_of_its_cgroups_is_populated() -> None:
    """Populated is the kernel's own word for the guest and all below it; a cgroup that is gone holds nobody."""
    layout = Layout(memory="/m", freezer="/m", version=2)
    files = (
        DictFiles.of_recorded("guest", "/m/a", V2)
        .with_recorded("guest/ram", "/m/a/ram", V2)
        .with_recorded("guest/vmm", "/m/a/vmm", V2)
    )
    assert populated(files, layout, "a")
    assert len(read_all_procs(files, "/m/a")) == 2
    files.texts["/m/a/cgroup.events"] = "populated 0\nfrozen 0\n"
    assert not populated(files, layout, "a")
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
    before = "low 0\nhigh 0\nmax 0\noom 0\n"
    files = vmm()
    assert read_oom_kills(files, CG) == 0
    files.texts[f"{CG}/memory.events"] = before + "oom_kill 3\n"
    assert read_oom_kills(files, CG) == 3
    files.texts[f"{CG}/memory.events"] = before
    assert read_oom_kills(files, CG) is None
    files.texts[f"{CG}/memory.events"] = before + "oom_kill x\n"
    with pytest.raises(ReadError, match=r"memory\.events"):
        read_oom_kills(files, CG)
    with pytest.raises(VanishedError):
        read_oom_kills(DictFiles(), CG)
