"""libvirt domains: what QEMU will be started with, and nothing from what is hostile or no domain."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestroom.describe import from_libvirt
from guestroom.errors import DescribeError
from guestroom.guest import Guest
from guestroom.units import GIB, MIB

PLAIN = """<domain type='kvm'>
  <name>web</name>
  <memory unit='GiB'>2</memory>
  <currentMemory unit='GiB'>1</currentMemory>
  <vcpu current='2'>4</vcpu>
  <iothreads>2</iothreads>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices>%s</devices>
  %s
</domain>"""


def guest(devices: str = "", more: str = "") -> Guest:
    """A plain domain with these devices, and this beside them."""
    return from_libvirt(PLAIN % (devices, more))


def test_the_plain_figures() -> None:
    """Name, RAM (not what the balloon leaves of it), vCPUs now and at most, iothreads, machine and accelerator."""
    found = guest()
    assert (found.name, found.ram_bytes, found.boot_ram_bytes) == ("web", 2 * GIB, 2 * GIB)
    assert (found.vcpus, found.max_vcpus, found.iothreads) == (2, 4, 2)
    assert (found.arch, found.machine, found.accelerator, found.source) == ("x86_64", "q35", "kvm", "libvirt")
    assert found.balloon, "libvirt adds one by itself"


def test_ram_is_rounded_as_libvirt_rounds_it() -> None:
    """219136 KiB are 214 MiB; a bare number is KiB."""
    assert from_libvirt("<domain><memory>219100</memory></domain>").ram_bytes == 214 * MIB


def test_memory_that_may_be_plugged_is_promised() -> None:
    """maxMemory counts as RAM promised; DIMMs are part of <memory> and of what is there at boot."""
    text = """<domain><maxMemory slots='4' unit='GiB'>8</maxMemory><memory unit='GiB'>3</memory>
      <devices><memory model='dimm'><target><size unit='GiB'>1</size></target></memory></devices></domain>"""
    found = from_libvirt(text)
    assert (found.boot_ram_bytes, found.ram_bytes) == (3 * GIB, 8 * GIB)


def test_numa_cells_are_the_ram() -> None:
    """With cells it is their sum that QEMU gets, with a backend for each."""
    text = """<domain><memory unit='GiB'>9</memory><cpu><numa><cell id='0' memory='1' unit='GiB'/>
      <cell id='1' memory='1048576'/></numa></cpu></domain>"""
    found = from_libvirt(text)
    assert found.ram_bytes == 2 * GIB
    assert [backend.size_bytes for backend in found.memory_backends] == [GIB, GIB]


def test_what_backs_the_ram() -> None:
    """memfd is shared unless told otherwise, huge pages are files, locked memory is locked."""
    found = guest(more="<memoryBacking><source type='memfd'/><hugepages/><locked/></memoryBacking>")
    (backend,) = found.memory_backends
    assert (backend.kind, backend.share, backend.hugetlb) == ("memfd", True, True)
    assert found.mem_lock
    assert found.hugepages


def test_disks_with_their_back_ends() -> None:
    """Format, cache, aio, queues, L2 cache, front end; a drive without a medium is none."""
    devices = """
      <disk type='file' device='disk'>
        <driver name='qemu' type='qcow2' cache='none' io='native' queues='4' queue_size='256'>
        <metadata_cache><max_size unit='MiB'>8</max_size></metadata_cache></driver>
        <source file='/a.qcow2'/><target dev='vda' bus='virtio'/></disk>
      <disk type='block' device='disk'><source dev='/dev/sdb'/><target dev='sda' bus='scsi'/><readonly/></disk>
      <disk type='file' device='cdrom'><target dev='hdc' bus='ide'/></disk>
      <disk type='file' device='cdrom'><source file='/i.iso'/><target dev='hdd' bus='ide'/></disk>"""
    first, second, cdrom = guest(devices).disks
    assert (first.format, first.file, first.interface, first.cache, first.aio) == (
        "qcow2",
        "/a.qcow2",
        "virtio-blk",
        "none",
        "native",
    )
    assert (first.queues, first.queue_size, first.l2_cache_bytes) == (4, 256, 8 * MIB)
    assert (second.format, second.interface, second.read_only) == ("raw", "scsi", True)
    assert cdrom.cdrom


def test_flash_is_two_disks() -> None:
    """UEFI code and variables are block devices; a stateless one has no variables."""
    efi = PLAIN.replace("<os>", "<os firmware='efi'>") % ("", "")
    assert [disk.interface for disk in from_libvirt(efi).disks] == ["pflash", "pflash"]
    stateless = efi.replace("hvm</type>", "hvm</type><loader stateless='yes'/>")
    assert len(from_libvirt(stateless).disks) == 1


def test_networks_graphics_and_the_rest() -> None:
    """Cards with queues and vhost, adapters with their memory, displays, passed-through devices, shares, TPM, USB."""
    devices = """
      <interface type='bridge'><model type='virtio'/><driver queues='8'/><target dev='tap0'/></interface>
      <interface type='user'><model type='e1000'/></interface>
      <interface type='hostdev'><source>
        <address type='pci' domain='0x0000' bus='0x03' slot='0x10' function='0x1'/></source></interface>
      <graphics type='vnc'/><graphics type='spice'/>
      <video><model type='qxl' ram='65536' vram='65536' vgamem='16384' heads='2'/></video>
      <hostdev mode='subsystem' type='usb'><source><address bus='1' device='4'/></source></hostdev>
      <filesystem type='mount'><driver type='virtiofs'/></filesystem>
      <tpm model='tpm-crb'/><memballoon model='none'/>
      <controller type='usb' model='qemu-xhci'/><input type='tablet' bus='usb'/>"""
    found = guest(devices)
    assert [(nic.model, nic.backend, nic.queues, nic.vhost) for nic in found.nics] == [
        ("virtio", "tap", 8, True),
        ("e1000", "user", None, False),
    ]
    assert found.displays == ("vnc", "spice")
    assert [(video.model, video.vga_bytes, video.outputs) for video in found.videos] == [("qxl", 128 * MIB, 2)]
    assert [(one.address, one.kind) for one in found.passthrough] == [("1.4", "usb"), ("0000:03:10.1", "vfio-pci")]
    assert (found.shares, found.tpm, found.balloon) == (1, True, False)
    assert (found.usb_controllers, found.usb_devices) == (1, 2)


def test_a_passed_through_command_line_counts() -> None:
    """What <qemu:commandline> adds is read as QEMU reads it."""
    more = """<qemu:commandline><qemu:arg value='-device'/><qemu:arg value='virtio-net-pci,netdev=x'/>
      <qemu:arg value='-object'/><qemu:arg value='memory-backend-ram,id=extra,size=64M'/></qemu:commandline>"""
    found = guest(more=more)
    assert [nic.model for nic in found.nics] == ["virtio-net-pci"]
    assert [backend.size_bytes for backend in found.memory_backends] == [64 * MIB]


def test_what_nobody_knows_is_kept() -> None:
    """An element of a later libvirt is no error."""
    assert guest(more="<future/>").unknown == ("<future>",)


def test_what_is_not_said_is_unknown() -> None:
    """A domain without memory has unknown RAM, not none."""
    assert from_libvirt("<domain/>").ram_bytes is None


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "not well-formed"),
        ("no xml", "not well-formed"),
        ("<domain>", "not well-formed"),
        ("<network/>", "no libvirt domain"),
        ("<!DOCTYPE d [<!ENTITY a 'b'>]><domain>&a;</domain>", "document type"),
        ("<domain><memory unit='KiB'>-5</memory></domain>", "negative"),
        ("<domain><memory unit='parsec'>5</memory></domain>", "unknown unit"),
        ("<domain><memory>1e9</memory></domain>", "is not a"),
        ("<domain><vcpu>0</vcpu></domain>", "not a count"),
        ("<domain><vcpu>nine</vcpu></domain>", "not a count"),
        ("<domain><iothreads>-1</iothreads></domain>", "not a count"),
        ("<domain><cpu><numa><cell id='0'/></numa></cpu></domain>", "no memory"),
        ("<domain><devices><disk><driver queues='-5'/></disk></devices></domain>", "not a number"),
        ("<domain>\x00</domain>", "not well-formed"),
        ("<a>" * 100 + "</a>" * 100, "deeper than"),
        ("<domain>" + "<x/>" * 100_001 + "</domain>", "more than 100000 elements"),
        ("<domain>" + " " * (4 * MIB) + "</domain>", "long"),
        ("<domain>\ud800</domain>", "no encoding"),
    ],
)
def test_what_is_hostile_or_wrong_is_one_error(text: str, word: str) -> None:
    """Entity bombs, depth, size, counts and sizes: each is refused with a sentence, none with a traceback."""
    with pytest.raises(DescribeError, match=word):
        from_libvirt(text)


@given(st.text(alphabet="<>/='\"& abdomvcpu0123456789[]!-\n", max_size=200))
def test_no_text_gives_a_traceback(text: str) -> None:
    """Whatever comes, it is a guest or an error of ours."""
    for candidate in (text, f"<domain>{text}</domain>", f"<domain><memory>{text}</memory></domain>"):
        try:
            found = from_libvirt(candidate)
        except DescribeError:
            continue
        assert found.source == "libvirt"


def test_a_large_domain_is_fast_enough_to_size_thousands() -> None:
    """A thousand disks are read without quadratic work: ten times the disks take at most 40 times as long."""
    from time import process_time

    disk = "<disk type='file'><source file='/a'/><target dev='v' bus='virtio'/></disk>"
    took: dict[int, list[float]] = {100: [], 1000: []}
    for count in (100, 1000) * 5:  # turn by turn, the best of each: other work on the machine hits both
        began_s = process_time()
        assert len(guest(disk * count).disks) == count
        took[count].append(process_time() - began_s)
    assert min(took[1000]) < 40 * min(took[100])


def devices_of(inside: str, arch: str = "x86_64") -> Guest:
    """A domain with these devices."""
    os = f"<os><type arch='{arch}'>hvm</type></os>"
    return from_libvirt(f"<domain type='kvm'><memory>1048576</memory>{os}<devices>{inside}</devices></domain>")


@pytest.mark.parametrize(
    ("disk", "seen"),
    [
        ("<source file='/a'/>", ("raw", None, "virtio-blk")),
        ("<driver type='qcow2'/><source file='/a'/><shareable/>", ("qcow2", "none", "virtio-blk")),
        ("<driver type='raw'/><source file='/a'><encryption format='luks'/></source>", ("luks", None, "virtio-blk")),
        (
            "<driver type='raw'/><source><encryption format='luks' engine='librbd'/></source>",
            ("raw", None, "virtio-blk"),
        ),
        ("<driver type='fat' cache='default'/><source dir='/d'/>", ("raw", None, "virtio-blk")),
    ],
)
def test_a_disks_format_and_cache_are_those_qemu_is_given(disk: str, seen: tuple[str, str | None, str]) -> None:
    """QEMU decrypts a raw image in LUKS unless the storage does; a shared disk is not cached; a folder is raw."""
    (found,) = devices_of(f"<disk type='file'>{disk}<target dev='vda' bus='virtio'/></disk>").disks
    assert (found.format, found.cache, found.interface) == seen


def test_a_vhost_user_disk_has_no_format_of_its_own() -> None:
    """Its back end is another process."""
    inside = "<driver type='raw' queues='4'/><source type='unix' path='/s'/><target dev='vda' bus='virtio'/>"
    (found,) = devices_of(f"<disk type='vhostuser'>{inside}</disk>").disks
    assert (found.format, found.interface, found.queues) == (None, "vhost-user-blk", 4)


def test_scsi_disks_have_the_queues_of_their_controller() -> None:
    """By the address's controller, 0 where none is said; host devices on SCSI are raw disks and may be read-only."""
    found = devices_of(
        "<disk type='file'><source file='/a'/><target dev='sda' bus='scsi'/></disk>"
        "<disk type='file'><source file='/b'/><target dev='sdb' bus='scsi'/><address controller='1'/></disk>"
        "<hostdev type='scsi'><readonly/><address controller='1'/></hostdev>"
        "<controller type='scsi' index='0'><driver queues='8' cmd_per_lun='50'/></controller>"
        "<controller type='scsi' index='1'><driver cmd_per_lun='900'/></controller>"
    )
    assert [(one.queues, one.queue_size) for one in found.disks] == [(8, 50), (None, 256), (None, 256)]
    assert (found.disks[2].format, found.disks[2].read_only) == ("raw", True)


