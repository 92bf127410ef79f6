"""Where options begin and end."""

from __future__ import annotations

import pytest

from guestroom.describe.options import FLAGS, MAX_ARGUMENTS, MAX_CHARACTERS, VALUED, split_argv
from guestroom.errors import DescribeError


def test_flags_do_not_eat_what_follows() -> None:
    """An option without an argument leaves the disk image behind it alone."""
    options = split_argv(["qemu-system-x86_64", "-S", "disk.qcow2", "-m", "512"]).options
    assert [(option.name, option.value) for option in options] == [("S", None), ("", "disk.qcow2"), ("m", "512")]


def test_an_argument_may_look_like_an_option() -> None:
    """What follows an option that takes an argument is its argument, dash or not, as for QEMU."""
    options = split_argv(["-append", "-quiet", "-S"]).options
    assert [(option.name, option.value) for option in options] == [("append", "-quiet"), ("S", None)]


def test_two_dashes_are_one() -> None:
    """--m is -m."""
    assert split_argv(["--m", "512"]).options[0].name == "m"


@pytest.mark.parametrize(
    ("argv", "program"),
    [
        (["/usr/bin/qemu-system-x86_64", "-S"], "/usr/bin/qemu-system-x86_64"),
        (["kvm", "-S"], "kvm"),
        (["my-wrapper.sh", "-S"], "my-wrapper.sh"),
        (["-S"], None),
        (["disk.qcow2", "-S"], None),
        ([], None),
    ],
)
def test_the_program_may_be_left_out(argv: list[str], program: str | None) -> None:
    """A first argument is the program unless it is an option or named like a disk image."""
    assert split_argv(argv).program == program


def test_unknown_options_take_an_argument_without_a_dash() -> None:
    """An option nobody knows is kept with the argument it most likely has."""
    options = split_argv(["-new-thing", "on", "-other", "-m", "64"]).options
    assert [(o.name, o.value, o.known) for o in options] == [
        ("new-thing", "on", False),
        ("other", None, False),
        ("m", "64", True),
    ]


def test_places_are_counted_for_people_and_for_editing() -> None:
    """The number in a message counts QEMU's arguments from 1; the index is the place in the list."""
    with_program = split_argv(["qemu-system-x86_64", "-S", "-m", "512"]).options[1]
    without = split_argv(["-S", "-m", "512"]).options[1]
    assert (with_program.number, with_program.index) == (2, 2)
    assert (without.number, without.index) == (2, 1)
    assert with_program.where == without.where == "argument 2: '-m 512'"


def test_a_missing_argument_is_named() -> None:
    """An option at the end without its argument is an error that quotes it."""
    with pytest.raises(DescribeError) as caught:
        split_argv(["qemu-system-x86_64", "-S", "-m"])
    assert caught.value.where == "argument 2: '-m'"
    assert "-m requires an argument" in caught.value.message


@pytest.mark.parametrize(
    "argv",
    [["-S"] * (MAX_ARGUMENTS + 1), ["-append", "x" * MAX_CHARACTERS], ["-append", "a\0b"]],
    ids=["many", "long", "nul"],
)
def test_oversized_and_impossible_input_is_refused(argv: list[str]) -> None:
    """More than 10,000 arguments, more than 1 MiB, or a NUL byte is an error and not a crash."""
    with pytest.raises(DescribeError):
        split_argv(argv)


def test_the_largest_allowed_input_is_read() -> None:
    """Exactly 10,000 arguments are read."""
    assert len(split_argv(["-S"] * MAX_ARGUMENTS).options) == MAX_ARGUMENTS


def test_long_arguments_are_cut_in_messages() -> None:
    """A message quotes a long argument's two ends, with newlines escaped."""
    option = split_argv(["-append", "a\n" + "x" * 500]).options[0]
    assert len(option.where) < 120
    assert "\\n" in option.where
    assert "\n" not in option.where


def test_no_option_is_both() -> None:
    """The two tables do not overlap."""
    assert not FLAGS & VALUED
