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
    ],
)
def test_a_slip_is_refused_with_file_and_key(text: str, where: str) -> None:
    """A matrix with a slip measures nothing and says where the slip is."""
    with pytest.raises(InputError) as refused:
        parse_matrix(text, "m.toml")
    assert refused.value.where == where
