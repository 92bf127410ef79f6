"""Settings before estimates, and the boot floor."""

import pytest

from guestroom.errors import InputError
from guestroom.guest import Guest
from guestroom.size import Origin, boot_floor_bytes, estimate, need
from guestroom.size.needs import DEFAULT_TB_BYTES
from guestroom.units import GIB, MIB

GUEST = Guest(name="web", ram_bytes=GIB, vcpus=2)


@pytest.mark.parametrize(
    ("host", "guest", "origin", "mib"),
    [
        (100, 200, Origin.HOST_SETTING, 100),
        (100, None, Origin.HOST_SETTING, 100),
        (None, 200, Origin.GUEST_SETTING, 200),
        (None, None, Origin.ESTIMATE, None),
    ],
)
def test_the_hosts_setting_comes_first_then_the_guests_then_the_estimate(
    host: int | None, guest: int | None, origin: Origin, mib: int | None
) -> None:
    """EVE's order of precedence, and the answer says whose figure it is."""
    wanted = need(
        GUEST,
        "eve",
        host_overhead_bytes=host and host * MIB,
        guest_overhead_bytes=guest and guest * MIB,
    )
    assert wanted.origin is origin
    assert wanted.is_set is (origin is not Origin.ESTIMATE)
    if mib is None:
        assert wanted.estimate == estimate(GUEST, "eve")
    else:
        assert wanted.overhead_bytes == mib * MIB
        assert wanted.estimate.policy == "setting"
        assert wanted.estimate.limit_bytes == GIB + mib * MIB
        assert [part.bytes for part in wanted.estimate.parts] == [mib * MIB]
        assert origin.value in wanted.estimate.parts[0].source


def test_a_setting_below_a_bare_qemu_is_warned_of_too() -> None:
    """An operator's figure starves a guest just as well as a formula's."""
    assert need(GUEST, "eve", guest_overhead_bytes=50 * MIB).estimate.warnings


@pytest.mark.parametrize("set_bytes", [0, -1])
def test_a_setting_that_is_not_positive_is_refused(set_bytes: int) -> None:
    """0 is not "not set": that is None."""
    with pytest.raises(InputError, match=f"host setting for overhead is {set_bytes} bytes"):
        need(GUEST, "eve", host_overhead_bytes=set_bytes)


def test_a_misspelt_policy_is_refused_even_where_a_setting_decides() -> None:
    """A fault in the settings is found when it is made, not when the override is taken away."""
    with pytest.raises(InputError, match="no sizing policy"):
        need(GUEST, "evee", host_overhead_bytes=100 * MIB)


@pytest.mark.parametrize(
    ("accelerator", "tb_bytes", "mib"),
    [
        ("tcg", 16 * MIB, 112),
        ("tcg", None, 128),
        ("tcg", 0, 128),
        (None, None, 128),
        (None, 8 * MIB, 104),
        ("kvm", None, 96),
        ("kvm", 512 * MIB, 96),
    ],
)
def test_the_boot_floor_is_96_mib_and_the_code_buffer(accelerator: str | None, tb_bytes: int | None, mib: int) -> None:
    """TCG adds its code buffer, 32 MiB where none is given; KVM has none; an unnamed accelerator is QEMU's TCG."""
    assert boot_floor_bytes(Guest(accelerator=accelerator, tb_bytes=tb_bytes)) == mib * MIB
    assert DEFAULT_TB_BYTES == 32 * MIB


def test_the_boot_floor_covers_what_was_measured() -> None:
    """No floor is below the peak seen for its shape: 43, 51 and 71 MiB with tb-size 8, 16, 32; 88 with the default."""
    for tb_mib, seen_mib in ((8, 43), (16, 51), (32, 71), (None, 88)):
        tb_bytes = None if tb_mib is None else tb_mib * MIB
        assert boot_floor_bytes(Guest(accelerator="tcg", tb_bytes=tb_bytes)) > seen_mib * MIB
