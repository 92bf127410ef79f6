"""``/proc`` and ``/sys`` of a real host and a real QEMU."""

from __future__ import annotations

import errno
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recordedfiles import DictFiles, recorded

from guestroom.errors import HostError, ReadError, VanishedError
from guestroom.observe.procfs import (
    boot_id,
    cmdline,
    comm,
    find_qemus,
    hugetlb_mounts,
    hugetlb_pool_bytes,
    is_qemu,
    parse_meminfo,
    ppid,
    read_ksm,
    read_meminfo,
    read_smaps,
    resident_bytes,
    start_ticks,
)
from guestroom.units import GIB, KIB, MIB

POOLS = "/sys/kernel/mm/hugepages"


def process(pid: int = 42, **texts: str) -> DictFiles:
    """The recorded QEMU as process ``pid``, with some of its files changed."""
    files = DictFiles.of_recorded("proc/qemu", f"/proc/{pid}")
    files.texts |= {f"/proc/{pid}/{name}": text for name, text in texts.items()}
    return files


# --- meminfo and pools ---


def test_recorded_meminfo() -> None:
    """The recorded host's memory, in bytes."""
    meminfo = read_meminfo(DictFiles({"/proc/meminfo": recorded("proc/meminfo")}))
    assert meminfo.total_bytes == 24684100 * KIB
    assert meminfo.available_bytes == 23819364 * KIB
    assert (meminfo.swap_total_bytes, meminfo.swap_free_bytes, meminfo.hugetlb_bytes) == (0, 0, 0)


def test_meminfo_of_an_old_kernel_leaves_figures_unknown() -> None:
    """Without MemAvailable, swap and Hugetlb lines these are None; without MemTotal nothing can be decided."""
    meminfo = parse_meminfo("m", "MemTotal: 1000 kB\nHugePages_Total: 3\n")
    assert (meminfo.total_bytes, meminfo.available_bytes, meminfo.swap_total_bytes) == (1000 * KIB, None, None)
    with pytest.raises(ReadError, match="MemTotal is missing"):
        parse_meminfo("m", "MemFree: 1 kB\n")


@pytest.mark.parametrize("bad", ["MemTotal 12 kB", "MemFree: -1 kB", "MemFree: 12 MB", "MemFree:", "MemFree: x kB"])
def test_malformed_meminfo_is_named(bad: str) -> None:
    """A malformed line is an error with its place and what was found."""
    with pytest.raises(ReadError) as caught:
        parse_meminfo("/proc/meminfo", f"MemTotal: 12 kB\n{bad}\n")
    assert caught.value.where == "/proc/meminfo:2"
    assert repr(bad) in caught.value.message


def test_hugetlb_pools_of_all_sizes_count() -> None:
    """Pools are pages x size over all sizes; a kernel without hugetlb has none, which is 0 and not unknown."""
    files = DictFiles(
        {f"{POOLS}/hugepages-2048kB/nr_hugepages": "5\n", f"{POOLS}/hugepages-1048576kB/nr_hugepages": "2\n"}
    )
    assert hugetlb_pool_bytes(files) == 10 * MIB + 2 * GIB
    assert hugetlb_pool_bytes(DictFiles()) == 0


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (f"{POOLS}/hugepages-2048kB/nr_hugepages", "x\n"),
        (f"{POOLS}/hugepages-2048kB/nr_hugepages", "-1\n"),
        (f"{POOLS}/hugepages-huge/nr_hugepages", "1\n"),
        (f"{POOLS}/hugepages-2048kB/nr_hugepages", errno.EIO),
    ],
)
def test_pool_that_cannot_be_read_is_an_error(path: str, text: str | int) -> None:
    """A pool that can't be understood is said: taking it for 0 would give away memory that is not there."""
    with pytest.raises(ReadError):
        hugetlb_pool_bytes(DictFiles({path: text}))


# --- same-page merging ---


