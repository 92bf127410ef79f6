"""Every charged byte has a part, parts sum to what is charged, and what can't be named says so."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestroom.attribute.mappings import Hints, name_of
from guestroom.attribute.parts import KERNEL_STACK_BYTES, Charge, Explanation, PartKind, ProcessMemory, explain
from guestroom.attribute.smaps import Vma
from guestroom.units import KIB, MIB

RAM = 64 * MIB


def vma(start: int, size: int, *, anon: int | None = None, name: str = "", perms: str = "rw-p", flags: str = "") -> Vma:
    """A mapping with all or ``anon`` of its bytes anonymous."""
    held = size if anon is None else anon
    return Vma(start, size, perms, name, held, held, 0, 0, 0, 0, frozenset(flags.split()))


MAPPINGS = (
    vma(0x1000_0000, RAM, flags="dc"),
    vma(0x2000_0000, 32 * MIB, perms="rwxp"),
    vma(0x3000_0000, 2 * MIB, flags="dc"),
    vma(0x3100_0000, 8 * MIB, name="[heap]"),
    vma(0x3200_0000, MIB, flags="nr"),
    vma(0x3300_0000, 16 * KIB, flags="nh"),
    vma(0x3400_0000, 4 * KIB, anon=0, perms="---p"),
    vma(0x3400_1000, MIB, anon=8 * KIB),
    vma(0x3500_0000, 13 * MIB),
    vma(0x3600_0000, 5 * MIB),
    vma(0x3700_0000, 40 * KIB),
    vma(0x3800_0000, 100 * KIB, name="/usr/lib/libc.so.6", perms="r--p"),
)
ANON = sum(one.anonymous_bytes for one in MAPPINGS)
QEMU = ProcessMemory(7, "qemu-system-x86", True, MAPPINGS, 300 * KIB, 5)
CHARGE = Charge(
    usage_bytes=ANON + 6 * MIB,
    anon_bytes=ANON,
    shmem_bytes=0,
    file_bytes=5 * MIB,
    kernel_bytes=MIB,
    file_mapped_bytes=MIB,
    file_dirty_bytes=2 * MIB,
)
HINTS = Hints(sizes={13 * MIB + 20 * KIB: "copy of the kernel image"})


def told(charge: Charge = CHARGE, *others: ProcessMemory, hints: Hints = HINTS) -> Explanation:
    """The parts of a charge."""
    return explain(charge, (QEMU, *others), (RAM,), hints, cpus=2)


def sizes(found: Explanation) -> dict[str, int]:
    """Bytes by name."""
    return {part.name: part.size_bytes for part in found.parts}


def test_each_mapping_is_named_by_its_marks() -> None:
    """RAM, code buffer, blocks, heap, arenas, stacks, coroutines, the kernel's copy and the rest each have a part."""
    found = sizes(told())
    assert found["guest RAM"] == RAM
    assert found["TCG code buffer"] == 32 * MIB
    assert found["RAM block: ACPI tables"] == 2 * MIB
    assert found["heap"] == 8 * MIB
    assert found["malloc arenas"] == MIB
    assert found["thread stacks"] == 16 * KIB
    assert found["coroutine stacks"] == 8 * KIB
    assert found["copy of the kernel image"] == 13 * MIB
    assert found["large allocations"] == 5 * MIB
    assert found["small maps"] == 40 * KIB
    assert found["private pages of programs and libraries"] == 100 * KIB


def test_a_foretold_copy_is_found_inside_a_larger_map() -> None:
    """The kernel merges neighbours: what the configuration foretells is then part of the smallest map that holds it."""
    larger = replace(MAPPINGS[8], size_bytes=15 * MIB, anonymous_bytes=15 * MIB)
    merged = [larger if one is MAPPINGS[8] else one for one in MAPPINGS]
    charge = replace(CHARGE, anon_bytes=ANON + 2 * MIB, usage_bytes=CHARGE.usage_bytes + 2 * MIB)
    found = sizes(explain(charge, (replace(QEMU, vmas=tuple(merged)),), (RAM,), HINTS, cpus=2))
    assert found["copy of the kernel image"] == 13 * MIB + 20 * KIB
    assert found["large allocations"] == 7 * MIB - 20 * KIB


def test_a_foretold_copy_that_no_map_can_hold_is_not_there() -> None:
    """Nothing is named after a hint that the figures contradict."""
    assert "of 40 MiB" not in sizes(told(hints=Hints(sizes={40 * MIB: "of 40 MiB"})))


def test_the_kernels_own_memory_and_page_cache_are_parts() -> None:
    """Tables and stacks are counted where v1 tells only the sum; page cache is mapped, dirty or clean."""
    found = sizes(told())
    assert found["page tables"] == 300 * KIB
    assert found["kernel stacks"] == 5 * KERNEL_STACK_BYTES
    assert found["slab and other kernel memory"] == MIB - 300 * KIB - 5 * KERNEL_STACK_BYTES
    assert (found["programs and libraries"], found["page cache, dirty"], found["page cache, clean"]) == (
        MIB,
        2 * MIB,
        2 * MIB,
    )


def test_v2_tells_the_kernels_parts_itself() -> None:
    """Where the kernel says its parts they are taken from it, and reclaimable slab is reclaimable."""
    charge = replace(
        CHARGE,
        page_table_bytes=400 * KIB,
        kernel_stack_bytes=80 * KIB,
        slab_reclaimable_bytes=100 * KIB,
        slab_unreclaimable_bytes=200 * KIB,
        percpu_bytes=4 * KIB,
        socket_bytes=12 * KIB,
        vmalloc_bytes=0,
    )
    found = told(charge)
    assert sizes(found)["page tables"] == 400 * KIB
    assert sizes(found)["slab"] == 200 * KIB
    assert {part.kind for part in found.parts if part.name == "slab, reclaimable"} == {PartKind.RECLAIMABLE}


