"""The limit of a systemd unit, told to systemd, which would otherwise take it back.

``--runtime``: it holds until the unit ends or the machine does, as all that guestroom does. systemd writes the file
itself, plainly, so a limit that must not be written below use is in the file already when systemd is told. That it
said yes proves nothing: whether the kernel has the limit is for the caller to verify.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guestroom.errors import HostError, WriteError
from guestroom.units import Limit, Unlimited

if TYPE_CHECKING:
    from guestroom.ports import Programs

SYSTEMCTL = ("systemctl", "--no-ask-password")
TIMEOUT_S = 5.0
"""systemd answers within tens of milliseconds, unless it is busy with a reload."""


def set_memory_max(programs: Programs, unit: str, limit: Limit) -> None:
    """Have systemd set a running unit's ``MemoryMax``. Raises ``WriteError`` with its own words."""
    value = "infinity" if isinstance(limit, Unlimited) else str(limit)
    place = f"systemd unit {unit}, MemoryMax"
    argv = (*SYSTEMCTL, "set-property", "--runtime", "--", unit, f"MemoryMax={value}")
    try:
        done = programs.run(argv, TIMEOUT_S)
    except HostError as error:
        raise WriteError(place, value, error.message, hint=error.hint) from error
    if done.code != 0:
        raise WriteError(place, value, done.stderr.strip() or done.stdout.strip() or f"exit code {done.code}")
