"""What lets the alarm process answer within a millisecond on a busy host: its turn, its pages, its collector."""

from __future__ import annotations

import ctypes
import gc
import os
import sys

_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
"""mlockall(2): what is there and what comes, each page from its first touch on."""


def be_realtime() -> str:
    """Ask for SCHED_FIFO and say what it became. Threads that register do not inherit it."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except OSError:
        return "other"
    return "fifo"


def never_wait_for_this_process() -> bool:
    """Keep what may stop the loop at a bad moment away; whether its pages could be locked (False without the right).

    Pages that were evicted under memory pressure would be read back from disk just when memory is short.
    """
    # Registering threads run a few bytecodes between system calls; the loop must not wait 5 ms for them.
    sys.setswitchinterval(0.0005)
    gc.freeze()
    gc.disable()
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) == 0)
