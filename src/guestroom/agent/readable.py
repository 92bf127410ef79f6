"""Whether a descriptor is readable at this moment."""

from __future__ import annotations

import select


def is_readable(fd: int) -> bool:
    """True where ``fd`` is readable now (a pidfd: its process has ended).

    Not by ``select``: an agent with a thousand guests has descriptors above what it can take.
    """
    waiting = select.poll()
    waiting.register(fd, select.POLLIN)
    return bool(waiting.poll(0))
