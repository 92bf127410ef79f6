"""Overhead of a guest with one cgroup, two ways that must agree."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from guestroom.attribute.joint import ProcessMemory, joint_overhead, process_memory
from guestroom.attribute.smaps import GuestRam, Vma
from guestroom.facts import Accounting, MemoryReading
from guestroom.units import MIB, UNLIMITED

RAM = GuestRam(resident_bytes=200 * MIB, anonymous_bytes=200 * MIB, swap_bytes=0, ksm_bytes=0, hugetlb_bytes=0)
MEMORY = ProcessMemory(ram=RAM, anonymous_bytes=260 * MIB, swap_bytes=0)
READING = MemoryReading(
    path="/m/a",
    at_s=3.0,
    usage_bytes=300 * MIB,
    limit_bytes=UNLIMITED,
    peak_bytes=None,
    failcnt=0,
    anon_bytes=260 * MIB,
    anon_huge_bytes=0,
    file_bytes=30 * MIB,
    shmem_bytes=2 * MIB,
    kernel_bytes=5 * MIB,
    swap_bytes=None,
    locked_file_bytes=MIB,
    under_oom=False,
    how="test",
)


def test_parts_add_up() -> None:
    """Overhead is the other anonymous memory, other shmem, kernel memory and locked cache; plain cache is not in it."""
    found = joint_overhead("a", READING, MEMORY)
    assert found.overhead_bytes == found.upper_bound_bytes == (60 + 2 + 5 + 1) * MIB
    assert (found.accounting, found.ram_resident_bytes, found.cache_bytes) == (Accounting.JOINT, 200 * MIB, 30 * MIB)


def test_shared_ram_is_not_other_shmem() -> None:
    """RAM in a memfd is charged as shmem and is taken off it."""
    ram = replace(RAM, anonymous_bytes=0)
    memory = ProcessMemory(ram=ram, anonymous_bytes=60 * MIB, swap_bytes=0)
    reading = replace(READING, anon_bytes=60 * MIB, shmem_bytes=203 * MIB)
    assert joint_overhead("a", reading, memory).overhead_bytes == (60 + 3 + 5 + 1) * MIB


def test_swapped_memory_counts_but_for_swapped_ram() -> None:
    """Swap comes back: QEMU's own is overhead, the RAM's is not."""
    memory = ProcessMemory(ram=replace(RAM, swap_bytes=10 * MIB), anonymous_bytes=260 * MIB, swap_bytes=17 * MIB)
    reading = replace(READING, swap_bytes=17 * MIB)
    assert joint_overhead("a", reading, memory).overhead_bytes == (60 + 7 + 2 + 5 + 1) * MIB


def test_two_ways_that_disagree_give_no_figure() -> None:
    """5 MiB apart is unknown and says both figures, 3 MiB apart is noise."""
    near = replace(READING, anon_bytes=263 * MIB)
    assert joint_overhead("a", near, MEMORY).overhead_bytes == 68 * MIB
    far = joint_overhead("a", replace(READING, anon_bytes=265 * MIB), MEMORY)
    assert far.overhead_bytes is None
    assert "68.0 MiB" in far.how
    assert "73.0 MiB" in far.how
    assert far.upper_bound_bytes == (265 + 2 + 5 + 1) * MIB


def test_upper_bound_uses_only_ram_that_is_known_to_be_there() -> None:
    """Without a figure all that is charged bounds the overhead, less the RAM the caller vouches for."""
    found = joint_overhead("a", READING, None, least_ram_bytes=190 * MIB)
    assert found.overhead_bytes is None
    assert found.upper_bound_bytes == (268 - 190) * MIB
    assert joint_overhead("a", READING, None).upper_bound_bytes == 268 * MIB


def test_merged_ram_is_unknown() -> None:
    """What KSM merged is charged to somebody, nobody knows whom; a kernel that does not say may have merged."""
    for ksm in (1, None):
        memory = replace(MEMORY, ram=replace(RAM, ksm_bytes=ksm))
        assert joint_overhead("a", READING, memory).overhead_bytes is None


def test_unread_charge_is_unknown() -> None:
    """Without the cgroup's own figures there is neither a figure nor a bound."""
    found = joint_overhead("a", replace(READING, kernel_bytes=None), MEMORY)
    assert (found.overhead_bytes, found.upper_bound_bytes) == (None, None)


def _vma(size: int, flags: str) -> Vma:
    return Vma(0, size, "rw-p", "", size, size, MIB, 0, 0, 0, frozenset(flags.split()))


def test_all_processes_of_the_cgroup_count_and_one_has_the_ram() -> None:
    """Helpers add their own memory; two processes that both look like the guest make the RAM unknown."""
    qemu = [_vma(64 * MIB, "dc"), _vma(3 * MIB, "rd")]
    helper = [_vma(5 * MIB, "rd")]
    memory = process_memory([qemu, helper], (64 * MIB,))
    assert memory.ram is not None
    assert (memory.anonymous_bytes, memory.swap_bytes) == (72 * MIB, 3 * MIB)
    assert process_memory([qemu, qemu], (64 * MIB,)).ram is None
    assert process_memory([helper], (64 * MIB,)).ram is None


@given(
    ram=st.integers(0, 500 * MIB),
    other=st.integers(0, 500 * MIB),
    kernel=st.integers(0, 50 * MIB),
    shmem=st.integers(0, 50 * MIB),
    skew=st.integers(-20 * MIB, 20 * MIB),
)
def test_a_given_figure_is_within_tolerance_of_the_truth(
    ram: int, other: int, kernel: int, shmem: int, skew: int
) -> None:
    """However far the two readings are apart in time, the answer is near the truth or None; its bound holds when the
    cgroup's own reading is the true one."""
    memory = ProcessMemory(replace(RAM, resident_bytes=ram, anonymous_bytes=ram), max(ram, ram + other + skew), 0)
    reading = replace(
        READING, anon_bytes=ram + other, kernel_bytes=kernel, shmem_bytes=shmem, locked_file_bytes=0, swap_bytes=0
    )
    truth = other + kernel + shmem
    found = joint_overhead("a", reading, memory)
    assert found.upper_bound_bytes is not None
    tolerance = max(4 * MIB, (ram + truth) // 100)
    if found.overhead_bytes is not None:
        assert abs(found.overhead_bytes - truth) <= tolerance
    else:
        assert found.upper_bound_bytes >= truth
        assert abs(skew) > 4 * MIB or other + skew < 0
