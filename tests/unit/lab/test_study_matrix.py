"""A study's matrix: what it says is what is measured, and a slip in it names file and key."""

from __future__ import annotations

import pytest

from guestroom.errors import InputError
from guestroom.lab.study.matrix import DEFAULTS, parse_matrix

GOOD = """
[base]
ram_mib = 128
[[config]]
name = "plain"
family = "base"
[[config]]
name = "four"
family = "vcpus"
vcpus = 4
ram_mib = 512
"""


def test_a_configuration_overrides_the_base_and_the_base_the_defaults() -> None:
    """Each configuration has every factor: its own, else the base's, else the default."""
    plain, four = parse_matrix(GOOD, "m.toml")
    assert plain.factors == {**DEFAULTS, "ram_mib": 128}
    assert four.factors == {**DEFAULTS, "ram_mib": 512, "vcpus": 4}
    assert (four.name, four.family) == ("four", "vcpus")


def test_a_configuration_says_how_often_and_how_it_is_charged() -> None:
    """``repeat`` and ``split`` are no factors: the same guest, measured more often and both ways."""
    plain, four = parse_matrix(GOOD + "repeat = 3\nsplit = true\n", "m.toml")
    assert (plain.repeat, plain.accountings) == (1, ("joint",))
    assert (four.repeat, four.accountings) == (3, ("joint", "split"))
    assert set(four.factors) == set(DEFAULTS)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[base", "m.toml"),
        ("[other]\n", "m.toml: other"),
        ("base = 1\n", "m.toml: base"),
        ("[base]\n", "m.toml: config"),
        (GOOD + "vcpu = 2\n", "m.toml: config[1].vcpu"),
        (GOOD + "disks = true\n", "m.toml: config[1].disks"),
        (GOOD + "disks = -1\n", "m.toml: config[1].disks"),
        (GOOD + '[[config]]\nname = "plain"\nfamily = "x"\n', "m.toml: config[2].name"),
        (GOOD + '[[config]]\nname = "a/b"\nfamily = "x"\n', "m.toml: config[2].name"),
        (GOOD + '[[config]]\nname = "x"\n', "m.toml: config[2].family"),
        (GOOD + "repeat = 0\n", "m.toml: config[1].repeat"),
        (GOOD + 'repeat = "5"\n', "m.toml: config[1].repeat"),
        (GOOD + "split = 1\n", "m.toml: config[1].split"),
        (GOOD + 'load = "reed"\n', "m.toml: config[1].load"),
        (GOOD + 'load = "send"\n', "m.toml: config[1].nics"),
        (GOOD + 'load = "randread"\ndisks = 0\n', "m.toml: config[1].disks"),
        (GOOD + "shares = 1\n", "m.toml: config[1].memory"),
        (GOOD + 'boot = "disk"\n', "m.toml: config[1].boot"),
        (GOOD + "hot_disks = 1\n", "m.toml: config[1].hot_disks"),
        (GOOD + 'machine = "microvm"\nusb = true\n', "m.toml: config[1].machine"),
        (GOOD + "backing = true\n", "m.toml: config[1]"),
        (GOOD + 'format = "qcow2"\nbacking = true\nfilled = true\n', "m.toml: config[1]"),
    ],
)
def test_a_slip_is_refused_with_file_and_key(text: str, where: str) -> None:
    """A matrix with a slip measures nothing and says where the slip is."""
    with pytest.raises(InputError) as refused:
        parse_matrix(text, "m.toml")
    assert refused.value.where == where
