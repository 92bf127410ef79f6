"""Configuration files, without QEMU."""

from __future__ import annotations

import pytest

from guestroom.describe import from_readconfig
from guestroom.describe.options import MAX_CHARACTERS
from guestroom.describe.readconfig import parse_sections
from guestroom.errors import DescribeError
from guestroom.units import MIB


def test_sections_keep_ids_values_and_lines() -> None:
    """Groups, ids and values are read, and every value knows its line."""
    entries = parse_sections('# top\n[drive "d0"]\n  file = "a b.img"\n\n[memory]\nsize = "10"\n', "x.cfg")
    assert [(e.group, e.id, dict(e.values)) for e in entries] == [
        ("drive", "d0", {"file": "a b.img"}),
        ("memory", None, {"size": "10"}),
    ]
    assert entries[0].place("file") == "x.cfg:3"
    assert entries[1].place("absent") == "x.cfg:5"


def test_memory_is_counted_in_mebibytes() -> None:
    """[memory] size = "10240" is 10 GiB, as EVE means it."""
    assert from_readconfig('[memory]\n size = "10240"\n').ram_bytes == 10240 * MIB


def test_what_a_file_does_not_say_is_unknown() -> None:
    """A file is only a part of a command line: without a size the RAM is None, without cpus the vCPUs."""
    guest = from_readconfig('[machine]\n type = "q35"\n')
    assert (guest.ram_bytes, guest.vcpus, guest.max_vcpus) == (None, None, None)
    assert (guest.machine, guest.arch, guest.source) == ("q35", "x86_64", "readconfig")
    assert guest.nics == guest.videos == ()


def test_both_names_of_the_cpu_section_are_read() -> None:
    """[smp] is read like [smp-opts]."""
    for name in ("smp", "smp-opts"):
        assert from_readconfig(f'[{name}]\n cpus = "3"\n maxcpus = "6"\n').max_vcpus == 6


def test_locking_is_read_under_both_names() -> None:
    """[realtime] mlock (older QEMU, EVE) and [overcommit] mem-lock mean the same."""
    assert from_readconfig('[realtime]\n mlock = "on"\n').mem_lock
    assert from_readconfig('[overcommit]\n mem-lock = "on"\n').mem_lock
    assert not from_readconfig('[realtime]\n mlock = "off"\n').mem_lock


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('size = "1"\n', 1),
        ("[memory]\nsize = 1\n", 2),
        ('[memory]\nsize "1"\n', 2),
        ("[memory]\n\n# fine\n  # not in the first column\n", 4),
        ("[memory\n", 1),
        ("[]\n", 1),
        ("  [memory]\n", 1),
        ("[memory]\n   \n", 2),
    ],
)
def test_syntax_errors_carry_their_line(text: str, line: int) -> None:
    """What QEMU could not read is an error that names the line and quotes it."""
    with pytest.raises(DescribeError) as caught:
        from_readconfig(text)
    assert caught.value.where == f"line {line}"
    assert repr(text.split("\n")[line - 1]) in caught.value.message


@pytest.mark.parametrize(
    ("text", "line"),
    [('[memory]\n slots = "1"\n size = "1GB"\n', 3), ('[smp-opts]\n cpus = "many"\n', 2)],
)
def test_malformed_values_carry_their_line(text: str, line: int) -> None:
    """A size or number that is none is an error with the line of that very key."""
    with pytest.raises(DescribeError) as caught:
        from_readconfig(text)
    assert caught.value.where == f"line {line}"


def test_a_file_without_end_is_refused() -> None:
    """More than 1 MiB is an error."""
    with pytest.raises(DescribeError):
        from_readconfig("#" * (MAX_CHARACTERS + 1))
