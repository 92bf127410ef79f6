"""Which guests are alike: names and paths do not matter, what QEMU emulates does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from guestroom.describe import from_qemu_argv
from guestroom.guest import Disk, Guest, Nic, Passthrough, Video
from guestroom.size.likeness import LONGEST, likeness
from guestroom.units import GIB, MIB

from .lives import GUEST


def test_names_paths_and_order_do_not_matter() -> None:
    """Another name, another image file, disks the other way round: the same shape."""
    one = Disk(id="a", file="/a", format="raw", interface="virtio-blk")
    two = Disk(id="b", file="/b", format="qcow2", interface="virtio-blk")
    first = replace(GUEST, disks=(one, two))
    other = replace(GUEST, name="db", disks=(replace(two, file="/c", id=None), replace(one, file="/d")))
    assert likeness(first) == likeness(other)


@pytest.mark.parametrize(
    "changed",
    [
        {"ram_bytes": 2 * GIB},
        {"max_vcpus": 4},
        {"disks": (Disk(format="raw", interface="virtio-blk"),)},
        {"disks": (Disk(format="qcow2", interface="virtio-blk", cache="none"),)},
        {"disks": (*GUEST.disks, *GUEST.disks)},
        {"nics": (Nic(model="virtio-net-pci", backend="tap"),)},
        {"videos": (Video("qxl"),)},
        {"tpm": True},
        {"iothreads": 1},
        {"passthrough": (Passthrough("01:00.0", "vfio-pci"),)},
        {"machine": "pc"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_what_qemu_emulates_matters(changed: dict[str, object]) -> None:
    """Other RAM class, vCPUs, disks, cards, displays or machine are another shape and another kind."""
    one, other = likeness(GUEST), likeness(replace(GUEST, **changed))  # type: ignore[arg-type]
    assert one.shape != other.shape
    assert one.kind != other.kind


def test_sizes_of_one_class_are_of_one_kind() -> None:
    """200 and 256 MiB, or two versions of one machine type, are of one kind but not of one shape."""
    smaller = replace(GUEST, ram_bytes=200 * MIB, machine="pc-q35-7.2")
    assert likeness(smaller).kind == likeness(GUEST).kind
    assert likeness(smaller).shape != likeness(GUEST).shape
    assert likeness(replace(GUEST, ram_bytes=257 * MIB)).kind != likeness(GUEST).kind


def test_without_an_accelerator_it_is_tcg() -> None:
    """As QEMU itself has it."""
    assert likeness(Guest(ram_bytes=GIB)).accelerator == "tcg"
    assert likeness(replace(GUEST, accelerator="kvm"), "8.0").accelerator == "kvm"
    assert likeness(GUEST, "8.0").qemu == "8.0"


def test_keys_of_hostile_descriptions_stay_short_and_apart() -> None:
    """Options come from the client: a long one makes no long key, and two long ones are still told apart."""
    one = likeness(replace(GUEST, machine="x" * 100_000))
    other = likeness(replace(GUEST, machine="x" * 100_001))
    assert len(one.shape) <= LONGEST
    assert len(one.kind) <= LONGEST
    assert one.shape != other.shape


def test_two_starts_of_one_command_line_are_alike() -> None:
    """From real argv: the socket and image paths differ, the likeness is the same."""
    argv = ["qemu-system-x86_64", "-m", "256", "-drive", "file=/tmp/{}.qcow2,if=virtio", "-qmp", "unix:/run/{},server"]
    one, two = ([text.replace("{}", name) for text in argv] for name in ("a", "b"))
    assert likeness(from_qemu_argv(one)) == likeness(from_qemu_argv(two))
