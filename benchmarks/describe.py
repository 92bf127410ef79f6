"""Describing guests: 10,000 domain files beside ElementTree's bare parse of the same, and one guest of each format.

The domains are as ``virsh dumpxml`` writes them (addresses, aliases, labels, PCI ports), no two alike, in files of
their own; ElementTree builds the tree and gives it no meaning. Both take turns over slices of the files, so that other
load hits both alike.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.series import Row, interleaved, least, median
from guestroom.describe import from_kubevirt, from_libvirt, from_qemu_argv, from_readconfig
from guestroom.guest import Guest
from guestroom.size import estimate

FILES, SLICE = 10_000, 500
GOAL_S = 30.0
GOAL_MS = 1.0

_DOMAIN = """<domain type='kvm' id='{n}'>
  <name>guest-{n}</name><uuid>{n:08x}-0000-4000-8000-000000000000</uuid>
  <metadata><app:info xmlns:app='http://example.org/app/1.0'><app:os id='linux'/></app:info></metadata>
  <memory unit='KiB'>{kib}</memory><currentMemory unit='KiB'>{kib}</currentMemory>
  <memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>
  <vcpu placement='static' current='{vcpus}'>{most}</vcpu><iothreads>1</iothreads>
  <resource><partition>/machine</partition></resource>
  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type><loader readonly='yes' type='pflash'>/c.fd</loader>
    <nvram>/var/lib/libvirt/qemu/nvram/{n}.fd</nvram><boot dev='hd'/></os>
  <features><acpi/><apic/><vmport state='off'/></features>
  <cpu mode='host-passthrough' check='none' migratable='on'/>
  <clock offset='utc'><timer name='rtc' tickpolicy='catchup'/><timer name='hpet' present='no'/></clock>
  <on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
{disks}{ports}{nics}
    <controller type='usb' index='0' model='qemu-xhci' ports='15'><alias name='usb'/></controller>
    <serial type='pty'><source path='/dev/pts/{n}'/><target type='isa-serial' port='0'/><alias name='serial0'/></serial>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/><alias name='channel0'/></channel>
    <input type='tablet' bus='usb'><alias name='input0'/></input>
    <graphics type='vnc' port='-1' autoport='yes'><listen type='address' address='127.0.0.1'/></graphics>
    <audio id='1' type='none'/><video><model type='virtio' heads='1' primary='yes'/><alias name='video0'/></video>
    <memballoon model='virtio'><stats period='5'/><alias name='balloon0'/></memballoon>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend><alias name='rng0'/></rng>
  </devices>
  <seclabel type='dynamic' model='dac' relabel='yes'><label>+64055:+64055</label></seclabel>
</domain>
"""
_DISK = """    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='none' io='native' discard='unmap'/>
      <source file='/var/lib/libvirt/images/{n}-{d}.qcow2' index='{d}'/><backingStore/>
      <target dev='vd{letter}' bus='virtio'/><alias name='virtio-disk{d}'/>
      <address type='pci' domain='0x0000' bus='0x{d:02x}' slot='0x00' function='0x0'/>
    </disk>
"""
_PORT = """    <controller type='pci' index='{d}' model='pcie-root-port'><model name='pcie-root-port'/>
      <target chassis='{d}' port='0x{d:x}'/><alias name='pci.{d}'/>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x02' function='0x{d:x}' multifunction='on'/></controller>
"""
_NIC = """    <interface type='bridge'><mac address='52:54:00:{n:06x}'/><source bridge='br0'/><target dev='vnet{n}'/>
      <model type='virtio'/><driver name='vhost' queues='{vcpus}'/><alias name='net0'/></interface>
