"""A guest whose own cap is nearer than the end of the headroom: where it is held, before it meets that wall (P5).

The headroom's guard watches the shared part. A guest with a hard cap below its grant and the headroom never comes
there: its own limit, RAM + cap, comes first, and a QEMU that reaches its limit is lost. So it is held a guard of its
own before that. It is the one hold that may come within a grant: the cap is the operator's wall, the grant may be
all of it.
"""

from __future__ import annotations

from guestroom.units import MIB

OWN_GUARD_BYTES = 16 * MIB
"""Frozen so far ahead of its limit a guest under heavy load had 13 to 16 MiB left (measured on QEMU 7.2, v1)."""
OWN_SHARE = 8
"""At most this part (an eighth) of a cap: a small cap is mostly QEMU itself."""


def hold_at_bytes(
    cap_bytes: int | None,
    grant_bytes: int,
    headroom_bytes: int,
    *,
    speed_bytes_per_s: float | None = None,
    reaction_s: float | None = None,
) -> int | None:
    """Overhead at which the guest is held for its own cap; None where the shared headroom ends before it.

    Its own guard is what it itself takes before an alarm is answered, as far as both were measured, at least 16 MiB, at
    most an eighth of the cap. A cap that is no nearer than grant + headroom binds nothing: there the headroom's
    guard comes first, and without a headroom the grant is the wall.
    """
    if cap_bytes is None or cap_bytes >= grant_bytes + headroom_bytes:
        return None
    takes = 0 if speed_bytes_per_s is None or reaction_s is None else round(speed_bytes_per_s * reaction_s)
    return cap_bytes - min(max(OWN_GUARD_BYTES, takes), cap_bytes // OWN_SHARE)
