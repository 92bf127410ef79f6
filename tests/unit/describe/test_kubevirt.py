"""KubeVirt machines: every field that a figure hangs on, and what is refused."""

from __future__ import annotations

import json
import time

import pytest

from guestroom.describe import from_kubevirt
from guestroom.errors import DescribeError, GuestroomError, InputError
from guestroom.guest import Guest, KubeVirtTraits, Passthrough
from guestroom.size import estimate
from guestroom.size.kubevirt import page_tables
from guestroom.units import GIB, MIB

FULL = """
apiVersion: v1
kind: Service
metadata: {name: other}
---
# what kubectl get vm web -o yaml says
kind: VirtualMachine
metadata:
  name: web
spec:
  runStrategy: Always
  template:
    spec:
      architecture: arm64
      domain:
        cpu: {cores: 2, sockets: 2, threads: 1, maxSockets: 4, dedicatedCpuPlacement: true}
        memory: {guest: 4Gi, maxGuest: 16Gi, hugepages: {pageSize: 2Mi}}
        machine: {type: virt}
        firmware: {bootloader: {efi: {secureBoot: false}}}
        ioThreadsPolicy: supplementalPool
        ioThreads: {supplementalPoolThreadCount: 3}
        flux: {}
        devices:
          blockMultiQueue: true
          autoattachMemBalloon: false
          disks:
            - {name: root, disk: {bus: virtio}, cache: none, io: native}
            - {name: tools, cdrom: {bus: sata}}
            - {name: empty, cdrom: {bus: sata}}
          interfaces:
            - {name: default, masquerade: {}}
            - {name: old, model: e1000, bridge: {}}
            - {name: fast, sriov: {}}
          gpus: [{name: g, deviceName: nvidia.com/T4}]
          filesystems: [{name: share, virtiofs: {}}]
          tpm: {}
      volumes:
        - {name: root, dataVolume: {name: web-root}}
        - {name: tools, containerDisk: {image: "tools:1"}}
"""


def machine(domain: str = "", spec: str = "", resources: str = "requests: {memory: 2Gi}") -> Guest:
    """An instance of 2 GiB and 1 vCPU with more in its domain and beside it."""
    text = f"kind: VirtualMachineInstance\nspec:\n  domain: {{resources: {{{resources}}}, {domain}}}\n"
    return from_kubevirt(f"{text}{spec}")


def overhead_mib(guest: Guest) -> float:
    """What KubeVirt's own sum says, in MiB."""
    return estimate(guest, "kubevirt").overhead_bytes / MIB


def test_every_field_of_a_full_machine_is_read() -> None:
    """RAM, vCPUs, disks with their volumes, cards and devices of a VirtualMachine among other documents."""
    found = from_kubevirt(FULL)
    assert (found.name, found.arch, found.machine, found.firmware) == ("web", "aarch64", "virt", "efi")
    assert (found.boot_ram_bytes, found.ram_bytes, found.hugepages) == (4 * GIB, 16 * GIB, True)
    assert (found.vcpus, found.max_vcpus, found.iothreads, found.shares) == (4, 8, 3, 1)
    root, tools = found.disks
    assert (root.file, root.format, root.interface, root.cache, root.aio) == (
        "web-root",
        "raw",
        "virtio-blk",
        "none",
        "native",
    )
    assert (root.queues, root.read_only) == (4, False)
    assert (tools.file, tools.format, tools.interface, tools.cdrom, tools.read_only) == (
        "tools:1",
        "qcow2",
        "ide",
        True,
        True,
    )
    assert [(nic.model, nic.backend, nic.vhost) for nic in found.nics] == [(None, "tap", True), ("e1000", "tap", False)]
    assert found.passthrough == (Passthrough("nvidia.com/T4", "gpu"), Passthrough(None, "vfio-pci"))
    assert found.tpm
    assert not found.balloon
    assert found.unknown == ("domain.flux",)
    assert found.source == "kubevirt"


