"""Promises of the measured policy that hold for every guest."""

from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from guestroom.guest import Disk, Guest, MemoryBackend, Nic, Video
from guestroom.lab.study.conformal import upper
from guestroom.size import estimate
from guestroom.size.measured import size_by
from guestroom.size.measured_model import MODEL
from guestroom.size.measured_terms import Load
from guestroom.units import GIB, KIB, TIB

disks = st.builds(
    Disk,
    format=st.sampled_from([None, "raw", "qcow2"]),
    interface=st.sampled_from([None, "virtio-blk", "scsi", "nvme", "ide"]),
    cache=st.sampled_from([None, "none", "writeback"]),
    queues=st.none() | st.integers(1, 16),
    queue_size=st.none() | st.integers(1, 1024),
    cluster_bytes=st.none() | st.integers(9, 21).map(lambda bits: 1 << bits),
    virtual_bytes=st.none() | st.integers(0, 8 * TIB),
    l2_cache_bytes=st.none() | st.integers(64 * KIB, GIB),
    read_only=st.booleans(),
)
guests = st.builds(
    Guest,
    ram_bytes=st.integers(1, 4 * TIB),
    vcpus=st.none() | st.integers(1, 64),
    accelerator=st.sampled_from([None, "tcg", "kvm"]),
    tb_bytes=st.none() | st.integers(1, GIB),
    disks=st.lists(disks, max_size=4).map(tuple),
    nics=st.lists(st.builds(Nic, queues=st.none() | st.integers(1, 8)), max_size=3).map(tuple),
    videos=st.lists(st.builds(Video, model=st.sampled_from(["VGA", "qxl", "x"])), max_size=2).map(tuple),
    displays=st.sampled_from([(), ("vnc",), ("spice", "vnc")]),
    memory_backends=st.sampled_from([(), (MemoryBackend("r", "memfd", 1, backs_ram=True),)]),
    iothreads=st.integers(0, 4),
    balloon=st.booleans(),
    kernel=st.sampled_from([None, "vmlinuz"]),
    source=st.just("qemu-argv"),
)
loads = st.builds(
    Load,
    requests=st.integers(0, 1024),
    copies=st.booleans(),
    inflates=st.booleans(),
    vnc_clients=st.integers(0, 8),
    hot_disks=st.integers(0, 8),
    streams=st.integers(0, 8),
)
examples = settings(max_examples=80)


def total(guest: Guest, load: Load | None = None, coverage: float = 0.95) -> int:
    """Bytes, as the policy gives them or for a load."""
    if load is None:
        return estimate(guest, "measured", coverage=coverage).overhead_bytes
    assert guest.ram_bytes is not None
    return sum(part.bytes for part in size_by(MODEL, guest, guest.ram_bytes, coverage, load).parts)


@examples
@given(guests, st.integers(1, 4 * TIB))
def test_more_ram_never_needs_less_overhead(guest: Guest, ram_bytes: int) -> None:
    """A guest with more RAM, and nothing else, is never given less."""
    less, more = sorted((guest.ram_bytes or 1, ram_bytes))
    assert total(replace(guest, ram_bytes=less)) <= total(replace(guest, ram_bytes=more))


@examples
@given(guests, st.integers(1, 64), st.integers(1, 64))
def test_more_vcpus_never_need_less(guest: Guest, one: int, other: int) -> None:
    """An added vCPU never lowers it."""
    less, more = sorted((one, other))
    assert total(replace(guest, vcpus=less)) <= total(replace(guest, vcpus=more))


@examples
@given(guests, disks)
def test_one_more_disk_never_needs_less(guest: Guest, disk: Disk) -> None:
    """An added disk of any kind never lowers it."""
    assert total(guest) <= total(replace(guest, disks=(*guest.disks, disk)))


@examples
@given(guests, loads, st.integers(0, 1024))
def test_more_in_flight_never_needs_less(guest: Guest, load: Load, requests: int) -> None:
    """A deeper queue never lowers it, margin and all, also where the group of the margin changes."""
    less, more = sorted((load.requests, requests))
    assert total(guest, replace(load, requests=less)) <= total(guest, replace(load, requests=more))


@examples
@given(guests, loads)
def test_a_higher_promise_never_needs_less(guest: Guest, load: Load) -> None:
    """What is to be enough for more guests is not smaller."""
    sizes = [total(guest, load, coverage) for coverage in (0.5, 0.95, 0.99, 0.999)]
    assert sizes == sorted(sizes)


@examples
@given(guests)
def test_what_lies_outside_the_study_is_said(guest: Guest) -> None:
    """More RAM than was measured is always named in a warning, less never."""
    warnings = " ".join(estimate(guest, "measured").warnings)
    name = "page tables, shared RAM" if guest.memory_backends else "page tables, anonymous RAM"
    assert (f"{name} (" in warnings) is ((guest.ram_bytes or 0) > MODEL.terms[name].most)


@settings(max_examples=40, derandomize=True)
@given(st.integers(0, 1 << 32), st.sampled_from(["uniform", "skewed", "ties"]))
def test_margins_cover_what_they_promise(seed: int, kind: str) -> None:
    """On exchangeable draws of any shape the margin of 99 samples covers new ones at least as often as Beta allows."""
    dice = Random(seed)
    draw = {
        "uniform": dice.random,
        "skewed": lambda: dice.expovariate(1.0),
        "ties": lambda: float(dice.randrange(4)),
    }[kind]
    margin, within = upper([draw() for _ in range(99)], 0.95)
    assert within >= 97
    covered = sum(draw() <= margin for _ in range(400)) / 400
    # Beta(98, 2) is below 0.90 in one of two thousand; 400 draws blur that by 0.03.
    assert covered > 0.87
