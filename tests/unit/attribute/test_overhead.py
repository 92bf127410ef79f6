"""Overhead of a guest whose RAM is charged apart, against the truth that only the test knows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guestroom.attribute.overhead import TOLERANCE_BYTES, ram_wandered, split_overhead, tolerance_bytes
from guestroom.facts import Accounting, MemoryReading, OverheadReading
from guestroom.units import MIB, UNLIMITED

RAM = 256 * MIB


def reading(
    path: str,
    anon: int | None,
    *,
    kernel: int | None = 0,
    cache: int | None = 0,
    peak: int | None = None,
    **more: object,
) -> MemoryReading:
    """A cgroup charged ``anon`` + ``kernel`` + ``cache``."""
    base = MemoryReading(
        path=path,
        at_s=1.0,
        usage_bytes=None if anon is None else anon + (kernel or 0) + (cache or 0),
        limit_bytes=UNLIMITED,
        peak_bytes=peak,
        failcnt=0,
        anon_bytes=anon,
        anon_huge_bytes=0,
        file_bytes=cache,
        shmem_bytes=0,
        kernel_bytes=kernel,
        swap_bytes=None,
        locked_file_bytes=0,
        under_oom=False,
        how="test",
    )
    return replace(base, **more)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Truth:
    """What really is where, after the move."""

    start_overhead: int
    """Overhead in ``ram`` at the move."""
    overhead_ram: int
    """What is left of it."""
    overhead_vmm: int
    ram_in_ram: int
    ram_in_vmm: int
    cache: int
    peak_slack: int

    @property
    def overhead(self) -> int:
        """What ``split_overhead`` is to find."""
        return self.overhead_ram + self.overhead_vmm

    @property
    def resident(self) -> int:
        """What an exact count gives."""
        return self.ram_in_ram + self.ram_in_vmm

    @property
    def start(self) -> int:
        """Unreclaimable charge of ``ram`` at the move."""
        return RAM + self.start_overhead

    def readings(self) -> tuple[MemoryReading, MemoryReading]:
        """What the cgroup files would say."""
        ram = reading("ram", self.ram_in_ram + self.overhead_ram, peak=self.start + self.peak_slack, cache=self.cache)
        return ram, reading("vmm", self.ram_in_vmm, kernel=self.overhead_vmm, cache=self.cache)

    def judged(self, counted: int | None = None, start: int | None = None) -> OverheadReading:
        """What ``split_overhead`` makes of it."""
        return split_overhead("a", *self.readings(), RAM, counted, ram_start_bytes=start)


@st.composite
def truths(draw: st.DrawFn) -> Truth:
    """Any history that the kernel's rules allow: ``ram`` only falls after the move."""
    start = draw(st.integers(0, 64 * MIB))
    in_ram = draw(st.integers(0, RAM) | st.just(RAM))
    return Truth(
        start_overhead=start,
        overhead_ram=draw(st.integers(0, start) | st.just(start)),
        overhead_vmm=draw(st.integers(0, 600 * MIB)),
        ram_in_ram=in_ram,
        ram_in_vmm=draw(st.integers(0, RAM - in_ram) | st.just(RAM - in_ram)),
        cache=draw(st.integers(0, 900 * MIB)),
        peak_slack=draw(st.integers(0, 30 * MIB)),
    )


STILL = Truth(
    start_overhead=20 * MIB,
    overhead_ram=20 * MIB,
    overhead_vmm=36 * MIB,
    ram_in_ram=RAM,
    ram_in_vmm=0,
    cache=90 * MIB,
    peak_slack=5 * MIB,
)


def test_still_ram_gives_the_overhead_by_subtraction() -> None:
    """While all RAM is in ``ram``, overhead is what both cgroups hold beside it; page cache does not count."""
    found = STILL.judged()
    assert found.overhead_bytes == found.upper_bound_bytes == 56 * MIB
    assert found.ram_resident_bytes == RAM
    assert found.cache_bytes == 180 * MIB
    assert (found.name, found.accounting) == ("a", Accounting.SPLIT)
    assert "unreclaimable(ram) - guest RAM" in found.how


def test_collapsed_ram_is_counted() -> None:
    """RAM that a huge page collapse charged to ``vmm`` is RAM: only a count can tell, and then it is exact."""
    collapsed = replace(STILL, ram_in_ram=RAM - 64 * MIB, ram_in_vmm=64 * MIB)
    assert collapsed.judged().overhead_bytes is None
    found = collapsed.judged(counted=RAM)
    assert found.overhead_bytes == 56 * MIB
    assert found.ram_resident_bytes == RAM
    assert "smaps" in found.how
    assert found.kernel_peak_bytes is None