def test_what_is_not_said_is_unknown() -> None:
    """With an instance type in the cluster and an empty domain there is no RAM, vCPUs or name that anybody knows."""
    typed = "instancetype: {name: u1.small}, template: {spec: {domain: {}}}"
    found = from_kubevirt(f"kind: VirtualMachine\nspec: {{{typed}}}")
    assert (found.name, found.ram_bytes, found.vcpus, found.max_vcpus, found.arch) == (None, None, None, None, None)
    assert found.kubevirt == KubeVirtTraits()
    assert found.balloon
    assert found.unknown == ("spec.instancetype",)


@pytest.mark.parametrize(
    ("resources", "vcpus"),
    [("", 1), ("requests: {cpu: 2500m}", 3), ("requests: {cpu: 1}, limits: {cpu: 4}", 4), ("limits: {cpu: 0.2}", 1)],
)
def test_without_a_topology_sockets_are_the_cpu_limit_else_the_request(resources: str, vcpus: int) -> None:
    """KubeVirt's API fills the topology in (SetDefaultGuestCPUTopology): such a machine's vCPUs are known."""
    found = machine(resources=resources)
    assert (found.vcpus, found.max_vcpus) == (vcpus, vcpus)


@pytest.mark.parametrize(
    ("domain", "resources", "boot", "requested"),
    [
        ("memory: {guest: 4Gi}", "", 4 * GIB, 4 * GIB),
        ("memory: {guest: 4Gi}", "requests: {memory: 2Gi}", 4 * GIB, 2 * GIB),
        ("", "requests: {memory: 2Gi}, limits: {memory: 3Gi}", 2 * GIB, 2 * GIB),
        ("", "limits: {memory: 3Gi}", 3 * GIB, 3 * GIB),
        ("memory: {hugepages: {pageSize: 1Gi}}", "", GIB, GIB),
        ("memory: {guest: 4Gi}", "limits: {memory: 3Gi}", 4 * GIB, 3 * GIB),
    ],
)
def test_ram_and_the_memory_asked_of_kubernetes_fill_each_other_in(
    domain: str, resources: str, boot: int, requested: int
) -> None:
    """setDefaultResourceRequests, then setGuestMemory; the sum reads what was asked, which overcommitment lowers."""
    found = machine(domain, resources=resources)
    assert found.boot_ram_bytes == boot
    assert found.kubevirt is not None
    assert found.kubevirt.memory_request_bytes == requested
    tables = next(part.bytes for part in estimate(found, "kubevirt").parts if part.name == "page tables")
    assert tables == page_tables(requested).bytes


@pytest.mark.parametrize(
    ("volume", "file", "format_"),
    [
        ("persistentVolumeClaim: {claimName: c}", "c", "raw"),
        ("hostDisk: {path: /d.img, type: Disk}", "/d.img", "raw"),
        ("containerDisk: {image: i}", "i", "qcow2"),
        ("emptyDisk: {capacity: 2Gi}", "2Gi", "qcow2"),
        ("ephemeral: {persistentVolumeClaim: {claimName: c}}", None, "qcow2"),
        ("cloudInitNoCloud: {userData: x}", None, "raw"),
        ("cloudInitConfigDrive: {userData: x}", None, "raw"),
        ("sysprep: {secret: {name: s}}", None, "raw"),
        ("configMap: {name: m}", "m", "raw"),
        ("secret: {secretName: s}", "s", "raw"),
        ("downwardAPI: {fields: []}", None, "raw"),
        ("serviceAccount: {serviceAccountName: a}", "a", "raw"),
    ],
)
def test_a_volume_without_a_disk_is_given_one_in_its_own_format(volume: str, file: str | None, format_: str) -> None:
    """SetDefaultVolumeDisk, with the formats of Convert_v1_Volume_To_api_Disk; a memory dump is no disk."""
    found = machine(spec=f"  volumes: [{{name: v, {volume}}}, {{name: m, memoryDump: {{}}}}]")
    assert [(disk.id, disk.file, disk.format, disk.interface) for disk in found.disks] == [("v", file, format_, None)]


