"""The registry: names, exact sums, and what every policy is spared."""

import pytest

from guestroom.errors import InputError
from guestroom.guest import Guest
from guestroom.size import BARE_QEMU_BYTES, estimate, policies, policy
from guestroom.size.model import Part, Sizing
from guestroom.size.registry import check_policy, ram_of, summed
from guestroom.units import GIB, MAX_JSON_INT, MIB

ALL = (
    "fixed",
    "proportional",
    "eve-2021",
    "eve",
    "kubevirt",
    "harvester",
    "openshift",
    "ovirt",
    "kata",
    "libvirt-2013",
    "measured",
    "learned",
)


def test_every_policy_of_the_facts_is_registered() -> None:
    """All formulas that guestroom compares, its own and the one that learns, are there under these names."""
    assert policies() == ALL


@pytest.mark.parametrize("name", ALL)
def test_parts_sum_exactly_and_the_limit_is_ram_plus_overhead(name: str) -> None:
    """For an odd size of RAM no byte is lost between the parts, the overhead and the limit."""
    one = estimate(Guest(ram_bytes=GIB + 12_345_677, vcpus=3), name)
    assert sum(part.bytes for part in one.parts) == one.overhead_bytes
    assert one.limit_bytes == GIB + 12_345_677 + one.overhead_bytes
    assert all(part.name and part.source and part.bytes for part in one.parts)
    assert len({part.name for part in one.parts}) == len(one.parts)


def test_an_unknown_policy_is_refused_with_the_known_ones() -> None:
    """A misspelt policy is wrong input, and the answer lists what there is."""
    with pytest.raises(InputError, match="no sizing policy 'evee'") as caught:
        estimate(Guest(ram_bytes=GIB), "evee")
    assert all(name in str(caught.value.hint) for name in ALL)
    with pytest.raises(InputError, match=r"\.\.\.'"):
        check_policy("x" * 300)


def test_ram_that_is_not_known_is_not_taken_for_zero() -> None:
    """A guest whose RAM nobody knows gets an error naming it, never an estimate for 0 bytes."""
    with pytest.raises(InputError, match="the RAM of guest web is not known"):
        estimate(Guest(name="web"), "fixed")


@pytest.mark.parametrize("ram_bytes", [0, -1, MAX_JSON_INT + 1])
def test_ram_outside_of_what_json_can_carry_is_refused(ram_bytes: int) -> None:
    """RAM of 0, below 0 or from 2^53 is wrong input."""
    with pytest.raises(InputError, match=str(ram_bytes)):
        ram_of(Guest(ram_bytes=ram_bytes))
    assert ram_of(Guest(ram_bytes=MAX_JSON_INT)) == MAX_JSON_INT


def test_a_sum_from_2_53_is_refused() -> None:
    """A limit that JSON readers would round is an error, the largest exact one is not."""
    one = summed("x", MAX_JSON_INT - 5, Sizing((Part("a", 5, "s"),)))
    assert one.limit_bytes == MAX_JSON_INT
    with pytest.raises(InputError, match="more than 2"):
        summed("x", MAX_JSON_INT - 5, Sizing((Part("a", 6, "s"),)))


def test_less_than_a_bare_qemu_is_warned_of_from_the_first_byte_on() -> None:
    """71 MiB, the most a bare QEMU was seen to use, is not warned of; one byte less is, with the figures."""
    assert BARE_QEMU_BYTES == 71 * MIB
    assert summed("x", GIB, Sizing((Part("a", BARE_QEMU_BYTES, "s"),))).warnings == ()
    (warning,) = summed("x", GIB, Sizing((Part("a", BARE_QEMU_BYTES - 1, "s"),))).warnings
    assert "71.0 MiB is less than the 66 to 71 MiB" in warning


def test_the_seeds_share_of_ram_starves_guests_below_240_mib() -> None:
    """Issue 3: 30 % of RAM is shown with the warning for 236 MiB of RAM and without it for 240 MiB."""
    assert estimate(Guest(ram_bytes=236 * MIB, vcpus=1), "proportional").warnings
    assert not estimate(Guest(ram_bytes=240 * MIB, vcpus=1), "proportional").warnings


def test_terms_of_zero_bytes_are_left_out() -> None:
    """A guest without passed-through graphics sees no empty MMIO part."""
    assert "MMIO of passed-through graphics" not in {p.name for p in estimate(Guest(ram_bytes=GIB), "eve").parts}


def test_a_name_is_registered_once() -> None:
    """Two policies of one name would silently replace each other: a programming error, said at import."""
    with pytest.raises(ValueError, match="'eve'"):
        policy("eve")(lambda guest, ram_bytes: Sizing(()))
