"""What is only counted: I/O threads, shares, USB, sound, NUMA nodes, TPM, balloon."""

from __future__ import annotations

import pytest

from guestroom.describe import from_qemu_argv


@pytest.mark.parametrize(
    ("text", "sounds"),
    [
        ("", 0),
        ("-device AC97 -device ich9-intel-hda -device hda-duplex", 2),
        ("-device virtio-sound-pci,audiodev=a -device usb-audio", 2),
        ("-audiodev pa,id=a", 0),
        ("-audio none", 0),
        ("-audio pa,model=hda", 1),
        ("-audio driver=pa,model=none", 0),
        ("-soundhw ac97,es1370,pcspk", 2),
    ],
)
def test_sound_cards_are_counted_and_their_codecs_are_not(text: str, sounds: int) -> None:
    """Devices, ``-audio ...,model=`` and the older ``-soundhw``; the PC speaker is part of the board."""
    assert from_qemu_argv(["-nodefaults", *text.split()]).sounds == sounds


def test_numa_nodes_are_counted_and_distances_are_not() -> None:
    """``-numa node`` each; ``dist`` and ``cpu`` say something of nodes that are there."""
    text = "-numa node,nodeid=0 -numa node,nodeid=1 -numa dist,src=0,dst=1,val=20 -numa cpu,node-id=0,socket-id=0"
    assert from_qemu_argv(text.split()).numa_nodes == 2
