"""The lean form of a command line: smaller where nobody said how large, untouched where somebody did."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestroom.describe.lean import ALLOCATOR, lean

QEMU = "qemu-system-x86_64"


def test_a_code_buffer_nobody_sized_becomes_small() -> None:
    """TCG without a tb-size gets one, in the option that asked for TCG, and the change is told with gain and cost."""
    found = lean([QEMU, "-accel", "tcg,thread=multi", "-m", "256"], {})
    assert found.argv == (QEMU, "-accel", "tcg,thread=multi,tb-size=8", "-m", "256")
    assert found.changes[0].what == "-accel tcg,thread=multi,tb-size=8"
    assert "44 MiB" in found.changes[0].gain
    assert found.changes[0].cost


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["-accel", "tcg,tb-size=512"], "tb-size is set by you"),
        (["-tb-size", "64", "-accel", "tcg"], "tb-size is set by you"),
        (["-accel", "tcg", "-readconfig", "f"], "tb-size may be set in the -readconfig file"),
        (["-m", "256"], "no accelerator is named: under TCG, -accel tcg,tb-size=8 saves about 44 MiB"),
    ],
)
def test_what_its_user_said_stays(words: list[str], why: str) -> None:
    """A size that is set, or may be, is left alone, and so is a guest that may not be emulated; each is told."""
    found = lean([QEMU, *words], dict(ALLOCATOR))
    assert found.argv == (QEMU, *words)
    assert found.kept[0] == why
    assert not found.changes


@pytest.mark.parametrize("words", [["-accel", "kvm"], ["-enable-kvm"], ["-machine", "q35,accel=kvm"]])
def test_a_guest_under_kvm_has_no_code_buffer(words: list[str]) -> None:
    """Under KVM the command line stays as it is: only the allocator's variables are set."""
    found = lean([QEMU, *words], {})
    assert found.argv == (QEMU, *words)
    assert found.environment == ALLOCATOR
    assert not found.kept


def test_a_variable_that_is_set_stays() -> None:
    """The user's own MALLOC_ARENA_MAX is kept, and said to be."""
    found = lean([QEMU, "-accel", "kvm"], {"MALLOC_ARENA_MAX": "4"})
    assert found.environment == {"MALLOC_TRIM_THRESHOLD_": "131072"}
    assert found.kept == ("MALLOC_ARENA_MAX=4 is set by you",)


@given(st.lists(st.sampled_from(["-accel", "tcg", "kvm", "-S", "-m", "256", "tcg,tb-size=3", "-smp", "-M", "q35"])))
def test_nothing_but_the_accelerator_is_touched(words: list[str]) -> None:
    """Whatever the order, at most one word differs, and only by an added tb-size; a second pass changes nothing."""
    argv = [QEMU, *words, "-S"]
    found = lean(argv, {})
    differing = [(was, now) for was, now in zip(argv, found.argv, strict=True) if was != now]
    assert len(differing) <= 1
    assert all(now == f"{was},tb-size=8" for was, now in differing)
    assert lean(found.argv, {}).argv == found.argv


def test_queues_are_shortened_where_the_guest_may_see_it() -> None:
    """Only when asked: each disk's device gets a queue of 64, by the name its driver has for it."""
    words = ["-device", "virtio-blk-pci,drive=d0", "-device", "virtio-scsi-pci,id=s", "-device", "virtio-net-pci"]
    assert lean([QEMU, *words], {}).argv == (QEMU, *words)
    found = lean([QEMU, *words], {}, visible=True)
    assert found.argv[2] == "virtio-blk-pci,drive=d0,queue-size=64"
    assert found.argv[4] == "virtio-scsi-pci,id=s,virtqueue_size=64"
    assert found.argv[6] == "virtio-net-pci"
    assert [change.cost for change in found.changes[:2]] == ["the guest sees a shorter queue; fewer IOPS at depth"] * 2
    assert lean(found.argv, {}, visible=True).argv == found.argv


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["-device", "virtio-blk-pci,drive=d0,queue-size=16"], "queue-size of virtio-blk-pci is set by you"),
        (["-device", "virtio-blk-pci,id=v,drive=d0,queue_size=16"], "queue-size of v is set by you"),
        (["-device", "virtio-blk-pci,id=v", "-set", "device.v.queue-size=8"], "queue-size of v is set by you"),
        (["-device", "virtio-blk-pci,id=v", "-global", "virtio-blk-pci.queue-size=8"], "queue-size of v is set by you"),
        (["-drive", "file=a,if=virtio"], "the queue of file=a,if=virtio: write its disk as -device virtio-blk-pci"),
        (
            ["-device", '{"driver":"virtio-blk-pci","drive":"d0"}'],
            "the queue of a -device in JSON form: set queue-size there",
        ),
    ],
)
def test_queues_that_stay_are_named(words: list[str], why: str) -> None:
    """A queue that is sized, may be, or can't be sized where it stands is left alone, and that is said."""
    found = lean([QEMU, *words], dict(ALLOCATOR), visible=True)
    assert found.argv == (QEMU, *words)
    assert why in found.kept