"""


def domain(n: int) -> str:
    """The domain of guest ``n``: 1 to 4 disks, 1 to 8 vCPUs, 0.5 to 8 GiB."""
    disks = "".join(_DISK.format(n=n, d=d, letter="abcd"[d]) for d in range(1 + n % 4))
    ports = "".join(_PORT.format(d=d) for d in range(1, 8))
    vcpus = 1 + n % 8
    nics = _NIC.format(n=n, vcpus=vcpus)
    return _DOMAIN.format(n=n, kib=(1 + n % 16) << 19, vcpus=vcpus, most=2 * vcpus, disks=disks, ports=ports, nics=nics)


def measure(rounds: int) -> list[Row]:
    """All files once beside ElementTree, then one guest of each format, sized by ``eve``, warm."""
    with tempfile.TemporaryDirectory() as folder:
        paths = _written(Path(folder))
        return [_files(paths), *_formats(rounds)]


def _written(folder: Path) -> list[Path]:
    paths = [folder / f"{n}.xml" for n in range(FILES)]
    for n, path in enumerate(paths):
        path.write_text(domain(n))
    return paths


def _files(paths: list[Path]) -> Row:
    ours_s = bare_s = 0.0
    for start in range(0, len(paths), SLICE):
        part = paths[start : start + SLICE]
        bare_s += _timed(part, lambda path: ElementTree.parse(path))
        ours_s += _timed(part, lambda path: _checked(from_libvirt(path.read_text())))
    size_kib = sum(path.stat().st_size for path in paths) / len(paths) / 1024
    return {
        "what": f"{len(paths):,} domain files of {size_kib:.1f} KiB",
        "took s": round(ours_s, 2),
        "ElementTree s": round(bare_s, 2),
        "ratio": round(ours_s / bare_s, 2),
        "goal": f"{GOAL_S:.0f} s",
        "kept": "yes" if ours_s <= GOAL_S else "NO",
    }


def _timed(paths: list[Path], work: Callable[[Path], object]) -> float:
    began_s = time.perf_counter()
    for path in paths:
        work(path)
    return time.perf_counter() - began_s


def _checked(guest: Guest) -> Guest:
    """A reader that gives up early would be fast."""
    if guest.ram_bytes is None or not guest.disks or not guest.nics or guest.unknown:
        raise ValueError(f"guest {guest.name} was not read whole")
    return guest


_LINE = (
    "qemu-system-x86_64 -name web -machine q35,accel=kvm -m 4G,slots=4,maxmem=16G -smp 4 -nodefaults "
    "-object iothread,id=io0 -drive file=/a.qcow2,format=qcow2,if=none,id=d0,cache=none,aio=native "
    "-device virtio-blk-pci,drive=d0,iothread=io0,num-queues=4 -netdev tap,id=n0,vhost=on "
    "-device virtio-net-pci,netdev=n0 -device virtio-vga,max_outputs=1 -vnc :1 -device virtio-balloon-pci "
    "-device qemu-xhci -device usb-tablet -qmp unix:/q.sock,server=on,wait=off"
)
_ARGV = _LINE.split()
_CONFIG = '[machine]\n  type = "q35"\n[memory]\n  size = "4096"\n[smp-opts]\n  cpus = "4"\n' + "".join(
    f'[drive "d{n}"]\n  file = "/d{n}"\n  format = "qcow2"\n  if = "none"\n'
    f'[device]\n  driver = "virtio-blk-pci"\n  drive = "d{n}"\n'
    for n in range(4)
)
_MACHINE = {
    "kind": "VirtualMachineInstance",
    "metadata": {"name": "web"},
    "spec": {
        "domain": {
            "cpu": {"cores": 4},
            "memory": {"guest": "4Gi"},
            "devices": {"disks": [{"name": f"d{n}", "disk": {"bus": "virtio"}} for n in range(4)]},
        },
        "volumes": [{"name": f"d{n}", "dataVolume": {"name": f"d{n}"}} for n in range(4)],
    },
}


def _formats(rounds: int) -> list[Row]:
    as_json, as_xml = json.dumps(_MACHINE), domain(3)
    works: dict[str, Callable[[], object]] = {
        "command line": lambda: estimate(from_qemu_argv(_ARGV), "eve"),
        "-readconfig": lambda: estimate(from_readconfig(_CONFIG), "eve"),
        "libvirt XML": lambda: estimate(from_libvirt(as_xml), "eve"),
        "KubeVirt JSON": lambda: estimate(from_kubevirt(as_json), "eve"),
    }
    took = interleaved({name: _warm(work) for name, work in works.items()}, rounds)
    return [
        {
            "what": f"one guest sized from its {name}",
            "median ms": median([each / _TIMES for each in values]),
            "least ms": least([each / _TIMES for each in values]),
            "goal": f"{GOAL_MS:.0f} ms" if name == "command line" else "",
            "kept": ("yes" if median(values) / _TIMES <= GOAL_MS else "NO") if name == "command line" else "",
        }
        for name, values in took.items()
    ]


_TIMES = 100


def _warm(work: Callable[[], object]) -> Callable[[], None]:
    def many() -> None:
        for _ in range(_TIMES):
            work()

    return many
