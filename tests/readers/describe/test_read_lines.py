"""Command lines as libvirt, Proxmox, virtme and QEMU's own documentation write them: what each figure hangs on.

Every line is shortened to the options of one subject, with invented names; its source stands beside it.
"""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from guestroom.describe import from_qemu_argv, from_readconfig
from guestroom.guest import Disk, Guest, MemoryBackend, Nic, Passthrough, Video
from guestroom.units import GIB, MIB

LINES: dict[str, tuple[str, dict[str, Any]]] = {
    # libvirt tests/qemuxml2argvdata/memory-hotplug-dimm.args
    "libvirt: NUMA with a DIMM in huge pages": (
        """qemu-system-i386 -nodefaults -machine pc,usb=off -accel tcg -m size=219136k,slots=16,maxmem=1099511627776k
        -smp 2,sockets=2,cores=1,threads=1 -numa node,nodeid=0,cpus=0-1,mem=214
        -object memory-backend-ram,id=memdimm0,size=536870912
        -object memory-backend-file,id=memdimm1,mem-path=/dev/hugepages2M/libvirt/qemu/-1-G,share=on,size=536870912
        -device pc-dimm,node=0,memdev=memdimm0,id=dimm0,slot=0 -device pc-dimm,memdev=memdimm1,id=dimm1,slot=1""",
        {
            "boot_ram_bytes": 214 * MIB + GIB,
            "ram_bytes": 1 << 50,
            "numa_nodes": 1,
            "hugepages": True,
            "vcpus": 2,
        },
    ),
    # libvirt tests/qemuxml2argvdata/memory-hotplug-virtio-mem.x86_64-latest.args
    "libvirt: virtio-mem by JSON": (
        """qemu-system-x86_64 -nodefaults -m size=2095104k,slots=16,maxmem=1099511627776k
        -object '{"qom-type":"memory-backend-ram","id":"memvirtiomem0","reserve":false,"size":1073741824}'
        -device '{"driver":"virtio-mem-pci","node":0,"block-size":2097152,"requested-size":536870912,
        "memdev":"memvirtiomem0","prealloc":true,"id":"virtiomem0","bus":"pci.0","addr":"0x2"}'""",
        {"boot_ram_bytes": 2046 * MIB, "ram_bytes": 1 << 50},
    ),
    # libvirt tests/qemuxml2argvdata/iothreads-virtio-scsi-pci.x86_64-latest.args
    "libvirt: I/O threads on virtio-scsi": (
        """qemu-system-x86_64 -nodefaults -m 214 -object '{"qom-type":"iothread","id":"iothread1"}'
        -object '{"qom-type":"iothread","id":"iothread2","thread-pool-min":0,"thread-pool-max":60}'
        -device '{"driver":"virtio-scsi-pci","iothread":"iothread2","id":"scsi0","num_queues":8,"cmd_per_lun":50}'
        -blockdev '{"driver":"file","filename":"/i/1.img","node-name":"s1","auto-read-only":true,"discard":"unmap"}'
        -blockdev '{"node-name":"f1","read-only":false,"driver":"raw","file":"s1"}'
        -device '{"driver":"scsi-hd","bus":"scsi0.0","channel":0,"scsi-id":0,"lun":3,"drive":"f1","id":"d"}'""",
        {"iothreads": 2, "disks": (Disk("d", "raw", "/i/1.img", "scsi", queues=8, queue_size=50),)},
    ),
    # QEMU's announcement of iothread-vq-mapping (qemu-devel, 2023-09-18)
    "QEMU: queues mapped to I/O threads": (
        """qemu-system-x86_64 -nodefaults -m 1G -smp 4 -object iothread,id=iothread0 -object iothread,id=iothread1
        -blockdev '{"driver":"file","filename":"/d.img","node-name":"n0","aio":"native","cache":{"direct":true}}'
        --device '{"driver":"virtio-blk-pci","id":"b","drive":"n0","num-queues":4,"queue-size":128,
        "iothread-vq-mapping":[{"iothread":"iothread0","vqs":[0,2]},{"iothread":"iothread1","vqs":[1,3]}]}'""",
        {
            "iothreads": 2,
            "disks": (Disk("b", "raw", "/d.img", "virtio-blk", "none", "native", queues=4, queue_size=128),),
        },
    ),
    # qemu-server (Proxmox VE 9) qm showcmd: block nodes below a throttle filter
    "Proxmox 9: nested block nodes": (
        """/usr/bin/kvm -id 100 -nodefaults -m 2048 -object throttle-group,id=throttle-drive-scsi0
        -device virtio-scsi-pci,id=virtioscsi0,bus=pci.3,addr=0x1,iothread=iothread-virtioscsi0
        -object iothread,id=iothread-virtioscsi0
        -blockdev '{"detect-zeroes":"on","discard":"ignore","driver":"throttle","file":{"cache":{"direct":true,
        "no-flush":false},"driver":"qcow2","file":{"aio":"io_uring","driver":"file","filename":"/i/d.qcow2",
        "node-name":"e0"},"node-name":"f0","read-only":false},"node-name":"drive-scsi0",
        "throttle-group":"throttle-drive-scsi0"}'
        -device scsi-hd,bus=virtioscsi0.0,channel=0,scsi-id=0,lun=0,drive=drive-scsi0,id=scsi0,write-cache=on""",
        {"iothreads": 1, "disks": (Disk("scsi0", "qcow2", "/i/d.qcow2", "scsi", "none", "io_uring"),)},
    ),
    # libvirt tests/qemuxml2argvdata/disk-cache.x86_64-latest.args
    "libvirt: a cache that is written through": (
        """qemu-system-x86_64 -nodefaults -m 1 -blockdev '{"driver":"file","filename":"/a","node-name":"s",
        "cache":{"direct":false,"no-flush":false}}' -blockdev '{"node-name":"f","driver":"qcow2","file":"s",
        "cache":{"direct":false,"no-flush":false},"cache-size":33554432}'
        -device '{"driver":"virtio-blk-pci","drive":"f","id":"d","write-cache":"off"}'""",
        {"disks": (Disk("d", "qcow2", "/a", "virtio-blk", "writethrough", l2_cache_bytes=32 * MIB),)},
    ),
    # libvirt tests/qemuxmlconfdata/net-virtio-vhost-queues: descriptors handed over
    "libvirt: queues by file descriptors": (
        """qemu-system-x86_64 -nodefaults -m 1 -netdev '{"type":"tap","fds":"30:31:32:33","vhost":true,
        "vhostfds":"34:35:36:37","id":"hostnet0"}' -device '{"driver":"virtio-net-pci","mq":true,"vectors":10,
        "netdev":"hostnet0","id":"net0","mac":"52:54:00:00:00:01"}'""",
        {"nics": (Nic("net0", "virtio-net-pci", "tap", 4, vhost=True),)},
    ),
    # libvirt tests/qemuxml2argvdata/net-vhostuser-multiq.args and net-vdpa-multiqueue.x86_64-latest.args
    "libvirt: vhost-user and vDPA with queues": (
        """qemu-system-x86_64 -nodefaults -m 1 -chardev socket,id=c,path=/tmp/v.sock
        -netdev vhost-user,chardev=c,queues=4,id=n0 -device virtio-net-pci,netdev=n0,id=net0,mq=on,vectors=10
        -netdev '{"type":"vhost-vdpa","vhostdev":"/dev/fdset/0","queues":2,"id":"n1"}'
        -device '{"driver":"virtio-net-pci","mq":true,"vectors":6,"netdev":"n1","id":"net1"}'""",
        {
            "nics": (
                Nic("net0", "virtio-net-pci", "vhost-user", 4),
                Nic("net1", "virtio-net-pci", "vhost-vdpa", 2, vhost=True),
            )
        },
    ),
    # virtiofs guide of virtio-win, and of hermit-os
    "virtiofsd: RAM in /dev/shm and a share": (
        """qemu-system-x86_64 -nodefaults -m 4G -chardev socket,id=char0,path=/tmp/virtiofs_socket
        -device vhost-user-fs-pci,queue-size=1024,chardev=char0,tag=my_virtiofs
        -object memory-backend-file,id=mem,size=4G,mem-path=/dev/shm,share=on -numa node,memdev=mem""",
        {
            "shares": 1,
            "memory_backends": (
                MemoryBackend("mem", "file", 4 * GIB, backs_ram=True, path="/dev/shm", share=True, prealloc=False),
            ),
        },
    ),
    # QEMU docs/system/devices/virtio-9p and qemu-options.hx -virtfs
    "QEMU: 9p both ways": (
        """qemu-system-x86_64 -nodefaults -m 1 -fsdev local,id=f,path=/srv,security_model=none
        -device virtio-9p-pci,fsdev=f,mount_tag=a -virtfs local,path=/srv,mount_tag=b,security_model=mapped""",
        {"shares": 2},
    ),
    # QEMU docs/system/devices/virtio-gpu.rst
    "QEMU: virtio-gpu with host blobs": (
        """qemu-system-x86_64 -nodefaults -m 4G -display gtk,gl=on -object memory-backend-memfd,id=m,size=4G
        -machine q35,memory-backend=m -device virtio-gpu-gl,hostmem=8G,blob=true,venus=true,max_outputs=2""",
        {"videos": (Video("virtio-gpu-gl", None, 2, 8 * GIB),), "displays": ("gtk",)},
    ),
    # libvirt tests/qemuxml2argvdata/video-qxl-sec-device.args
    "libvirt: two QXL adapters": (
        """qemu-system-x86_64 -nodefaults -m 1 -spice port=0,seamless-migration=on
        -device qxl-vga,id=video0,max_outputs=1,ram_size=67108864,vram_size=67108864,bus=pci.0,addr=0x2
        -device qxl,id=video1,max_outputs=1,ram_size=67108864,vram_size=67108864,bus=pci.0,addr=0x4""",
        {"videos": (Video("qxl-vga", 128 * MIB, 1), Video("qxl", 128 * MIB, 1)), "displays": ("spice",)},
    ),
    "virt-manager's older form: -vga with -global": (
        """qemu-system-x86_64 -nodefaults -m 1 -vga qxl -global qxl-vga.ram_size=67108864
        -global qxl-vga.vram_size_mb=16""",
        {"videos": (Video("qxl", 80 * MIB),)},
    ),
    "QEMU: VGA memory of the adapter that -vga means": (
        "qemu-system-x86_64 -m 1 -nic none -vga std -global VGA.vgamem_mb=64",
        {"videos": (Video("std", 64 * MIB),), "nics": ()},
    ),
    # libvirt tests/qemuxml2argvdata/sound-device.args
    "libvirt: sound": (
        """qemu-system-x86_64 -nodefaults -m 1 -audiodev '{"id":"audio1","driver":"none"}' -soundhw pcspk
        -device ES1370,id=sound1,audiodev=audio1 -device AC97,id=sound3,audiodev=audio1
        -device ich9-intel-hda,id=sound6 -device hda-duplex,id=sound6-codec0,bus=sound6.0,cad=0,audiodev=audio1
        -device usb-audio,id=sound8,audiodev=audio1,bus=usb.0,port=1""",
        {"sounds": 4, "usb_devices": 1},
    ),
    # qemu-options.hx -audio
    "QEMU: -audio with a model": ("qemu-system-x86_64 -nodefaults -m 1 -audio driver=pa,model=virtio", {"sounds": 1}),
    # libvirt tests/qemuxml2argvdata/graphics-spice-usb-redir.x86_64-latest.args
    "libvirt: USB redirection over SPICE": (
        """qemu-system-x86_64 -nodefaults -m 1 -device '{"driver":"ich9-usb-ehci1","id":"usb","bus":"pci.0"}'
        -device '{"driver":"ich9-usb-uhci1","masterbus":"usb.0","firstport":0,"bus":"pci.0"}'
        -chardev spicevmc,id=charredir0,name=usbredir
        -device '{"driver":"usb-redir","chardev":"charredir0","id":"redir0","bus":"usb.0","port":"4"}'
        -spice port=5903,tls-port=5904,addr=127.0.0.1,x509-dir=/etc/pki,tls-channel=main -vnc none""",
        {"usb_controllers": 2, "usb_devices": 1, "displays": ("spice",)},
    ),
    # libvirt tests/qemuxml2argvdata/hostdev-vfio.args, hostdev-mdev-precreated.args
    "libvirt: VFIO and a mediated device": (
        """qemu-system-x86_64 -nodefaults -m 1 -device '{"driver":"vfio-pci","host":"0000:06:12.5","id":"hostdev0"}'
        -device vfio-pci,id=hostdev1,sysfsdev=/sys/bus/mdev/devices/53764d0e-85a0-42b4-af5c-2046b460b1dc,display=on
        -device usb-host,hostbus=14,hostaddr=6,id=hostdev2""",
        {
            "passthrough": (
                Passthrough("0000:06:12.5", "vfio-pci"),
                Passthrough("/sys/bus/mdev/devices/53764d0e-85a0-42b4-af5c-2046b460b1dc", "mdev"),
                Passthrough("14.6", "usb"),
            )
        },
    ),
    # docs/specs/tpm.rst of QEMU
    "QEMU: an emulated TPM": (
        """qemu-system-x86_64 -nodefaults -m 1024 -chardev socket,id=chrtpm,path=/tmp/swtpm-sock
        -tpmdev emulator,id=tpm0,chardev=chrtpm -device tpm-tis,tpmdev=tpm0""",
        {"tpm": True},
    ),
    "OVMF's guide: flash as drives": (
        """qemu-system-x86_64 -nodefaults -m 1G -drive if=pflash,format=raw,unit=0,file=CODE.fd,readonly=on
        -drive if=pflash,format=raw,unit=1,file=VARS.fd""",
        {
            "firmware": "CODE.fd",
            "disks": (
                Disk(None, "raw", "CODE.fd", "pflash", read_only=True),
                Disk(None, "raw", "VARS.fd", "pflash"),
            ),
        },
    ),
    "short forms, with a comma in a name": (
        "qemu-system-x86_64 -nodefaults -m 1.5G -hda a,b.img -cdrom c.iso -drive file=d,,e.img,if=virtio,format=raw",
        {
            "boot_ram_bytes": 1536 * MIB,
            "disks": (
                Disk(None, None, "a,b.img", "ide"),
                Disk(None, None, "c.iso", "ide", read_only=True, cdrom=True),
                Disk(None, "raw", "d,e.img", "virtio-blk"),
            ),
        },
    ),
    "-set changes what was said": (
        """qemu-system-x86_64 -nodefaults -m 1 -drive id=d0,if=none,file=/a.qcow2,format=qcow2
        -device virtio-blk-pci,id=b0,drive=d0 -set device.b0.queue-size=512 -set drive.d0.cache=unsafe""",
        {"disks": (Disk("b0", "qcow2", "/a.qcow2", "virtio-blk", "unsafe", queue_size=512),)},
    ),
    # docs/system/cpu-hotplug.rst of QEMU
    "QEMU: a vCPU plugged on the command line": (
        """qemu-system-x86_64 -nodefaults -m 1 -smp 1,maxcpus=2
        -device IvyBridge-IBRS-x86_64-cpu,id=cpu-2,core-id=1,socket-id=0,thread-id=0""",
        {"vcpus": 2, "max_vcpus": 2},
    ),
}


