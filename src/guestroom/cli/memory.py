"""Keeping the agent small: what glibc's allocator would otherwise hold on to for speed."""

from __future__ import annotations

import ctypes

_M_ARENA_MAX = -8
"""mallopt(3): how many arenas threads may spread over. Each keeps what its busiest moment took."""


def few_arenas() -> None:
    """One arena for all threads: they wait for the kernel, not for malloc. Before the first thread is started."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)


def trim() -> None:
    """Give free memory back to the kernel; elsewhere than with glibc nothing happens."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
