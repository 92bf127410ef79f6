"""What is only counted: I/O threads, shares, USB, sound, NUMA nodes, and whether there is a TPM or a balloon."""

from __future__ import annotations

import re
from dataclasses import dataclass

from guestroom.describe.settings import Settings, Value

_USB_CONTROLLERS = re.compile(
    r"(?:nec-usb-xhci|qemu-xhci|usb-ehci|pci-ohci|sysbus-ohci|ich9-usb-|piix[34]-usb-uhci|vt82c686b-usb-uhci)"
)
_NOT_USB_DEVICES = frozenset({"usb-ehci", "usb-bot", "usb-hub", "usb-uas"})
_SOUND_DRIVERS = frozenset(
    {"AC97", "ES1370", "adlib", "cs4231a", "gus", "sb16", "intel-hda", "ich9-intel-hda", "usb-audio"}
    | {"virtio-sound", "virtio-sound-pci", "virtio-sound-device", "virtio-snd", "virtio-snd-pci"}
    | {"vhost-user-snd", "vhost-user-snd-pci"}
)
"""Sound cards; the codecs on an HDA bus are parts of their card."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What is only counted."""

    iothreads: int
    shares: int
    usb_controllers: int
    usb_devices: int
    tpm: bool
    balloon: bool
    sounds: int
    numa_nodes: int


def read_counts(settings: Settings) -> Counts:
    """Count it."""
    drivers = [entry.get("driver") or "" for entry in settings.of("device")]
    board_usb = settings.last("machine", "usb")
    return Counts(
        iothreads=sum(entry.get("qom-type") == "iothread" for entry in settings.of("object")),
        shares=sum(driver.startswith(("vhost-user-fs", "virtio-9p")) for driver in drivers)
        + len(settings.of("virtfs")),
        usb_controllers=sum(_USB_CONTROLLERS.match(driver) is not None for driver in drivers)
        + _on(board_usb, bool(settings.of("usbdevice"))),
        usb_devices=sum(driver.startswith("usb-") and driver not in _NOT_USB_DEVICES for driver in drivers)
        + len(settings.of("usbdevice")),
        tpm=bool(settings.of("tpmdev")) or any(driver.startswith("tpm-") for driver in drivers),
        balloon=any(driver.startswith("virtio-balloon") for driver in drivers)
        or (settings.text("balloon", "type") or "none").startswith("virtio"),
        sounds=sum(driver in _SOUND_DRIVERS for driver in drivers) + _asked_sounds(settings),
        numa_nodes=sum(entry.get("type") == "node" for entry in settings.of("numa")),
    )


def _asked_sounds(settings: Settings) -> int:
    """Cards of ``-audio ...,model=`` and of the older ``-soundhw a,b``."""
    audio = sum((entry.get("model") or "none") != "none" for entry in settings.of("audio"))
    cards = [card for entry in settings.of("soundhw") for card in (entry.get("cards") or "").split(",")]
    return audio + sum(card not in ("", "pcspk") for card in cards)  # the PC speaker is part of the board


def _on(value: Value | None, otherwise: bool) -> int:
    return int(otherwise if value is None else value.boolean())
