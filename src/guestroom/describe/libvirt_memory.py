"""RAM as libvirt counts it, with the memory objects that QEMU is given for it."""

from __future__ import annotations

from collections.abc import Sequence

from guestroom.describe.xmltree import Element
from guestroom.errors import DescribeError, SizeError
from guestroom.guest import MemoryBackend
from guestroom.units import KIB, MIB, Dialect, parse_size

_MODULE_STEP_BYTES = 2 * MIB
"""What libvirt rounds a memory module up to at least (``qemuDomainGetMemoryModuleSizeAlignment``)."""
_STEPS = {"ppc64": 256 * MIB, "ppc64le": 256 * MIB}
"""What libvirt rounds RAM up to (``qemuDomainGetMemorySizeAlignment``, src/qemu/qemu_domain.c); MiB elsewhere."""
_SYSTEM_PAGE_BYTES = 4 * KIB
_MODULES = ("dimm", "virtio-mem", "nvdimm")


class Memory:
    """``<memory>`` has the DIMMs in it, QEMU's ``-m`` has not."""

    def __init__(self, root: Element, devices: Element) -> None:
        plugged = [one for one in devices.all("memory") if one.get("model") in _MODULES]
        step = _step_bytes(root)
        sizes = {kind: _module_bytes(plugged, kind, step) for kind in _MODULES}
        pool = sizes["virtio-mem"]
        given = size_of(root.first("memory"))
        maximum = size_of(root.first("maxMemory"))
        nodes = [*(root.first("cpu", "numa") or Element("", {}, 0)).all("cell")]
        cells = [_cell_bytes(cell) for cell in nodes]
        base: int | None
        if cells:
            base = sum(cells)
        elif given is None:
            base = None
        else:
            inside = sum(size_of(one.first("target", "size")) or 0 for one in plugged if one.get("model") != "nvdimm")
            base = max(0, given - inside) if maximum is not None else given
        if base is not None:
            base = sum(-(-size // step) * step for size in cells) if cells else -(-base // step) * step
        self.boot_bytes = None if base is None else base + sizes["dimm"] + sizes["nvdimm"]
        self.promised_bytes = (
            None if self.boot_bytes is None else max(self.boot_bytes, maximum or 0, self.boot_bytes + pool)
        )
        backing = _Backing(root)
        modules = [*plugged, *(one for one in devices.all("memory") if one.get("model") == "virtio-pmem")]
        self.backends = (
            *_node_backends(root, backing, nodes, step),
            *(_plugged_backend(number, one, backing, nodes) for number, one in enumerate(modules)),
        )
        self.huge = backing.huge or any(one.hugetlb for one in self.backends)


class _Backing:
    """``<memoryBacking>``: kind of memory object, shared, in huge pages."""

    def __init__(self, root: Element) -> None:
        self.huge = _asks_huge_pages(root)
        source = root.first("memoryBacking", "source")
        kind = source.get("type") if source is not None else None
        access = root.first("memoryBacking", "access")
        default = "file" if self.huge else "ram"
        self.kind = {"file": "file", "memfd": "memfd", "anonymous": "ram"}.get(kind or "", default)
        shared = access is not None and access.get("mode") == "shared"
        self.shared = shared or (self.kind == "memfd" and access is None)


def _asks_huge_pages(root: Element) -> bool:
    """``<hugepages>``, unless all it names are pages of 4 KiB, which are the system's own."""
    huge = root.first("memoryBacking", "hugepages")
    if huge is None:
        return False
    pages = [_bytes(page.get("size") or "0", page.get("unit"), page.line) for page in huge.all("page")]
    return not pages or any(size > _SYSTEM_PAGE_BYTES for size in pages)


def _node_backends(root: Element, backing: _Backing, nodes: Sequence[Element], step: int) -> tuple[MemoryBackend, ...]:
    if not nodes:
        if backing.kind == "ram" and not backing.huge:
            return ()
        size = size_of(root.first("memory"))
        return (_backend("ram-node0", backing.kind, size, shared=backing.shared, huge=backing.huge),)
    found = []
    for number, node in enumerate(nodes):
        access = node.get("memAccess")
        shared = backing.shared if access is None else access == "shared"
        # Anonymous memory can't be shared: a cell that is gets a file of its own (qemuBuildMemoryBackendProps).
        kind = "file" if access is not None and backing.kind == "ram" else backing.kind
        size = -(-_cell_bytes(node) // step) * step
        found.append(_backend(f"ram-node{number}", kind, size, shared=shared, huge=backing.huge))
    return tuple(found)


def _backend(name: str, kind: str, size: int | None, *, shared: bool, huge: bool) -> MemoryBackend:
    return MemoryBackend(id=name, kind=kind, size_bytes=size or None, backs_ram=True, share=shared, hugetlb=huge)


def _plugged_backend(number: int, device: Element, backing: _Backing, nodes: Sequence[Element]) -> MemoryBackend:
    path = device.first("source", "path")
    size = size_of(device.first("target", "size"))
    pmem = device.get("model") == "virtio-pmem"  # always shared (qemuBuildMemoryBackendProps)
    access = device.get("access") or _node_access(device, nodes)
    return MemoryBackend(
        id=f"mem{device.get('model')}{number}",
        kind="file" if path is not None else "ram",
        size_bytes=None if size is None else -(-size // _MODULE_STEP_BYTES) * _MODULE_STEP_BYTES,
        backs_ram=True,
        path=(path.text.strip() or None) if path is not None else None,
        share=pmem or (backing.shared if access is None else access == "shared"),
        hugetlb=device.first("source", "pagesize") is not None or None,
    )


def _node_access(device: Element, nodes: Sequence[Element]) -> str | None:
    """What the NUMA cell that a module is plugged into says of sharing."""
    target = device.first("target", "node")
    number = target.text.strip() if target is not None else None
    return next((node.get("memAccess") for at, node in enumerate(nodes) if (node.get("id") or str(at)) == number), None)


def _step_bytes(root: Element) -> int:
    machine = root.first("os", "type")
    return _STEPS.get((machine.get("arch") if machine is not None else None) or "", MIB)


def _module_bytes(plugged: Sequence[Element], kind: str, step: int) -> int:
    """Bytes of all modules of a kind, each rounded up as libvirt does."""
    step = max(step, _MODULE_STEP_BYTES)
    sizes = (size_of(one.first("target", "size")) or 0 for one in plugged if one.get("model") == kind)
    return sum(-(-size // step) * step for size in sizes)


def _cell_bytes(cell: Element) -> int:
    text = cell.get("memory")
    if text is None:
        raise DescribeError("a NUMA cell has no memory", where=f"line {cell.line}", hint="add memory='KiB'")
    return _bytes(text, cell.get("unit"), cell.line)


def size_of(element: Element | None) -> int | None:
    """Bytes of an element with a ``unit`` (KiB without one); None where it is missing."""
    return None if element is None else _bytes(element.text, element.get("unit"), element.line)


def _bytes(text: str, unit: str | None, line: int) -> int:
    number = text.strip()
    try:
        return parse_size(f"{number} {unit}" if unit else number, Dialect.LIBVIRT)
    except SizeError as error:
        raise DescribeError(str(error), where=f"line {line}") from error
