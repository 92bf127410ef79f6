"""KubeVirt's VirtualMachineInstance and VirtualMachine, as virt-launcher will start QEMU from them.

Fields are those of kubevirt.io/api/core/v1 (staging/src/kubevirt.io/api/core/v1/schema.go). What the cluster adds (an
instance type, a preference, the overhead ratio) is not in the document and stays unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import cast

from guestroom.describe.keyval import load_json
from guestroom.describe.kubetree import Node
from guestroom.describe.kubevirt_devices import read_disks, read_iothreads, read_nics, read_passthrough, read_videos
from guestroom.describe.yamltree import Document, Tree, check_size, parse_yaml
from guestroom.errors import DescribeError
from guestroom.guest import Guest, KubeVirtTraits

KINDS = ("VirtualMachine", "VirtualMachineInstance")
_ARCHES = {"amd64": "x86_64", "arm64": "aarch64"}
_DOMAIN = frozenset(
    {"resources", "cpu", "memory", "machine", "firmware", "clock", "features", "devices", "ioThreadsPolicy"}
    | {"ioThreads", "chassis", "launchSecurity"}
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
    documents = [Document(cast("Tree", load_json(text, "line 1")), 1)] if json else parse_yaml(text)
    found = [one for document in documents for one in _machines(document)]
    if len(found) != 1:
        where = f"line {found[1].line}" if len(found) > 1 else None
        hint = "give one machine" if found else "give kubectl get vm NAME -o yaml"
        raise DescribeError(
            f"there are {len(found)} machines ({' or '.join(KINDS)}), one is needed", where=where, hint=hint
        )
    return from_tree(found[0].tree)


def _machines(document: Document) -> Iterator[Document]:
    """The machines of a document, those in a list (``kubectl get -o yaml``) too."""
    tree = document.tree
    if not isinstance(tree, Mapping):
        return
    kind = tree.get("kind")
    items = tree.get("items")
    if kind in KINDS:
        yield document
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
    boot_bytes, promised_bytes = _memory(domain)
    vcpus, max_vcpus = _cpus(domain.at("cpu"))
    arch = spec.text("architecture")
    usb = sum(one.text("bus") == "usb" for one in devices.all("inputs"))
    boot = domain.at("firmware", "kernelBoot", "container")
    graphics_off = devices.flag("autoattachGraphicsDevice") is False
    return Guest(
        name=root.at("metadata").text("name"),
        ram_bytes=promised_bytes,
        boot_ram_bytes=boot_bytes,
        vcpus=vcpus,
        max_vcpus=max_vcpus,
        arch=_ARCHES.get(arch or "", arch),
        machine=domain.at("machine").text("type"),
        disks=read_disks(spec, devices, vcpus),
        nics=read_nics(devices, vcpus),
        videos=() if graphics_off else read_videos(devices),
        displays=() if graphics_off else ("vnc",),
        passthrough=read_passthrough(devices),
        iothreads=read_iothreads(domain, devices),
        shares=sum(1 for _ in devices.all("filesystems")),
        usb_controllers=1 if usb else 0,
        usb_devices=usb,
        tpm=devices.has("tpm") and devices.at("tpm").flag("enabled") is not False,
        balloon=devices.flag("autoattachMemBalloon") is not False,
        firmware="efi" if domain.at("firmware", "bootloader").has("efi") else None,
        kernel=boot.text("kernelPath"),
        initrd=boot.text("initrdPath"),
        mem_lock=domain.at("memory", "reservedOverhead").text("memLock") == "Required",
        hugepages=domain.at("memory").has("hugepages"),
        kubevirt=_traits(spec, domain),
        graphics_off=graphics_off,
        source="kubevirt",
        unknown=_unknown(root, domain, devices),
    )


def _memory(domain: Node) -> tuple[int | None, int | None]:
    """RAM at boot and RAM promised: ``guest``, else what is requested, else the limit; ``maxGuest`` by hot-plug."""
    memory, resources = domain.at("memory"), domain.at("resources")
    given = (memory.size("guest"), resources.at("requests").size("memory"), resources.at("limits").size("memory"))
    boot = next((size for size in given if size is not None), None)
    most = memory.size("maxGuest")
    return boot, boot if boot is None or most is None else max(boot, most)


def _cpus(cpu: Node) -> tuple[int | None, int | None]:
    """vCPUs at start and at most; what is not said or 0 counts once (``GetNumberOfVCPUs``), None where nothing is."""
    cores, sockets, threads = cpu.count("cores"), cpu.count("sockets"), cpu.count("threads")
    most_sockets = cpu.count("maxSockets")
    said = [number for number in (cores, sockets, threads) if number]
    vcpus = prod(said) if said else None
    most = prod(number for number in (cores, most_sockets, threads) if number) if most_sockets else None
    if max(vcpus or 0, most or 0) > 65_536:
        raise DescribeError(f"{cpu.path} has more than 65536 vCPUs", where=cpu.path)
    return vcpus, max(vcpus or 1, most) if most is not None else vcpus


def _traits(spec: Node, domain: Node) -> KubeVirtTraits:
    """What KubeVirt's own sum reads."""
    requests, limits = domain.at("resources", "requests"), domain.at("resources", "limits")
    cpu_request, cpu_limit = requests.cpus("cpu"), limits.cpus("cpu")
    memory = requests.size("memory")
    # WantsToHaveQOSGuaranteed: both requested, none of them zero, and each equal to its limit.
    guaranteed = bool(memory and cpu_request) and memory == limits.size("memory") and cpu_request == cpu_limit
    security = domain.at("launchSecurity")
    return KubeVirtTraits(
        cpu_limit=cpu_limit,
        cpu_request=cpu_request,
        dedicated_cpus=domain.at("cpu").flag("dedicatedCpuPlacement") is True,
        guaranteed_qos=guaranteed,
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
