"""What was promised and kept, for people: a line for each policy, QEMU and accelerator of ``/v1/learning``.

Apart from ``learned``, so that ``ps`` loads no policy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from guestroom.cli.output import size_cell


def kept_lines(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line each, with the figures that tell whether a promise can be believed."""
    return [_line(group) for group in groups]


def _line(one: Mapping[str, Any]) -> str:
    wanted, missed = one["promised_coverage"], one["missed"]
    said = f", {wanted:.1%} promised" if wanted is not None else ""
    misses = f", {missed} missed by up to {size_cell(one['largest_miss_bytes'])}" if missed else ""
    return (
        f"promises of {one['policy']}, {one['accelerator']} on QEMU {one['qemu'] or 'of unknown version'}: "
        f"{one['lives'] - missed} of {one['lives']} kept{said} (surely {one['coverage_at_least']:.1%}){misses}; median "
        f"peak {size_cell(one['peak_bytes'])}, granted in vain {size_cell(one['waste_bytes'])} on average"
    )