@pytest.mark.parametrize(("arch", "interface"), [("amd64", "ide"), ("arm64", "virtio-blk"), ("s390x", "virtio-blk")])
def test_a_disk_without_a_bus_gets_its_architectures(arch: str, interface: str) -> None:
    """SATA on amd64, virtio elsewhere; downward metrics are virtio and read-only everywhere."""
    volumes = "[{name: d, dataVolume: {name: d}}, {name: m, downwardMetrics: {}}]"
    found = machine(spec=f"  architecture: {arch}\n  volumes: {volumes}")
    assert [(disk.interface, disk.read_only) for disk in found.disks] == [(interface, False), ("virtio-blk", True)]


def test_a_machine_that_says_nothing_of_networks_is_on_the_pods() -> None:
    """SetDefaultNetworkInterface adds one card, unless it is switched off or networks are listed."""
    assert [(nic.id, nic.backend, nic.vhost) for nic in machine().nics] == [("default", "tap", True)]
    assert machine("devices: {autoattachPodInterface: false}").nics == ()
    assert machine(spec="  networks: [{name: n, pod: {}}]").nics == ()
    many = machine("cpu: {cores: 300}, devices: {networkInterfaceMultiqueue: true}")
    assert many.nics[0].queues == 256


@pytest.mark.parametrize(
    ("devices", "arch", "usb"),
    [
        ("", "amd64", (0, 0)),
        ("inputs: [{name: t, type: tablet}]", "amd64", (1, 1)),
        ("inputs: [{name: t, type: tablet, bus: virtio}]", "amd64", (0, 0)),
        ("autoattachInputDevice: true", "amd64", (1, 1)),
        ("clientPassthrough: {}", "amd64", (1, 4)),
        ("disks: [{name: d, disk: {bus: usb}}]", "amd64", (1, 1)),
        ("", "arm64", (1, 2)),
        ("inputs: [{name: t, type: tablet, bus: usb}]", "arm64", (1, 2)),
        ("autoattachGraphicsDevice: false", "arm64", (1, 0)),
    ],
)
def test_usb_is_counted_as_kubevirts_converter_makes_it(devices: str, arch: str, usb: tuple[int, int]) -> None:
    """Inputs, redirections and disks on USB, and the controller they need; ARM has its keyboard and tablet."""
    found = machine(f"devices: {{{devices}}}", spec=f"  architecture: {arch}")
    assert (found.usb_controllers, found.usb_devices) == usb


@pytest.mark.parametrize(("arch", "video"), [("amd64", ("vga", 16 * MIB)), ("arm64", ("virtio", None))])
def test_the_graphics_adapter_is_its_architectures(arch: str, video: tuple[str, int | None]) -> None:
    """VGA with 16 MiB on amd64, virtio on ARM (compute/graphics.go)."""
    found = machine(spec=f"  architecture: {arch}")
    assert [(one.model, one.vga_bytes) for one in found.videos] == [video]


@pytest.mark.parametrize(
    ("domain", "backend"),
    [
        ("", None),
        ("memory: {hugepages: {pageSize: 2Mi}}", (None, True)),
        ("devices: {filesystems: [{name: f, virtiofs: {}}]}", (True, False)),
        ("devices: {interfaces: [{name: n, passtBinding: {}}]}", (True, False)),
    ],
)
def test_ram_is_in_a_memfd_where_it_is_shared_or_huge(domain: str, backend: tuple[bool | None, bool] | None) -> None:
    """MemoryBackingConfigurator: shared RAM needs twice the page tables."""
    found = machine(domain).memory_backends
    assert [(one.share, one.hugetlb) for one in found] == ([] if backend is None else [backend])
    assert all(one.kind == "memfd" and one.backs_ram and one.size_bytes == 2 * GIB for one in found)


def test_json_says_the_same_as_yaml() -> None:
    """JSON needs no PyYAML and describes the same guest; so does a list of one machine."""
    tree = {"kind": "VirtualMachineInstance", "spec": {"domain": {"cpu": {"cores": 2}, "memory": {"guest": "1Gi"}}}}
    found = from_kubevirt(json.dumps(tree))
    assert (found.vcpus, found.ram_bytes) == (2, GIB)
    text = "kind: VirtualMachineInstance\nspec: {domain: {cpu: {cores: 2}, memory: {guest: 1Gi}}}"
    assert from_kubevirt(text) == found
    assert from_kubevirt(json.dumps({"kind": "List", "items": [tree, {"kind": "Pod"}]})) == found


