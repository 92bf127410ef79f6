"""Whatever comes in, a description is read or refused, and rewriting changes only what it says."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guestroom.describe import burst_bytes, from_qemu_argv, from_readconfig, prepare
from guestroom.describe.keyval import flatten, load_json, parse_keyval, split_parts
from guestroom.describe.options import FLAGS, VALUED, split_argv
from guestroom.errors import InputError
from guestroom.units import GIB, MIB

PARTS = """
512 1G 1.5G 0x10 -1 600MB size=1G maxmem=4G slots=2 cpus=4 maxcpus=8 sockets=2 threads=0 memory-backend=r
memory-backend-ram memory-backend-memfd memory-backend-file id=r id=guestroom-ram size=1M share=on share=off
prealloc=off prealloc noprealloc hugetlb=on mem-path=/a node memdev=r q35 none virt driver=qcow2 node-name=r
file=r file.driver=file drive=r virtio-blk-pci scsi-hd pc-dimm virtio-mem-pci nvdimm user id=n netdev=n on off
queue-size=9999999 num-queues=0 if=none if=virtio media=cdrom tb-size=4 mem-lock=on ,, = {} {"a":1} [
"""
OPTIONS = """
-m -smp -M -machine -object -device -drive -blockdev -netdev -nic -net -numa -accel -set -global -readconfig
-display -vnc -overcommit -name -mem-path -S -nodefaults -mem-prealloc -nographic -hda -cdrom -zap -incoming
-daemonize
"""
NAMES = st.sampled_from(OPTIONS.split())
VALUES = st.one_of(st.lists(st.sampled_from(PARTS.split()), max_size=5).map(",".join), st.text(max_size=12))
ANY = st.one_of(NAMES.map(lambda name: [name]), st.tuples(NAMES, VALUES).map(list))
# Pieces that QEMU would take, so that many command lines get as far as being rewritten.
SOUND = """
-m 1G|-m 512,slots=2,maxmem=2G|-smp 2,maxcpus=4|-M q35|-S|-nodefaults|-nographic|-mem-prealloc|-vga qxl|-vnc :1
-drive file=a,if=virtio|-cdrom b|-incoming defer|-accel tcg,tb-size=4|-numa node,memdev=r|-M memory-backend=r
-object memory-backend-ram,id=r,size=1G|-object memory-backend-memfd,id=r,size=1G,prealloc=off|-device VGA
-object {"qom-type":"memory-backend-ram","id":"r","size":1073741824}|-device pc-dimm,memdev=r|-zap on|x.img
-object memory-backend-ram,id=x,size=1M,|-netdev user,id=n|-device virtio-net-pci,netdev=n|-serial mon:stdio
"""
SOUND_ANY = st.sampled_from([piece.split() for piece in SOUND.strip().replace("\n", "|").split("|")])


def _joined(groups: list[list[str]]) -> list[str]:
    return [word for group in groups for word in group]


ARGVS = st.lists(ANY, max_size=12).map(_joined)
SOUND_ARGVS = st.lists(SOUND_ANY, max_size=10).map(_joined)
LINES = st.sampled_from(
    ["[memory]", '[drive "a"]', '[object "r"]', "[device]", 'size = "1"', '  size = "x"', "# c", "", " ", "x = 1"]
)


def error_of(act: Callable[[], object]) -> InputError | None:
    """What it refuses with; None where it works."""
    try:
        act()
    except InputError as error:
        return error
    return None


@settings(max_examples=300)
@given(argv=ARGVS, config=st.text(max_size=40))
def test_any_command_line_is_a_guest_or_a_clear_error(argv: list[str], config: str) -> None:
    """No command line crashes the reader or the rewriter: the answer is data or an InputError in one line."""
    program = ["qemu-system-x86_64"]
    for error in (
        error_of(lambda: burst_bytes(from_qemu_argv(argv, read_file=lambda _: config))),
        error_of(lambda: prepare(program + argv, monitor_path="/m", readconfig={})),
    ):
        assert error is None or ("\n" not in error.line() and error.exit_code == 2)


@given(lines=st.lists(LINES, max_size=10))
def test_any_configuration_file_is_a_guest_or_a_clear_error(lines: list[str]) -> None:
    """No configuration file crashes the reader; an error says which line."""
    error = error_of(lambda: from_readconfig("\n".join(lines)))
    assert error is None or error.where is not None


@given(size=st.integers(1, 2**40), unit=st.sampled_from([("", MIB), ("k", 1024), ("M", MIB), ("G", GIB)]))
def test_sizes_round_up_to_8_kib_only(size: int, unit: tuple[str, int]) -> None:
    """Boot RAM is the size written, in its unit, rounded up to QEMU's 8 KiB."""
    if size * unit[1] >= 2**62:
        size %= 2**20
    wanted = max(size, 1) * unit[1]
    boot = from_qemu_argv(["-m", f"{max(size, 1)}{unit[0]}"]).boot_ram_bytes
    assert boot is not None
    assert boot % 8192 == 0
    assert 0 <= boot - wanted < 8192


@given(sockets=st.integers(1, 8), cores=st.integers(1, 8), threads=st.integers(1, 4), drop=st.sets(st.integers(0, 3)))
def test_any_part_of_a_topology_may_be_left_out(sockets: int, cores: int, threads: int, drop: set[int]) -> None:
    """A topology read from any of its parts never has fewer vCPUs at most than at the start, and whole it is exact."""
    total = sockets * cores * threads
    parts = [f"cpus={total}", f"sockets={sockets}", f"cores={cores}", f"threads={threads}"]
    kept = [part for place, part in enumerate(parts) if place not in drop]
    guest = from_qemu_argv(["-smp", ",".join(kept)])
    assert guest.vcpus is not None
    assert guest.max_vcpus is not None
    assert guest.vcpus == guest.max_vcpus <= total
    if 0 not in drop:
        assert guest.vcpus == total


@given(values=st.dictionaries(st.text("abcd-", min_size=1, max_size=4), st.text(max_size=8)))
def test_lists_come_back_as_they_were(values: dict[str, str]) -> None:
    """Written with doubled commas and read again, a list is the same, and cutting it into parts loses nothing."""
    text = ",".join(f"{key}={value.replace(',', ',,')}" for key, value in values.items())
    assert parse_keyval(text) == values
    assert ",".join(split_parts(text)) == text


@given(
    st.recursive(
        st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3),
        max_leaves=8,
    )
)
def test_json_is_read_and_flattened(value: object) -> None:
    """Every JSON object is flattened to one text for each leaf."""
    text = json.dumps({"x": value})
    flat = flatten(load_json(text, ""))
    assert all(key.startswith("x") and isinstance(each, str) for key, each in flat.items())