def test_ksm_state() -> None:
    """Merging is active while it runs and as long as pages are still merged; a kernel without it has no state."""
    ksm = "/sys/kernel/mm/ksm"
    for run, sharing, active in (("0", "0", False), ("1", "0", True), ("0", "7", True), ("2", "0", False)):
        state = read_ksm(DictFiles({f"{ksm}/run": f"{run}\n", f"{ksm}/pages_sharing": f"{sharing}\n"}))
        assert state is not None
        assert state.active is active
    assert read_ksm(DictFiles()) is None
    with pytest.raises(ReadError):
        read_ksm(DictFiles({f"{ksm}/run": "on\n", f"{ksm}/pages_sharing": "0\n"}))


# --- processes ---


def test_process_whose_name_looks_like_a_stat_line() -> None:
    """A name with spaces and parentheses (QEMU lets its user choose it) does not shift the fields."""
    files = process()
    assert comm(files, 42) == "a) S 1 (b"
    assert (start_ticks(files, 42), ppid(files, 42)) == (156546, 19094)
    newline = process(stat=recorded("proc/qemu/stat").replace("a) S 1 (b", "a\n) (\n"))
    assert (start_ticks(newline, 42), ppid(newline, 42)) == (156546, 19094)


@pytest.mark.parametrize(
    "bad", ["", "42 (x) S\n", "42 (x S 1 2 3\n", "42 (x) S " + "1 " * 12, "42 (x) S 1 x " + "1 " * 20]
)
def test_malformed_stat_is_named(bad: str) -> None:
    """A stat line with too few fields or with words in the place of numbers is an error, not a wrong identity."""
    with pytest.raises(ReadError, match="/proc/42/stat"):
        start_ticks(process(stat=bad), 42)


def test_process_that_is_gone_has_vanished() -> None:
    """Every reader says VanishedError for a process that ended, also in the middle of reading (ESRCH)."""
    for read in (start_ticks, ppid, comm, cmdline, is_qemu, resident_bytes, read_smaps):
        with pytest.raises(VanishedError):
            read(DictFiles(), 42)
        gone = {f"/proc/42/{name}": errno.ESRCH for name in ("stat", "cmdline", "status", "smaps")}
        with pytest.raises(VanishedError):
            read(DictFiles(gone), 42)


def test_arguments_are_kept_as_given() -> None:
    """Arguments keep spaces and empty words; a kernel thread has none."""
    argv = cmdline(process(), 42)
    assert argv[0] == "qemu-system-x86_64"
    assert argv[-3:] == ("odd,process=a) S 1 (b", "-overcommit", "mem-lock=off")
    assert cmdline(process(cmdline="a\0\0b c\0\0"), 42) == ("a", "", "b c", "")
    assert cmdline(process(cmdline=""), 42) == ()


@pytest.mark.parametrize(
    ("argv", "name", "expected"),
    [
        ("qemu-system-x86_64\0-m\0", "anything", True),
        ("/usr/libexec/qemu-kvm\0-m\0", "qemu-kvm", True),
        ("/usr/bin/kvm\0", "kvm", True),
        ("renamed\0-m\0", "qemu-system-x86", True),
        ("/bin/sh\0/usr/bin/qemu-system-x86_64\0", "qemu-system-x86", False),
        ("qemu-img\0create\0", "qemu-img", False),
        ("vim\0qemu-system-x86_64\0", "vim", False),
        ("qemu-system-x86_64.sh\0", "bash", True),
        ("", "qemu-system-x86", False),
    ],
)
def test_what_counts_as_a_qemu(argv: str, name: str, expected: bool) -> None:
    """A QEMU is known by its program's name or the kernel's name for it, a script or an editor is not one."""
    stat = recorded("proc/qemu/stat").replace("a) S 1 (b", name)
    assert is_qemu(process(cmdline=argv, stat=stat), 42) is expected


