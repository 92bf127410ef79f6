"""The RAM of a QEMU that runs already, from its arguments."""

from __future__ import annotations

import pytest

from guestroom.describe.running import running
from guestroom.errors import DescribeError
from guestroom.units import GIB, MIB

QEMU = "/usr/bin/qemu-system-x86_64"


def test_plain_ram_is_one_block() -> None:
    """-m gives one block, all of it charged."""
    found = running([QEMU, "-m", "512", "-smp", "2"])
    assert found.ram_block_bytes == (512 * MIB,)
    assert found.ram_charged_bytes == found.guest.ram_bytes == 512 * MIB
    assert found.guest.vcpus == 2


def test_libvirt_s_json_backend_is_the_ram() -> None:
    """The object that -machine memory-backend names is the block; another object is overhead."""
    found = running(
        [
            *(QEMU, "-machine", "pc-q35-7.2,memory-backend=pc.ram", "-m", "256"),
            *("-object", '{"qom-type":"memory-backend-ram","id":"pc.ram","size":268435456}'),
            *("-object", "memory-backend-ram,id=other,size=64M"),
        ]
    )
    assert found.ram_block_bytes == (256 * MIB,)


def test_nodes_and_dimms_are_blocks_of_their_own() -> None:
    """NUMA nodes and DIMMs each have their block; what may be plugged in later is promised and has none yet."""
    found = running(
        [
            *(QEMU, "-m", "512,slots=4,maxmem=2G", "-numa", "node,memdev=a", "-numa", "node,memdev=b"),
            *("-object", "memory-backend-ram,id=a,size=256M", "-object", "memory-backend-ram,id=b,size=256M"),
            *("-object", "memory-backend-memfd,id=c,size=128M", "-device", "pc-dimm,memdev=c"),
        ]
    )
    assert found.ram_block_bytes == (256 * MIB, 256 * MIB, 128 * MIB)
    assert found.ram_charged_bytes == found.guest.ram_bytes == 2 * GIB


@pytest.mark.parametrize(
    "argv",
    [
        ["-m", "1G", "-mem-path", "/dev/hugepages"],
        ["-m", "1G", "-mem-path", "/mnt/huge/vms", "-mem-prealloc"],
        ["-m", "1G", "-machine", "memory-backend=r", "-object", "memory-backend-memfd,id=r,size=1G,hugetlb=on"],
        ["-m", "1G", "-machine", "memory-backend=r", "-object", "memory-backend-file,id=r,size=1G,mem-path=/mnt/huge"],
    ],
)
def test_hugetlb_is_not_charged(argv: list[str]) -> None:
    """RAM from a hugetlb pool is outside memory cgroups, however QEMU was told to take it."""
    found = running([QEMU, *argv], huge_paths=("/dev/hugepages", "/mnt/huge"))
    assert (found.ram_block_bytes, found.ram_charged_bytes) == ((GIB,), 0)
    assert found.guest.ram_bytes == GIB


def test_what_the_arguments_do_not_say_has_to_be_given() -> None:
    """A -readconfig guest's RAM is unknown, not 128 MiB; given, it is believed."""
    argv = [QEMU, "-readconfig", "/etc/vm.cfg"]
    with pytest.raises(DescribeError, match="can't be told") as caught:
        running(argv)
    assert "--ram" in str(caught.value.hint)
    found = running(argv, ram_bytes=GIB)
    assert (found.ram_block_bytes, found.ram_charged_bytes, found.guest.ram_bytes) == ((GIB,), GIB, GIB)


def test_what_is_given_must_not_contradict_the_arguments() -> None:
    """--ram beside another -m is refused with both numbers; the same is fine."""
    assert running([QEMU, "-m", "1G"], ram_bytes=GIB).ram_charged_bytes == GIB
    with pytest.raises(DescribeError, match=str(GIB)):
        running([QEMU, "-m", "1G"], ram_bytes=2 * GIB)


def test_a_block_without_a_size_is_not_guessed() -> None:
    """An object that is RAM and has no size can't be told in smaps."""
    with pytest.raises(DescribeError):
        running([QEMU, "-m", "1G", "-machine", "memory-backend=gone"])
