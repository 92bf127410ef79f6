"""When usage crossed each threshold, by a process that does nothing else.

    python -m benchmarks.observer CGROUP STEP_BYTES TOP_BYTES ANOTHER_CGROUP

It waits on thresholds of its own, on the very values the alarm's ladder has, with a higher real-time priority than the
alarm, so that its stamp is nearer to the crossing than anything the alarm could say of itself. Then it does the least
an alarm could do, one write of a limit (of a cgroup nobody lives in): the baseline. Stamps go to stdout at the end, one
JSON line; "ready" is said once all thresholds are registered.
"""

from __future__ import annotations

import gc
import json
import os
import select
import sys
import time


def main(cgroup: str, step_bytes: int, top_bytes: int, dummy: str) -> None:
    """Register, stamp until stdin ends, tell."""
    wake = os.eventfd(0)
    usage = os.open(f"{cgroup}/memory.usage_in_bytes", os.O_RDONLY)
    control = os.open(f"{cgroup}/cgroup.event_control", os.O_WRONLY)
    for rung in range(step_bytes, top_bytes, step_bytes):
        os.write(control, f"{wake} {usage} {rung}".encode())
    limit = os.open(f"{dummy}/memory.limit_in_bytes", os.O_WRONLY)
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(2))
    gc.freeze()
    gc.disable()
    poll = select.epoll()
    poll.register(wake, select.EPOLLIN)
    poll.register(0, select.EPOLLIN)
    stamps: list[tuple[float, float]] = []
    print("ready", flush=True)
    while True:
        ready = poll.poll()
        now_s = time.monotonic()
        if any(fd == 0 for fd, _ in ready):
            break
        os.pwrite(limit, b"268435456" if len(stamps) % 2 else b"536870912", 0)
        stamps.append((now_s, time.monotonic()))
        os.eventfd_read(wake)
    print(json.dumps(stamps), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
