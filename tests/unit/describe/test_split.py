"""Rewritten command lines, without QEMU."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from guestroom.describe import PreparedArgv, prepare
from guestroom.describe.split import own_monitor
from guestroom.errors import DescribeError, UsageError
from guestroom.units import GIB, MIB

QEMU = "qemu-system-x86_64"
MONITOR = (
    "-chardev",
    "socket,id=guestroom-monitor,path=/run/m,server=on,wait=off",
    "-mon",
    "chardev=guestroom-monitor,mode=control",
)


def prepared(
    *arguments: str, readconfig: Mapping[str, str] | None = None, huge_paths: tuple[str, ...] = ()
) -> PreparedArgv:
    """A guest without default devices, rewritten."""
    argv = [QEMU, "-nodefaults", *arguments]
    return prepare(argv, monitor_path="/run/m", readconfig=readconfig or {}, huge_paths=huge_paths)


def object_of(result: PreparedArgv, identity: str) -> str:
    """The argument that makes a memory object."""
    return next(each for each in result.argv if f"id={identity}" in each or f'"id": "{identity}"' in each)


def test_plain_ram_gets_an_object_of_ours() -> None:
    """-m alone becomes a preallocated object of the same size; -S and our monitor come with it; nothing is lost."""
    result = prepared("-m", "1G", "-append", "a b")
    assert result.argv == (
        QEMU,
        "-nodefaults",
        "-m",
        "1G",
        "-append",
        "a b",
        "-object",
        f"memory-backend-ram,id=guestroom-ram,size={GIB},prealloc=on",
        "-machine",
        "memory-backend=guestroom-ram",
        "-S",
        *MONITOR,
    )
    assert (result.ram_block_bytes, result.ram_charged_bytes, result.promised_charged_bytes) == ((GIB,), GIB, GIB)
    assert (result.own_stop, result.notes) == (True, ())


def test_the_users_stop_is_respected() -> None:
    """A -S of the user's is not ours to undo, and not given twice."""
    result = prepared("-S", "-m", "1G")
    assert result.own_stop is False
    assert result.argv.count("-S") == 1


def test_incoming_guests_are_not_stopped() -> None:
    """With -incoming no stop is added: whether the source was running must not be lost."""
    result = prepared("-m", "1G", "-incoming", "defer")
    assert result.own_stop is False
    assert "-S" not in result.argv


def test_what_may_be_plugged_later_is_charged_but_not_preallocated() -> None:
    """maxmem is promised; only boot RAM is a block and charged before the vCPUs run."""
    result = prepared("-m", "1G,slots=2,maxmem=4G")
    assert (result.ram_block_bytes, result.ram_charged_bytes, result.promised_charged_bytes) == ((GIB,), GIB, 4 * GIB)


@pytest.mark.parametrize("word", ["", ",prealloc=off", ",prealloc=on", ",prealloc", ",noprealloc", ","])
def test_objects_are_switched_on_in_place(word: str) -> None:
    """The user's own memory object gets prealloc=on once, whatever it said, and keeps everything else."""
    result = prepared(
        "-m", "1G", "-object", f"memory-backend-ram,id=r,size=1G,dump=off{word}", "-M", "pc,memory-backend=r"
    )
    assert object_of(result, "r") == "memory-backend-ram,id=r,size=1G,dump=off,prealloc=on"
    assert "guestroom-ram" not in " ".join(result.argv)
    assert result.ram_block_bytes == (GIB,)


def test_commas_in_an_object_survive() -> None:
    """A doubled comma at the end of an object is not taken for a separator."""
    result = prepared(
        "-m",
        "1G",
        "-object",
        "memory-backend-file,id=r,size=1G,share=on,mem-path=/x,,",
        "-M",
        "memory-backend=r",
    )
    assert object_of(result, "r") == "memory-backend-file,id=r,size=1G,share=on,mem-path=/x,,,prealloc=on"


def test_json_objects_are_switched_on_in_place() -> None:
    """The JSON form gets a JSON true and keeps its other values, order and characters."""
    text = '{"qom-type": "memory-backend-file", "id": "r", "size": 1073741824, "share": true, "mem-path": "/\u00fc"}'
    result = prepared("-m", "1G", "-object", text, "-M", "memory-backend=r")
    changed = object_of(result, "r")
    assert json.loads(changed) == {**json.loads(text), "prealloc": True}
    assert "\u00fc" in changed


