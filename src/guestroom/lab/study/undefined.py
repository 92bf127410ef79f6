"""What EVE's "undefined" 350 MiB can consist of: the parts that were measured, added up until they reach it.

EVE adds them to what it can name: QEMU's binary, 2.5 % of the RAM, 3 MiB a vCPU. So program pages, page tables, RAM and
vCPUs are left out here, and so are the TCG code buffer, which a guest under KVM lacks, and the copy of the kernel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from guestroom.lab.study.plots import parts_of
from guestroom.lab.study.rule import STORAGE
from guestroom.lab.study.samples import BASE, Samples, factor
from guestroom.size.eve import undefined_part
from guestroom.units import MIB

EVE_MIB = undefined_part().bytes / MIB
_NAMED = ("TCG code buffer", "copy of the kernel image", "page tables", "private pages of programs and libraries")
"""Parts that EVE's other terms stand for, or that its guests lack."""
_GUESTS_OWN = frozenset({"env_arena_max", "ram_mib", "tb_mib", "vcpus"})
"""Factors that EVE's other terms stand for, and knobs."""
_COUNTED = ("backing", "compressed", "allocated")
"""Images whose growth is counted once for all."""
_TABLES = "qcow2 L2 tables in their cache, at its default limit"
_IMAGES = 16
_LEAST_MIB, _SURE_MIB = 1.0, 2.0
"""Less than this is not worth a row; nor is less than that where nothing tells the spread."""


@dataclass(frozen=True, slots=True)
class Share:
    """One part of the 350 MiB."""

    what: str
    size_mib: float
    config: str
    """Where it was measured."""


def shares(samples: Samples) -> tuple[Share, ...]:
    """The largest of each kind that the study has; QEMU's own at rest first, then by size."""
    if BASE not in samples:
        return ()
    rest = sum(size for name, size in parts_of(samples, BASE, "idle").items() if name not in _NAMED)
    own = Share("QEMU at rest: heap, device models, ROMs", rest, BASE)
    found = [own, *sorted(_grown(samples) + _added(samples), key=lambda one: (-one.size_mib, one.what))]
    return (*found, *_more_images(found))


def _more_images(found: list[Share]) -> Iterator[Share]:
    """L2 tables of further images, which each have a cache of their own, as long as the sum falls short."""
    total = sum(one.size_mib for one in found)
    tables = next((one for one in found if one.what == _TABLES and one.size_mib > 0), None)
    for number in range(2, _IMAGES + 1):
        if tables is None or total >= EVE_MIB:
            return
        total += tables.size_mib
        yield Share(f"qcow2 L2 tables of image number {number}", tables.size_mib, tables.config)


def _grown(samples: Samples) -> list[Share]:
    """The most that copies, decompression and tables in their cache add to an idle guest."""
    kinds = (
        ("copy-on-write in flight", "backing"),
        ("decompression in flight", "compressed"),
        (_TABLES, "allocated"),
    )
    found = []
    for what, name in kinds:
        runs = ((one, samples.first(one)) for one in samples.by_config)
        ours = [one for one, run in runs if factor(run, name) and not factor(run, "l2_cache_mib")]
        if ours:
            most = max(sorted(ours), key=samples.growth_mib)
            found.append(Share(what, samples.growth_mib(most), most))
    return found


def _added(samples: Samples) -> list[Share]:
    """The most each other family adds to the base, where that is told apart from chance."""
    best: dict[str, Share] = {}
    for config in sorted(samples.by_config):
        run = samples.first(config)
        names = {name for name, _, _ in samples.changed(config, BASE)}
        if names & _GUESTS_OWN or names <= STORAGE - {"load", "aio"} or any(factor(run, name) for name in _COUNTED):
            continue
        found = samples.difference(config, BASE)
        known = best.get(run.family)
        least = _SURE_MIB if found.half_width is None else max(_LEAST_MIB, found.half_width)
        if found.value > least and (known is None or found.value > known.size_mib):
            best[run.family] = Share(run.family, found.value, config)
    return list(best.values())