def test_what_nothing_explains_is_named_so() -> None:
    """Charge above the stock of the CPUs is unexplained, of kind unknown, and not counted as explained."""
    found = told(replace(CHARGE, usage_bytes=CHARGE.usage_bytes + 10 * MIB))
    stock = 64 * 4096 * 2
    assert sizes(found)["charged in advance"] == stock
    assert sizes(found)["unexplained"] == 10 * MIB - stock
    assert found.explained_bytes == found.charged_bytes - 10 * MIB + stock


def test_unmapped_pages_of_huge_pages_have_a_name() -> None:
    """What is charged for huge pages that are mapped in part is no unknown part, and never more than what is left."""
    charge = Charge(50 * MIB, 0, 0, 40 * MIB, 0, split_due_bytes=10 * MIB)
    found = explain(charge, (), (), HINTS, cpus=1)
    assert sizes(found) == {"page cache, clean": 40 * MIB, "huge pages, partly unmapped": 10 * MIB}
    more = explain(Charge(41 * MIB, 0, 0, 40 * MIB, 0, split_due_bytes=10 * MIB), (), (), HINTS, cpus=1)
    assert sizes(more)["huge pages, partly unmapped"] == MIB


def test_anonymous_memory_that_nobody_maps_is_unexplained() -> None:
    """A mark this program does not know may be missed, but never its bytes."""
    found = told(replace(CHARGE, anon_bytes=ANON + 3 * MIB, usage_bytes=CHARGE.usage_bytes + 3 * MIB))
    assert sizes(found)["unexplained"] == 3 * MIB
    assert found.error_bytes == 3 * MIB


def test_pages_charged_elsewhere_are_not_on_this_bill() -> None:
    """Where mappings hold more than is charged the largest part gives way and the error is told."""
    found = told(replace(CHARGE, anon_bytes=ANON - 4 * MIB, usage_bytes=CHARGE.usage_bytes - 4 * MIB))
    assert sizes(found)["guest RAM"] == RAM - 4 * MIB
    assert found.error_bytes == 4 * MIB


def test_statistics_that_lag_take_nothing_from_ram() -> None:
    """memory.stat may be 64 pages a CPU behind: so far the mappings are believed, and the error is told."""
    found = told(replace(CHARGE, anon_bytes=ANON - 40 * KIB))
    assert sizes(found)["guest RAM"] == RAM
    assert found.error_bytes == 40 * KIB


def test_a_helper_is_one_part() -> None:
    """What swtpm or virtiofsd holds is theirs, whatever it is, and never taken for guest RAM."""
    helper = ProcessMemory(8, "swtpm", False, (vma(0x1000, RAM, flags="dc"),), 4 * KIB, 1)
    grown = RAM
    charge = replace(CHARGE, anon_bytes=ANON + grown, usage_bytes=CHARGE.usage_bytes + grown)
    assert sizes(told(charge, helper))["swtpm (helper)"] == RAM
    assert sizes(told(charge, helper))["guest RAM"] == RAM


def test_shared_ram_is_guest_ram() -> None:
    """RAM in a memfd is charged as shmem and still counts as guest RAM; other shmem is overhead."""
    block = Vma(0x1000_0000, RAM, "rw-s", "/memfd:ram (deleted)", RAM, 0, 0, 0, 0, 0, frozenset({"dc"}))
    process = replace(QEMU, vmas=(block,))
    charge = Charge(RAM + 3 * MIB, 0, RAM + 3 * MIB, 0, 0)
    found = explain(charge, (process,), (RAM,), Hints(), cpus=1)
    assert sizes(found) == {"guest RAM": RAM, "shared memory": 3 * MIB}
    assert found.overhead_bytes == 3 * MIB


def test_large_maps_of_a_qcow2_guest_are_its_caches_and_requests() -> None:
    """Maps of a cluster and more are told apart from smaller ones where the image's cluster size is known."""
    assert name_of(vma(0, 5 * MIB), None, Hints(cluster_bytes=2 * MIB, cache_bytes=12 * MIB))[0] == (
        "qcow2 caches and requests in flight"
    )
    assert name_of(vma(0, MIB + 4096), None, Hints(cluster_bytes=2 * MIB))[0] == "large allocations"


BYTES = st.integers(0, 1 << 40)


@given(
    usage=BYTES,
    anon=BYTES,
    shmem=BYTES,
    file=BYTES,
    kernel=BYTES,
    mapped=st.none() | BYTES,
    dirty=st.none() | BYTES,
    tables=st.none() | BYTES,
    slab=st.none() | BYTES,
)
@pytest.mark.parametrize("ram", [(), (RAM,), (2 * MIB,)])
def test_parts_always_sum_to_the_charge(
    ram: tuple[int, ...],
    usage: int,
    anon: int,
    shmem: int,
    file: int,
    kernel: int,
    mapped: int | None,
    dirty: int | None,
    tables: int | None,
    slab: int | None,
) -> None:
    """Whatever the kernel says, also when two figures contradict each other, nothing is lost, doubled or negative."""
    charge = Charge(usage, anon, shmem, file, kernel, mapped, dirty, tables, slab_unreclaimable_bytes=slab)
    found = explain(charge, (QEMU,), ram, HINTS, cpus=2)
    assert sum(part.size_bytes for part in found.parts) == found.charged_bytes >= usage
    assert all(part.size_bytes > 0 for part in found.parts)
    assert 0 <= found.explained_bytes <= found.charged_bytes
    assert found.error_bytes >= 0
    assert len({(part.name, part.kind) for part in found.parts}) == len(found.parts)
