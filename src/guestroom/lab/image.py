"""Where the test guest is: the kernel and initramfs that set-up built.

Set-up keeps images in the user's cache folder and leaves in the environment a link to the one that belongs to this
checkout, so finding it costs no hashing and no tool. ``python -m guestroom.lab.image`` prints both paths.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from guestroom.errors import HostError

LINK_NAME = "guest-image"
FOLDER_VARIABLE = "GUESTROOM_IMAGE"
MIN_RAM_BYTES = 80 * 2**20
"""Least RAM the test guest boots with: its kernel unpacks itself into 16 MiB + its ``init_size`` of 52 MiB, below
the initramfs (measured on QEMU 7.2: 80 MiB boots, 72 MiB stands still before the first kernel line)."""


@dataclass(frozen=True, slots=True)
class GuestImage:
    """What QEMU's ``-kernel`` and ``-initrd`` get."""

    kernel: str
    initrd: str


def cache_folder() -> Path:
    """Where set-up keeps images: ``$XDG_CACHE_HOME/guestroom``, by default ``~/.cache/guestroom``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "guestroom"


def image_folder() -> Path:
    """The folder named by ``$GUESTROOM_IMAGE``, else the one set-up linked into this environment."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named) if named else Path(sys.prefix) / LINK_NAME


def find_image() -> GuestImage:
    """The test guest.

    Raises:
        HostError: it was not built, or was removed from the cache.
    """
    folder = image_folder()
    kernel, initrd = folder / "vmlinuz", folder / "initrd.gz"
    for path in (kernel, initrd):
        if not path.is_file():
            raise HostError("the test guest is not built", where=str(path), hint="make setup")
    return GuestImage(kernel=str(kernel.resolve()), initrd=str(initrd.resolve()))


def main() -> int:
    """Print the kernel's path and the initramfs's, one a line."""
    try:
        image = find_image()
    except HostError as error:
        sys.stderr.write(f"guestroom: {error.line()}\n")
        return error.exit_code
    sys.stdout.write(f"{image.kernel}\n{image.initrd}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
