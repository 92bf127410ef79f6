"""RAM of libvirt domains: huge pages, and which memory objects are shared."""

from __future__ import annotations

import pytest

from guestroom.describe import from_libvirt
from guestroom.guest import Guest
from guestroom.units import GIB, MIB


def domain(inside: str, memory: str = "<memory unit='GiB'>1</memory>", devices: str = "") -> Guest:
    """A domain with these elements."""
    return from_libvirt(f"<domain>{memory}{inside}<devices>{devices}</devices></domain>")


@pytest.mark.parametrize(
    ("inside", "huge"),
    [
        ("", False),
        ("<hugepages/>", True),
        ("<hugepages><page size='4' unit='KiB'/></hugepages>", False),
        ("<hugepages><page size='2048' unit='KiB' nodeset='0'/></hugepages>", True),
        ("<hugepages><page size='4'/><page size='1' unit='GiB'/></hugepages>", True),
    ],
)
def test_pages_of_the_systems_own_size_are_not_huge(inside: str, huge: bool) -> None:
    """``<hugepages>`` that names pages of 4 KiB asks for ordinary ones."""
    assert domain(f"<memoryBacking>{inside}</memoryBacking>").hugepages is huge


CELLS = "<cpu><numa><cell id='0' memory='1048576' memAccess='shared'/><cell id='1' memory='1048576'{}/></numa></cpu>"


@pytest.mark.parametrize(
    ("backing", "second", "seen"),
    [
        ("", "", [("file", True), ("ram", False)]),
        ("", " memAccess='private'", [("file", True), ("file", False)]),
        ("<access mode='shared'/><source type='file'/>", "", [("file", True), ("file", True)]),
        ("<source type='memfd'/>", " memAccess='private'", [("memfd", True), ("memfd", False)]),
    ],
)
def test_each_cell_may_share_its_memory(backing: str, second: str, seen: list[tuple[str, bool]]) -> None:
    """``memAccess`` comes before the domain's own ``<access>``; anonymous memory that says so becomes a file."""
    found = domain(f"<memoryBacking>{backing}</memoryBacking>{CELLS.format(second)}", "<memory unit='GiB'>2</memory>")
    assert [(one.kind, one.share) for one in found.memory_backends] == seen
    assert found.numa_nodes == 2


@pytest.mark.parametrize(
    ("module", "share"),
    [
        ("<memory model='dimm'>{}</memory>", True),
        ("<memory model='dimm' access='private'>{}</memory>", False),
        ("<memory model='dimm'>{}<target><node>1</node></target></memory>", False),
        ("<memory model='virtio-pmem'><source><path>/p</path></source>{}</memory>", True),
    ],
)
def test_a_module_shares_as_it_says_else_as_its_cell(module: str, share: bool) -> None:
    """``access`` of the module, else of the cell it is plugged into; virtio-pmem is always shared."""
    target = "<target><size unit='MiB'>511</size><node>0</node></target>"
    text = module.replace("{}<target><node>1", "<target><size unit='MiB'>511</size><node>1").replace("{}", target)
    found = domain(CELLS.format(""), "<maxMemory slots='4' unit='GiB'>8</maxMemory>", text)
    assert found.memory_backends[-1].share is share
    assert found.memory_backends[-1].size_bytes == 512 * MIB
    assert found.ram_bytes == 8 * GIB