def test_trimmed_heap_is_cleared_up_by_a_count() -> None:
    """QEMU gives 5 MiB of its start-up heap back: a count shows that all RAM is there, and the peak still counts."""
    trimmed = replace(STILL, overhead_ram=15 * MIB)
    assert trimmed.judged(start=STILL.start).overhead_bytes is None
    ram, vmm = trimmed.readings()
    vmm = replace(vmm, peak_bytes=200 * MIB)
    found = split_overhead("a", ram, vmm, RAM, RAM, ram_start_bytes=STILL.start)
    assert found.overhead_bytes == 51 * MIB
    assert found.kernel_peak_bytes == 220 * MIB


def test_shared_ram_is_still_while_its_shmem_is() -> None:
    """memfd RAM is the shmem in ``ram``: a trimmed heap beside it says nothing about the RAM, a punched hole does."""
    start = RAM + 20 * MIB
    assert ram_wandered(reading("ram", 10 * MIB, shmem_bytes=RAM), RAM, start) is False
    assert ram_wandered(reading("ram", 10 * MIB, shmem_bytes=RAM - 30 * MIB), RAM, start) is True


def test_discarded_ram_hidden_by_start_up_overhead_is_noticed() -> None:
    """18 MiB of RAM given back by a balloon leave ``ram`` above the RAM's size; who remembers what it held sees it."""
    ballooned = replace(STILL, ram_in_ram=RAM - 18 * MIB)
    blind = ballooned.judged()
    assert blind.overhead_bytes == 38 * MIB, "without memory 18 MiB of the overhead are missed"
    seeing = ballooned.judged(start=ballooned.start)
    assert seeing.overhead_bytes is None
    assert seeing.upper_bound_bytes == 61 * MIB
    assert ballooned.judged(counted=RAM - 18 * MIB, start=ballooned.start).overhead_bytes == 56 * MIB


def test_vmm_alone_is_no_upper_bound() -> None:
    """What QEMU took before its vCPUs ran stays in ``ram`` and is part of the bound."""
    ballooned = replace(STILL, ram_in_ram=RAM - 100 * MIB)
    found = ballooned.judged()
    assert found.upper_bound_bytes is not None
    assert found.upper_bound_bytes >= ballooned.overhead > ballooned.overhead_vmm


def test_bound_without_a_usable_peak_is_all_that_is_charged() -> None:
    """Where the kernel's peak is unknown or below RAM, everything unreclaimable is the bound."""
    ram, vmm = replace(STILL, ram_in_ram=10 * MIB).readings()
    for peak in (None, RAM - 1):
        found = split_overhead("a", replace(ram, peak_bytes=peak), vmm, RAM)
        assert found.upper_bound_bytes == 10 * MIB + 56 * MIB


@pytest.mark.parametrize("which", ["ram", "vmm"])
@pytest.mark.parametrize("figure", ["anon_bytes", "shmem_bytes", "kernel_bytes"])
def test_unread_figure_makes_the_overhead_unknown(which: str, figure: str) -> None:
    """A missing part gives neither overhead nor bound, and the answer says which figure of which cgroup."""
    pair = dict(zip(("ram", "vmm"), STILL.readings(), strict=True))
    pair[which] = replace(pair[which], **{figure: None})
    found = split_overhead("a", pair["ram"], pair["vmm"], RAM)
    assert (found.overhead_bytes, found.upper_bound_bytes, found.kernel_peak_bytes) == (None, None, None)
    assert f"of {which}" in found.how


@pytest.mark.parametrize("counted", [-1, RAM + 1, 200 * MIB])
def test_impossible_count_is_not_used(counted: int) -> None:
    """A count that is negative, above the promised RAM or above all that is charged is no count."""
    ram, vmm = replace(STILL, ram_in_ram=20 * MIB).readings()
    found = split_overhead("a", ram, vmm, RAM, counted)
    assert found.overhead_bytes is None
    assert found.upper_bound_bytes is not None


def test_hugetlb_guest_has_no_ram_to_lose() -> None:
    """With no RAM charged to memory cgroups everything unreclaimable is overhead, however far ``ram`` falls."""
    found = split_overhead("a", reading("ram", 20 * MIB), reading("vmm", 36 * MIB), 0, ram_start_bytes=60 * MIB)
    assert found.overhead_bytes == 56 * MIB