@pytest.mark.parametrize(
    ("domain", "spec", "more_mib"),
    [
        ("", "", 0),
        ("cpu: {cores: 3, threads: 2}", "", 5 * 8),
        ("devices: {autoattachGraphicsDevice: false}", "", -32),
        ("", "  architecture: arm64", 128),
        ("devices: {hostDevices: [{name: d, deviceName: v/d}]}", "", 1024),
        ("devices: {gpus: [{name: d, deviceName: v/d}]}", "", 1024),
        ("devices: {interfaces: [{name: n, sriov: {}}]}", "", 1024),
        ("", "  volumes: [{name: m, downwardMetrics: {}}]", 1),
        ("", "  livenessProbe: {exec: {command: [a]}}", 110),
        ("", "  livenessProbe: {exec: {command: [a]}}\n  readinessProbe: {exec: {command: [a]}}", 120),
        ("", "  livenessProbe: {httpGet: {port: 1}}", 0),
        ("launchSecurity: {sev: {}}", "", 256),
        ("launchSecurity: {snp: {}}", "", 256),
        ("devices: {tpm: {}}", "", 53),
        ("devices: {tpm: {enabled: false}}", "", 0),
        ("cpu: {dedicatedCpuPlacement: true}", "", 100),
        ("memory: {reservedOverhead: {addedOverhead: 64Mi}}", "", 64),
    ],
)
def test_each_term_of_kubevirts_sum_comes_from_its_field(domain: str, spec: str, more_mib: int) -> None:
    """1 vCPU and 2 GiB come to 292 MiB, and each field adds what KubeVirt adds for it."""
    assert overhead_mib(machine(domain, spec)) == 292 + more_mib


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ("requests: {memory: 2Gi, cpu: 1500m}", 292 + 8),
        ("requests: {memory: 2Gi, cpu: 1}, limits: {cpu: 3}", 292 + 16),
        ("requests: {memory: 2Gi, cpu: 1}, limits: {memory: 2Gi, cpu: 1}", 292 + 100),
        ("requests: {memory: 2Gi, cpu: 1}, limits: {memory: 4Gi, cpu: 1}", 292),
        ("requests: {memory: 2Gi, cpu: 1}, limits: {memory: 2Gi, cpu: 2}", 292 + 8),
        ("limits: {memory: 2Gi, cpu: 1}", 292 + 100),
        ("requests: {memory: 2Gi}, limits: {cpu: 1}", 292),
    ],
)
def test_resources_give_cpus_memory_and_the_quality_of_service(resources: str, expected: int) -> None:
    """CPUs of limit or request round up; both equal to their limits make a Guaranteed pod, and requests that are not
    given are their limits'."""
    assert overhead_mib(machine(resources=resources)) == expected


@pytest.mark.parametrize(
    ("policy", "cpus", "disks", "threads"),
    [
        (None, 1, [False, False], 0),
        (None, 1, [True, False, False], 2),
        ("shared", 1, [False, False, False], 1),
        ("shared", 1, [True, True, False], 3),
        ("auto", 1, [False, False, False], 2),
        ("auto", 4, [False, False, True], 3),
        ("auto", "1500m", [False] * 9, 4),
    ],
)
def test_io_threads_follow_the_policy(policy: str | None, cpus: int | str, disks: list[bool], threads: int) -> None:
    """Dedicated ones each, and the policy's share for the other disks."""
    devices = {"disks": [{"name": str(i), "dedicatedIOThread": own} for i, own in enumerate(disks)]}
    domain = {"ioThreadsPolicy": policy, "resources": {"requests": {"cpu": cpus}}, "devices": devices}
    found = from_kubevirt(json.dumps({"kind": "VirtualMachineInstance", "spec": {"domain": domain}}))
    assert found.iothreads == threads


def test_io_threads_join_an_emulator_with_a_cpu_of_its_own() -> None:
    """Dedicated CPUs with an isolated emulator leave one thread for all disks."""
    cpu = "cpu: {dedicatedCpuPlacement: true, isolateEmulatorThread: true}"
    found = machine(f"ioThreadsPolicy: auto, {cpu}, devices: {{disks: [{{name: a}}, {{name: b}}]}}")
    assert found.iothreads == 1


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nkind: VirtualMachineInstance\nspec: {domain: {}}"


