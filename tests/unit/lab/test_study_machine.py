"""A configuration's command line holds what its factors say, and nothing that was not asked for."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from guestroom.describe import from_qemu_argv
from guestroom.lab.image import GuestImage
from guestroom.lab.study.dataset import Factor
from guestroom.lab.study.machine import command
from guestroom.lab.study.matrix import DEFAULTS, parse_matrix
from guestroom.units import MIB

IMAGE = GuestImage("vmlinuz", "initrd.gz")


def argv(**changes: Factor) -> list[str]:
    """The command line of the defaults with these changes."""
    disks = tuple(f"d{number}.raw" for number in range(int(changes.get("disks", 1) or 0)))
    return command({**DEFAULTS, **changes}, IMAGE, Path("folder"), disks)


def test_what_is_asked_for_is_what_guestroom_reads_there() -> None:
    """guestroom's own reader finds the factors in the command line again."""
    guest = from_qemu_argv(argv(ram_mib=512, vcpus=4, disks=3, tb_mib=16, nics=2, usb=True, balloon=True, iothreads=2))
    assert guest.ram_bytes == 512 * MIB
    assert guest.vcpus == 4
    assert guest.tb_bytes == 16 * MIB
    assert (len(guest.disks), len(guest.nics), guest.usb_controllers, guest.iothreads) == (3, 2, 1, 2)
    assert guest.balloon


def test_the_defaults_ask_for_nothing_more() -> None:
    """No display, network, USB, balloon or I/O thread, and sizes left to QEMU."""
    text = " ".join(argv())
    for word in ("vnc", "VGA", "netdev", "xhci", "balloon", "iothread", "tb-size", "l2-cache", "queue-size"):
        assert word not in text


@pytest.mark.parametrize(
    ("factor", "value", "word"),
    [
        ("queue_size", 32, "queue-size=32"),
        ("queues", 2, "num-queues=2"),
        ("l2_cache_mib", 8, "l2-cache-size=8M"),
        ("memory", "memfd", "share=on"),
        ("video", "qxl", "qxl-vga"),
        ("vnc_clients", 1, "unix:folder/vnc"),
        ("env_arena_max", 1, "MALLOC_ARENA_MAX=1"),
    ],
)
def test_each_factor_has_its_option(factor: str, value: Factor, word: str) -> None:
    """A factor that is set is in the command line."""
    assert word in " ".join(argv(**{factor: value}))


@pytest.mark.parametrize(("name", "least"), [("full", 80), ("quick", 8)])
def test_the_shipped_matrices_are_valid(name: str, least: int) -> None:
    """Both matrices are read, have a base and as many configurations as promised."""
    text = (files("guestroom.lab.study") / "matrices" / f"{name}.toml").read_text()
    found = parse_matrix(text, name)
    assert len(found) >= least
    assert found[0].name == "base"
