"""Our reading of a command line is QEMU's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from qemu_probe import ask, have_qemu

from guestroom.describe import from_qemu_argv
from guestroom.errors import DescribeError

pytestmark = [pytest.mark.integration, pytest.mark.skipif(not have_qemu(), reason="no qemu-system-x86_64 here")]

ACCEPTED = [
    "",
    "-m 512",
    "-m 1G",
    "-m 0.5G",
    "-m 1.1G",
    "-m 600M",
    "-m 0x200",
    "-m 524288k",
    "-m 0",
    "-m 3k",
    "-m 1.0001M",
    "-m 512.",
    "-m 0x2000b",
    "-m +512",
    "-m 512,",
    "-m 512 -m 700",
    "-m size=512,size=600",
    "--m 1G,slots=2,maxmem=4G",
    "-m slots=2,maxmem=4G -m 700",
    "-M memory.size=300M",
    "-M q35,memory.size=300M -m 200 -smp 6,sockets=2,maxcpus=12",
    "-m 256 -smp 4",
    "-smp cpus=4,maxcpus=8",
    "-smp sockets=2,cores=2,threads=1",
    "-smp maxcpus=8,sockets=2",
    "-smp 4 -smp maxcpus=8",
    "-smp 0x4",
    "-smp 010",
    "-smp 0",
    "-M smp.cpus=3,smp.maxcpus=6",
    "-M pc,memory_backend=r -object memory-backend-ram,id=r,size=768M",
    "-m 400M -object memory-backend-ram,id=a,size=200M "
    '-object {"qom-type":"memory-backend-ram","id":"b","size":209715200} '
    "-numa node,memdev=a -numa node,nodeid=1,memdev=b",
    "-m 256,slots=2,maxmem=1G -object memory-backend-ram,id=d,size=128M -device pc-dimm,memdev=d",
    "-m 256,maxmem=1G -object memory-backend-ram,id=d,size=128M -device virtio-mem-pci,memdev=d,requested-size=64M",
]
REFUSED = [
    "-m 600MB",
    "-m 1e3",
    "-m .5G",
    "-m -512",
    "-m 512,,",
    "-m 1G,slots=2,maxmem=4096",
    "-m 1M -object memory-backend-ram,id=a,size=1M -object memory-backend-ram,id=a,size=1M",
    "-m 64 -object memory-backend-ram,id=a,size=32M -numa node,memdev=a -numa node,memdev=a",
    "-smp abc",
    "-smp 4.5",
    "-smp 4,sockets=3",
    "-smp 4,maxcpus=2",
]


@pytest.mark.parametrize("text", ACCEPTED)
def test_ram_and_vcpus_are_what_qemu_says(text: str) -> None:
    """What the real QEMU makes of -m, -smp and memory objects is what the Guest says."""
    arguments = text.split()
    answers = ask(arguments, "query-memory-size-summary", "query-cpus-fast", "query-hotpluggable-cpus")
    assert answers is not None, f"QEMU refuses {text!r}"
    guest = from_qemu_argv(arguments)
    memory, cpus, slots = answers
    assert guest.boot_ram_bytes == memory["base-memory"] + memory["plugged-memory"]
    assert (guest.vcpus, guest.max_vcpus) == (len(cpus), sum(slot["vcpus-count"] for slot in slots))


@pytest.mark.parametrize("text", REFUSED)
def test_what_qemu_refuses_is_refused(text: str) -> None:
    """A size or topology that QEMU does not start with is an error here, not a number."""
    assert ask(text.split()) is None
    with pytest.raises(DescribeError):
        from_qemu_argv(text.split())


@pytest.mark.parametrize(
    ("config", "before", "after"),
    [
        ('[memory]\n  size = "300"\n[smp-opts]\n  cpus = "2"\n  maxcpus = "4"\n', "", ""),
        ('[memory]\nsize = "300"\n', "-m 200", ""),
        ('[memory]\n size = "300"\n', "", "-m 200 -smp 3"),
        ('[memory]\n size = "300"\n[memory]\n slots = "1"\n maxmem = "1G"', "", ""),
        ('[machine]\r\n type = "q35"\r\n[memory] x\r\n\tsize\t=\t"1.5G" x\r\n', "", ""),
        (
            '[object "r"]\n qom-type = "memory-backend-ram"\n size = "300M"\n[machine]\n memory-backend = "r"\n',
            "",
            "",
        ),
    ],
)
def test_configuration_files_are_read_as_qemu_does(tmp_path: Path, config: str, before: str, after: str) -> None:
    """A -readconfig file counts where it stands among the other options, as for QEMU."""
    path = tmp_path / "guest.cfg"
    path.write_bytes(config.encode())
    arguments = [*before.split(), "-readconfig", str(path), *after.split()]
    answers = ask(arguments, "query-memory-size-summary", "query-cpus-fast")
    assert answers is not None
    guest = from_qemu_argv(arguments, read_file=lambda name: Path(name).read_bytes().decode())
    assert guest.boot_ram_bytes == answers[0]["base-memory"]
    assert guest.vcpus == len(answers[1])


@pytest.mark.parametrize(
    "config",
    [
        "[memory]\n size = 300\n",
        ' size = "300"\n',
        '  [memory]\n size = "300"\n',
        '\n \n[memory]\n size = "300"\n',
        "\r\n[memory]\r\n",
    ],
)
def test_configuration_syntax_errors_are_qemus(tmp_path: Path, config: str) -> None:
    """A file QEMU can't read is an error with its line."""
    path = tmp_path / "guest.cfg"
    path.write_bytes(config.encode())
    assert ask(["-readconfig", str(path)]) is None
    with pytest.raises(DescribeError) as caught:
        from_qemu_argv(["-readconfig", str(path)], read_file=lambda name: Path(name).read_bytes().decode())
    assert f"{path}:" in (caught.value.where or "")
