"""KubeVirt's VirtualMachineInstance and VirtualMachine, as virt-launcher will start QEMU from them.

Fields are those of kubevirt.io/api/core/v1 (staging/src/kubevirt.io/api/core/v1/schema.go), defaults those that
KubeVirt's own API fills in. What the cluster adds (an instance type, a preference, the overhead ratio) is not in the
document and stays unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

from guestroom.describe.keyval import load_json
from guestroom.describe.kubedefaults import Resources, read_cpus, read_memory, read_resources
from guestroom.describe.kubetree import Node
from guestroom.describe.kubevirt_devices import (
    read_backends,
    read_disks,
    read_iothreads,
    read_nics,
    read_passthrough,
    read_usb,
    read_videos,
)
from guestroom.describe.yamltree import Document, Tree, check_size, parse_yaml
from guestroom.errors import DescribeError
from guestroom.guest import Guest, KubeVirtTraits

KINDS = ("VirtualMachine", "VirtualMachineInstance")
_MANY = {
    "VirtualMachineInstanceReplicaSet": ("template", "VirtualMachineInstance"),
    "VirtualMachinePool": ("virtualMachineTemplate", "VirtualMachine"),
}
"""Kinds that make many machines of one: where their pattern is, and what it is."""
_ARCHES = {"amd64": "x86_64", "arm64": "aarch64"}
_DOMAIN = frozenset(
    {"resources", "cpu", "memory", "machine", "firmware", "clock", "features", "devices", "ioThreadsPolicy"}
    | {"ioThreads", "chassis", "launchSecurity", "rebootPolicy"}
)
_DEVICES = frozenset(
    {"useVirtioTransitional", "disableHotplug", "disks", "watchdog", "interfaces", "inputs", "autoattachPodInterface"}
    | {"autoattachGraphicsDevice", "autoattachSerialConsole", "logSerialConsole", "autoattachMemBalloon"}
    | {"autoattachInputDevice", "autoattachVSOCK", "rng", "blockMultiQueue", "networkInterfaceMultiqueue", "gpus"}
    | {"downwardMetrics", "panicDevices", "filesystems", "hostDevices", "clientPassthrough", "sound", "tpm", "video"}
)


def from_kubevirt(text: str) -> Guest:
    """The guest a KubeVirt machine describes: the one VirtualMachine or VirtualMachineInstance in ``text``.

    JSON where the text begins with ``{``, YAML otherwise (the extra ``kubevirt``); other kinds beside the machine are
    passed over. Raises ``DescribeError`` with line or field for what is neither, for no or two machines, and for
    values that are not of their field's type; ``InputError`` where YAML comes and PyYAML is not installed.
    """
    check_size(text)
    text = text.removeprefix("\ufeff")
    json = text.lstrip().startswith("{")
    documents = [Document(cast("Tree", load_json(text, None)), 1)] if json else parse_yaml(text)
    found = [one for document in documents for one in _machines(document)]
    if len(found) != 1:
        where = f"line {found[1].line}" if len(found) > 1 else None
        hint = "give one machine" if found else "give kubectl get vm NAME -o yaml"
        raise DescribeError(
            f"there are {len(found)} machines ({' or '.join(KINDS)}), one is needed", where=where, hint=hint
        )
    return from_tree(found[0].tree)


def _machines(document: Document) -> Iterator[Document]:
    """The machines of a document, those in a list (``kubectl get -o yaml``) and the pattern of a set or pool too."""
    tree = document.tree
    if not isinstance(tree, Mapping):
        return
    kind = tree.get("kind")
    items = tree.get("items")
    if kind in KINDS:
        yield document
    elif isinstance(kind, str) and kind in _MANY:
        field, one_kind = _MANY[kind]
        pattern = Node(tree, "").at("spec", field).fields
        yield Document({**pattern, "kind": one_kind}, document.line)
    elif isinstance(kind, str) and kind.endswith("List") and isinstance(items, list):
        for one in items:
            # The items of a typed list have no kind of their own.
            inside = {"kind": kind.removesuffix("List"), **one} if isinstance(one, Mapping) else None
            if inside is not None and inside["kind"] in KINDS:
                yield Document(inside, document.line)


def from_tree(tree: Tree) -> Guest:
    """The guest of one parsed machine. Raises ``DescribeError`` with the field's path."""
    root = Node(tree, "")
    spec = root.at("spec", "template", "spec") if root.text("kind") == "VirtualMachine" else root.at("spec")
    if not spec.has("domain"):
        raise DescribeError(f"{spec.path}.domain is missing", where=spec.path or None, hint="a machine has a domain")
    domain = spec.at("domain")
    devices = domain.at("devices")
    resources = read_resources(domain)
    boot_bytes, promised_bytes = read_memory(domain, resources)
    vcpus, max_vcpus = read_cpus(domain.at("cpu"), resources, typed=root.at("spec").has("instancetype"))
    arch = spec.text("architecture")
    boot = domain.at("firmware", "kernelBoot", "container")
    graphics_off = devices.flag("autoattachGraphicsDevice") is False
    usb_controllers, usb_devices = read_usb(devices, arch, graphics_off=graphics_off)
    return Guest(
        name=root.at("metadata").text("name"),
        ram_bytes=promised_bytes,
        boot_ram_bytes=boot_bytes,
        vcpus=vcpus,
        max_vcpus=max_vcpus,
        arch=_ARCHES.get(arch or "", arch),
        machine=domain.at("machine").text("type"),
        disks=read_disks(spec, devices, vcpus, arch),
        nics=read_nics(spec, devices, vcpus),
        videos=() if graphics_off else read_videos(devices, arch),
        displays=() if graphics_off else ("vnc",),
        memory_backends=read_backends(domain, devices, boot_bytes),
        passthrough=read_passthrough(devices),
        iothreads=read_iothreads(domain, devices),
        shares=sum(1 for _ in devices.all("filesystems")),
        usb_controllers=usb_controllers,
        usb_devices=usb_devices,
        tpm=devices.has("tpm") and devices.at("tpm").flag("enabled") is not False,
        balloon=devices.flag("autoattachMemBalloon") is not False,
        sounds=int(devices.has("sound")),
        firmware="efi" if domain.at("firmware", "bootloader").has("efi") else None,
        kernel=boot.text("kernelPath"),
        initrd=boot.text("initrdPath"),
        mem_lock=domain.at("memory", "reservedOverhead").text("memLock") == "Required",
        hugepages=domain.at("memory").has("hugepages"),
        kubevirt=_traits(spec, domain, resources),
        graphics_off=graphics_off,
        source="kubevirt",
        unknown=_unknown(root, domain, devices),
    )


def _traits(spec: Node, domain: Node, resources: Resources) -> KubeVirtTraits:
    """What KubeVirt's own sum reads."""
    security = domain.at("launchSecurity")
    return KubeVirtTraits(
        cpu_limit=resources.cpu_limit,
        cpu_request=resources.cpu_request,
        memory_request_bytes=resources.memory_request,
        dedicated_cpus=domain.at("cpu").flag("dedicatedCpuPlacement") is True,
        guaranteed_qos=resources.guaranteed,
        downward_metrics=any(volume.has("downwardMetrics") for volume in spec.all("volumes")),
        sev=security.has("sev") or security.has("snp"),
        exec_liveness_probe=spec.at("livenessProbe").has("exec"),
        exec_readiness_probe=spec.at("readinessProbe").has("exec"),
        added_overhead_bytes=domain.at("memory", "reservedOverhead").size("addedOverhead") or 0,
    )


def _unknown(root: Node, domain: Node, devices: Node) -> tuple[str, ...]:
    """Fields nobody here knows, and an instance type: CPUs and memory are then in the cluster."""
    there = root.at("spec")
    cluster = tuple(f"spec.{name}" for name in ("instancetype", "preference") if there.has(name))
    fields = tuple(f"domain.{name}" for name in domain.fields if name not in _DOMAIN)
    return (*cluster, *fields, *(f"domain.devices.{name}" for name in devices.fields if name not in _DEVICES))