def test_kernel_peak_replaces_the_present_charge_of_vmm() -> None:
    """Between two readings overhead reached what the kernel's peak of ``vmm`` says; with wandered RAM nobody knows."""
    ram, vmm = STILL.readings()
    assert split_overhead("a", ram, replace(vmm, peak_bytes=200 * MIB), RAM).kernel_peak_bytes == 220 * MIB
    assert split_overhead("a", ram, replace(vmm, peak_bytes=MIB), RAM).kernel_peak_bytes == 56 * MIB
    assert split_overhead("a", ram, vmm, RAM).kernel_peak_bytes is None
    gone, _ = replace(STILL, ram_in_ram=0).readings()
    assert split_overhead("a", gone, replace(vmm, peak_bytes=200 * MIB), RAM, 0).kernel_peak_bytes is None


def test_noise_below_the_ram_size_is_not_negative_overhead() -> None:
    """Per-CPU counting may show ``ram`` a little below the RAM: overhead is then 0, not below."""
    found = split_overhead("a", reading("ram", RAM - MIB), reading("vmm", 0), RAM)
    assert found.overhead_bytes == 0


def test_swap_is_charged_memory_that_comes_back() -> None:
    """Swapped-out RAM has not wandered: it counts in ``ram`` as before."""
    ram = reading("ram", RAM + 20 * MIB - 50 * MIB, swap_bytes=50 * MIB)
    assert ram_wandered(ram, RAM, RAM + 20 * MIB) is False


def test_agreement_of_two_counts() -> None:
    """Two counts agree within 4 MiB, or 1 % where that is more."""
    assert tolerance_bytes(0) == tolerance_bytes(400 * MIB) == 4 * MIB
    assert tolerance_bytes(1000 * MIB) == 10 * MIB


@given(truths())
@settings(max_examples=300)
def test_exact_count_gives_the_true_overhead(truth: Truth) -> None:
    """Wherever the RAM is, with an exact count and the memory of what ``ram`` held, the overhead is the true one
    within the noise that passes for still."""
    found = truth.judged(counted=truth.resident, start=truth.start)
    assert found.overhead_bytes is not None
    assert truth.overhead - TOLERANCE_BYTES <= found.overhead_bytes <= truth.overhead
    if ram_wandered(truth.readings()[0], RAM, truth.start):
        assert found.overhead_bytes == truth.overhead


@given(truths())
@settings(max_examples=300)
def test_upper_bound_is_never_below_the_truth(truth: Truth) -> None:
    """Without a count the bound still holds for every history the kernel allows."""
    found = truth.judged(start=truth.start)
    assert found.upper_bound_bytes is not None
    slack = 0 if found.overhead_bytes is None else TOLERANCE_BYTES
    assert found.upper_bound_bytes + slack >= truth.overhead


@given(truths())
@settings(max_examples=200)
def test_without_memory_the_error_is_at_most_the_start_up_overhead(truth: Truth) -> None:
    """After a restart only RAM below its own size shows; what that can miss is what ``ram`` held beside RAM."""
    found = truth.judged()
    if found.overhead_bytes is not None:
        assert truth.overhead - truth.start_overhead - TOLERANCE_BYTES <= found.overhead_bytes <= truth.overhead
    else:
        assert found.upper_bound_bytes is not None
        assert found.upper_bound_bytes >= truth.overhead


_FIGURE = st.none() | st.integers(0, 2 * RAM)


@given(
    st.tuples(_FIGURE, _FIGURE, _FIGURE, _FIGURE),
    st.tuples(_FIGURE, _FIGURE, _FIGURE, _FIGURE),
    _FIGURE,
    _FIGURE,
)
def test_any_figures_give_an_answer_that_is_not_negative(
    ram: tuple[int | None, ...], vmm: tuple[int | None, ...], counted: int | None, start: int | None
) -> None:
    """Whatever was read, also what no kernel would say: no exception, nothing negative, overhead within its bound."""
    first, second = (
        reading("x", anon, kernel=kernel, cache=cache, peak=peak) for anon, kernel, cache, peak in (ram, vmm)
    )
    found = split_overhead("a", first, second, RAM, counted, ram_start_bytes=start)
    if found.overhead_bytes is not None:
        assert found.upper_bound_bytes is not None
        assert 0 <= found.overhead_bytes <= found.upper_bound_bytes
    if first.unreclaimable_bytes is None or second.unreclaimable_bytes is None:
        assert found.overhead_bytes is None
    assert found.how