@given(argv=st.lists(st.sampled_from([*(f"-{n}" for n in sorted(FLAGS)[:5] + sorted(VALUED)[:5]), "x", "-zap", "--S"])))
def test_no_argument_is_lost_or_read_twice(argv: list[str]) -> None:
    """The options cover the command line exactly."""
    try:
        split = split_argv(argv)
    except InputError:
        return
    covered = [place for option in split.options for place in range(option.index, option.index + option.width)]
    first = 0 if split.program is None else 1
    assert covered == list(range(first, len(argv)))


@settings(max_examples=200)
@given(argv=SOUND_ARGVS)
def test_rewriting_keeps_the_guest(argv: list[str]) -> None:
    """The rewritten command line describes the same guest, its RAM preallocated, and is not rewritten twice."""
    command = ["qemu-system-x86_64", *argv]
    if error_of(lambda: prepare(command, monitor_path="/m", readconfig={})) is not None:
        return
    prepared = prepare(command, monitor_path="/m", readconfig={})
    before, after = from_qemu_argv(command), from_qemu_argv(prepared.argv)
    assert prepared.guest == before
    assert (after.ram_bytes, after.boot_ram_bytes) == (before.ram_bytes, before.boot_ram_bytes)
    assert (after.disks, after.nics, after.videos, after.vcpus) == (
        before.disks,
        before.nics,
        before.videos,
        before.vcpus,
    )
    assert "mem-prealloc" not in {option.name for option in split_argv(prepared.argv).options}
    assert prepared.ram_charged_bytes == sum(prepared.ram_block_bytes) <= prepared.promised_charged_bytes
    assert all(backend.prealloc is True for backend in after.memory_backends if backend.backs_ram)
    with pytest.raises(InputError):
        prepare(prepared.argv, monitor_path="/m", readconfig={})
