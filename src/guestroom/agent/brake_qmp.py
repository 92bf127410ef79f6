"""What a brake says to QEMU, on guestroom's own monitor: a stop, limits on disks, a heap asked to give back.

Never in another state than ``running``, never during a migration, and nothing is undone that is not ours any more:
after a ``RESUME`` that we did not ask for the guest is its user's again, and a limit that somebody else set stays.
One thing can't be seen: a ``stop`` of its user's while the guest stands still by ours changes nothing in QEMU and
makes no event (``do_vm_stop``, softmmu/cpus.c), so it is lost. That is one reason why throttling is the default.

Used by the agent, and by the alarm process when the agent is lost (P11).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from guestroom.config import Brake
from guestroom.decide.brake import EASE_FACTOR, THROTTLE_IOPS
from guestroom.facts import BrakeMark, DriveLimits, Figure
from guestroom.ports import Monitor

_BASE = ("bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr")
"""Required by ``block_set_io_throttle`` (qapi/block-core.json, BlockIOThrottle)."""
_BURST = tuple(f"{name}_max" for name in _BASE)
_OTHERS = (*_BURST, *(f"{name}_length" for name in _BURST), "iops_size")
_IOPS = ("iops", "iops_rd", "iops_wr")
_MIGRATES = frozenset({"setup", "active", "pre-switchover", "device", "wait-unplug", "cancelling"})
"""MigrationStatus while a guest is on its way (qapi/migration.json); post-copy states begin with ``postcopy``."""
_TRIM_ID = "guestroom-trim"
_STEPS = frozenset(THROTTLE_IOPS * EASE_FACTOR**step for step in range(5))
"""Limits that can only be ours: a crash may come between easing one and writing that down."""


def unfit(monitor: Monitor) -> str | None:
    """Why this guest must not be touched now; None where it may be. Raises ``QmpError``."""
    status = monitor.query_status()
    if status != "running":
        return f"its state is {status}"
    migration = str(monitor.execute("query-migrate").get("status", "none"))
    if migration in _MIGRATES or migration.startswith("postcopy"):
        return f"its migration is {migration}"
    return None


def cluster_bytes(monitor: Monitor) -> int:
    """The largest cluster of the images that the guest writes to, which its command line does not say; 0: none."""
    images = [entry["inserted"] for entry in monitor.execute("query-block") if _limits(entry) is not None]
    return max((int(image.get("image", {}).get("cluster-size") or 0) for image in images), default=0)


def mark_for(monitor: Monitor, kind: Brake, iops: int) -> BrakeMark | None:
    """What will be done and what to put back afterwards; None where this guest has no disk to throttle."""
    if kind is not Brake.THROTTLE:
        return BrakeMark(kind.value)
    drives = tuple(
        limits
        for entry in monitor.execute("query-block")
        if (limits := _limits(entry)) is not None and not _slower(limits, iops)
    )
    return BrakeMark(kind.value, iops, drives) if drives else None


def apply(monitor: Monitor, mark: BrakeMark) -> None:
    """Put the brake on. ``stop`` returns when the requests in flight are finished."""
    if mark.kind == Brake.STOP.value:
        monitor.execute("stop")
        return
    for drive in mark.drives:
        values = {figure.name: figure.value for figure in drive.values}
        kept = {name: values.get(name, 0) for name in _BASE if name not in _IOPS}
        kept |= {name: value for name, value in values.items() if name.startswith("bps") and value}
        _set(monitor, drive, kept | {"iops": mark.iops, "iops_rd": 0, "iops_wr": 0})


def ease(monitor: Monitor, mark: BrakeMark, iops: int) -> BrakeMark:
    """Let disks take ``iops`` requests a second; those that have other limits than ours by now are left out."""
    now = {limits.drive: limits for entry in monitor.execute("query-block") if (limits := _limits(entry)) is not None}
    ours = tuple(d for d in mark.drives if d.drive in now and _value(now[d.drive], "iops") in _STEPS)
    eased = BrakeMark(mark.kind, iops, ours)
    apply(monitor, eased)
    return eased


def release(monitor: Monitor, mark: BrakeMark) -> str | None:
    """Take the brake off what is still ours; says what was not. Raises ``QmpError``."""
    if mark.kind == Brake.STOP.value:
        status = monitor.query_status()
        if "RESUME" in monitor.events():
            return "its user let it go on meanwhile"
        if status != "paused":
            return f"its state is {status}"
        monitor.cont()
        return None
    now = {limits.drive: limits for entry in monitor.execute("query-block") if (limits := _limits(entry)) is not None}
    others = 0
    for drive in mark.drives:
        found = now.get(drive.drive)
        if found is None or _value(found, "iops") not in _STEPS:
            others += 1
            continue
        values = {figure.name: figure.value for figure in drive.values}
        _set(monitor, drive, {name: value for name, value in values.items() if name in _BASE or value})
    return f"{others} of {len(mark.drives)} disks have other limits by now, which stay" if others else None


def trim(monitor: Monitor) -> None:
    """Have QEMU give the memory its heap keeps to the kernel, which takes 50 to 90 ms (measured).

    QEMU trims its heap (``malloc_trim``) when its RCU thread runs out of work (util/rcu.c), and a RAM block that goes
    is such work: so the smallest one comes and goes. It backs nothing and the guest does not see it.
    """
    monitor.execute("object-add", **{"qom-type": "memory-backend-ram", "id": _TRIM_ID, "size": 4096})
    monitor.execute("object-del", id=_TRIM_ID)


def _limits(entry: Mapping[str, Any]) -> DriveLimits | None:
    """A disk's limits from its entry of ``query-block``; None for an empty or read-only one."""
    inserted = entry.get("inserted")
    path, device = str(entry.get("qdev") or ""), str(entry.get("device") or "")
    if not isinstance(inserted, dict) or inserted.get("ro") is True or not (path or device):
        return None
    values = tuple(Figure(name, int(inserted[name])) for name in (*_BASE, *_OTHERS) if name in inserted)
    group = inserted.get("group")
    return DriveLimits(path or device, bool(path), group if isinstance(group, str) else None, values)


def _value(limits: DriveLimits, name: str) -> int:
    return next((figure.value for figure in limits.values if figure.name == name), 0)


def _slower(limits: DriveLimits, iops: int) -> bool:
    """Whether its user's own limit is as low already."""
    total = _value(limits, "iops")
    both = _value(limits, "iops_rd"), _value(limits, "iops_wr")
    return 0 < total <= iops or (all(both) and sum(both) <= iops)


def _set(monitor: Monitor, drive: DriveLimits, values: Mapping[str, int]) -> None:
    where: dict[str, object] = {"id" if drive.is_path else "device": drive.drive}
    if drive.group is not None and any(values.get(name) for name in _BASE):
        where["group"] = drive.group
    monitor.execute("block_set_io_throttle", **where, **values)
