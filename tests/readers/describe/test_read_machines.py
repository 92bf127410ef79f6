"""KubeVirt's own examples (kubevirt/kubevirt, examples/), shortened: what is in them and what KubeVirt fills in."""

from __future__ import annotations

from typing import Any

import pytest

from guestroom.describe import from_kubevirt
from guestroom.guest import Disk, Nic, Passthrough, Video
from guestroom.size import estimate
from guestroom.size.kubevirt import page_tables
from guestroom.units import GIB, MIB

POD = Nic("default", None, "tap", vhost=True)
VGA = Video("vga", 16 * MIB, 1)
CIRROS = """
kind: VirtualMachine
metadata: {name: vm-cirros}
spec:
  running: false
  template:
    metadata: {labels: {kubevirt.io/vm: vm-cirros}}
    spec:
      domain:
        devices:
          disks:
          - disk: {bus: virtio}
            name: containerdisk
          - disk: {bus: virtio}
            name: cloudinitdisk
        resources:
          requests: {memory: 128Mi}
      terminationGracePeriodSeconds: 0
      volumes:
      - containerDisk: {image: cirros-container-disk-demo}
        name: containerdisk
      - cloudInitNoCloud:
          userData: |
            #!/bin/sh

            echo 'printed from cloud-init userdata'
        name: cloudinitdisk
"""
WINDOWS = """
kind: VirtualMachineInstance
metadata: {name: vmi-windows}
spec:
  domain:
    clock: {timer: {hpet: {present: false}, hyperv: {}, pit: {tickPolicy: delay}}, utc: {}}
    cpu: {cores: 2}
    devices:
      disks:
      - disk: {bus: sata}
        name: pvcdisk
      interfaces:
      - masquerade: {}
        model: e1000
        name: default
    features: {acpi: {}, apic: {}, hyperv: {relaxed: {}, spinlocks: {spinlocks: 8191}}}
    firmware: {uuid: 5d307ca9-b3ef-428c-8861-06e72d69f223}
    resources: {requests: {memory: 2Gi}}
  networks:
  - name: default
    pod: {}
  volumes:
  - name: pvcdisk
    persistentVolumeClaim: {claimName: disk-windows}
"""
USB = """
kind: VirtualMachineInstance
metadata: {name: vmi-usb}
spec:
  domain:
    cpu: {cores: 1, sockets: 1, threads: 1}
    devices:
      disks: [{disk: {bus: virtio}, name: containerdisk}]
      hostDevices:
      - deviceName: kubevirt.io/storage
        name: node-usb-to-vmi-storage
      rng: {}
    memory: {guest: 128Mi}
    resources: {requests: {memory: 1024M}}
  volumes:
  - containerDisk: {image: fedora}
    name: containerdisk
"""
GPU = """
kind: VirtualMachineInstance
metadata: {name: vmi-gpu}
spec:
  domain:
    devices:
      gpus:
      - deviceName: nvidia.com/GP102GL_Tesla_P40
        name: gpu1
    memory: {guest: 1024M}
    resources: {}
"""
REPLICAS = """
kind: VirtualMachineInstanceReplicaSet
metadata: {name: testreplicaset}
spec:
  replicas: 3
  selector: {matchLabels: {myvmi: myvmi}}
  template:
    metadata: {name: test}
    spec:
      domain:
        devices: {disks: [{disk: {bus: virtio}, name: containerdisk}]}
        resources: {requests: {memory: 64M}}
      volumes: [{containerDisk: {image: cirros}, name: containerdisk}]
"""
POOL = """
kind: VirtualMachinePool
metadata: {name: vm-pool-cirros}
spec:
  replicas: 3
  virtualMachineTemplate:
    metadata: {labels: {kubevirt.io/vmpool: p}}
    spec:
      template:
        spec:
          domain:
            devices: {disks: [{disk: {bus: virtio}, name: containerdisk}]}
            resources: {requests: {memory: 128Mi}}
          volumes: [{containerDisk: {image: cirros}, name: containerdisk}]
"""
CONTAINER = Disk("containerdisk", "qcow2", "cirros", "virtio-blk")
EXAMPLES: dict[str, tuple[str, dict[str, Any]]] = {
    "vm-cirros.yaml": (
        CIRROS,
        {
            "name": "vm-cirros",
            "ram_bytes": 128 * MIB,
            "vcpus": 1,
            "disks": (
                Disk("containerdisk", "qcow2", "cirros-container-disk-demo", "virtio-blk"),
                Disk("cloudinitdisk", "raw", None, "virtio-blk"),
            ),
            "nics": (POD,),
            "videos": (VGA,),
            "balloon": True,
        },
    ),
    "vmi-windows.yaml": (
        WINDOWS,
        {
            "ram_bytes": 2 * GIB,
            "vcpus": 2,
            "disks": (Disk("pvcdisk", "raw", "disk-windows", "ide"),),
            "nics": (Nic("default", "e1000", "tap"),),
        },
    ),
    "vmi-usb.yaml": (
        USB,
        {"ram_bytes": 128 * MIB, "vcpus": 1, "passthrough": (Passthrough("kubevirt.io/storage", "vfio-pci"),)},
    ),
    "vmi-gpu.yaml": (
        GPU,
        {"ram_bytes": 1_024_000_000, "passthrough": (Passthrough("nvidia.com/GP102GL_Tesla_P40", "gpu"),)},
    ),
    "vmi-replicaset-cirros.yaml": (REPLICAS, {"name": "test", "ram_bytes": 64_000_000, "disks": (CONTAINER,)}),
    "vm-pool-cirros.yaml": (POOL, {"name": None, "ram_bytes": 128 * MIB, "disks": (CONTAINER,)}),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_read_whole(name: str) -> None:
    """Every figure is what KubeVirt would start; nothing of it is passed over."""
    text, expected = EXAMPLES[name]
    found = from_kubevirt(text)
    assert {field: getattr(found, field) for field in expected} == expected
    assert found.unknown == ()


def test_a_usb_device_counts_as_kubevirt_counts_it() -> None:
    """``hasHostDev`` asks for any host device: 1 GiB; page tables are of the 1024 MB requested, not of the RAM."""
    found = estimate(from_kubevirt(USB), "kubevirt")
    fixed_mib = 25 + 100 + 25 + 40 + 50 + 8 + 8 + 32 + 1024
    assert found.overhead_bytes == fixed_mib * MIB + page_tables(1_024_000_000).bytes