def test_every_numa_node_is_preallocated() -> None:
    """All objects of NUMA nodes are blocks; one that is plugged nowhere is left alone."""
    result = prepared(
        *("-m", "3G", "-object", "memory-backend-ram,id=a,size=1G", "-object", "memory-backend-ram,id=b,size=2G"),
        *("-object", "memory-backend-ram,id=c,size=1G", "-numa", "node,memdev=a", "-numa", "node,memdev=b"),
    )
    assert result.ram_block_bytes == (GIB, 2 * GIB)
    assert object_of(result, "a").endswith("prealloc=on")
    assert object_of(result, "b").endswith("prealloc=on")
    assert object_of(result, "c") == "memory-backend-ram,id=c,size=1G"


def test_memory_devices() -> None:
    """DIMMs are preallocated; virtio-mem pools, which QEMU refuses to have so, and NVDIMM files are not."""
    result = prepared(
        *("-m", "1G,slots=3,maxmem=16G", "-object", "memory-backend-ram,id=a,size=1G", "-device", "pc-dimm,memdev=a"),
        *("-object", "memory-backend-ram,id=b,size=4G", "-device", "virtio-mem-pci,memdev=b"),
        *("-object", "memory-backend-file,id=c,size=2G,mem-path=/img,share=on", "-device", "nvdimm,memdev=c"),
        *("-object", "memory-backend-ram,id=d,size=1G", "-device", "nvdimm,memdev=d"),
    )
    assert result.ram_block_bytes == (GIB, GIB, GIB)
    assert "prealloc" not in object_of(result, "b") + object_of(result, "c")
    # Promised: 16 GiB less the 2 GiB of storage that is only mapped.
    assert result.promised_charged_bytes == 14 * GIB
    assert "nvdimm c" in result.notes[0]


def test_the_global_switch_is_left_out_and_noted() -> None:
    """-mem-prealloc would also fill what is plugged in later: it goes, and it is said."""
    result = prepared("-mem-prealloc", "-m", "1G")
    assert "-mem-prealloc" not in result.argv
    assert "-mem-prealloc" in result.notes[0]


def test_huge_pages_are_not_charged() -> None:
    """Objects on a hugetlb pool are blocks, but nothing memory cgroups count."""
    memfd = prepared(
        "-m", "1G", "-object", "memory-backend-memfd,id=r,size=1G,hugetlb=on,share=off", "-M", "memory-backend=r"
    )
    path = prepared("-m", "1G", "-mem-path", "/huge/vm", huge_paths=("/huge",))
    for result in (memfd, path):
        assert (result.ram_block_bytes, result.ram_charged_bytes, result.promised_charged_bytes) == ((GIB,), 0, 0)
    assert "-mem-path" not in path.argv
    expected = f"memory-backend-file,mem-path=/huge/vm,share=off,id=guestroom-ram,size={GIB},prealloc=on"
    assert object_of(path, "guestroom-ram") == expected


@pytest.mark.parametrize(
    "arguments",
    [
        ["-m", "1G", "-mem-path", "/dev/shm"],
        ["-m", "1G", "-mem-path", "/hugely"],
        ["-m", "1G", "-object", "memory-backend-memfd,id=r,size=1G,share=off", "-M", "memory-backend=r"],
        ["-m", "1G", "-object", "memory-backend-file,id=r,size=1G,mem-path=/x", "-M", "memory-backend=r"],
    ],
)
def test_ram_that_would_be_charged_twice_is_refused(arguments: list[str]) -> None:
    """A private mapping of a file costs its size twice: refused with share=on as the way out."""
    with pytest.raises(DescribeError, match="charged twice") as caught:
        prepared(*arguments, huge_paths=("/huge",))
    assert "share=on" in (caught.value.hint or "")
    assert caught.value.numbers["ram_bytes"] == GIB


def test_shared_memory_is_charged_once() -> None:
    """memfd is shared unless told otherwise, and may back RAM."""
    result = prepared("-m", "1G", "-object", "memory-backend-memfd,id=r,size=1G", "-M", "memory-backend=r")
    assert result.ram_charged_bytes == GIB


def test_configuration_files_count() -> None:
    """RAM described in a -readconfig file is preallocated by an object of ours."""
    config = '[machine]\n type = "q35"\n[memory]\n size = "512"\n'
    result = prepared("-readconfig", "/c", readconfig={"/c": config})
    assert result.ram_block_bytes == (512 * MIB,)


def test_a_configuration_file_that_was_not_given_is_named() -> None:
    """Without its text the RAM is unknown: refused, naming the file."""
    with pytest.raises(DescribeError, match="/etc/vm\\.cfg"):
        prepared("-readconfig", "/etc/vm.cfg")


