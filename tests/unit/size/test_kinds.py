"""Kinds and words of parts: every name any policy uses is told, and kinds sum to the whole."""

from __future__ import annotations

import pytest

from guestroom.guest import Disk, Guest, KubeVirtTraits, MemoryBackend, Nic, Passthrough, Video
from guestroom.size import estimate, policies
from guestroom.size.kinds import Kind, by_kind, kind_of, words_of
from guestroom.size.measured_terms import TERMS
from guestroom.units import GIB, MIB

FULL = Guest(
    name="web",
    ram_bytes=4 * GIB,
    vcpus=2,
    max_vcpus=4,
    arch="aarch64",
    accelerator="tcg",
    disks=(Disk(format="qcow2", interface="virtio-blk", queues=2), Disk(interface="scsi", cdrom=True)),
    nics=(Nic(model="virtio-net-pci", backend="tap"),),
    videos=(Video("qxl", 128 * MIB), Video("std"), Video("virtio")),
    displays=("vnc",),
    memory_backends=(MemoryBackend("spare", "ram", 16 * MIB, backs_ram=False),),
    passthrough=(Passthrough("0000:01:00.0", "gpu", mmio_bytes=GIB),),
    iothreads=1,
    shares=1,
    usb_controllers=1,
    tpm=True,
    balloon=True,
    firmware="efi",
    kernel="bzImage",
    kubevirt=KubeVirtTraits(
        dedicated_cpus=True,
        downward_metrics=True,
        sev=True,
        exec_liveness_probe=True,
        added_overhead_bytes=MIB,
        overhead_ratio="2",
    ),
)


@pytest.mark.parametrize("name", policies())
def test_every_part_of_every_policy_is_told_in_words(name: str) -> None:
    """No part of a guest that has everything falls through to "see its source"."""
    for part in estimate(FULL, name).parts:
        assert words_of(part.name) != "see its source", part.name


def test_every_term_that_is_measured_is_told_in_words() -> None:
    """Also those that this guest has none of: jobs, KVM, streams."""
    assert [term.name for term in TERMS if words_of(term.name) == "see its source"] == []


@pytest.mark.parametrize("name", policies())
def test_kinds_sum_exactly_to_the_overhead(name: str) -> None:
    """Nothing is lost or counted twice on the way from parts to kinds, and the order is the kinds' own."""
    found = estimate(FULL, name)
    kinds = by_kind(found)
    assert sum(kinds.values()) == found.overhead_bytes
    assert list(kinds) == [kind for kind in Kind if kind in kinds]
    assert all(kinds.values())


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("QEMU", Kind.QEMU),
        ("page tables, shared RAM", Kind.TABLES),
        ("KVM vCPUs", Kind.CPUS),
        ("I/O thread", Kind.DISKS),
        ("video RAM", Kind.GRAPHICS),
        ("launcher pod", Kind.BESIDE),
        ("a part of tomorrow", Kind.WHOLE),
        ("QEMUs", Kind.WHOLE),
    ],
)
def test_names_are_matched_whole(name: str, kind: Kind) -> None:
    """A name nobody listed is not told apart, even where it begins like another."""
    assert kind_of(name) is kind
