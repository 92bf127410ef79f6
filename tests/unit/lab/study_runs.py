"""Invented runs of a study whose answers are known."""

from __future__ import annotations

from collections.abc import Mapping

from guestroom.lab.study.dataset import Factor, Moment, Run
from guestroom.lab.study.matrix import DEFAULTS
from guestroom.units import MIB

BASE: Mapping[str, Factor] = {**DEFAULTS, "format": "qcow2", "load": "randwrite", "depth": 16, "tb_mib": 32}


def run(
    config: str,
    peak_mib: float,
    repetition: int | str = 1,
    *,
    family: str | None = None,
    idle_mib: float | None = None,
    parts: Mapping[str, float] | None = None,
    share: float = 1.0,
    error: str | None = None,
    accounting: str = "joint",
    alone: bool = True,
    iops: float = 0.0,
    **factors: Factor,
) -> Run:
    """A run with this peak; idle at 1 MiB less unless told, of the base's factors where none are given."""
    idle = int((peak_mib - 1 if idle_mib is None else idle_mib) * MIB)
    named = {name: ("overhead", int(size * MIB)) for name, size in (parts or {"heap": idle / MIB}).items()}
    moments = {
        "idle": Moment(1.0, idle + 256 * MIB, idle, share, {"guest RAM": ("ram", 256 * MIB), **named}),
        "peak": Moment(2.0, idle + 256 * MIB, idle, share, {"guest RAM": ("ram", 256 * MIB), **named}),
    }
    return Run(
        run_id=f"{config}/{accounting}/{repetition}",
        config=config,
        family=family or config.split("-")[0],
        repetition=repetition if isinstance(repetition, int) else 1,
        order=0,
        slot=0,
        alone=alone,
        started="2026-11-25T07:00:00Z",
        host={"qemu": "7.2", "kernel": "6.1 <x&y>"},
        accounting=accounting,
        argv=(),
        factors={**BASE, **factors},
        moments={} if error else moments,
        figures={} if error else {"overhead_peak_bytes": peak_mib * MIB, "iops": iops, "boot_s": 3.0},
        error=error,
    )
