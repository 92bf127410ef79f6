"""Networks, graphics, passed-through devices and counts."""

from __future__ import annotations

import pytest

from guestroom.describe import from_qemu_argv
from guestroom.guest import Guest, Nic, Passthrough, Video
from guestroom.units import MIB


def described(text: str) -> Guest:
    """The guest of a command line written with spaces."""
    return from_qemu_argv(text.split())


def test_cards_are_joined_to_their_back_ends() -> None:
    """A -device and the -netdev it names are one card."""
    guest = described(
        "-nodefaults -netdev tap,id=n0,vhost=on,queues=4 -device virtio-net-pci,netdev=n0,id=c0 "
        '-netdev {"type":"user","id":"n1"} -device e1000,netdev=n1'
    )
    assert guest.nics == (
        Nic("c0", "virtio-net-pci", "tap", 4, vhost=True),
        Nic(None, "e1000", "user"),
    )


@pytest.mark.parametrize(
    ("text", "nics"),
    [
        ("", (Nic(model="e1000", backend="user"),)),
        ("-M q35", (Nic(model="e1000e", backend="user"),)),
        ("-nodefaults", ()),
        ("-nic none", ()),
        ("-net none", ()),
        ("-nic tap,model=virtio", (Nic(model="virtio", backend="tap"),)),
        ("-net nic,model=rtl8139 -net tap", (Nic(model="rtl8139", backend="tap"),)),
        ("-M virt", ()),
    ],
)
def test_the_default_card_is_counted(text: str, nics: tuple[Nic, ...]) -> None:
    """A PC has a card by itself unless told otherwise; other machines' defaults are not guessed."""
    assert described(text).nics == nics


@pytest.mark.parametrize(
    ("text", "models"),
    [
        ("", ["std"]),
        ("-nographic", ["std"]),
        ("-nodefaults", []),
        ("-vga none", []),
        ("-vga qxl", ["qxl"]),
        ("-nodefaults -vga virtio", ["virtio"]),
        ("-device VGA", ["VGA"]),
        ("-device virtio-gpu-pci", ["std", "virtio-gpu-pci"]),
        ("-device virtio-vga", ["virtio-vga"]),
        ("-global VGA.vgamem_mb=8", []),
        ("-M virt", []),
    ],
)
def test_the_default_adapter_is_counted(text: str, models: list[str]) -> None:
    """A PC has a graphics adapter by itself unless another VGA device or -vga takes its place."""
    assert [video.model for video in described(text).videos] == models


def test_video_memory_is_read_where_given() -> None:
    """Video memory and outputs are what the description says, else None."""
    guest = described(
        "-nodefaults -device VGA,vgamem_mb=32 -device qxl,ram_size=67108864,vram_size_mb=16,max_outputs=2 "
        "-device virtio-vga"
    )
    assert guest.videos == (Video("VGA", 32 * MIB), Video("qxl", 80 * MIB, 2), Video("virtio-vga"))


@pytest.mark.parametrize(
    ("text", "displays"),
    [
        ("-display none", ()),
        ("-nographic", ()),
        ("-display gtk,gl=on", ("gtk",)),
        ("-vnc :1", ("vnc",)),
        ("-vnc none", ()),
        ("-display vnc=:1", ("vnc",)),
        ("-spice port=1,disable-ticketing=on -vnc :1 -vnc :2", ("spice", "vnc")),
    ],
)
def test_displays_are_named(text: str, displays: tuple[str, ...]) -> None:
    """Displays asked for are listed once each; none is no display."""
    assert described(text).displays == displays


def test_passed_through_devices_are_told_apart() -> None:
    """PCI, graphics, mediated and USB host devices are listed with their address."""
    guest = described(
        "-device vfio-pci,host=0000:01:00.0 -device vfio-pci,host=02:00.0,x-vga=on "
        "-device vfio-pci,host=00:02.0,x-igd-opregion=on "
        "-device vfio-pci,sysfsdev=/sys/bus/mdev/devices/1-2 -device usb-host,hostbus=1,hostaddr=4 "
        "-device vfio-pci-igd-lpc-bridge"
    )
    assert guest.passthrough == (
        Passthrough("0000:01:00.0", "vfio-pci"),
        Passthrough("02:00.0", "vga"),
        Passthrough("00:02.0", "gpu"),
        Passthrough("/sys/bus/mdev/devices/1-2", "mdev"),
        Passthrough("1.4", "usb"),
    )


def test_the_rest_is_counted() -> None:
    """I/O threads, shares, USB, TPM and balloon are counted."""
    guest = described(
        "-object iothread,id=i0 -object iothread,id=i1 -device vhost-user-fs-pci,chardev=c,tag=t "
        "-virtfs local,path=/,mount_tag=x,security_model=none -device qemu-xhci -usb -device usb-tablet "
        "-device usb-hub -usbdevice mouse -tpmdev emulator,id=t,chardev=c -device tpm-tis,tpmdev=t "
        "-device virtio-balloon-pci"
    )
    assert (guest.iothreads, guest.shares) == (2, 2)
    assert (guest.usb_controllers, guest.usb_devices) == (2, 2)
    assert (guest.tpm, guest.balloon) == (True, True)
    bare = described("-nodefaults")
    assert (bare.iothreads, bare.shares, bare.usb_controllers, bare.usb_devices) == (0, 0, 0, 0)
    assert (bare.tpm, bare.balloon) == (False, False)


def test_a_bridge_is_no_card_and_a_channel_adapter_is_graphics() -> None:
    """``i82801b11-bridge`` only sounds like Intel's cards, and ``virtio-gpu-ccw`` is s390's graphics adapter."""
    guest = described("-nodefaults -device i82801b11-bridge,id=b -device i82801,id=n -device virtio-gpu-ccw,id=g")
    assert [nic.id for nic in guest.nics] == ["n"]
    assert [video.model for video in guest.videos] == ["virtio-gpu-ccw"]
