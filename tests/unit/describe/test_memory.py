"""RAM and the objects behind it."""

from __future__ import annotations

import pytest

from guestroom.describe import from_qemu_argv
from guestroom.errors import DescribeError
from guestroom.guest import Guest
from guestroom.units import GIB, KIB, MIB


def described(text: str) -> Guest:
    """The guest of a command line written with spaces."""
    return from_qemu_argv(text.split())


@pytest.mark.parametrize(
    ("text", "boot_bytes", "ram_bytes"),
    [
        ("-m 512", 512 * MIB, 512 * MIB),
        ("-m 600M", 600 * MIB, 600 * MIB),
        ("-m 0.5G", 512 * MIB, 512 * MIB),
        ("-m 3k", 8 * KIB, 8 * KIB),
        ("-m 512.", 8 * KIB, 8 * KIB),
        ("-m 0x2000b", 136 * KIB, 136 * KIB),
        ("-m size=1G,slots=2,maxmem=4G", GIB, 4 * GIB),
        ("-m 1G -m slots=2,maxmem=4G", GIB, 4 * GIB),
        ("-m 1G -m 2G", 2 * GIB, 2 * GIB),
        ("-m 0", 128 * MIB, 128 * MIB),
        ("-M memory.size=300M,memory.max-size=1G", 300 * MIB, GIB),
        ("-M memory.size=300M -m 200", 200 * MIB, 200 * MIB),
        ("-M pc,memory-backend=r -object memory-backend-ram,id=r,size=768M", 768 * MIB, 768 * MIB),
        (
            "-object memory-backend-ram,id=a,size=1G -object memory-backend-ram,id=b,size=2G "
            "-numa node,memdev=a -numa node,memdev=b",
            3 * GIB,
            3 * GIB,
        ),
        (
            "-m 1G,slots=1,maxmem=4G -object memory-backend-ram,id=d,size=1G -device pc-dimm,memdev=d",
            2 * GIB,
            4 * GIB,
        ),
        ("-m 1G -object memory-backend-ram,id=d,size=3G -device virtio-mem-pci,memdev=d", GIB, 4 * GIB),
        ("-M none", 0, 0),
    ],
)
def test_boot_and_promised_ram(text: str, boot_bytes: int, ram_bytes: int) -> None:
    """Boot RAM is what is there at the start, with DIMMs; promised RAM is what the guest may grow to."""
    guest = described(text)
    assert (guest.boot_ram_bytes, guest.ram_bytes) == (boot_bytes, ram_bytes)


def test_other_architectures_default_ram_is_unknown() -> None:
    """Where QEMU's default is not the one of a PC it is None, not a guess."""
    assert described("qemu-system-ppc64 -smp 2").ram_bytes is None
    assert described("qemu-system-x86_64 -smp 2").ram_bytes == 128 * MIB


@pytest.mark.parametrize("text", ["-m 1G,maxmem=4096", "-m 1G,slots=2,maxmem=512M"])
def test_a_maximum_below_the_ram_is_refused(text: str) -> None:
    """maxmem below the RAM, which QEMU refuses, is an error with both numbers."""
    with pytest.raises(DescribeError) as caught:
        described(text)
    assert caught.value.numbers["ram_bytes"] == GIB


def test_the_missing_unit_of_maxmem_is_explained() -> None:
    """maxmem has no implied MiB: the message says so."""
    with pytest.raises(DescribeError, match="without a suffix is bytes"):
        described("-m 1G,maxmem=4096")


def test_backends_say_what_they_are() -> None:
    """Each memory object has its kind, size, path, sharing, and whether it is guest RAM."""
    guest = described(
        "-m 1G -M memory-backend=/objects/r -object memory-backend-memfd,id=r,size=1G,hugetlb=on "
        "-object memory-backend-file,id=x,size=64M,mem-path=/dev/shm,share=on,prealloc=yes "
        '-object {"qom-type":"memory-backend-ram","id":"y","size":1048576}'
    )
    r, x, y = guest.memory_backends
    assert (r.kind, r.size_bytes, r.backs_ram, r.share, r.hugetlb, r.prealloc) == (
        "memfd",
        GIB,
        True,
        True,
        True,
        False,
    )
    assert (x.kind, x.path, x.backs_ram, x.share, x.hugetlb, x.prealloc) == (
        "file",
        "/dev/shm",
        False,
        True,
        None,
        True,
    )
    assert (y.kind, y.size_bytes, y.backs_ram, y.share) == ("ram", MIB, False, False)
    assert guest.hugepages


def test_memory_devices_are_ram() -> None:
    """Objects behind DIMMs and virtio-mem are guest RAM; ones plugged nowhere are not."""
    guest = described(
        "-m 1G,slots=2,maxmem=8G -object memory-backend-ram,id=a,size=1G -object memory-backend-ram,id=b,size=1G "
        "-object memory-backend-ram,id=c,size=1G -device pc-dimm,memdev=a -device virtio-mem-pci,memdev=b"
    )
    assert [backend.backs_ram for backend in guest.memory_backends] == [True, True, False]


def test_the_global_switch_preallocates_all() -> None:
    """-mem-prealloc is the default of every memory object; an object's own word wins."""
    guest = described(
        "-mem-prealloc -object memory-backend-ram,id=a,size=1M -object memory-backend-ram,id=b,size=1M,prealloc=off"
    )
    assert [backend.prealloc for backend in guest.memory_backends] == [True, False]


def test_an_object_without_id_is_refused() -> None:
    """QEMU wants an id; so do we."""
    with pytest.raises(DescribeError, match="no id"):
        described("-object memory-backend-ram,size=1M")


def test_paths_locks_and_huge_pages() -> None:
    """-mem-path and locking are seen; systemd's hugetlbfs mount means huge pages."""
    guest = described("-mem-path /dev/hugepages/vm -overcommit mem-lock=on")
    assert (guest.mem_path, guest.mem_lock, guest.hugepages) == ("/dev/hugepages/vm", True, True)
    other = described("-mem-path /dev/shm -overcommit cpu-pm=on")
    assert (other.mem_lock, other.hugepages) == (False, False)


@pytest.mark.parametrize(
    "text",
    [
        "-object memory-backend-ram,id=a,size=1M -object memory-backend-ram,id=a,size=2M",
        "-m 2M -object memory-backend-ram,id=a,size=1M -numa node,memdev=a -numa node,memdev=a",
        "-m 1M,maxmem=2M -object memory-backend-ram,id=a,size=1M -M memory-backend=a -device pc-dimm,memdev=a",
    ],
)
def test_memory_is_not_counted_twice(text: str) -> None:
    """One id for two objects, or one object in two places, is refused as QEMU refuses it."""
    with pytest.raises(DescribeError):
        described(text)


@pytest.mark.parametrize(
    ("path", "huge"),
    [
        ("/dev/hugepages", True),
        ("/dev/hugepages/libvirt/qemu/1-web", True),
        ("/dev/hugepages1G/libvirt", True),
        ("/run/hugepages/kvm/2048kB", True),
        ("/dev/hugepagesX", False),
        ("/dev/shm", False),
        ("/srv/dev/hugepages", False),
    ],
)
def test_mounts_of_huge_pages_are_known_by_their_names(path: str, huge: bool) -> None:
    """systemd's, libvirt's one for each size, and Proxmox's; any other path may be one, which only the host knows."""
    assert from_qemu_argv(["-m", "1G", "-mem-path", path]).hugepages is huge
