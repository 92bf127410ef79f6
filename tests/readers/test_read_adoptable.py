"""A running process as adoption sees it, from /proc and the cgroup files."""

from __future__ import annotations

import errno

import pytest
from recordedfiles import DictFiles

from guestroom.errors import HostError, ReadError, VanishedError
from guestroom.facts import Identity, Resident, Unit
from guestroom.observe.adoptable import cgroup_of, is_stopped, read_candidate, read_killer, stands_still
from guestroom.units import UNLIMITED

MOUNTS = (
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
    "37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer\n"
)
MEMORY, FREEZER = "/sys/fs/cgroup/memory/machine/web", "/sys/fs/cgroup/freezer/machine/web"


def stat(pid: int, name: str, parent: int, state: str = "S") -> str:
    """A stat line; started at tick 5."""
    return f"{pid} ({name}) {state} {parent} " + "0 " * 17 + "5 0\n"


def texts(**changes: str | int) -> dict[str, str | int]:
    """A QEMU (77) with a helper (78) in a child folder, both in a freezer cgroup of their own."""
    found: dict[str, str | int] = {
        "/proc/self/mountinfo": MOUNTS,
        "/proc/sys/kernel/random/boot_id": "3f1c0000-0000-4000-8000-000000000000\n",
        "/proc/77/stat": stat(77, "qemu-system-x86", 1),
        "/proc/78/stat": stat(78, "virtiofsd", 77),
        "/proc/77/cmdline": "/usr/bin/qemu-system-x86_64\0-m\x00512\0",
        "/proc/78/cmdline": "virtiofsd\0",
        "/proc/77/status": "Name:\tqemu\nUid:\t64055\t64055\t64055\t64055\n",
        "/proc/77/cgroup": "4:memory:/machine/web\n6:freezer:/machine/web\n0::/\n",
        f"{MEMORY}/cgroup.procs": "77\n",
        f"{MEMORY}/memory.limit_in_bytes": "536870912\n",
        f"{MEMORY}/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
        f"{MEMORY}/child/cgroup.procs": "78\n",
        f"{FREEZER}/cgroup.procs": "78\n77\n",
        f"{FREEZER}/freezer.state": "THAWED\n",
    }
    return found | {path.replace("|", "/"): text for path, text in changes.items()}


def test_a_candidate_is_read_whole() -> None:
    """Who it is, whose it is, where it lives and who lives with it, its limit and its killer."""
    files = DictFiles(texts())
    found = read_candidate(files, 77)
    assert found.identity == Identity("3f1c0000-0000-4000-8000-000000000000", files.inode(MEMORY), 77, 5)
    assert (found.uid, found.qemu, found.cgroup, found.freezer) == (64055, True, MEMORY, FREEZER)
    assert found.argv == ("/usr/bin/qemu-system-x86_64", "-m", "512")
    assert found.residents == (
        Resident(77, 1, "qemu-system-x86", qemu=True),
        Resident(78, 77, "virtiofsd", qemu=False),
    )
    assert (found.limit_bytes, found.killer, found.still) == (536870912, True, False)


def test_no_limit_and_a_killer_that_is_off() -> None:
    """v1 prints no limit as a number near 2^63."""
    off = {f"{MEMORY}/memory.oom_control": "oom_kill_disable 1\nunder_oom 0\n"}
    found = read_candidate(DictFiles(texts() | {f"{MEMORY}/memory.limit_in_bytes": "9223372036854771712\n"} | off), 77)
    assert (found.limit_bytes, found.killer) == (UNLIMITED, False)


@pytest.mark.parametrize(
    "change",
    [
        {f"{FREEZER}/cgroup.procs": "78\n77\n79\n"},
        {f"{FREEZER}/cgroup.procs": "77\n"},
        {"/proc/77/cgroup": "4:memory:/machine/web\n6:freezer:/\n"},
        {"/proc/77/cgroup": "4:memory:/machine/web\n"},
        {"/proc/self/mountinfo": MOUNTS.splitlines(keepends=True)[0]},
        {"/proc/self/mountinfo": MOUNTS.replace("freezer rw,relatime", "freezer ro,relatime")},
    ],
    ids=["shared", "without its helper", "root", "none", "not mounted", "read-only"],
)
def test_a_freezer_that_is_not_its_alone_is_none(change: dict[str, str]) -> None:
    """Freezing must stop it, all of it and nobody else; otherwise it is held by signals."""
    root = {"/sys/fs/cgroup/freezer/cgroup.procs": "1\n77\n78\n"}
    assert read_candidate(DictFiles(texts() | root | change), 77).freezer is None