@pytest.mark.parametrize(
    ("text", "message", "where"),
    [
        ("", "0 machines", None),
        ("kind: Pod", "0 machines", None),
        ("[]", "0 machines", None),
        ("kind: [VirtualMachine]", "0 machines", None),
        (f"{FULL}\n---\n{FULL}", "2 machines", "line"),
        (BOMB, "anchors and aliases", "line 1"),
        ("a: *a", "anchors and aliases", "line 1"),
        ("a: 1\nb: !!python/object:os.system x", "tags", "line 2"),
        ("a:\n" + "[" * 100, "nested deeper than 64", "line 2"),
        ('{"a":' * 100, "nested deeper", "line 1"),
        ("a: 1\na: 2", "given twice", "line 2"),
        ("? [a]\n: b", "not a text", "line 1"),
        ("a: [1\nb: 2", "no YAML", "line 2"),
        ("\x00\x01binary", "no YAML", None),
        ('"\\UFFFFFFFF"', "no YAML", None),
        (f"%YAML {'1' * 5000}.1\n---\na", "no YAML", None),
        ("{", "JSON is not understood", "line 1"),
        ("a: " + "x" * MIB, "larger than 1.0 MiB", None),
        ("- x\n" * 50_001, "more than 50000 values", "line 50000"),
        ("kind: VirtualMachine\nspec: {}", "domain is missing", "spec.template.spec"),
        ("kind: VirtualMachine\nspec: []", "spec is not a mapping", "spec"),
    ],
)
def test_hostile_and_wrong_documents_are_refused_with_their_place(text: str, message: str, where: str | None) -> None:
    """Alias bombs, depth, tags, binary and the like end in one error, at once."""
    began = time.monotonic()
    with pytest.raises(DescribeError, match=message) as caught:
        from_kubevirt(text)
    assert (caught.value.where or "").startswith(where or "")
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("domain", "field"),
    [
        ("cpu: {cores: 010}", "spec.domain.cpu.cores"),
        ("cpu: {cores: -1}", "spec.domain.cpu.cores"),
        ("cpu: {cores: 65536, threads: 2}", "spec.domain.cpu"),
        ("cpu: {dedicatedCpuPlacement: no}", "spec.domain.cpu.dedicatedCpuPlacement"),
        ("memory: {guest: 1GB}", "spec.domain.memory.guest"),
        ("memory: {guest: [1]}", "spec.domain.memory.guest"),
        ("memory: 1Gi", "spec.domain.memory"),
        ("devices: {disks: {}}", "spec.domain.devices.disks"),
        ("devices: {disks: [x]}", "spec.domain.devices.disks[0]"),
        ("devices: {tpm: 1}", "spec.domain.devices.tpm"),
    ],
)
def test_ambiguous_and_wrong_values_are_refused_with_their_field(domain: str, field: str) -> None:
    """``no`` and ``010`` mean different things to different readers; a wrong type names its path."""
    with pytest.raises(DescribeError) as caught:
        machine(domain)
    assert caught.value.where == field


def test_names_that_look_like_other_things_stay_texts() -> None:
    """A machine called ``no`` or ``010`` keeps its name; an empty value is not said."""
    text = "kind: VirtualMachineInstance\nmetadata: {name: %s}\nspec: {domain: {memory: }}"
    assert [from_kubevirt(text % name).name for name in ("no", "010", "1e3", "~", "'~'")] == [
        "no",
        "010",
        "1e3",
        None,
        "~",
    ]


def test_without_pyyaml_json_is_read_and_yaml_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is needed for YAML only, and the error names it."""
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    assert from_kubevirt('{"kind": "VirtualMachineInstance", "spec": {"domain": {"cpu": {"cores": 1}}}}').vcpus == 1
    with pytest.raises(InputError, match="needs PyYAML") as caught:
        from_kubevirt("kind: VirtualMachineInstance")
    assert "guestroom[kubevirt]" in (caught.value.hint or "")
    assert isinstance(caught.value, GuestroomError)