def described(line: str) -> Guest:
    """The guest of a line written for a shell."""
    return from_qemu_argv([word.replace("\n", " ") for word in shlex.split(line)])


@pytest.mark.parametrize("name", LINES)
def test_a_real_line_is_read_whole(name: str) -> None:
    """Each figure that memory hangs on is what the line says; only what no QEMU has is passed over."""
    line, expected = LINES[name]
    found = described(line)
    assert {field: getattr(found, field) for field in expected} == expected
    assert [text for text in found.unknown if not text.startswith("-id ")] == []


CONFIG = """\
[machine]
  type = "q35"
  memory-backend = "ram0"
[memory]
  size = "4096"
  slots = "2"
  maxmem = "8G"
[smp-opts]
  cpus = "2"
  maxcpus = "4"
[object "ram0"]
  qom-type = "memory-backend-memfd"
  size = "4G"
  hugetlb = "on"
[object "io0"]
  qom-type = "iothread"
[numa]
  type = "node"
  nodeid = "0"
[accel]
  accel = "kvm"
[drive "d0"]
  if = "none"
  file = "/persist/a,b.qcow2"
  format = "qcow2"
  cache = "writeback"
  aio = "io_uring"
  l2-cache-size = "8M"
[device "b0"]
  driver = "virtio-blk-pci"
  drive = "d0"
  iothread = "io0"
  num-queues = "2"
[netdev "n0"]
  type = "tap"
  vhost = "on"
  queues = "2"
[device]
  driver = "virtio-net-pci"
  netdev = "n0"
[device "v0"]
  driver = "VGA"
  vgamem_mb = "32"
[device]
  driver = "vhost-user-fs-pci"
[device "tpm"]
  driver = "tpm-crb"
[device "vfio"]
  driver = "vfio-pci"
  host = "00:02.0"
[device]
  driver = "usb-tablet"
[spice]
  port = "5900"
[vnc "default"]
  vnc = "127.0.0.1:1"
[global]
  driver = "virtio-blk-pci"
  property = "queue-size"
  value = "64"
"""


