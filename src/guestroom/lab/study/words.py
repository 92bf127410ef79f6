"""How a report names factors, their values and its numbers."""

from __future__ import annotations

import math

from guestroom.lab.study.dataset import Factor
from guestroom.lab.study.matrix import DEFAULTS
from guestroom.lab.study.stats import Estimate

NAMES = {
    "aio": "aio",
    "allocated": "allocated image",
    "backing": "backing file",
    "block_kib": "request size, KiB",
    "cluster_kib": "cluster size, KiB",
    "compressed": "compressed image",
    "depth": "requests of each job",
    "cache_clean_s": "`cache-clean-interval`, s",
    "detect_zeroes": "`detect-zeroes`",
    "env_arena_max": "`MALLOC_ARENA_MAX`",
    "env_mmap_kib": "`MALLOC_MMAP_THRESHOLD_`, KiB",
    "env_trim_kib": "`MALLOC_TRIM_THRESHOLD_`, KiB",
    "filled": "image full of data",
    "hot_disks": "disks plugged in",
    "iops_max": "`throttling.iops-total`",
    "disks": "disks",
    "iothreads": "I/O threads",
    "jobs": "jobs",
    "l2_cache_mib": "`l2-cache-size`, MiB",
    "memory": "RAM backend",
    "nics": "network devices",
    "pool_max": "`thread-pool-max`",
    "queue_size": "`queue-size`",
    "queues": "`num-queues`",
    "ram_mib": "RAM, MiB",
    "refcount_cache_kib": "`refcount-cache-size`, KiB",
    "shares": "virtio-fs shares",
    "snapshots": "external snapshots",
    "tb_mib": "`tb-size` (TCG only), MiB",
    "touch_mib": "RAM written over and over, MiB",
    "usb": "USB",
    "vcpus": "vCPUs",
    "vga_mib": "`vgamem_mb`",
    "virtual_gib": "virtual size, GiB",
    "vnc_clients": "VNC clients",
}
"""Factors whose own name says too little; a factor that is not here is shown by its name."""
_CHOSEN = frozenset(
    {
        "cache_clean_s",
        "env_arena_max",
        "env_mmap_kib",
        "env_trim_kib",
        "l2_cache_mib",
        "pool_max",
        "queue_size",
        "queues",
        "refcount_cache_kib",
        "tb_mib",
        "vga_mib",
    }
)
"""Factors whose 0 leaves the choice to QEMU or the C library."""


def name_of(factor: str) -> str:
    """A factor in words."""
    return NAMES.get(factor, factor.replace("_", " "))


def value_of(factor: str, value: Factor) -> str:
    """A factor's value in words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if value == 0 and factor in _CHOSEN:
        return "default"
    if value == 0 and factor == "iops_max":
        return "no limit"
    if value == 0 and factor not in NAMES and DEFAULTS.get(factor) == 0:
        return "unset"
    return f"{value}"


def change(changed: tuple[tuple[str, Factor, Factor], ...]) -> str:
    """What differs between two configurations, from there to here."""
    return "; ".join(
        f"{name_of(name)} {value_of(name, there)} > {value_of(name, here)}" for name, there, here in changed
    )


def interval(found: Estimate, digits: int = 2) -> str:
    """Half of the 95 % interval."""
    return "unknown" if found.half_width is None else f"± {found.half_width:.{digits}f}"


def signed(found: Estimate, unit: str = "MiB", digits: int = 1) -> str:
    """A value with its interval in one breath."""
    spread = "interval unknown"
    if found.half_width is not None:
        spread = f"± {found.half_width:.{digits}f}"
    return f"{found.value:+.{digits}f} {unit} ({spread})"


def times(found: Estimate | None) -> str:
    """A ratio, of which the logarithm is known, in percent of change; what can't be told from chance says so."""
    if found is None:
        return "not measured"
    percent = 100 * (math.exp(found.value) - 1)
    if found.half_width is None:
        return f"{percent:+.0f} % (interval unknown)"
    if found.may_be_zero:
        return f"within noise ({percent:+.0f} %)"
    low, high = (100 * (math.exp(found.value + side * found.half_width) - 1) for side in (-1, 1))
    return f"{percent:+.0f} % ({low:+.0f} to {high:+.0f})"
