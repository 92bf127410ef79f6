"""Where our cgroups are, from a real ``/proc/self``."""

from __future__ import annotations

import errno
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recordedfiles import V2, DictFiles, recorded

from guestroom.errors import HostError, ReadError
from guestroom.layout import Layout
from guestroom.observe.cgroup1 import controller_mounts, find_layout, own_cgroup
from guestroom.observe.hierarchy import Mount, mount_root, own_cgroup2, own_cgroups

MOUNTINFO = "/proc/self/mountinfo"
CGROUP = "/proc/self/cgroup"


def host(mountinfo: str | None = None, cgroup: str | None = None) -> DictFiles:
    """The recorded host, or one with other texts."""
    return DictFiles(
        {
            MOUNTINFO: recorded("proc/self/mountinfo") if mountinfo is None else mountinfo,
            CGROUP: recorded("proc/self/cgroup") if cgroup is None else cgroup,
        }
    )


def container(root: str, path: str) -> DictFiles:
    """A memory hierarchy of which only ``root`` is mounted, and this process in ``path``."""
    return host(f"35 31 0:32 {root} /cg/memory rw - cgroup cgroup rw,memory\n", f"4:memory:{path}\n")


def test_recorded_host_gives_every_controller() -> None:
    """Every v1 controller of the recorded host is found where it is mounted, and no v2 tree is taken for one."""
    mounts = controller_mounts(host())
    assert mounts["memory"] == Mount("/sys/fs/cgroup/memory", "/", read_only=False)
    assert mounts["freezer"].point == "/sys/fs/cgroup/freezer"
    assert set(mounts) >= {"cpu", "cpuacct", "cpuset", "devices", "blkio", "pids", "name=systemd"}
    assert all(mount.point != "/sys/fs/cgroup/unified" for mount in mounts.values())
    assert mount_root(host()) == "/sys/fs/cgroup/memory"


def test_layout_lies_in_our_own_cgroups() -> None:
    """The wall belongs inside the cgroup this process is in, in each hierarchy its own, and probing leaves nothing."""
    files = host()
    layout = find_layout(files, "guestroom")
    assert own_cgroups(files)["freezer"] == "/"
    assert layout.memory == "/sys/fs/cgroup/memory/machine/agent/guestroom"
    assert layout.freezer == "/sys/fs/cgroup/freezer/guestroom"
    assert files.made == []


def test_several_controllers_in_one_mount() -> None:
    """Hierarchies that carry several controllers are found under each name."""
    files = host(
        "1 2 0:3 / /cg/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n1 2 0:3 / /cg/m rw - cgroup cgroup rw,memory\n",
        "3:cpu,cpuacct:/a\n4:memory:/b\n",
    )
    assert own_cgroup(files, "cpuacct") == "/cg/cpu,cpuacct/a"
    assert find_layout(files, "g").freezer is None


@pytest.mark.parametrize(
    ("root", "path", "own"),
    [
        ("/", "/", "/cg/memory"),
        ("/", "/a/b", "/cg/memory/a/b"),
        ("/docker/1", "/docker/1", "/cg/memory"),
        ("/docker/1", "/docker/1/agent", "/cg/memory/agent"),
        (r"/with\040space", "/with space/x", "/cg/memory/x"),
    ],
)
def test_part_of_a_tree_is_resolved(root: str, path: str, own: str) -> None:
    """Where only part of the tree is mounted, our own folder is the path less what the mount leaves out."""
    assert own_cgroup(container(root, path)) == own


@pytest.mark.parametrize(
    ("root", "path"),
    [("/docker/1", "/docker/12"), ("/docker/1", "/"), ("/..", "/"), ("/", "/../../other")],
)
def test_own_cgroup_that_cannot_be_seen_is_said(root: str, path: str) -> None:
    """A cgroup outside the mount or the namespace is an error that names both, never a guessed folder."""
    with pytest.raises(HostError, match="can't be seen") as caught:
        own_cgroup(container(root, path))
    assert path in caught.value.message
    assert caught.value.hint


def test_removed_own_cgroup_is_said() -> None:
    """A process whose cgroup was removed is told so."""
    with pytest.raises(HostError, match="was removed"):
        own_cgroup(container("/", "/gone (deleted)"))


