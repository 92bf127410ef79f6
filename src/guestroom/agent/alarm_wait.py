"""The alarm process's sleep, which measures by how much too late it is woken."""

from __future__ import annotations

import math
import os
import select
import time

from guestroom.agent.alarm_measure import Reaction


def wait(epoll: select.epoll, timeout_s: float, reaction: Reaction) -> list[tuple[int, int]]:
    """Sleep until something is ready or due; a wake by the timer tells how late the kernel runs this process."""
    # The kernel's timer for it counts whole milliseconds, rounded up.
    timeout_s = math.ceil(timeout_s * 1000) / 1000
    began_s = time.monotonic()
    ready = epoll.poll(timeout_s)
    if not ready and timeout_s > 0:
        reaction.wakes.append(max(0.0, time.monotonic() - began_s - timeout_s))
    return ready


def drain(fd: int) -> None:
    """Take what an eventfd has counted, if anything."""
    try:
        os.eventfd_read(fd)
    except BlockingIOError:
        return
