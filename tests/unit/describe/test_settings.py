"""Values with their places, and groups."""

from __future__ import annotations

import pytest

from guestroom.describe.settings import Entry, Settings, Value
from guestroom.errors import DescribeError
from guestroom.units import EIB, GIB, KIB, MIB


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("512", 512),
        ("1k", KIB),
        ("1K", KIB),
        ("1.5G", 3 * GIB // 2),
        ("1.1G", 1_181_116_006),
        ("1.M", MIB),
        ("1.7k", 1741),
        ("0x10", 16),
        ("0x10M", 16 * MIB),
        ("0x1b", 27),
        ("12b", 12),
        (" +3M", 3 * MIB),
        ("1E", EIB),
    ],
)
def test_sizes_are_read_as_qemu_does(text: str, size_bytes: int) -> None:
    """Suffixes count 2^10, parts of a byte are rounded, hexadecimal is taken."""
    assert Value("size", text, "x").size() == size_bytes


def test_a_bare_number_counts_the_given_unit() -> None:
    """A number without suffix is in the unit of its place, a suffix overrides it."""
    assert Value("size", "3", "x").size(MIB) == 3 * MIB
    assert Value("size", "3k", "x").size(MIB) == 3 * KIB


@pytest.mark.parametrize(
    "text",
    ["", "x", "-1", "1e3", "1MB", "1MiB", ".5G", "1..5", "1,5", "0x", "8E", "1.5", "1.5b", "9" * 30, "1 M", "1\n"],
)
def test_what_is_no_size_is_quoted(text: str) -> None:
    """A text QEMU does not take as a size is an error with the key, the text and the place."""
    with pytest.raises(DescribeError) as caught:
        Value("maxmem", text, "argument 7").size()
    assert caught.value.where == "argument 7"
    assert repr(text) in caught.value.message
    assert "maxmem" in caught.value.message


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("4", 4), ("0x1F", 31), ("010", 8), (" +7", 7)])
def test_numbers_have_qemus_bases(text: str, number: int) -> None:
    """0x is hexadecimal and a leading zero octal, as strtoull reads them."""
    assert Value("cpus", text, "x").number() == number


@pytest.mark.parametrize("text", ["", "four", "4.5", "-1", "08", "4x", "9" * 30])
def test_what_is_no_number_is_an_error(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(DescribeError):
        Value("cpus", text, "x").number()


def test_booleans_have_all_spellings_and_no_others() -> None:
    """on, yes, true, y and their opposites; anything else is an error."""
    assert [Value("share", text, "").boolean() for text in ("on", "yes", "true", "y")] == [True] * 4
    assert [Value("share", text, "").boolean() for text in ("off", "no", "false", "n")] == [False] * 4
    with pytest.raises(DescribeError):
        Value("share", "maybe", "").boolean()


def test_the_last_value_of_a_merged_group_counts() -> None:
    """Groups merge key by key: a later entry overrides only what it says."""
    settings = Settings("given")
    settings.add(Entry("memory", {"size": "1", "slots": "2"}, "a"))
    settings.add(Entry("memory", {"size": "3"}, "b"))
    size, slots = settings.last("memory", "size"), settings.last("memory", "slots")
    assert size is not None
    assert slots is not None
    assert (size.text, size.where, slots.text, slots.where) == ("3", "b", "2", "a")


def test_several_groups_keep_their_common_order() -> None:
    """Entries of several groups come in the order they were written, whatever order is asked for."""
    settings = Settings("given")
    for group in ("net", "nic", "net"):
        settings.add(Entry(group, {}, f"{group}"))
    assert [entry.group for entry in settings.of("nic", "net")] == ["net", "nic", "net"]


def test_a_global_default_is_below_the_devices_own_value() -> None:
    """A device's own property wins over -global; a -global of its base type applies."""
    settings = Settings("given")
    settings.add(Entry("global", {"driver": "virtio-blk-device", "property": "queue-size", "value": "32"}, "g"))
    device = Entry("device", {"driver": "virtio-blk-pci"}, "d")
    own = Entry("device", {"driver": "virtio-blk-pci", "queue-size": "64"}, "d")
    found, mine = settings.device_value(device, "queue-size"), settings.device_value(own, "queue-size")
    assert found is not None
    assert mine is not None
    assert (found.text, mine.text) == ("32", "64")
    assert settings.device_value(Entry("device", {"driver": "nvme"}, "d"), "queue-size") is None
