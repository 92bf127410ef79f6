"""Usage thresholds of a cgroup, registered in the background: the ladder that wakes the alarm.

Registering one threshold waits for an RCU grace period, 15-29 ms and one at a time per cgroup, seconds under
load (measured): so it happens on a thread per cgroup, the rungs that matter first, and never on the hot path.
All rungs of a ladder share one eventfd. Rungs sit on multiples of the step, so that a grant or wall that moves
finds most of its rungs there already; rungs nobody needs any more stay, because a spurious wake costs one look
(kernel Documentation/admin-guide/cgroup-v1/memory.rst section 9; thresholds fire in both directions).
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from guestroom.errors import from_write
from guestroom.units import MIB

if TYPE_CHECKING:
    from guestroom.ports import Files

WALL_RUNGS = 16
"""Rungs below the host wall; a larger headroom gets a coarser step."""
LADDER_RUNGS = 256
"""At most this many in all; a longer way up gets a coarser step."""
STARTED_BYTES = 48 * MIB
"""QEMU's start-up memory lies in ``ram`` (29 MiB and 15 MiB of page cache, measured on QEMU 7.2): by so much sooner
than ``vmm`` reaches the grant the overhead may have reached it."""
CAP_STEP_BYTES = 4 * MIB
"""Spacing of rungs right before a cap."""
_REGISTERING = threading.BoundedSemaphore(32)
"""Threads inside the kernel at once, for a host whose hundreds of guests are taken back after a restart."""


def guest_rungs(
    grant_bytes: int,
    overhead_limit_bytes: int,
    headroom_bytes: int,
    step_bytes: int,
    hold_at_bytes: int | None = None,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the usage thresholds of a guest's ``vmm``: the essential ones, then the rest, in the order to register.

    Registering takes 8-29 ms each, one after the other for one cgroup, so only two are waited for before the guest is
    continued: where its overhead may first reach its grant (start-up memory lies in ``ram``), and the grant itself.
    Once it is above, the alarm looks again and again by itself. The rest, there before the guest's kernel has booted:
    up through the headroom, the few between, then the way up to ``overhead_limit_bytes`` (limit less RAM). With
    ``hold_at_bytes`` (its own cap is near there) also closely spaced ones up to that, since there is no headroom after.
    """
    # Finer would only take longer to register: the kernel checks thresholds every 128 pages a CPU.
    step_bytes = max(step_bytes, MIB)
    first = max(step_bytes, grant_bytes // step_bytes * step_bytes)
    top = min(overhead_limit_bytes, grant_bytes + headroom_bytes)
    above = tuple(range(first + step_bytes, top + 1, step_bytes))[:WALL_RUNGS]
    below = range(first - step_bytes, max(0, first - STARTED_BYTES - step_bytes), -step_bytes)
    essential = (below[-1], first) if below else (first,)
    room = LADDER_RUNGS - len(above) - len(below) - 2
    start = (above[-1] if above else first) + step_bytes
    coarse = step_bytes * max(1, -(-(overhead_limit_bytes - start) // (step_bytes * room)))
    rest = (*_before_cap(hold_at_bytes), *above, *below[:-1], *range(start, overhead_limit_bytes + 1, coarse))
    return essential, tuple(rung for rung in dict.fromkeys(rest) if rung not in essential)


def _before_cap(hold_at_bytes: int | None) -> tuple[int, ...]:
    """Usage of ``vmm`` at which the overhead, start-up memory included, may be at ``hold_at_bytes``."""
    if hold_at_bytes is None:
        return ()
    first = max(CAP_STEP_BYTES, (hold_at_bytes - STARTED_BYTES) // CAP_STEP_BYTES * CAP_STEP_BYTES)
    return tuple(range(first, hold_at_bytes + CAP_STEP_BYTES, CAP_STEP_BYTES))


def wall_rungs(limit_bytes: int, headroom_bytes: int, step_bytes: int) -> tuple[int, ...]:
    """Return the host wall's usage thresholds: multiples of the step from limit - headroom up to the limit."""
    coarse = step_bytes * max(1, -(-headroom_bytes // (step_bytes * WALL_RUNGS)))
    first = max(coarse, (limit_bytes - headroom_bytes) // coarse * coarse)
    return tuple(range(first, limit_bytes + 1, coarse))


class Ladder:
    """The thresholds of one cgroup on one eventfd.

    ``on_armed(rungs)`` is called on the registering thread when the essential rungs of a wish are in place,
    ``on_error(text)`` when one could not be registered (the rest of that wish is dropped).
    """

    def __init__(
        self, files: Files, cgroup: str, on_armed: Callable[[int], None], on_error: Callable[[str], None]
    ) -> None:
        self.cgroup = cgroup
        self.eventfd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._files = files
        self._on_armed = on_armed
        self._on_error = on_error
        self._lock = threading.Lock()
        self._known: set[int] = set()
        self._todo: deque[int | None] = deque()
        """Thresholds to register; None marks the end of a wish's essential ones."""
        self._working = False
        self._closed = False

    def want(self, essential: Iterable[int], rest: Iterable[int] = ()) -> None:
        """Register what is not registered yet; returns at once. The first wish is always answered by ``on_armed``."""
        with self._lock:
            first = not self._known
            new = [rung for rung in essential if rung not in self._known]
            if new or first:
                # Before what is left of earlier wishes: these are the rungs that matter now.
                self._todo.extendleft(reversed([*new, None]))
            self._known.update(new)
            later = [rung for rung in rest if rung not in self._known]
            self._known.update(later)
            self._todo.extend(later)
            if self._todo and not self._working and not self._closed:
                self._working = True
                threading.Thread(target=self._work, name=f"arm {self.cgroup}", daemon=True).start()

    def close(self) -> None:
        """Give the eventfd back, which takes its thresholds out of the kernel; a thread at work does it when done."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if not self._working:
                os.close(self.eventfd)

    def _work(self) -> None:
        done = 0
        usage_path = f"{self.cgroup}/memory.usage_in_bytes"
        try:
            usage_fd = os.open(usage_path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            self._give_up(from_write(error, usage_path, "threshold").line())
            return
        try:
            while (rung := self._next()) != -1:
                if rung is None:
                    self._on_armed(done)
                    continue
                with _REGISTERING:
                    self._files.write(f"{self.cgroup}/cgroup.event_control", f"{self.eventfd} {usage_fd} {rung}")
                done += 1
        except OSError as error:
            self._give_up(from_write(error, f"{self.cgroup}/cgroup.event_control", "threshold").line())
        finally:
            os.close(usage_fd)

    def _next(self) -> int | None:
        """The next threshold; -1 when there is nothing more to do, and then the thread is no longer at work."""
        with self._lock:
            if self._todo and not self._closed:
                return self._todo.popleft()
            self._rest()
            return -1

    def _give_up(self, why: str) -> None:
        with self._lock:
            # Forgotten, so that the next numbers for this guest try again.
            self._known.clear()
            self._todo.clear()
            self._rest()
        self._on_error(why)

    def _rest(self) -> None:
        self._working = False
        if self._closed:
            os.close(self.eventfd)
