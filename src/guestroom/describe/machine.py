"""Which machine a description means: architecture, PC or not, accelerator."""

from __future__ import annotations

import re

from guestroom.describe.settings import Settings
from guestroom.units import MIB

_PROGRAM = re.compile(r"qemu-system-(?P<arch>[A-Za-z0-9_]+)")
_PC = re.compile(r"(?:pc|q35)(?:[-_].*)?\Z|rhel.*")
_X86_ONLY = frozenset({"isapc", "microvm", "xenpv", "xenfv"})
X86 = frozenset({"x86_64", "i386"})


def arch_of(settings: Settings) -> str | None:
    """Architecture by the program's name, else by a machine type that only x86 has. None if neither tells."""
    program = (settings.program or "").rpartition("/")[2]
    if match := _PROGRAM.match(program):
        return match["arch"]
    machine = settings.text("machine", "type")
    if machine is not None and (_PC.match(machine) or machine in _X86_ONLY):
        return "x86_64"
    return None


def is_pc(settings: Settings) -> bool:
    """True for PC machines (i440FX, Q35), which is also what an x86 QEMU is when told nothing.

    A program whose name says nothing (``qemu-kvm``, a wrapper) counts as x86.
    """
    machine = settings.text("machine", "type")
    if machine is None:
        return not settings.partial and arch_of(settings) in (None, *X86)
    return _PC.match(machine) is not None


def accelerator_of(settings: Settings) -> str | None:
    """The first accelerator named; a program whose name ends in ``kvm`` begins with KVM by itself
    (``configure_accelerators``, softmmu/vl.c).
    """
    for entry in settings.of("accel"):
        if name := entry.get("accel"):
            return name
    if names := settings.text("machine", "accel"):
        return names.partition(":")[0]
    return "kvm" if (settings.program or "").endswith("kvm") else None


def tb_bytes_of(settings: Settings) -> int | None:
    """TCG's code buffer: ``tb-size`` counts MiB (``tcg_set_tb_size``, accel/tcg/tcg-all.c); 0 is QEMU's choice."""
    value = settings.last("accel", "tb-size")
    return (value.number() * MIB or None) if value is not None else None