def test_a_configuration_file_can_say_all_of_it_too() -> None:
    """Every group has the meaning that its option has; commas are plain in a file."""
    found = from_readconfig(CONFIG)
    assert (found.boot_ram_bytes, found.ram_bytes, found.vcpus, found.max_vcpus) == (4 * GIB, 8 * GIB, 2, 4)
    assert found.disks == (
        Disk(
            "b0",
            "qcow2",
            "/persist/a,b.qcow2",
            "virtio-blk",
            "writeback",
            "io_uring",
            queues=2,
            queue_size=64,
            l2_cache_bytes=8 * MIB,
        ),
    )
    assert found.nics == (Nic(None, "virtio-net-pci", "tap", 2, vhost=True),)
    assert found.videos == (Video("VGA", 32 * MIB),)
    assert (found.iothreads, found.shares, found.numa_nodes, found.tpm, found.hugepages) == (1, 1, 1, True, True)
    assert (found.passthrough[0].address, found.usb_devices, found.accelerator) == ("00:02.0", 1, "kvm")
    assert found.displays == ("spice", "vnc")
    assert found.memory_backends[0].backs_ram


# lf-edge/eve pkg/pillar/hypervisor/kvm_test.go, domConfigArm64
EVE_ARM = """\
# This file is automatically generated by domainmgr
[msg]
  timestamp = "on"

[machine]
  type = "virt"
  dump-guest-core = "off"
  accel = "kvm:tcg"
  gic-version = "host"
  kernel = "/boot/kernel"
  initrd = "/boot/ramdisk"
  append = "init=/bin/sh"


[realtime]
  mlock = "off"

[memory]
  size = "10240"

[smp-opts]
  cpus = "2"
  sockets = "1"
  cores = "2"
  threads = "1"

#[device "video0"]
#  driver = "qxl-vga"
#  ram_size = "67108864"

[device "video0"]
  driver = "virtio-gpu-pci"

[device "usb"]
  driver = "qemu-xhci"
  p2 = "15"
  bus = "pci.2"

[device "input0"]
  driver = "usb-kbd"
  bus = "usb.0"

[drive "drive-virtio-disk0"]
  file = "/foo/bar.qcow2"
  format = "qcow2"
  aio = "io_uring"
  cache = "writeback"
  if = "none"

[device "virtio-disk0"]
  driver = "virtio-blk-pci"
  scsi = "off"
  drive = "drive-virtio-disk0"

[fsdev "fsdev1"]
  fsdriver = "local"
  path = "/foo/container"

[device "fs1"]
  driver = "virtio-9p-pci"
  fsdev = "fsdev1"

[device "vhost-disk5"]
  driver = "vhost-scsi-pci"
  max_sectors = "16384"
  wwpn = "naa.000000000000000a"
  num_queues = "2"

[drive "drive-sata0-3"]
  file = "/foo/cd.iso"
  format = "raw"
  if = "none"
  media = "cdrom"
  readonly = "on"

[device "sata0-0"]
  drive = "drive-sata0-3"
  driver = "usb-storage"

[netdev "hostnet0"]
  type = "tap"
  ifname = "nbu1x1"
  script = "/etc/xen/scripts/qemu-ifup"

[device "net0"]
  driver = "virtio-net-pci"
  netdev = "hostnet0"
"""


def test_eves_own_file_for_arm_is_read_whole() -> None:
    """What EVE's test expects it to write: comments in the first column, and the first accelerator of two."""
    found = from_readconfig(EVE_ARM)
    assert (found.boot_ram_bytes, found.vcpus, found.accelerator, found.kernel) == (10 * GIB, 2, "kvm", "/boot/kernel")
    assert found.disks == (
        Disk("virtio-disk0", "qcow2", "/foo/bar.qcow2", "virtio-blk", "writeback", "io_uring"),
        Disk("vhost-disk5", interface="vhost-scsi", queues=2),
        Disk("sata0-0", "raw", "/foo/cd.iso", "usb", read_only=True, cdrom=True),
    )
    assert found.videos == (Video("virtio-gpu-pci"),)
    assert (found.shares, found.usb_controllers, found.usb_devices) == (1, 1, 2)
    assert found.nics == (Nic("net0", "virtio-net-pci", "tap"),)
    assert (found.mem_lock, found.unknown) == (False, ())
