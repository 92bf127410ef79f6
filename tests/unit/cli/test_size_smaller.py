"""What would make a guest smaller: gains are differences of two estimates, and only what applies is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from guestroom.cli.size_smaller import Knob, as_dict, smaller
from guestroom.describe import burst_bytes, from_qemu_argv
from guestroom.guest import Disk, Guest, MemoryBackend
from guestroom.size import estimate
from guestroom.units import GIB, MIB

LINE = (
    "qemu-system-x86_64 -accel tcg -m 1G -smp 2,maxcpus=4 -kernel k -drive file=a.qcow2,format=qcow2,if=virtio "
    "-vga std -vnc :0 -device qemu-xhci -device usb-tablet"
)
DESKTOP = from_qemu_argv(LINE.split())
BARE = Guest(ram_bytes=GIB, vcpus=1, max_vcpus=1, accelerator="kvm", hugepages=True)


def knobs(guest: Guest, *policies: str) -> dict[str, Knob]:
    """Knobs by what they change."""
    return {knob.what: knob for knob in smaller(guest, [estimate(guest, name) for name in policies])}


def test_a_gain_is_the_difference_of_two_estimates() -> None:
    """No graphics: what KubeVirt's formula and the measured model give less for the same guest without them."""
    found = knobs(DESKTOP, "kubevirt", "measured")["no graphics: -vga none, a serial console"]
    other = replace(DESKTOP, videos=(), displays=(), graphics_off=True)
    expected = {
        name: estimate(DESKTOP, name).overhead_bytes - estimate(other, name).overhead_bytes
        for name in ("kubevirt", "measured")
    }
    assert dict(found.gains) == expected
    assert expected["kubevirt"] == 32 * MIB


def test_a_measured_gain_is_told_whatever_policy_is_looked_at() -> None:
    """EVE's formula sees nothing of the code buffer; what was measured is named all the same."""
    found = knobs(DESKTOP, "eve")["-accel tcg,tb-size=8"]
    assert "eve" not in dict(found.gains)
    assert found.known_bytes == 44 * MIB
    assert dict(found.gains)["measured"] > 40 * MIB


def test_a_shorter_queue_takes_the_burst_and_not_the_need() -> None:
    """Queue size x cluster size, as the burst is bounded."""
    found = knobs(DESKTOP, "eve")["queue-size=32 of its disks"]
    (disk,) = (one for one in DESKTOP.disks if one.format == "qcow2")
    short = replace(DESKTOP, disks=(replace(disk, queue_size=32),))
    assert found.burst_bytes == burst_bytes(DESKTOP) - burst_bytes(short) > 0
    assert found.gains == ()


def test_the_best_comes_first() -> None:
    """By what a measurement says; formulas don't count."""
    gains = [knob.best_bytes for knob in smaller(DESKTOP, [estimate(DESKTOP, "eve")])]
    assert gains == sorted(gains, reverse=True)
    assert gains[0] > 40 * MIB


def test_a_bare_guest_has_nothing_to_turn() -> None:
    """No code buffer under KVM, no disk, no screen, no plugging: nothing is named."""
    assert smaller(BARE, [estimate(BARE, "measured"), estimate(BARE, "eve")]) == ()


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"accelerator": "tcg"}, "-accel tcg,tb-size=8"),
        ({"max_vcpus": 4}, "maxcpus=1: no vCPUs to be plugged in"),
        ({"hugepages": False}, "huge pages for its RAM"),
        ({"kernel": "bzImage"}, "boot from the disk instead of -kernel"),
        ({"usb_controllers": 1}, "no USB"),
        ({"disks": (Disk(format="qcow2", cache="writeback"),)}, "cache=none of its disks"),
        ({"disks": (Disk(format="qcow2", cluster_bytes=2 * MIB),)}, "clusters of 64 KiB"),
        (
            {"memory_backends": (MemoryBackend("m", "ram", 16 * MIB, backs_ram=False),)},
            "take out memory objects of 16.0 MiB",
        ),
    ],
)
def test_each_thing_to_turn_is_named_where_the_guest_has_it(changes: dict[str, object], what: str) -> None:
    """And only there: the bare guest above has none of them."""
    assert what in knobs(replace(BARE, **changes), "eve", "measured")  # type: ignore[arg-type]


def test_gains_are_of_one_coverage_and_learned_is_not_asked() -> None:
    """A figure for 999 of 1000 less one for 19 of 20 is no gain, and neither is what was learned of other guests."""
    many = [estimate(BARE, name, coverage=0.999) for name in ("measured", "learned")]
    assert smaller(BARE, many, coverage=0.999) == ()
    wide = smaller(DESKTOP, [estimate(DESKTOP, "learned")], coverage=0.999)
    assert all(set(dict(knob.gains)) <= {"measured"} for knob in wide)


def test_a_small_code_buffer_is_not_named_again() -> None:
    """8 MiB is the smallest that was measured."""
    small = replace(BARE, accelerator="tcg", tb_bytes=8 * MIB)
    assert not any(what.startswith("-accel") for what in knobs(small, "measured"))


def test_json_tells_unknown_from_nothing() -> None:
    """A gain that was never measured is null."""
    found = as_dict(knobs(DESKTOP, "eve")["no USB"])
    assert found["known_gain_bytes"] is None
    assert found["known"] is None
    assert found["burst_gain_bytes"] == 0
