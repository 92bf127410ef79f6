"""What a fit learns from: one case for each configuration of a study, described as a user would describe the guest.

The guest comes from the run's own command line; what no command line says (cluster and virtual size, what the guest
does) comes from the run's factors. Repetitions of a configuration are one case with the largest peak: they differ by
chance only, and a model that saw one of them has seen them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from guestroom.describe import from_qemu_argv
from guestroom.errors import InputError
from guestroom.guest import Guest
from guestroom.lab.study.dataset import Factor, Run
from guestroom.lab.study.disks import FILLED_MIB
from guestroom.size.measured_terms import JOBS, Load
from guestroom.units import GIB, KIB, MIB

PEAK = "overhead_peak_bytes"
KERNEL_PART, CODE_PART = "copy of the kernel image", "TCG code buffer"
"""Parts of a run's attribution that are terms of the model as they are."""
_PLAIN_LOADS = ("idle", "randread", "randwrite", "randrw", "seqread", "seqwrite", "hotplug", "snapshot", "share")
_IDLE = ("idle", "receive", "send", "share")


@dataclass(frozen=True, slots=True)
class Case:
    """A configuration and the largest overhead any run of it had."""

    config: str
    family: str
    guest: Guest
    ram_bytes: int
    load: Load
    peak_bytes: int
    kernel_bytes: int
    """Of it the copy of the kernel image."""
    code_bytes: int
    """Of it TCG's code buffer."""
    runs: int


def cases(runs: Iterable[Run]) -> tuple[Case, ...]:
    """The cases of a study, by name. Raises ``InputError`` where no run has figures.

    Left out are runs without figures, those measured again to check the measuring, and those whose process environment
    differs (allocator settings): no description of a guest says that.
    """
    found: dict[str, Case] = {}
    for run in runs:
        if (
            run.error is not None
            or PEAK not in run.figures
            or any(value for name, value in run.factors.items() if name.startswith("env_"))
        ):
            continue
        case = _case(run)
        known = found.get(case.config)
        if known is None:
            found[case.config] = case
        else:
            more = max(known, case, key=lambda one: one.peak_bytes)
            found[case.config] = replace(more, runs=known.runs + 1)
    if not found:
        raise InputError("the study has no run with figures", hint="guestroom study run")
    return tuple(found[name] for name in sorted(found))


def _case(run: Run) -> Case:
    guest = from_qemu_argv(run.argv)
    disks = tuple(
        replace(
            disk, cluster_bytes=_number(run.factors, "cluster_kib") * KIB, virtual_bytes=_virtual_bytes(run.factors)
        )
        if disk.interface != "pflash"
        else disk
        for disk in guest.disks
    )
    ram_bytes = guest.ram_bytes or _number(run.factors, "ram_mib") * MIB
    return Case(
        config=run.config,
        family=run.family,
        guest=replace(guest, disks=disks),
        ram_bytes=ram_bytes,
        load=load_of(run.factors),
        peak_bytes=int(run.figures[PEAK]),
        kernel_bytes=_part(run, KERNEL_PART),
        code_bytes=_part(run, CODE_PART),
        runs=1,
    )


def _virtual_bytes(factors: Mapping[str, Factor]) -> int:
    """Virtual size; an image that is full of data is made as large as that."""
    if factors["backing"] or factors["compressed"] or factors.get("filled"):
        return FILLED_MIB * MIB
    return _number(factors, "virtual_gib") * GIB


def _part(run: Run, name: str) -> int:
    return max((moment.parts.get(name, ("", 0))[1] for moment in run.moments.values()), default=0)


def load_of(factors: Mapping[str, Factor]) -> Load:
    """What the guest of a run does. Raises ``InputError`` for a load that nobody taught the model."""
    kind = str(factors["load"])
    if kind not in (*_PLAIN_LOADS, *_IDLE, *JOBS):
        raise InputError(f"the model has no term for load {kind!r}", where="lab/study/cases.py")
    return Load(
        requests=0 if kind in _IDLE else _number(factors, "jobs") * _number(factors, "depth"),
        copies=bool(factors["backing"]),
        streams_written=kind == "seqwrite",
        inflates=bool(factors["compressed"]),
        vnc_clients=_number(factors, "vnc_clients"),
        streams=_number(factors, "jobs") if kind in ("receive", "send") else 0,
        job=kind if kind in JOBS else None,
        snapshots=_number(factors, "snapshots") if kind == "snapshot" else 0,
        hot_disks=_number(factors, "hot_disks") if kind == "hotplug" else 0,
    )


def _number(factors: Mapping[str, Factor], name: str) -> int:
    return int(factors.get(name) or 0)