@pytest.mark.parametrize(
    ("inside", "arch", "seen"),
    [
        ("<video><model type='qxl'/></video>", "x86_64", ("qxl", 128 * MIB)),
        ("<video><model type='qxl' vram='32768'/></video>", "x86_64", ("qxl", 96 * MIB)),
        ("<video><model type='vga'/></video>", "x86_64", ("vga", 16 * MIB)),
        ("<video><model type='virtio'/></video>", "x86_64", ("virtio", None)),
        ("<graphics type='vnc'/>", "x86_64", ("cirrus", None)),
        ("<graphics type='vnc'/>", "ppc64le", ("vga", 16 * MIB)),
        ("<graphics type='vnc'/>", "aarch64", ("virtio", None)),
    ],
)
def test_video_memory_that_is_not_said_is_libvirts_default(
    inside: str, arch: str, seen: tuple[str, int | None]
) -> None:
    """QXL has RAM and VRAM of 64 MiB each, VGA 16 MiB; which adapter graphics bring depends on the architecture."""
    (found,) = devices_of(inside, arch).videos
    assert (found.model, found.vga_bytes) == seen


def test_vnc_that_listens_nowhere_is_no_display() -> None:
    """libvirt says ``-vnc none`` for it."""
    found = devices_of("<graphics type='vnc'><listen type='none'/></graphics><graphics type='spice'/>")
    assert found.displays == ("spice",)


def test_vdpa_is_vhost_whatever_its_model() -> None:
    """The device's queues are in the kernel."""
    (found,) = devices_of(
        "<interface type='vdpa'><source dev='/dev/vhost-vdpa-0'/><driver queues='2'/></interface>"
    ).nics
    assert (found.backend, found.vhost, found.queues) == ("vhost-vdpa", True, 2)


def test_sound_cards_are_counted_without_the_pc_speaker() -> None:
    """``pcspk`` is part of the board."""
    assert devices_of("<sound model='ich9'/><sound model='pcspk'/><sound model='usb'/>").sounds == 2


@pytest.mark.parametrize(
    ("loader", "read_only"),
    [
        ("<loader readonly='yes' type='pflash'>/c.fd</loader>", True),
        ("<loader type='pflash'>/c.fd</loader>", False),
        ("<loader readonly='no'>/c.fd</loader>", False),
    ],
)
def test_firmware_is_read_only_where_it_says_so(loader: str, read_only: bool) -> None:
    """A flash image without ``readonly`` is written to."""
    found = from_libvirt(f"<domain><memory>1</memory><os>{loader}</os></domain>")
    assert [disk.read_only for disk in found.disks] == [read_only]
