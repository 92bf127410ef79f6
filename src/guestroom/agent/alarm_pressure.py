"""Pressure triggers of cgroup v2: one more wake-up of the alarm, for stalls that meet no limit and trip no wire.

A guest can stand in reclaim without a count in ``memory.events``: swap that comes back slowly, programs that are read
again and again, a host short of memory. Then somebody under the wall waits for memory, and the kernel's pressure stall
information says so (kernel Documentation/accounting/psi.rst). One trigger on the host wall hears all guests: each
watched cgroup costs the kernel a thread of its own (psimon), so one per guest would be a thousand threads.
It only wakes; what is done is decided from the guests' figures as ever.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

TRIGGERS = ("some 20000 500000", "some 80000 2000000")
"""Microseconds of stall in a window: 4 % of half a second, the shortest window there is (psi.rst, "Monitoring for
pressure thresholds": 500 ms to 10 s), looked at by the kernel ten times a window. Without CAP_SYS_RESOURCE kernels from
6.4 on take multiples of two seconds only."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """A registered trigger; its descriptor is polled with ``EPOLLPRI`` and needs no reading. Closing it ends it."""

    fd: int
    words: str


def arm(folder: str) -> Trigger | str:
    """Register a trigger on the cgroup ``folder``, or return why there is none."""
    path = f"{folder}/memory.pressure"
    # O_RDWR and not blocking, as psi.rst asks for. One trigger a descriptor.
    flags = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC
    why = ""
    for words in TRIGGERS:
        try:
            fd = os.open(path, flags)
        except OSError as error:
            return f"{path}: {_said(error)}"
        try:
            os.write(fd, words.encode() + b"\0")
        except OSError as error:
            os.close(fd)
            why = f"{path}: {words}: {_said(error)}"
            if error.errno not in (errno.EINVAL, errno.EPERM):
                break
        else:
            return Trigger(fd, words)
    return why


def _said(error: OSError) -> str:
    if error.errno in (errno.ENOENT, errno.EOPNOTSUPP):
        return f"{error.strerror} (a kernel without CONFIG_PSI, or with psi=0)"
    return error.strerror or str(error)