def test_frozen_or_stopped_is_standing_still() -> None:
    """By its own freezer, also while it is freezing, or by a signal; a sleeping one is not still."""
    for state, still in (("THAWED", False), ("FREEZING", True), ("FROZEN", True)):
        files = DictFiles(texts() | {f"{FREEZER}/freezer.state": f"{state}\n"})
        assert stands_still(files, 77, FREEZER) is still
    for letter, stopped in (("S", False), ("R", False), ("D", False), ("T", True), ("t", True)):
        assert is_stopped(DictFiles({"/proc/77/stat": stat(77, "a) T (b", 1, letter)}), 77) is stopped


@pytest.mark.parametrize("path", ["/proc/77/stat", "/proc/77/cgroup", f"{MEMORY}/memory.limit_in_bytes"])
def test_one_that_ends_meanwhile_is_gone(path: str) -> None:
    """Expected, with its own type."""
    found = texts()
    del found[path]
    with pytest.raises(VanishedError):
        read_candidate(DictFiles(found), 77)


def test_a_pid_that_changed_hands_is_gone() -> None:
    """Read first and last: the start time says whether it is still the same process."""

    class Reused(DictFiles):
        def read(self, path: str) -> str:
            text = super().read(path)
            if path == "/proc/77/stat" and self.reads.count(path) > 1:
                return text.replace(" 5 0\n", " 6 0\n")
            return text

    with pytest.raises(VanishedError, match="77"):
        read_candidate(Reused(texts()), 77)


@pytest.mark.parametrize(
    ("path", "text", "match"),
    [
        ("/proc/77/cgroup", "4:memory\n", "number:controllers"),
        ("/proc/77/cgroup", "x:memory:/a\n", "number:controllers"),
        ("/proc/77/cgroup", "5:cpu:/a\n", "no line for memory"),
        ("/proc/77/status", "Name:\tqemu\n", "Uid"),
        ("/proc/77/status", "Uid:\tx\n", "Uid"),
        (f"{MEMORY}/memory.oom_control", "oom_kill_disable 2\n", "neither 0 nor 1"),
        (f"{MEMORY}/memory.limit_in_bytes", "many\n", "number"),
    ],
)
def test_what_the_kernel_never_prints_is_refused_with_its_place(path: str, text: str, match: str) -> None:
    """Malformed text is an error that names the file, never a guess."""
    with pytest.raises(ReadError, match=match) as caught:
        read_candidate(DictFiles(texts() | {path: text}), 77)
    assert caught.value.path == path


@pytest.mark.parametrize("folder", ["/../other", "/machine/web (deleted)", "/elsewhere"])
def test_a_cgroup_that_can_t_be_seen_is_an_error(folder: str) -> None:
    """Outside of what the mount shows, removed, or in another namespace."""
    mounts = MOUNTS.replace("0:32 / ", "0:32 /machine ") if folder == "/elsewhere" else MOUNTS
    files = DictFiles(texts() | {"/proc/77/cgroup": f"4:memory:{folder}\n", "/proc/self/mountinfo": mounts})
    with pytest.raises(HostError, match="can't be seen"):
        cgroup_of(files, 77, "memory")


def test_without_a_memory_hierarchy_there_is_nothing_to_adopt() -> None:
    """A host without one says so, of either version."""
    for version, words in ((1, "no cgroup v1 memory"), (2, "no cgroup v2 tree")):
        with pytest.raises(HostError, match=words):
            read_candidate(DictFiles(texts() | {"/proc/self/mountinfo": ""}), 77, version)  # type: ignore[arg-type]