def unified(own: str = "/unit", root: str = "/", **texts: str) -> DictFiles:
    """A v2-only host with this process in ``own``; ``texts`` are files of the folder the wall would be in."""
    files = host(f"41 31 0:38 {root} /cg rw - cgroup2 cgroup2 rw\n", f"0::{own}\n")
    folder = f"/cg{own}".removesuffix("/").removesuffix("/agent")
    files.texts |= {f"{folder}/cgroup.controllers": "cpu memory\n", f"{folder}/cgroup.type": "domain\n"}
    files.texts |= {f"{folder}/{name.replace('_', '.')}": text for name, text in texts.items()}
    return files


def test_host_without_memory_cgroups_is_told_what_to_do() -> None:
    """Where nothing is mounted, or v2 lacks the controller, the error says what is missing and how to get it."""
    with pytest.raises(HostError, match="no cgroup v1 memory hierarchy is mounted") as caught:
        find_layout(host("1 2 0:3 / /proc rw - proc proc rw\n", ""), "guestroom")
    assert "unified_cgroup_hierarchy=0" in (caught.value.hint or "")
    with pytest.raises(HostError, match="memory controller is not there") as caught:
        find_layout(unified(cgroup_controllers="cpu\n"), "guestroom")
    assert "Delegate=memory" in (caught.value.hint or "")


def test_recorded_v2_host_gives_its_layout() -> None:
    """On a v2 host the wall lies in our own cgroup of the one tree, and holding is done there too."""
    files = DictFiles.of_recorded("proc/self", "/proc/self", V2)
    files.texts["/sys/fs/cgroup/machine/cgroup.controllers"] = "memory\n"
    layout = find_layout(files, "guestroom")
    assert layout == Layout("/sys/fs/cgroup/machine/guestroom", "/sys/fs/cgroup/machine/guestroom", 2)
    assert layout.freezer_of("a") == layout.guest("a") == "/sys/fs/cgroup/machine/guestroom/a"
    assert mount_root(files, 2) == "/sys/fs/cgroup"
    assert files.made == []


@pytest.mark.parametrize(
    ("own", "wall"),
    [("/", "/cg/g"), ("/unit", "/cg/unit/g"), ("/unit/agent", "/cg/unit/g"), ("/agents", "/cg/agents/g")],
)
def test_wall_lies_beside_the_agents_leaf(own: str, wall: str) -> None:
    """An agent that lives in the leaf made for it finds the same wall as before it moved there."""
    assert find_layout(unified(own), "g").memory == wall


def test_v1_wins_where_its_memory_is_mounted() -> None:
    """A hybrid host, whose v2 tree is mounted beside v1 memory, is a v1 host."""
    assert find_layout(host(), "guestroom").version == 1


def test_v2_tree_that_is_no_use_is_told_what_to_do() -> None:
    """A threaded cgroup, a read-only tree, a cgroup out of sight and no v2 line are errors of their own."""
    with pytest.raises(HostError, match="is a threaded cgroup"):
        find_layout(unified(cgroup_type="threaded\n"), "guestroom")
    with pytest.raises(HostError, match="can't be seen"):
        find_layout(unified("/other", root="/docker/1"), "guestroom")
    with pytest.raises(HostError, match="in no cgroup"):
        find_layout(host("41 31 0:38 / /cg rw - cgroup2 cgroup2 rw\n", "3:cpu:/\n"), "guestroom")
    read_only = unified()
    read_only.texts[MOUNTINFO] = "41 31 0:38 / /cg ro - cgroup2 cgroup2 ro\n"
    with pytest.raises(HostError, match="read-only") as caught:
        find_layout(read_only, "guestroom")
    assert "remount" in (caught.value.hint or "")
    with pytest.raises(HostError, match="no cgroup v2 tree"):
        mount_root(host("", ""), 2)
    with pytest.raises(HostError, match="no cgroup v2 tree"):
        own_cgroup2(host("", "0::/\n"))


def test_controller_that_is_off_is_said() -> None:
    """A mounted hierarchy in which this process has no cgroup is an error of its own."""
    with pytest.raises(HostError, match="in no cgroup"):
        find_layout(host(cgroup="0::/\n"), "guestroom")


