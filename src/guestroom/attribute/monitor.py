"""What QEMU says of its own memory on its monitor: names of RAM blocks (HMP ``info ramblock``), block jobs. Pure.

QEMU 7.2 prints no addresses, so a mapping is found by its size; blocks of one size share a line. Newer versions print
more columns: only the name, which is first, and ``Total``, found by its place in the heading, are read.
"""

from __future__ import annotations

from collections.abc import Mapping

_COLUMNS = ("PSize", "Offset", "Used", "Total")


def block_names(text: str) -> dict[int, str]:
    """Names by size in bytes (``ram_block_format``, softmmu/physmem.c); blocks without a name are left out.

    What is not understood is left out as well: a name is a help, and the size stands without it.
    """
    lines = text.splitlines()
    if not lines or any(column not in lines[0] for column in _COLUMNS):
        return {}
    found: dict[int, list[str]] = {}
    for line in lines[1:]:
        words = line.split()
        # NAME, 4 KiB (two words), offset, used, total; a block that was never registered has no name.
        if len(words) < 6 or not words[5].startswith("0x"):
            continue
        try:
            total = int(words[5], 16)
        except ValueError:
            continue
        names = found.setdefault(total, [])
        if words[0] not in names:
            names.append(words[0])
    return {size: ", ".join(sorted(names)) for size, names in found.items()}


def job_names(answer: object) -> tuple[str, ...]:
    """``mirror of d0`` for each running job of ``query-block-jobs`` (qapi/block-core.json); else what is understood."""
    jobs = answer if isinstance(answer, list) else []
    return tuple(
        f"{job['type']} of {job['device']}"
        for job in jobs
        if isinstance(job, Mapping) and {"type", "device"} <= set(job)
    )
