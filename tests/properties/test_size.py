"""Promises that hold for every guest and every sizing policy (P10: every number can be traced)."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guestroom.guest import Disk, Guest, KubeVirtTraits, Passthrough, Video
from guestroom.size import BARE_QEMU_BYTES, boot_floor_bytes, estimate, need, policies
from guestroom.units import MIB, TIB

sizes = st.integers(1, 64 * TIB)
passthroughs = st.builds(
    Passthrough,
    address=st.just("01:00.0"),
    kind=st.sampled_from(["gpu", "vga", "vfio-pci", "usb"]),
    mmio_bytes=st.none() | st.integers(0, TIB),
    bridge=st.booleans(),
)
traits = st.builds(
    KubeVirtTraits,
    cpu_limit=st.none() | st.floats(0, 512),
    dedicated_cpus=st.booleans(),
    sev=st.booleans(),
    exec_liveness_probe=st.booleans(),
    added_overhead_bytes=st.integers(0, TIB),
    overhead_ratio=st.none() | st.text(max_size=8) | st.floats(1, 10).map(str),
)
guests = st.builds(
    Guest,
    ram_bytes=sizes,
    vcpus=st.none() | st.integers(1, 512),
    max_vcpus=st.none() | st.integers(1, 512),
    arch=st.sampled_from([None, "x86_64", "aarch64", "ppc64"]),
    accelerator=st.sampled_from([None, "tcg", "kvm"]),
    disks=st.lists(st.builds(Disk, interface=st.sampled_from([None, "virtio-blk", "pflash"])), max_size=4).map(tuple),
    videos=st.lists(
        st.builds(Video, model=st.sampled_from(["VGA", "qxl", "x"]), vga_bytes=st.none() | st.integers(0, TIB)),
        max_size=3,
    ).map(tuple),
    passthrough=st.lists(passthroughs, max_size=3).map(tuple),
    iothreads=st.integers(0, 8),
    tpm=st.booleans(),
    graphics_off=st.booleans(),
    kubevirt=st.none() | traits,
)
each_policy = pytest.mark.parametrize("name", policies())


@each_policy
@settings(max_examples=60)
@given(guests)
def test_parts_sum_exactly_and_none_is_negative(name: str, guest: Guest) -> None:
    """The overhead is the sum of its named parts to the byte, the limit is RAM and overhead, nothing is negative."""
    one = estimate(guest, name)
    assert one.policy == name
    assert sum(part.bytes for part in one.parts) == one.overhead_bytes
    assert guest.ram_bytes is not None
    assert one.limit_bytes == guest.ram_bytes + one.overhead_bytes
    assert all(part.bytes > 0 and part.name and part.source for part in one.parts)


@each_policy
@settings(max_examples=60)
@given(guests, sizes)
def test_more_ram_never_needs_less(name: str, guest: Guest, ram_bytes: int) -> None:
    """No rounding makes a larger guest's limit smaller."""
    assert guest.ram_bytes is not None
    less, more = sorted((guest.ram_bytes, ram_bytes))
    smaller, larger = (estimate(replace(guest, ram_bytes=size), name) for size in (less, more))
    assert smaller.limit_bytes <= larger.limit_bytes


@each_policy
@settings(max_examples=60)
@given(guests, st.integers(1, 512), st.integers(1, 512))
def test_more_vcpus_never_need_less(name: str, guest: Guest, one: int, other: int) -> None:
    """An added vCPU never lowers an estimate."""
    less, more = sorted((one, other))
    smaller, larger = (estimate(replace(guest, vcpus=count, max_vcpus=None), name) for count in (less, more))
    assert smaller.overhead_bytes <= larger.overhead_bytes


@each_policy
@settings(max_examples=60)
@given(st.integers(1, 400 * MIB))
def test_starving_is_warned_of_exactly_when_it_happens(name: str, ram_bytes: int) -> None:
    """The warning is there if and only if the policy gives less than a bare QEMU was seen to use."""
    one = estimate(Guest(ram_bytes=ram_bytes, vcpus=1), name)
    assert any("bare QEMU" in warning for warning in one.warnings) is (one.overhead_bytes < BARE_QEMU_BYTES)


@settings(max_examples=100)
@given(guests, st.none() | st.integers(1, TIB), st.none() | st.integers(1, TIB))
def test_settings_win_in_order(guest: Guest, host: int | None, own: int | None) -> None:
    """Host setting, guest setting, estimate: the first that is set is the need, to the byte."""
    wanted = need(guest, "eve", host_overhead_bytes=host, guest_overhead_bytes=own)
    first = next((size for size in (host, own) if size is not None), estimate(guest, "eve").overhead_bytes)
    assert wanted.overhead_bytes == first


@settings(max_examples=100)
@given(guests)
def test_the_boot_floor_is_never_below_96_mib(guest: Guest) -> None:
    """A squeezed guest is never given less than a QEMU needs to start."""
    assert boot_floor_bytes(guest) >= 96 * MIB