def test_read_only_hierarchy_is_told_what_to_do() -> None:
    """A read-only mount is refused with the command that helps; a second, writable one is preferred."""
    mountinfo = "35 31 0:32 / /ro ro,nosuid - cgroup cgroup ro,memory\n"
    with pytest.raises(HostError, match="read-only") as caught:
        find_layout(host(mountinfo), "guestroom")
    assert "remount" in (caught.value.hint or "")
    both = host(mountinfo + "36 31 0:32 / /rw rw - cgroup cgroup rw,memory\n")
    assert find_layout(both, "guestroom").memory == "/rw/machine/agent/guestroom"


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOSPC])
def test_cgroup_that_is_not_writable_is_told_what_to_do(code: int) -> None:
    """Where no cgroup can be made, the error names the folder and what to do; without probing nothing is made."""
    files = host()
    files.mkdir_error = code
    with pytest.raises(HostError, match="no cgroup can be made") as caught:
        find_layout(files, "guestroom")
    assert caught.value.where == "/sys/fs/cgroup/memory/machine/agent"
    assert "root" in (caught.value.hint or "")
    assert find_layout(files, "guestroom", probe=False).memory.endswith("/guestroom")


def test_somebody_elses_probe_is_left_alone() -> None:
    """A probe that is already there proves that one may write; it is not removed."""
    files = host()
    files.mkdir_error = errno.EEXIST
    assert find_layout(files, "guestroom").freezer is not None


@pytest.mark.parametrize(
    ("mountinfo", "cgroup", "where"),
    [
        ("35 31 0:32 / /x rw cgroup\n", None, f"{MOUNTINFO}:1"),
        ("35 31\n", None, f"{MOUNTINFO}:1"),
        (None, "4:memory:/a\nnonsense\n", f"{CGROUP}:2"),
        (None, "4:memory:relative\n", f"{CGROUP}:1"),
        (None, "x:memory:/\n", f"{CGROUP}:1"),
    ],
)
def test_malformed_line_is_named(mountinfo: str | None, cgroup: str | None, where: str) -> None:
    """A malformed line is an error with its place."""
    with pytest.raises(ReadError) as caught:
        find_layout(host(mountinfo, cgroup), "guestroom")
    assert caught.value.where == where


@given(st.text(max_size=120), st.text(max_size=60))
@settings(max_examples=200)
def test_any_text_gives_a_layout_or_an_error_of_the_tree(mountinfo: str, cgroup: str) -> None:
    """Whatever these files say, nothing but this package's errors comes out."""
    v2 = unified("/" + cgroup, cgroup_controllers=f"memory {mountinfo}")
    for files in (host(mountinfo), host(cgroup=cgroup), container("/" + mountinfo.split("\n")[0], "/" + cgroup), v2):
        with suppress(HostError):
            assert find_layout(files, "guestroom").memory.endswith("/guestroom")


def test_a_place_is_taken_instead_of_our_own_cgroup() -> None:
    """``--place`` names the cgroup in which the wall is made, on v2 and, for memory, on v1."""
    place = "/system.slice/guests.service"
    files = unified()
    files.texts[f"/cg{place}/cgroup.controllers"] = "memory\n"
    files.texts[f"/cg{place}/cgroup.type"] = "domain\n"
    layout = find_layout(files, "g", place=place)
    assert (layout.memory, layout.version) == (f"/cg{place}/g", 2)
    old = host()
    old.texts[f"/sys/fs/cgroup/memory{place}/cgroup.procs"] = ""
    layout, own = find_layout(old, "g", place=place), find_layout(old, "g")
    assert layout.memory == f"/sys/fs/cgroup/memory{place}/g"
    assert layout.freezer == own.freezer


@pytest.mark.parametrize("place", ["/nowhere.service", "relative", "/a/../b"])
def test_a_place_that_is_not_there_is_told(place: str) -> None:
    """With what to start; a path that is none is refused."""
    with pytest.raises(HostError) as caught:
        find_layout(unified(), "g", place=place)
    assert caught.value.hint