def test_a_kernel_without_the_switch_has_an_unknown_killer() -> None:
    """No such file, or no such line: unknown, so it is left as it is."""
    files = DictFiles({"/m/cgroup.procs": "", "/n/memory.oom_control": "under_oom 0\n"})
    assert read_killer(files, "/m") is None
    assert read_killer(files, "/n") is None


# --- v2 --------------------------------------------------------------------------------------------------------

TREE = "30 25 0:27 / /cg rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n"
SCOPE = "/cg/machine.slice/web.scope"


def texts2(**changes: str | int) -> dict[str, str | int]:
    """The same QEMU and helper on v2, in a scope of its own; its vCPUs are in a threaded cgroup below."""
    found: dict[str, str | int] = {
        **{path: text for path, text in texts().items() if path.startswith("/proc")},
        "/proc/self/mountinfo": TREE,
        "/proc/77/cgroup": "0::/machine.slice/web.scope\n",
        f"{SCOPE}/cgroup.procs": "77\n78\n",
        f"{SCOPE}/cgroup.freeze": "0\n",
        f"{SCOPE}/memory.max": "536870912\n",
        f"{SCOPE}/memory.high": "max\n",
        f"{SCOPE}/vcpu0/cgroup.procs": errno.EOPNOTSUPP,
        f"{SCOPE}/vcpu0/cgroup.type": "threaded\n",
        "/run/systemd/system/x": "",
    }
    return found | changes


def test_a_v2_candidate_is_read_whole() -> None:
    """One tree: its cgroup is its freezer too; it has no killer; which unit of systemd's it is, is told."""
    files = DictFiles(texts2())
    found = read_candidate(files, 77, 2)
    assert found.identity == Identity("3f1c0000-0000-4000-8000-000000000000", files.inode(SCOPE), 77, 5)
    assert (found.cgroup, found.freezer, found.limit_bytes) == (SCOPE, SCOPE, 536870912)
    assert (found.killer, found.still, found.brake_bytes) == (None, False, UNLIMITED)
    assert [one.pid for one in found.residents] == [77, 78]
    assert found.unit == Unit("web.scope", own=True, manager_uid=None)
    texts_without = {path: text for path, text in texts2().items() if not path.startswith("/run")}
    assert read_candidate(DictFiles(texts_without), 77, 2).unit is None


@pytest.mark.parametrize("below", ["vcpu0", "off"])
def test_memory_is_limited_by_the_nearest_cgroup_that_has_it(below: str) -> None:
    """A process in a threaded cgroup, or where the controller is off, is charged to the one above."""
    files = DictFiles(texts2(**{"/proc/77/cgroup": f"0::/machine.slice/web.scope/{below}\n", f"{SCOPE}/off/x": ""}))
    assert read_candidate(files, 77, 2).cgroup == SCOPE


@pytest.mark.parametrize(
    ("path", "text", "match"),
    [
        ("/proc/77/cgroup", "4:memory:/a\n", "no line for the v2 tree"),
        (f"{SCOPE}/memory.high", "much\n", "number"),
        (f"{SCOPE}/memory.max", "much\n", "number"),
    ],
)
def test_what_a_v2_kernel_never_prints_is_refused(path: str, text: str, match: str) -> None:
    """Malformed text is an error that names the file."""
    with pytest.raises(ReadError, match=match):
        read_candidate(DictFiles(texts2(**{path: text})), 77, 2)


def test_frozen_on_v2_and_braked() -> None:
    """``cgroup.freeze`` says that it stands, ``memory.high`` that it is slowed down."""
    found = read_candidate(
        DictFiles(texts2(**{f"{SCOPE}/cgroup.freeze": "1\n", f"{SCOPE}/memory.high": "4096\n"})), 77, 2
    )
    assert (found.still, found.brake_bytes) == (True, 4096)


def test_the_root_of_the_tree_can_t_be_frozen() -> None:
    """A QEMU that lives there has no freezer of its own."""
    root = {"/proc/77/cgroup": "0::/\n", "/cg/cgroup.procs": "77\n78\n"}
    found = read_candidate(DictFiles(texts2(**root)), 77, 2)
    assert (found.cgroup, found.freezer, found.limit_bytes) == ("/cg", None, UNLIMITED)