def test_resident_memory_is_anonymous_and_shared() -> None:
    """RssAnon + RssShmem of the recorded QEMU; unknown where the kernel does not print them or it has ended."""
    assert resident_bytes(process(), 42) == 278152 * KIB
    assert resident_bytes(process(status="Name:\tx\nRssAnon:\t1 kB\n"), 42) is None
    assert resident_bytes(process(status="Name:\tx\nState:\tZ (zombie)\n"), 42) is None
    with pytest.raises(ReadError) as caught:
        resident_bytes(process(status="Name:\tx\nRssAnon:\tmany\n"), 42)
    assert caught.value.where == "/proc/42/status:2"


def test_qemus_of_the_host_are_found() -> None:
    """Every QEMU but the excluded ones, by pid, with its arguments; one that ends meanwhile is left out, one whose
    memory can't be read is there with unknown use."""
    files = DictFiles(process(100).texts | process(9).texts | process(7).texts | process(8).texts)
    files.texts["/proc/7/cmdline"] = errno.ESRCH
    files.texts["/proc/8/status"] = "RssAnon:\tx\n"
    files.texts["/proc/self/cmdline"] = "qemu-system-x86_64\0"
    files.texts["/proc/12/cmdline"] = "bash\0"
    files.texts["/proc/12/stat"] = recorded("proc/qemu/stat")
    found = find_qemus(files, {9})
    assert [(qemu.pid, qemu.resident_bytes) for qemu in found] == [(8, None), (100, 278152 * KIB)]
    assert found[0].argv[0] == "qemu-system-x86_64"


def test_boot_id_is_a_uuid() -> None:
    """The boot's identity is the kernel's UUID; anything else is an error."""
    path = "/proc/sys/kernel/random/boot_id"
    assert (
        boot_id(DictFiles({path: "5e1f0000-0000-4000-8000-00000000b007\n"})) == "5e1f0000-0000-4000-8000-00000000b007"
    )
    with pytest.raises(ReadError):
        boot_id(DictFiles({path: "today\n"}))


_TEXT = st.text(max_size=80) | st.from_regex(r"[0-9]{1,3} \(.{0,6}\) S( -?[0-9]{1,4}){0,25}\n?", fullmatch=True)


@given(st.dictionaries(st.sampled_from(["stat", "cmdline", "status", "smaps"]), _TEXT))
@settings(max_examples=200)
def test_any_process_text_gives_an_answer_or_an_error_of_the_tree(texts: dict[str, str]) -> None:
    """Whatever a process's files say, nothing but this package's errors comes out."""
    files = process(**texts)
    for read in (start_ticks, ppid, comm, cmdline, is_qemu, resident_bytes, read_smaps):
        with suppress(HostError):
            read(files, 42)
    with suppress(ReadError):
        assert [qemu.pid for qemu in find_qemus(files)] in ([], [42])


@given(st.text(max_size=120) | st.from_regex(r"(Mem[A-Z][a-z]{2,5}: +[0-9]{1,20}( kB)?\n){0,4}", fullmatch=True))
def test_any_meminfo_gives_an_answer_or_a_read_error(text: str) -> None:
    """Whatever meminfo says, the answer is figures or a ReadError."""
    with suppress(ReadError):
        assert parse_meminfo("m", text).total_bytes >= 0


def test_hugetlbfs_mounts_are_found_among_the_others() -> None:
    """Only mounts of type hugetlbfs count, at the path they are mounted on; a host without any has none."""

    class Mounts:
        """A host's /proc/self/mounts."""

        def __init__(self, text: str) -> None:
            self.text = text

        def read(self, path: str) -> str:
            assert path == "/proc/self/mounts"
            return self.text

    text = "proc /proc proc rw 0 0\nhugetlbfs /dev/hugepages hugetlbfs rw,pagesize=2M 0 0\nh /huge1g hugetlbfs rw 0 0\n"
    assert hugetlb_mounts(Mounts(text)) == ("/dev/hugepages", "/huge1g")  # type: ignore[arg-type]
    assert hugetlb_mounts(Mounts("proc /proc proc rw 0 0\n")) == ()  # type: ignore[arg-type]
