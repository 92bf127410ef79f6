"""The XML reader against the libvirt of this machine: its command line for a domain describes the same guest."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.libvirt_host import Libvirt

from guestroom.describe import from_libvirt, from_qemu_argv
from guestroom.guest import Guest

pytestmark = pytest.mark.integration

DOMAIN = """<domain type='qemu'><name>d</name><memory unit='KiB'>{memory}</memory>{more}<vcpu>{vcpus}</vcpu>
<os><type arch='x86_64' machine='{machine}'>hvm</type></os>
<devices><emulator>{emulator}</emulator>{devices}</devices></domain>"""
DISKS = """<disk type='file' device='disk'><driver name='qemu' type='raw' cache='none' io='threads'/>
<source file='{folder}/a.img'/><target dev='vda' bus='virtio'/></disk>
<disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>"""
GRAPHICS = "<graphics type='vnc' autoport='yes'/><video><model type='qxl'/></video><input type='tablet' bus='usb'/>"
NETWORK = (
    "<interface type='user'><model type='virtio'/></interface><interface type='user'><model type='e1000'/></interface>"
)
DIMMS = """<memory model='dimm'><target><size unit='MiB'>256</size><node>0</node></target></memory>"""
NUMA = """<maxMemory slots='4' unit='GiB'>8</maxMemory>
<cpu><numa><cell id='0' cpus='0' memory='{memory}' unit='KiB'/></numa></cpu>"""


@pytest.fixture(scope="module")
def libvirt() -> Iterator[Libvirt]:
    """A libvirtd of our own."""
    with Libvirt() as running:
        yield running


def both(libvirt: Libvirt, folder: Path, xml: str) -> tuple[Guest, Guest]:
    """The guest of the XML, and of the command line libvirt makes of it."""
    (folder / "d.xml").write_text(xml)
    done = libvirt.virsh("domxml-to-native", "qemu-argv", str(folder / "d.xml"))
    assert done.returncode == 0, done.stderr
    words = shlex.split(done.stdout.replace("\\\n", " "))
    start = next(i for i, word in enumerate(words) if "qemu-system" in word and "=" not in word)
    return from_libvirt(xml), from_qemu_argv(words[start:])


@pytest.mark.parametrize("machine", ["pc", "q35"])
@pytest.mark.parametrize(
    ("memory", "vcpus", "devices", "more"),
    [
        (262144, 1, "", ""),
        (219136, 3, DISKS, ""),
        (1048576, 2, DISKS + NETWORK + GRAPHICS, "<iothreads>2</iothreads>"),
        (524288, 1, "<memballoon model='none'/>", ""),
        (786432, 1, DIMMS, NUMA.format(memory=524288)),
        (524288, 1, "", "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"),
    ],
)
def test_both_formats_describe_one_guest(
    libvirt: Libvirt, tmp_path: Path, machine: str, memory: int, vcpus: int, devices: str, more: str
) -> None:
    """RAM, vCPUs and device counts of the XML are those of the command line."""
    (tmp_path / "a.img").write_bytes(b"\0" * 4096)
    emulator = shutil.which("qemu-system-x86_64")
    filled = devices.replace("{folder}", str(tmp_path))
    xml = DOMAIN.format(memory=memory, vcpus=vcpus, machine=machine, emulator=emulator, devices=filled, more=more)
    one, other = both(libvirt, tmp_path, xml)
    for figure in ("ram_bytes", "boot_ram_bytes", "vcpus", "max_vcpus", "iothreads", "balloon", "tpm", "usb_devices"):
        assert getattr(one, figure) == getattr(other, figure), figure
    for devices_of in ("disks", "nics", "videos", "passthrough"):
        assert len(getattr(one, devices_of)) == len(getattr(other, devices_of)), devices_of
    assert [b.size_bytes for b in one.memory_backends if b.kind == "memfd"] == [
        b.size_bytes for b in other.memory_backends if b.kind == "memfd"
    ]
