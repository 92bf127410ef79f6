"""What several policies read from a guest the same way."""

from __future__ import annotations

from guestroom.guest import Guest

NO_VCPUS = "the number of vCPUs is not known: 1 assumed"


def vcpus_or_one(guest: Guest) -> tuple[int, tuple[str, ...]]:
    """The guest's vCPUs at start, and a warning where they are not known and 1 (QEMU's own default) is assumed."""
    if guest.vcpus is None:
        return 1, (NO_VCPUS,)
    return guest.vcpus, ()
