"""One step for the kernel, as data, for both cgroup versions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Write:
    """One step for the kernel: make a cgroup, or write a value to a control file."""

    op: Literal["mkdir", "write", "brake"]
    """``brake``: write what the file's cgroup is charged at that moment; no value could be known before."""
    path: str
    value: str = ""
    """Text to write; empty for ``mkdir`` and ``brake``."""
    verify: bool = False
    """Read the file back and compare with what the kernel makes of the value."""
    exist_ok: bool = False
    """``mkdir`` only: a cgroup that is there already is fine."""
    optional: bool = False
    """A file that this kernel does not have is fine."""
