"""What a guest is, and what it may be called."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestroom.errors import GuestNameError
from guestroom.guest import Guest, Passthrough, check_name


@pytest.mark.parametrize("name", ["a", "A-1_b", "0", "x" * 63, "Ram", "vmm2"])
def test_good_names_are_taken_as_they_are(name: str) -> None:
    """Letters, digits, - and _, up to 63."""
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "a/b", "..", ".", "a.b", "a b", "a\n", "\na", "a\0", "-a", "_a", "ü", "x" * 64, "x" * 300, "../../etc"]
)
def test_names_that_can_not_be_a_cgroup_are_refused(name: str) -> None:
    """Slashes, dots, newlines, NULs, leading dashes and 64 and more characters: an error with what is allowed."""
    with pytest.raises(GuestNameError, match="not allowed") as caught:
        check_name(name)
    assert "1 to 63" in str(caught.value.hint)
    assert "\n" not in caught.value.line()
    assert len(caught.value.message) < 100


@pytest.mark.parametrize("name", ["ram", "vmm"])
def test_names_of_our_own_folders_are_taken(name: str) -> None:
    """A guest called ``ram`` would be mistaken for a part of another."""
    with pytest.raises(GuestNameError, match="taken"):
        check_name(name)


@given(st.text(max_size=80))
def test_a_name_that_passes_is_one_plain_path_part(name: str) -> None:
    """Whatever passes can't leave its folder, hide, or look like an option."""
    try:
        check_name(name)
    except GuestNameError:
        return
    assert name.isascii()
    assert not set(name) & set("/.\0\n ")
    assert not name.startswith("-")
    assert 0 < len(name) <= 63


def test_what_a_description_does_not_say_is_none() -> None:
    """Unknown is not zero (P6): an empty guest knows neither RAM nor vCPUs nor accelerator."""
    guest = Guest()
    assert (guest.name, guest.ram_bytes, guest.vcpus, guest.max_vcpus, guest.accelerator, guest.tb_bytes) == (None,) * 6


def test_a_guest_does_not_change() -> None:
    """A guest is a value: frozen, hashable, equal by content."""
    guest = Guest(name="a", ram_bytes=1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        guest.ram_bytes = 2  # type: ignore[misc]
    assert {guest: 1}[Guest(name="a", ram_bytes=1)] == 1


@pytest.mark.parametrize(("kind", "graphics"), [("gpu", True), ("vga", True), ("vfio-pci", False), ("usb", False)])
def test_graphics_are_gpus_and_vga_functions(kind: str, graphics: bool) -> None:
    """Only their MMIO counts for EVE."""
    assert Passthrough(None, kind).is_graphics is graphics
