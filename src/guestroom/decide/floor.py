"""The least safe grant of a guest (promises P2 and P6).

A limit set to the use of this moment is reached within a second under load (measured on QEMU 7.2, TCG: use +
2 MiB was reached after 0.2-0.6 s), so the floor is the peak over a window. A guest that has just started has
not shown its peak yet, so until it has settled its floor is what it was admitted with.
"""

from __future__ import annotations

from guestroom.config import Settings
from guestroom.facts import Accounting, GuestFacts, GuestState
from guestroom.units import MIB

JOINT_MARGIN_BYTES = 32 * MIB
"""What a guest with joint accounting may grow between two sweeps, until that is measured (DESIGN, margin)."""


def floor_bytes(guest: GuestFacts, settings: Settings, now_s: float) -> int | None:
    """Overhead bytes (without RAM) the guest must keep: max(use, peak), and what it was admitted with until settled.

    None where use or peak is unknown: unknown is not zero, such a guest is not shrunk. Until ``settle_s`` after
    the start the floor is also the guest's need, or, if it was squeezed, the grant it was admitted with. One
    that has not run yet (``starting``) has no peak to be known: what it was admitted with is its bound. A guest
    with joint accounting keeps two margins above its use, because it is seen only at sweeps.
    """
    if guest.overhead_bytes is None or guest.overhead_peak_bytes is None:
        if guest.state is GuestState.STARTING:
            return max(admitted_with_bytes(guest), guest.boot_floor_bytes, guest.overhead_bytes or 0)
        return None
    floor = max(guest.overhead_bytes, guest.overhead_peak_bytes)
    if guest.accounting is Accounting.JOINT:
        floor += 2 * JOINT_MARGIN_BYTES
    if unsettled_s(guest, settings, now_s) > 0:
        floor = max(floor, admitted_with_bytes(guest))
    return floor


def admitted_with_bytes(guest: GuestFacts) -> int:
    """What the guest was promised at its start: its need, or where it was squeezed the grant it got."""
    if guest.squeezed:
        return guest.admitted_grant_bytes
    return guest.need_bytes if guest.cap_bytes is None else min(guest.need_bytes, guest.cap_bytes)


def unsettled_s(guest: GuestFacts, settings: Settings, now_s: float) -> float:
    """Seconds until the guest counts as settled; 0 or less when it does. One that has not started yet never does."""
    if guest.state in (GuestState.QUEUED, GuestState.STARTING):
        return max(settings.settle_s, 1.0)
    return guest.started_s + settings.settle_s - now_s


def lent_floor_bytes(guest: GuestFacts, settings: Settings, now_s: float) -> int | None:
    """The floor where a division would not fit otherwise: what is used above the grant stays lent by the headroom."""
    floor = floor_bytes(guest, settings, now_s)
    return None if floor is None else min(floor, guest.grant_bytes)