def test_objects_in_configuration_files_must_say_it_themselves() -> None:
    """No command line can change an object of a file: fine with prealloc = "on", else refused with what to write."""
    config = '[object "r"]\n qom-type = "memory-backend-ram"\n size = "1G"\n%s[machine]\n memory-backend = "r"\n'
    good = prepared("-readconfig", "/c", readconfig={"/c": config % ' prealloc = "on"\n'})
    assert good.ram_block_bytes == (GIB,)
    with pytest.raises(DescribeError) as caught:
        prepared("-mem-prealloc", "-readconfig", "/c", readconfig={"/c": config % ""})
    assert caught.value.where == "/c:1"
    assert 'prealloc = "on"' in (caught.value.hint or "")


def test_daemonizing_is_wrong_usage() -> None:
    """guestroom run stays with QEMU, so -daemonize does not fit."""
    with pytest.raises(UsageError, match="-daemonize"):
        prepared("-m", "1G", "-daemonize")


@pytest.mark.parametrize(
    "arguments",
    [
        ["-m", "1G", "-M", "none"],
        ["-m", "1G", "-M", "xenpv"],
        ["-m", "1G", "-accel", "xen"],
        ["-m", "1G", "-preconfig"],
        ["-m", "1G", "-object", "iothread,id=guestroom-ram"],
        ["-m", "1G", "-chardev", "null,id=guestroom-monitor"],
        ["-m", "1G", "-M", "memory-backend=ghost"],
        ["-m", "1G", "-object", "memory-backend-ram,id=r", "-M", "memory-backend=r"],
        ["-m", "1G", "-object", "memory-backend-epc,id=r,size=1G", "-M", "memory-backend=r"],
    ],
)
def test_what_can_not_be_had_is_refused_with_a_hint(arguments: list[str]) -> None:
    """Machines, modes and objects without split accounting are errors that say what to do."""
    with pytest.raises(DescribeError) as caught:
        prepared(*arguments)
    assert caught.value.hint


def test_unknown_ram_is_refused() -> None:
    """An architecture whose default RAM is not known needs -m."""
    with pytest.raises(DescribeError, match="not known"):
        prepare(["qemu-system-ppc64", "-nodefaults"], monitor_path="/m", readconfig={})


def test_a_program_is_needed() -> None:
    """Without a program there is nothing to execute."""
    with pytest.raises(DescribeError, match="program"):
        prepare(["-m", "1G"], monitor_path="/m", readconfig={})


@pytest.mark.parametrize("path", ["", "/" + "x" * 107])
def test_the_monitors_path_must_fit_a_socket(path: str) -> None:
    """A path no unix socket can have is refused with the numbers."""
    with pytest.raises(DescribeError) as caught:
        prepare([QEMU, "-m", "1G"], monitor_path=path, readconfig={})
    assert caught.value.numbers["limit"] == 107


def test_commas_in_the_monitors_path_are_escaped() -> None:
    """A comma in the path is doubled, as QEMU wants it."""
    result = prepare([QEMU, "-m", "1G"], monitor_path="/a,b", readconfig={})
    assert "socket,id=guestroom-monitor,path=/a,,b,server=on,wait=off" in result.argv


@pytest.mark.parametrize(
    ("arguments", "added"),
    [
        (["-nographic"], ("-serial", "mon:stdio")),
        (["-nographic", "-serial", "null"], ("-monitor", "stdio")),
        (["-nographic", "-device", "isa-serial,chardev=c"], ("-monitor", "stdio")),
        (["-display", "none"], ("-monitor", "vc:80Cx24C")),
        (["-monitor", "none"], ()),
        (["-qmp", "stdio"], ()),
        (["-serial", "mon:stdio"], ()),
        (["-nodefaults"], ()),
    ],
)
def test_the_default_monitor_is_kept(arguments: list[str], added: tuple[str, ...]) -> None:
    """Our monitor would take QEMU's default one away: it is asked for explicitly where it would have been."""
    result = prepare([QEMU, "-m", "1G", *arguments], monitor_path="/run/m", readconfig={})
    place = result.argv.index("-S") + 1
    assert result.argv[place : -len(MONITOR)] == added


def test_own_monitor_is_found_again() -> None:
    """The path of guestroom's own monitor is read back from the arguments it was written into, commas and all."""
    path = "/run/guest,room/a/qmp"
    prepared = prepare(["qemu-system-x86_64", "-m", "64", "-nodefaults"], monitor_path=path, readconfig={})
    assert own_monitor(prepared.argv) == path
    assert own_monitor(["qemu-system-x86_64", "-qmp", "unix:/tmp/a,server=on"]) is None
